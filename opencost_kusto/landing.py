"""Batches that were queued and have not been seen in their table yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from opencost_kusto import load
from opencost_kusto.batch import Batch
from opencost_kusto.errors import KustoError, OpenCostKustoError
from opencost_kusto.kusto import Kusto
from opencost_kusto.report import FAILED, LANDED, QUEUED, TIMED_OUT, Outcome, outcome
from opencost_kusto.schema import Json
from opencost_kusto.spool import Sealed, remove

# Seconds between looks at the tables: short for a stand-in, long for a service that batches for half a minute.
_FIRST_LOOK, _LONGEST_PAUSE = 0.2, 10.0


@dataclass(slots=True)
class _Pending:
    batch: Batch
    sealed: Sealed
    begun: float
    notes: list[str]
    source_ids: list[str] = field(default_factory=list)


class Landing:
    """Queues sealed batches and watches them land.

    With `wait`, a batch is done when its table holds exactly the rows and the cost that were sent; without, when it is
    queued. `timeout` is seconds after the last batch was queued. A batch's folder is removed once it has landed;
    `keep` leaves it where it did not.
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
        self._pause = _FIRST_LOOK
        self._next_look = 0.0

    def add(self, batch: Batch, sealed: Sealed, begun: float, notes: list[str]) -> Iterator[Outcome]:
        """Queue a batch; gives its outcome at once when queueing fails or nobody waits."""
        pending = _Pending(batch, sealed, begun, notes)
        try:
            pending.source_ids.extend(load.send(self._kusto, sealed))
        except OpenCostKustoError as error:
            yield self._end(pending, FAILED, error)
            return
        if not self._wait:
            yield self._end(pending, QUEUED)
            return
        self._pending[sealed.batch_id] = pending
        self._pause = _FIRST_LOOK

    def poll(self) -> Iterator[Outcome]:
        """The batches that have landed since the last look; looks no more often than the pause allows."""
        if not self._pending or self._clock() < self._next_look:
            return
        for table in {pending.batch.table for pending in self._pending.values()}:
            mine = [pending for pending in self._pending.values() if pending.batch.table is table]
            try:
                found = load.present(self._kusto, table, [pending.sealed.batch_id for pending in mine])
            except KustoError:
                # Kusto may come back before the deadline, which decides; what it says then is reported.
                continue
            for pending in mine:
                yield from self._looked(pending, found.get(pending.sealed.batch_id))
        self._next_look = self._clock() + self._pause
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE)

    def finish(self) -> Iterator[Outcome]:
        """Wait for everything that is left, until the deadline, and say what is missing then."""
        deadline = self._clock() + self._timeout
        while self._pending and self._clock() < deadline:
            yield from self.poll()
            if self._pending:
                self._sleep(max(0.0, min(self._next_look, deadline) - self._clock()))
        for pending in list(self._pending.values()):
            yield self._late(pending)

    def _looked(self, pending: _Pending, landed: load.Landed | None) -> Iterator[Outcome]:
        try:
            if load.check(pending.sealed, landed):
                yield self._end(pending, LANDED)
        except KustoError as error:
            yield self._end(pending, FAILED, error)

    def _late(self, pending: _Pending) -> Outcome:
        sealed = pending.sealed
        try:
            landed = load.present(self._kusto, pending.batch.table, [sealed.batch_id]).get(sealed.batch_id)
        except KustoError as error:
            return self._end(pending, TIMED_OUT, reason=f"not seen to land within {self._timeout:g} s: {error}")
        for ended in self._looked(pending, landed):
            return ended
        reason = load.why(self._kusto, sealed, landed, pending.source_ids)
        return self._end(
            pending, TIMED_OUT, reason=f"not landed within {self._timeout:g} s: {reason}. Run again later."
        )

    def _end(
        self, pending: _Pending, kind: str, error: OpenCostKustoError | None = None, reason: str | None = None
    ) -> Outcome:
        self._pending.pop(pending.sealed.batch_id, None)
        sealed = pending.sealed
        if kind == LANDED or not self._keep:
            remove(sealed.folder)
        size: dict[str, Json] = {"rows": sealed.rows, "cost": sealed.cost, "bytes": sealed.bytes}
        size |= {"parts": len(sealed.parts), "seconds": round(self._clock() - pending.begun, 3)}
        return outcome(pending.batch, kind, error=error, reason=reason, notes=pending.notes, **size)
