"""Track queued batches until their rows are in their table, counted and equal."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Self

from opencost_kusto.errors import DuplicateError, KustoError, OpenCostKustoError, ReasonCode, UsageError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load import ingest
from opencost_kusto.load.holdings import Holding, holdings
from opencost_kusto.load.pending import Pending
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.load.replace import BatchReplacement
from opencost_kusto.load.sealed import SealedBatch, is_loaded_elsewhere
from opencost_kusto.load.staged import StagedBatch
from opencost_kusto.load.stuck import failures_in, failures_of, is_blocked, reasons
from opencost_kusto.result import BatchResult, Outcome
from opencost_kusto.schema.columns import Table

# Seconds between polls: short for an emulator, long for a service that takes half a minute.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
# Polls without a landing after which failures and tags are read, and again after as many.
_POLLS_WITHOUT_LANDING = 4
# Pending batches whose tags are checked each time.
_TAGS_PER_CHECK = 10


class IngestionTracker:
    """Queues sealed batches and tracks them until they have landed.

    A batch has landed when its table holds exactly the response that was sent: complete, with equal rows, cost and
    keys. `policy.timeout` counts from the last landing or the last batch queued. The folder of a batch is removed once
    it has landed; a durable spool keeps a batch that did not. Use it as a context: it leaves no staging table.
    """

    def __init__(
        self,
        kusto: Kusto,
        policy: LoadPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._kusto = kusto
        self._policy = policy
        self._clock = clock
        self._sleep = sleep
        self._pending: dict[str, Pending] = {}
        self._checked: set[str] = set()
        self._pause = _FIRST_PAUSE
        self._next_poll = 0.0
        self._polls_without_landing = 0
        self._progress = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pending in self._pending.values():
            if pending.clean():
                # Kusto does not respond. The other staging tables expire, so do not wait for each of them.
                return

    def send(self, staged: StagedBatch, sealed: SealedBatch) -> Iterator[BatchResult]:
        """Queue a batch; yield its result at once if queueing fails or the run does not wait."""
        yield from self._send(Pending(staged, sealed))

    def replace(self, staged: StagedBatch, sealed: SealedBatch, held: Holding) -> Iterator[BatchResult]:
        """Queue a batch for a staging table, from which it replaces what its table holds."""
        cost = "" if held.cost is None else f" and {held.cost:.6f} in cost"
        note = f"replaces {held.rows} rows{cost}{f': {held.damage}' if held.damage else ''}"
        replacement = BatchReplacement(self._kusto, staged.batch, sealed.rows, sleep=self._sleep)
        yield from self._send(Pending(staged, sealed, replacement, replaces=note))

    def _send(self, pending: Pending) -> Iterator[BatchResult]:
        sealed = pending.sealed
        # From here on, its staging table is dropped in every case.
        self._pending[sealed.batch_id] = pending
        try:
            self._check_mapping(pending.batch.table)
            if pending.replacement:
                if not self._policy.wait:
                    raise UsageError(
                        f"Rows are replaced only by a run that waits: run without --no-wait ({sealed.batch_id})."
                    )
                pending.replacement.prepare()
                # Its staging table has one blob, whatever the policy.
                pending.tag = sealed.batch_id
            elif self._policy.tags:
                pending.tag = self._tag(pending) if pending.staged.sent_before else sealed.batch_id
            pending.source_ids.append(ingest.send(self._kusto, sealed, pending.target, pending.tag))
        except OpenCostKustoError as error:
            if not (self._policy.wait and is_loaded_elsewhere(sealed)):
                yield self._end(pending, Outcome.FAILED, error)
                return
            pending.staged.note("another process has loaded it from the spool")
        if not self._policy.wait:
            yield self._end(pending, Outcome.QUEUED)
            return
        self._reset_pause()

    def _tag(self, pending: Pending) -> str:
        """The tag for a batch of which rows were sent before: its id, unless its rows were deleted.

        Rows that another run landed since the table was read are counted after the tag is, so they are never doubled.
        """
        batch, tag = pending.batch, ingest.free_tag(self._kusto, pending.target, pending.id)
        return batch.id if batch.id in holdings(self._kusto, batch.table, [batch.id]) else tag

    def _reset_pause(self) -> None:
        self._pause = _FIRST_PAUSE
        self._polls_without_landing = 0
        self._progress = self._clock()

    def _check_mapping(self, table: Table) -> None:
        """Check once for each table that its mapping reads every value."""
        if table.name not in self._checked:
            ingest.check_mapping(self._kusto, table)
            self._checked.add(table.name)

    def poll(self) -> Iterator[BatchResult]:
        """Yield the batches that ended since the last poll; polls no more often than the pause allows."""
        if not self._pending or self._clock() < self._next_poll:
            return
        self._polls_without_landing += 1
        for target in {pending.target: None for pending in self._pending.values()}:
            mine = [pending for pending in self._pending.values() if pending.target == target]
            found = self._holdings(target, mine)
            for pending in mine:
                for result in self._act_on(pending, found.get(pending.id)):
                    self._reset_pause()
                    yield result
        if self._polls_without_landing and self._polls_without_landing % _POLLS_WITHOUT_LANDING == 0:
            yield from self._stuck()
        self._next_poll = self._clock() + self._pause
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE)

    def _holdings(self, target: str, mine: list[Pending]) -> dict[str, Holding]:
        """What a table holds; nothing if Kusto does not respond, because only the deadline ends a queued batch."""
        try:
            return holdings(self._kusto, mine[0].batch.table, [one.id for one in mine], target)
        except KustoError:
            return {}

    def finish(self) -> Iterator[BatchResult]:
        """Wait for the remaining batches until the deadline, and yield a result for each."""
        self._progress = self._clock()
        while self._pending:
            while self._pending and self._clock() < self._progress + self._policy.timeout:
                yield from self.poll()
                if self._pending:
                    deadline = self._progress + self._policy.timeout
                    self._sleep(max(0.0, min(self._next_poll, deadline) - self._clock()))
            for pending in list(self._pending.values()):
                yield from self._late(pending)

    def _act_on(self, pending: Pending, held: Holding | None) -> Iterator[BatchResult]:
        """Act on what the table holds of a pending batch; yield its result if it ended."""
        sealed = pending.sealed
        if held is None:
            return
        try:
            if pending.replacement:
                if held.holds(sealed):
                    pending.replacement.land(sealed)
                    yield self._end(pending, Outcome.LANDED)
                elif held.damage:
                    raise DuplicateError(f"{pending.target} holds {held.damage}, so nothing was replaced. Run again.")
            elif held.holds(sealed):
                yield self._end(pending, Outcome.LANDED)
            elif held.complete:
                yield self._overtaken(pending, held)
            else:
                yield from self._repair(pending, held)
        except KustoError as error:
            yield self._end(pending, Outcome.FAILED, error)

    def _overtaken(self, pending: Pending, held: Holding) -> BatchResult:
        """Accept the complete response that another run has landed."""
        pending.staged.note(
            f"another run landed a response that differs by {held.difference(pending.sealed)}", ReasonCode.CHANGED
        )
        return self._end(pending, Outcome.ALREADY_LANDED, held=held)

    def _repair(self, pending: Pending, held: Holding) -> Iterator[BatchResult]:
        """Replace rows that a queue delivered twice, or that two runs mixed, with the response at hand."""
        del self._pending[pending.id]
        yield from self.replace(pending.staged, pending.sealed, held)

    def _stuck(self) -> Iterator[BatchResult]:
        """End the batches that Kusto refused permanently, and resend those that a tag without rows blocks."""
        failed = failures_of(self._kusto, self._pending.values())
        # One command for each tag: with many pending batches, some each time.
        sampled = random.sample(list(self._pending), min(_TAGS_PER_CHECK, len(self._pending)))
        for pending in list(self._pending.values()):
            mine = failures_in(failed, pending)
            permanent = next((one.details for one in mine if one.permanent), None)
            try:
                blocked = not mine and pending.id in sampled and is_blocked(self._kusto, pending)
                if not blocked and permanent is None:
                    continue
                # Count once more before acting on a refusal or a tag: rows may have arrived in between.
                held = holdings(self._kusto, pending.batch.table, [pending.id], pending.target)
                if pending.id in held:
                    yield from self._act_on(pending, held[pending.id])
                elif permanent is None:
                    self._send_again(pending)
                else:
                    reason = f"Kusto did not ingest {pending.id}: {permanent}. Correct that and run again."
                    yield self._end(pending, Outcome.FAILED, KustoError(reason))
            except KustoError as error:
                # A batch for a dropped table cannot land; a batch whose state is unknown may.
                if error.code is ReasonCode.NOT_BOOTSTRAPPED:
                    yield self._end(pending, Outcome.FAILED, error)

    def _send_again(self, pending: Pending) -> None:
        pending.tag = ingest.free_tag(self._kusto, pending.target, pending.id)
        pending.source_ids.append(ingest.send(self._kusto, pending.sealed, pending.target, pending.tag))

    def _late(self, pending: Pending) -> Iterator[BatchResult]:
        """End a batch at the deadline, with the failure that Kusto lists."""
        ended = f"not landed within {self._policy.timeout:g} s of the last landing"
        try:
            found = holdings(self._kusto, pending.batch.table, [pending.id], pending.target)
            yield from self._act_on(pending, found.get(pending.id))
            if self._pending.get(pending.id) is not pending:
                # It has ended, or its damage is being repaired, in the time of a batch that was queued just now.
                return
            why = reasons(self._kusto, pending)
        except KustoError as error:
            yield self._end(pending, Outcome.TIMED_OUT, reason=f"{ended}, and the reason cannot be read: {error}")
            return
        yield self._end(pending, Outcome.TIMED_OUT, reason=f"{ended}: {why}. Run again later.")

    def _end(
        self,
        pending: Pending,
        outcome: Outcome,
        error: OpenCostKustoError | None = None,
        *,
        reason: str | None = None,
        held: Holding | None = None,
    ) -> BatchResult:
        self._pending.pop(pending.id, None)
        seconds = round(self._clock() - pending.staged.begun, 3)
        keep = self._policy.spool is not None
        return pending.end(outcome, error, reason=reason, held=held, seconds=seconds, keep=keep)
