"""The pipeline: ask OpenCost for each step, turn the answer into rows, load them, and prove that they landed."""

from __future__ import annotations

import queue
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TypeVar

import msgspec

from opencost_kusto import __version__
from opencost_kusto.batch import Batch, Options, Origin, Run, Source
from opencost_kusto.errors import KustoError, OpenCostKustoError, UsageError
from opencost_kusto.extract import OpenCost
from opencost_kusto.kusto import Kusto
from opencost_kusto.landing import Landing
from opencost_kusto.load import Landed, present
from opencost_kusto.report import ALREADY_THERE, EMPTY, FAILED, WRITTEN, Outcome, Report, outcome
from opencost_kusto.retry import retrying
from opencost_kusto.schema import Json, Table
from opencost_kusto.spool import Sealed, Spool, remove
from opencost_kusto.tables import DATASETS, SYNC_RUNS
from opencost_kusto.transform import Encoder
from opencost_kusto.window import Window

T = TypeVar("T")
# Answers that wait on disk while earlier ones are loaded: enough to keep OpenCost busy, and no more.
_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Question:
    """What a run asks for: a window, cut into steps, of some datasets, with options."""

    window: Window
    step: timedelta | None = None
    datasets: tuple[str, ...] = tuple(DATASETS)
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        for name in self.datasets:
            if name not in DATASETS:
                raise UsageError(f"There is no dataset {name!r}; there are {', '.join(DATASETS)}.")

    def batches(self, source: Source, now: datetime) -> Iterator[Batch]:
        """One batch for each dataset and step, oldest first; a scrape is of now, and comes once."""
        tables = [DATASETS[name] for name in self.datasets]
        for step in self.window.steps(self.step):
            for table in tables:
                if table.grain == "step":
                    yield Batch(table, source.name, step, self.options)
        minute = now.replace(second=0, microsecond=0)
        for table in tables:
            if table.grain == "scrape":
                yield Batch(
                    table, source.name, Window(minute, minute + timedelta(minutes=1)), self.options, scraped=now
                )


@dataclass(slots=True)
class Extracted:
    """A batch whose answer was read to its end, and what the table held of it before."""

    batch: Batch
    begun: float
    sealed: Sealed | None = None
    error: OpenCostKustoError | None = None
    before: Landed | None = None
    notes: list[str] = field(default_factory=list)


def new_run(run_id: str | None = None, scenario: str | None = None, metadata: dict[str, str] | None = None) -> Run:
    """A run that begins now; without an id it gets one of its own."""
    now = datetime.now(UTC)
    made_up = f"sync-{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
    return Run(run_id or made_up, now, __version__, scenario, metadata or {})


def sync(
    opencost: OpenCost,
    kusto: Kusto,
    question: Question,
    *,
    run: Run | None = None,
    wait: bool = True,
    timeout: float = 900.0,
    spool: Path | None = None,
    tell: Callable[[Outcome], None] = lambda _: None,
) -> Report:
    """Take a window of cost into Kusto, exactly once, and report what became of each batch.

    The next answer is on its way while this one is loaded. `timeout` is seconds for all batches to land, counted from
    the last one queued; without `wait` batches end as queued. With `spool`, sealed batches stay in that folder until
    they have landed. `tell` is called with each outcome as it comes. Raises UsageError, and OpenCostError when the
    server does not say which cluster it is; what goes wrong with a batch is in the report and its `exit_code`.
    """
    run = run or new_run()
    source = opencost.source()
    report = Report(run.id, source.name)

    def ended(one: Outcome) -> None:
        report.outcomes.append(one)
        tell(one)

    with nullcontext(str(spool)) if spool else tempfile.TemporaryDirectory(prefix="opencost-kusto-") as folder:
        parts = Spool(Path(folder), durable=spool is not None)
        landing = Landing(kusto, wait=wait, timeout=timeout, keep=spool is not None)
        batches = question.batches(source, run.collection_time)
        work = (_extracted(opencost, kusto, Origin(run, source, batch), parts) for batch in batches)
        for extracted in _ahead(work):
            for one in chain(_load(extracted, landing), landing.poll()):
                ended(one)
        for one in landing.finish():
            ended(one)
        ledger = Batch(SYNC_RUNS, source.name, question.window, run=f"{run.id}/{run.collection_time.isoformat()}")
        for one in _record(report, Origin(run, source, ledger), parts, landing):
            ended(one)
    return report


def export(
    opencost: OpenCost,
    question: Question,
    write: Callable[[Table, bytes], None],
    *,
    run: Run | None = None,
    tell: Callable[[Outcome], None] = lambda _: None,
) -> Report:
    """The same rows, handed line by line to `write` instead of Kusto: a dry run.

    A line may come before the answer it is from turns out broken; the report then says the batch failed.
    """
    run = run or new_run()
    source = opencost.source()
    report = Report(run.id, source.name)
    for batch in question.batches(source, run.collection_time):
        begun = time.monotonic()
        notes: list[str] = []
        encoder = Encoder(batch.table, Origin(run, source, batch))
        try:
            for record in opencost.records(batch, notes.append):
                write(batch.table, encoder.encode(record))
        except OpenCostKustoError as error:
            one = outcome(batch, FAILED, error=error, seconds=time.monotonic() - begun)
        else:
            cost = encoder.micros / 1e6 if batch.table.cost else None
            size: dict[str, Json] = {"rows": encoder.rows, "cost": cost, "bytes": encoder.bytes}
            kind = WRITTEN if encoder.rows else EMPTY
            one = outcome(batch, kind, notes=notes, seconds=round(time.monotonic() - begun, 3), **size)
        report.outcomes.append(one)
        tell(one)
    return report


def _extracted(opencost: OpenCost, kusto: Kusto, origin: Origin, parts: Spool) -> Extracted:
    """Ask the table whether the batch is there, ask OpenCost for it, and seal the answer on disk."""
    result = Extracted(origin.batch, time.monotonic())
    try:
        table = origin.batch.table
        try:
            result.before = present(kusto, table, [origin.batch.id]).get(origin.batch.id)
        except KustoError:
            # With a spool the answer is kept for later; without one, asking for it would be in vain.
            if not parts.durable:
                raise
        result.sealed = retrying(
            lambda: _seal(opencost, origin, parts, result.notes), seconds=opencost.timeout, attempts=4
        )
    except OpenCostKustoError as error:
        result.error = error
    return result


def _seal(opencost: OpenCost, origin: Origin, parts: Spool, notes: list[str]) -> Sealed | None:
    """One answer, read to its end and sealed as parts; None when it holds no rows."""
    batch = origin.batch
    encoder = Encoder(batch.table, origin)
    notes.clear()
    folder, written = parts.write(batch, map(encoder.encode, opencost.records(batch, notes.append)))
    if encoder.unmapped:
        notes.append(
            f"OpenCost sent keys that have no column yet, kept in Unmapped: {', '.join(sorted(encoder.unmapped))}"
        )
    if not written:
        remove(folder)
        return None
    table = batch.table
    micros = encoder.micros if table.cost else None
    sizes = (tuple(written), encoder.rows, encoder.bytes, micros)
    sealed = Sealed(batch.id, table.name, table.mapping, str(folder), *sizes)
    parts.seal(sealed)
    return sealed


def _load(extracted: Extracted, landing: Landing) -> Iterator[Outcome]:
    """Load what was extracted, unless it is there already; gives outcomes that are known at once."""
    batch, sealed, before = extracted.batch, extracted.sealed, extracted.before
    took: dict[str, Json] = {"seconds": round(time.monotonic() - extracted.begun, 3), "notes": extracted.notes}
    if extracted.error is not None:
        if before is None:
            yield outcome(batch, FAILED, error=extracted.error, **took)
        else:
            reason = f"OpenCost could not be asked whether its answer has changed: {extracted.error}"
            yield _there(batch, before, reason, took)
    elif sealed is None:
        gone = "OpenCost has no data for the window any more; the rows that landed stay"
        yield _there(batch, before, gone, took) if before else outcome(batch, EMPTY, rows=0, **took)
    elif before is None:
        yield from landing.add(batch, sealed, extracted.begun, extracted.notes)
    else:
        yield _compared(batch, sealed, before, took)
        remove(sealed.folder)


def _compared(batch: Batch, sealed: Sealed, before: Landed, took: dict[str, Json]) -> Outcome:
    """The outcome of a batch whose table holds rows of it: already there, changed since, or half landed."""
    if before.is_all_of(sealed):
        return _there(batch, before, None, took)
    if before.rows < sealed.rows and len(sealed.parts) > 1:
        error = KustoError(
            f"{batch.table.name} holds {before.rows} rows of {batch.id} and OpenCost now answers {sealed.rows}: the batch "
            "may have landed in part, and parts of two answers are never mixed. Delete the rows of that BatchId and run again."
        )
        return outcome(batch, FAILED, error=error, **took)
    cost = ((sealed.micros or 0) - (before.micros or 0)) / 1e6
    more = f" and {cost:+.6f} in cost" if sealed.micros is not None else ""
    return _there(
        batch, before, f"OpenCost's answer has changed since: {sealed.rows - before.rows:+d} rows{more}", took
    )


def _there(batch: Batch, before: Landed, reason: str | None, took: dict[str, Json]) -> Outcome:
    cost = None if before.micros is None else before.micros / 1e6
    return outcome(batch, ALREADY_THERE, reason=reason, rows=before.rows, cost=cost, **took)


def _record(report: Report, origin: Origin, parts: Spool, landing: Landing) -> Iterator[Outcome]:
    """Load the run ledger: one row for each batch, as a batch of its own."""
    encoder = Encoder(SYNC_RUNS, origin)
    encode = msgspec.json.Encoder().encode
    lines = [encoder.encode(encode(_ledger_record(one))) for one in report.outcomes]
    if not lines:
        return
    begun = time.monotonic()
    folder, written = parts.write(origin.batch, lines)
    sizes = (tuple(written), encoder.rows, encoder.bytes, None)
    sealed = Sealed(origin.batch.id, SYNC_RUNS.name, SYNC_RUNS.mapping, str(folder), *sizes)
    parts.seal(sealed)
    yield from landing.add(origin.batch, sealed, begun, [])
    yield from landing.finish()


def _ledger_record(one: Outcome) -> dict[str, Json]:
    known = {key.path for key in SYNC_RUNS.keys()}
    return {name: value for name, value in msgspec.structs.asdict(one).items() if name in known}


def _ahead(items: Iterable[T]) -> Iterator[T]:
    """The items, made on another thread and a few ahead; what making one raises is raised here."""
    made: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def put(item: tuple[T | None, BaseException | None]) -> None:
        while not stop.is_set():
            try:
                made.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def make() -> None:
        try:
            for item in items:
                put((item, None))
                if stop.is_set():
                    return
            put((None, None))
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stop.set()
        thread.join(timeout=5)
