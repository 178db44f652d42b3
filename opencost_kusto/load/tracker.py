"""Batches that were queued and have not been seen in their table yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from opencost_kusto.batch import Batch
from opencost_kusto.errors import KustoError, OpenCostKustoError, UsageError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load import ingest
from opencost_kusto.load.replace import BatchReplacement
from opencost_kusto.load.spool import SealedBatch, remove, taken
from opencost_kusto.result import BatchResult, Outcome, batch_result
from opencost_kusto.schema.columns import Json, Table

# Seconds between looks at the tables: short for a stand-in, long for a service that batches for half a minute.
_FIRST_LOOK, _LONGEST_PAUSE = 0.2, 10.0
# After so many looks in vain the engine is asked whether it refused a blob, and then again after as many.
_LOOKS_IN_VAIN = 4


@dataclass(slots=True)
class _Pending:
    batch: Batch
    sealed: SealedBatch
    begun: float
    notes: list[str]
    replacement: BatchReplacement | None = None
    source_ids: list[str] = field(default_factory=list)

    @property
    def target(self) -> str:
        """The table it was queued for: its own, or the one in which a replacement is made ready."""
        return self.replacement.staging if self.replacement else self.batch.table.name


class IngestionTracker:
    """Queues sealed batches and watches them land.

    With `wait`, a batch is done when its table holds exactly the rows and the cost that were sent; without, when it is
    queued. `timeout` is seconds after the last batch was queued. A batch's folder is removed once it has landed;
    `keep` leaves it where it did not. Used as a context, it leaves no staging table behind.
    """

    def __init__(
        self,
        kusto: Kusto,
        *,
        wait: bool,
        timeout: float,
        keep: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._kusto = kusto
        self._wait = wait
        self._timeout = timeout
        self._keep = keep
        self._clock = clock
        self._sleep = sleep
        self._pending: dict[str, _Pending] = {}
        self._mapped: set[str] = set()
        self._pause = _FIRST_LOOK
        self._next_look = 0.0
        self._in_vain = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pending in self._pending.values():
            if list(self._cleaned(pending)):
                # A Kusto that does not answer ends the others by itself; nobody should wait for each of them here.
                return

    def add(self, batch: Batch, sealed: SealedBatch, begun: float, notes: list[str]) -> Iterator[BatchResult]:
        """Queue a batch; gives its outcome at once when queueing fails or nobody waits."""
        yield from self._add(_Pending(batch, sealed, begun, notes))

    def replace(
        self, batch: Batch, sealed: SealedBatch, begun: float, notes: list[str], before: ingest.TableCount
    ) -> Iterator[BatchResult]:
        """Queue a batch that takes the place of what the table holds of it, once it is verified aside."""
        cost = "" if before.cost is None else f" and {before.cost:.6f} in cost"
        notes = [*notes, f"takes the place of {before.rows} rows{cost}"]
        yield from self._add(_Pending(batch, sealed, begun, notes, BatchReplacement(self._kusto, batch, sealed.rows)))

    def _add(self, pending: _Pending) -> Iterator[BatchResult]:
        sealed = pending.sealed
        # From here on what was made for it is cleaned up, however the run ends.
        self._pending[sealed.batch_id] = pending
        try:
            self._check_mapping(pending.batch.table)
            if pending.replacement:
                if not self._wait:
                    raise UsageError(f"{sealed.batch_id} must be waited for to be replaced: run without --no-wait.")
                pending.replacement.prepare()
            pending.source_ids.extend(ingest.send(self._kusto, sealed, pending.target))
        except OpenCostKustoError as error:
            if not (self._wait and taken(sealed)):
                yield self._end(pending, Outcome.FAILED, error)
                return
            pending.notes.append("another process has taken it from the spool, which it does when it has seen it land")
        if not self._wait:
            yield self._end(pending, Outcome.QUEUED)
            return
        self._pause = _FIRST_LOOK
        self._in_vain = 0

    def _check_mapping(self, table: Table) -> None:
        """Ask once for each table whether its mapping reads all that we send."""
        if table.name not in self._mapped:
            ingest.check_mapping(self._kusto, table)
            self._mapped.add(table.name)

    def poll(self) -> Iterator[BatchResult]:
        """The batches that have landed since the last look; looks no more often than the pause allows."""
        if not self._pending or self._clock() < self._next_look:
            return
        self._in_vain += 1
        for target in {pending.target: None for pending in self._pending.values()}:
            mine = [pending for pending in self._pending.values() if pending.target == target]
            try:
                ids = [pending.sealed.batch_id for pending in mine]
                found = ingest.count_batches(self._kusto, mine[0].batch.table, ids, target)
            except KustoError as error:
                # Kusto may come back before the deadline, which decides; what it refuses for good it will refuse again.
                if not error.transient:
                    yield from [self._end(pending, Outcome.FAILED, error) for pending in mine]
                continue
            for pending in mine:
                yield from self._looked(pending, found.get(pending.sealed.batch_id))
        if self._in_vain % _LOOKS_IN_VAIN == 0:
            yield from self._refused()
        self._next_look = self._clock() + self._pause
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE)

    def finish(self) -> Iterator[BatchResult]:
        """Wait for everything that is left, until the deadline, and say what is missing then."""
        deadline = self._clock() + self._timeout
        while self._pending and self._clock() < deadline:
            yield from self.poll()
            if self._pending:
                self._sleep(max(0.0, min(self._next_look, deadline) - self._clock()))
        for pending in list(self._pending.values()):
            yield self._late(pending)

    def _looked(self, pending: _Pending, landed: ingest.TableCount | None) -> Iterator[BatchResult]:
        try:
            if ingest.check(pending.sealed, landed, pending.target):
                if pending.replacement:
                    self._swap(pending, pending.replacement)
                yield self._end(pending, Outcome.LANDED)
        except KustoError as error:
            yield self._end(pending, Outcome.FAILED, error)

    def _swap(self, pending: _Pending, replacement: BatchReplacement) -> None:
        """Let the verified rows take their place, and believe only what the table then holds."""
        table, sealed = pending.batch.table, pending.sealed
        failed: KustoError | None = None
        try:
            replacement.swap()
        except KustoError as error:
            failed = error
        if ingest.count_batches(self._kusto, table, [sealed.batch_id]).get(sealed.batch_id) != ingest.TableCount.of(
            sealed
        ):
            raise failed or KustoError(f"{table.name} does not hold what took its place; run with --replace again.")

    def _refused(self) -> Iterator[BatchResult]:
        """Batches of which the engine has refused a blob for good."""
        waiting = {source_id: pending for pending in self._pending.values() for source_id in pending.source_ids}
        for source_id, why in ingest.refused(self._kusto, waiting).items():
            pending = waiting[source_id]
            if pending.sealed.batch_id in self._pending:
                reason = f"Kusto refused a blob of {pending.sealed.batch_id} for good: {why}. Mend that and run again."
                yield self._end(pending, Outcome.FAILED, KustoError(reason))

    def _late(self, pending: _Pending) -> BatchResult:
        sealed = pending.sealed
        try:
            landed = ingest.count_batches(self._kusto, pending.batch.table, [sealed.batch_id], pending.target)
        except KustoError as error:
            return self._end(pending, Outcome.TIMED_OUT, reason=f"not seen to land within {self._timeout:g} s: {error}")
        for ended in self._looked(pending, landed.get(sealed.batch_id)):
            return ended
        reason = ingest.why(self._kusto, sealed, landed.get(sealed.batch_id), pending.source_ids)
        return self._end(
            pending, Outcome.TIMED_OUT, reason=f"not landed within {self._timeout:g} s: {reason}. Run again later."
        )

    def _end(
        self, pending: _Pending, kind: str, error: OpenCostKustoError | None = None, reason: str | None = None
    ) -> BatchResult:
        self._pending.pop(pending.sealed.batch_id, None)
        sealed = pending.sealed
        notes = [*pending.notes, *self._cleaned(pending)]
        if kind == Outcome.LANDED or not self._keep:
            remove(sealed.folder)
        else:
            notes.append(sealed.kept)
        size: dict[str, Json] = {"rows": sealed.rows, "cost": sealed.cost, "bytes": sealed.bytes}
        size |= {"parts": len(sealed.parts), "seconds": round(self._clock() - pending.begun, 3)}
        return batch_result(pending.batch, kind, error=error, reason=reason, notes=notes, **size)

    def _cleaned(self, pending: _Pending) -> Iterator[str]:
        """Drop what was made for a replacement; gives a sentence when that fails."""
        try:
            if pending.replacement:
                pending.replacement.drop()
        except KustoError as error:
            yield f"{pending.target} could not be dropped and may be deleted by hand: {error}"


def already_there(batch: Batch, before: ingest.TableCount, reason: str | None, **facts: Json) -> BatchResult:
    """The outcome of a batch that an earlier run has brought; `before` is what the table holds of it."""
    return batch_result(batch, Outcome.ALREADY_LANDED, reason=reason, rows=before.rows, cost=before.cost, **facts)
