"""The pipeline: ask OpenCost for each step, turn the answer into rows, load them, and prove that they landed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import msgspec

from opencost_kusto.ahead import ahead
from opencost_kusto.batch import Batch, Origin, Run
from opencost_kusto.errors import KustoError, OpenCostKustoError, UsageError
from opencost_kusto.extract import OpenCost
from opencost_kusto.kusto import Kusto
from opencost_kusto.landing import Landing
from opencost_kusto.load import Landed, present
from opencost_kusto.question import Question, new_run
from opencost_kusto.report import ALREADY_THERE, EMPTY, FAILED, WRITTEN, Outcome, Report, outcome
from opencost_kusto.retry import retrying
from opencost_kusto.schema import Json, Table
from opencost_kusto.spool import GZIP_LEVEL, Part, Sealed, Spool, remove
from opencost_kusto.tables import SYNC_RUNS, TABLES
from opencost_kusto.transform import Encoder


@dataclass(slots=True)
class Extracted:
    """A batch whose answer was read to its end, and what the table held of it before."""

    batch: Batch
    begun: float
    sealed: Sealed | None = None
    error: OpenCostKustoError | None = None
    before: Landed | None = None
    notes: list[str] = field(default_factory=list)


def sync(
    opencost: OpenCost,
    kusto: Kusto,
    question: Question,
    *,
    run: Run | None = None,
    wait: bool = True,
    timeout: float = 900.0,
    spool: Path | None = None,
    gzip_level: int = GZIP_LEVEL,
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
    report = Report(run.id, source.name, tell=tell)
    with nullcontext(str(spool)) if spool else tempfile.TemporaryDirectory(prefix="opencost-kusto-") as folder:
        parts = Spool(Path(folder), durable=spool is not None, level=gzip_level)
        landing = Landing(kusto, wait=wait, timeout=timeout, keep=spool is not None)
        batches = question.batches(source, run.collection_time)
        work = (_extracted(opencost, kusto, Origin(run, source, batch), parts) for batch in batches)
        for extracted in ahead(work):
            report.end(chain(_load(extracted, landing), landing.poll()))
        report.end(landing.finish())
        ledger = Batch(SYNC_RUNS, source.name, question.window, run=f"{run.id}/{run.collection_time.isoformat()}")
        report.end(_record(report, Origin(run, source, ledger), parts, landing))
    return report


def replay(
    folder: Path,
    kusto: Kusto,
    *,
    wait: bool = True,
    timeout: float = 900.0,
    tell: Callable[[Outcome], None] = lambda _: None,
) -> Report:
    """Load the batches a spool still holds, each exactly once, and remove those that are in Kusto.

    Parts of a batch that are in the table already are not sent again: the same parts have the same tags. Raises
    UsageError when the folder is not there, and ContentError for a batch that cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no spool folder {folder}.")
    report = Report("replay", str(folder), tell=tell)
    landing = Landing(kusto, wait=wait, timeout=timeout, keep=True)
    for sealed in Spool(folder, durable=True).sealed():
        begun = time.monotonic()
        batch = sealed.batch(TABLES)
        try:
            before = present(kusto, batch.table, [batch.id]).get(batch.id)
        except KustoError as error:
            report.end([outcome(batch, FAILED, error=error)])
            continue
        if before is not None and before.rows >= sealed.rows:
            report.end([_compared(batch, sealed, before, {"seconds": round(time.monotonic() - begun, 3)})])
            remove(sealed.folder)
        else:
            report.end(chain(landing.add(batch, sealed, begun, []), landing.poll()))
    report.end(landing.finish())
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
    report = Report(run.id, source.name, tell=tell)
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
            size: dict[str, Json] = {"rows": encoder.rows, "cost": encoder.cost, "bytes": encoder.bytes}
            kind = WRITTEN if encoder.rows else EMPTY
            one = outcome(batch, kind, notes=notes, seconds=round(time.monotonic() - begun, 3), **size)
        report.end([one])
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
    return _sealed(batch, encoder, folder, written, parts)


def _sealed(batch: Batch, encoder: Encoder, folder: Path, written: list[Part], parts: Spool) -> Sealed:
    table = batch.table
    asked = (batch.id, batch.source, batch.window, batch.options, batch.scraped, batch.run)
    micros = encoder.micros if table.cost else None
    sizes = (tuple(written), encoder.rows, encoder.bytes, micros)
    sealed = Sealed(*asked, table.name, table.mapping, str(folder), *sizes)
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
            f"{batch.table.name} holds {before.rows} rows of {batch.id} and OpenCost now answers {sealed.rows}: it may "
            "have landed in part, and parts of two answers are never mixed. Delete that BatchId's rows and run again."
        )
        return outcome(batch, FAILED, error=error, **took)
    cost = ((sealed.micros or 0) - (before.micros or 0)) / 1e6
    more = f" and {cost:+.6f} in cost" if sealed.micros is not None else ""
    return _there(
        batch, before, f"OpenCost's answer has changed since: {sealed.rows - before.rows:+d} rows{more}", took
    )


def _there(batch: Batch, before: Landed, reason: str | None, took: dict[str, Json]) -> Outcome:
    return outcome(batch, ALREADY_THERE, reason=reason, rows=before.rows, cost=before.cost, **took)


def _record(report: Report, origin: Origin, parts: Spool, landing: Landing) -> Iterator[Outcome]:
    """Load the run ledger: one row for each batch, as a batch of its own."""
    encoder = Encoder(SYNC_RUNS, origin)
    encode = msgspec.json.Encoder().encode
    lines = [encoder.encode(encode(_ledger_record(one))) for one in report.outcomes]
    if not lines:
        return
    begun = time.monotonic()
    folder, written = parts.write(origin.batch, lines)
    sealed = _sealed(origin.batch, encoder, folder, written, parts)
    yield from landing.add(origin.batch, sealed, begun, [])
    yield from landing.finish()


def _ledger_record(one: Outcome) -> dict[str, Json]:
    known = {key.path for key in SYNC_RUNS.keys()}
    return {name: value for name, value in msgspec.structs.asdict(one).items() if name in known}
