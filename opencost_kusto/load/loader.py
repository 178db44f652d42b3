"""Load staged batches: read what tables hold, decide, and apply the decision."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Self

from opencost_kusto.batch import Batch
from opencost_kusto.errors import ContentError, KustoError, OpenCostKustoError, ReasonCode
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.decision import AtHand, Decision, HeldState, Situation, decide
from opencost_kusto.load.holdings import Holding, chunks, held_keys, holdings, is_visible, only_doubled, sent_before
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.load.replace import BatchReplacement
from opencost_kusto.load.sealed import SealedBatch, remove
from opencost_kusto.load.staged import StagedBatch
from opencost_kusto.load.tracker import IngestionTracker
from opencost_kusto.result import BatchResult, Outcome, batch_result
from opencost_kusto.schema.columns import Json

# Batches whose tables are read in one query, before the first of them is loaded.
_READ_AT_ONCE = 100
# Two responses are similar if they share more keys than this part of the rows of the smaller one.
_SIMILAR = 0.1


def stage_all(kusto: Kusto, batches: Iterable[Batch]) -> Iterator[StagedBatch]:
    """Stage batches with what their tables hold of them, read for many at once; `unknown` if that failed."""
    for some in chunks(batches, _READ_AT_ONCE):
        before = {batch.id: batch.before for batch in some}
        both = {one.id: one for one in (*some, *before.values()) if one is not None}
        found: dict[str, Holding] = {}
        sent: set[str] = set()
        unknown: KustoError | None = None
        try:
            for table in {batch.table.name: batch.table for batch in some}.values():
                found |= holdings(kusto, table, [id_ for id_, batch in both.items() if batch.table is table])
            sent = sent_before(kusto, [batch for batch in some if batch.id not in found])
        except KustoError as error:
            unknown = error
        for batch in some:
            staged = StagedBatch(batch, time.monotonic(), holding=found.get(batch.id), unknown=unknown)
            staged.sent_before = batch.id in sent
            earlier = before[batch.id]
            if earlier is not None and earlier.id in found and found[earlier.id].complete:
                staged.rows_before = found[earlier.id].rows
            yield staged


class BatchLoader:
    """Loads staged batches as `decision.decide` decides. Use it as a context.

    `admit` is called before a batch is decided on, and raises KustoError where it must not be loaded.
    """

    def __init__(
        self,
        kusto: Kusto,
        policy: LoadPolicy,
        *,
        admit: Callable[[StagedBatch], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._kusto = kusto
        self._policy = policy
        self._admit = admit
        self._tracker = IngestionTracker(kusto, policy, clock=clock, sleep=sleep)
        self._visible: dict[str, bool] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._tracker.__exit__(*error)

    def load(self, staged: StagedBatch) -> Iterator[BatchResult]:
        """Load a batch; yield the results available so far, of this batch and of earlier ones."""
        try:
            self._admit(staged)
            self._read_again(staged)
            situation = self._situation(staged)
        except KustoError as error:
            staged.unknown = error
            situation = Situation(HeldState.UNKNOWN, staged.at_hand)
        policy = self._policy
        decision = decide(situation, replace=policy.replace, adopt=policy.adopt, durable_spool=policy.spool is not None)
        yield from self._carry_out(decision, staged, situation)
        yield from self._tracker.poll()

    def finish(self) -> Iterator[BatchResult]:
        """Wait until every batch has landed or is late; yield the results."""
        yield from self._tracker.finish()

    def _read_again(self, staged: StagedBatch) -> None:
        """Read the table if that failed before: a tag prevents duplicates for a week only, the table always."""
        if staged.unknown is not None and staged.sealed is not None:
            batch = staged.batch
            staged.holding = holdings(self._kusto, batch.table, [batch.id]).get(batch.id)
            staged.sent_before = staged.holding is None and bool(sent_before(self._kusto, [batch]))
            staged.unknown = None

    def _situation(self, staged: StagedBatch) -> Situation:
        """The inputs of the decision; reads more of a table only if it holds rows other than those at hand."""
        held, sealed, batch = staged.holding, staged.sealed, staged.batch
        if staged.unknown is not None:
            return Situation(HeldState.UNKNOWN, staged.at_hand)
        if held is None:
            return Situation(HeldState.NOTHING, staged.at_hand, sent_before=staged.sent_before)
        if held.damage:
            keys = held_keys(self._kusto, batch.table, batch.id) if sealed else set()
            fewer = sealed is not None and sealed.rows < len(keys)
            doubled = only_doubled(self._kusto, batch.table, batch.id, held)
            visible = self._visible.setdefault(batch.table.name, is_visible(self._kusto, batch.table))
            return Situation(HeldState.DAMAGE, staged.at_hand, fewer=fewer, only_doubled=doubled, visible=visible)
        if sealed is None:
            return Situation(HeldState.OTHER, staged.at_hand)
        state = HeldState.SAME if held.holds(sealed) else HeldState.OTHER
        return Situation(state, staged.at_hand, similar=self._similar(held, sealed, batch))

    def _similar(self, held: Holding, sealed: SealedBatch, batch: Batch) -> bool:
        """Whether two responses to one request share more than a few row keys."""
        if held.keys == sealed.keys:
            return True
        mine, theirs = sealed.row_keys(batch.table), held_keys(self._kusto, batch.table, batch.id)
        return len(mine & theirs) > _SIMILAR * min(len(mine), len(theirs))

    def _carry_out(self, decision: Decision, staged: StagedBatch, situation: Situation) -> Iterator[BatchResult]:
        held, sealed = staged.holding, staged.sealed
        match decision:
            case Decision.SEND if sealed is not None:
                yield from self._tracker.send(staged, sealed)
            case Decision.REPLACE if sealed is not None and held is not None:
                yield from self._tracker.replace(staged, sealed, held)
            case Decision.KEEP | Decision.KEEP_CHANGED if held is not None:
                yield self._keep(staged, held, situation)
            case Decision.DEDUPLICATE if held is not None:
                yield self._deduplicate(staged, held)
            case Decision.FAIL if staged.unsupported:
                yield self._result(staged, Outcome.UNSUPPORTED)
            case Decision.SETTLE_EMPTY:
                yield self._result(staged, Outcome.EMPTY, rows=0)
            case _:
                if sealed is not None and self._policy.spool is not None:
                    staged.note(sealed.kept)
                elif sealed is not None:
                    remove(sealed.folder)
                yield self._result(staged, Outcome.FAILED, error=why(staged, situation))

    def _keep(self, staged: StagedBatch, held: Holding, situation: Situation) -> BatchResult:
        """Keep what landed, and note how OpenCost's response differs now."""
        sealed = staged.sealed
        if staged.error is not None:
            staged.note(
                f"OpenCost could not be read, so it is unknown whether its response has changed: {staged.error}"
            )
        elif sealed is None:
            staged.note("OpenCost has no data for the window any more; the rows that landed are kept")
        elif situation.held is HeldState.OTHER and situation.similar:
            staged.note(
                f"OpenCost's response has changed since: {held.difference(sealed)}. sync --replace replaces the rows "
                "that landed.",
                ReasonCode.CHANGED,
            )
        elif situation.held is HeldState.OTHER:
            staged.note(
                f"OpenCost's response differs by {held.difference(sealed)} and has hardly any row in common with the "
                "one that landed: it may be another cluster of the same name, or a recreated one. Check --cluster.",
                ReasonCode.OTHER_CLUSTER,
            )
        if sealed is not None:
            remove(sealed.folder)
        return self._result(staged, Outcome.ALREADY_LANDED, rows=held.rows, cost=held.cost, response_keys=held.keys)

    def _deduplicate(self, staged: StagedBatch, held: Holding) -> BatchResult:
        """Keep each row once, from the table alone."""
        batch = staged.batch
        try:
            BatchReplacement(self._kusto, batch, held.rows).deduplicate()
            now = holdings(self._kusto, batch.table, [batch.id]).get(batch.id)
            if now is None or now.damage:
                raise KustoError(
                    f"{batch.table.name} still holds {held.damage} of {batch.id}.", code=ReasonCode.DAMAGED
                )
        except KustoError as error:
            return self._result(staged, Outcome.FAILED, error=error)
        staged.note(f"{held.rows - now.rows} duplicate rows were removed")
        return self._result(staged, Outcome.LANDED, rows=now.rows, cost=now.cost, response_keys=now.keys)

    def _result(self, staged: StagedBatch, outcome: Outcome, **facts: Json) -> BatchResult:
        facts["seconds"] = round(time.monotonic() - staged.begun, 3)
        return batch_result(staged.batch, outcome, notes=staged.notes, code=staged.code, **facts)


def why(staged: StagedBatch, situation: Situation) -> OpenCostKustoError:
    """The error of a batch that fails by decision."""
    batch, held = staged.batch, staged.holding
    if staged.unknown is not None:
        return staged.unknown
    if situation.held is HeldState.DAMAGE and held is not None:
        damage = f"{batch.table.name} holds {held.damage} of {batch.id}, and "
        if not situation.visible:
            more = "a policy hides rows of it (row-level security or restricted view), so nothing was repaired."
            return KustoError(damage + more, code=ReasonCode.DAMAGED)
        if staged.error is not None:
            return KustoError(
                f"{damage}OpenCost could not be read to repair that: {staged.error}", code=ReasonCode.DAMAGED
            )
        more = "OpenCost has no data for the window any more. If a spool holds the batch, replay it."
        if situation.fewer:
            more = "OpenCost's response has fewer rows. To replace them anyway, run sync --replace."
        return KustoError(damage + more, code=ReasonCode.DAMAGED)
    if staged.error is not None:
        return staged.error
    if situation.at_hand is AtHand.RESPONSE:
        return KustoError(
            f"OpenCost's response for {batch.id} has hardly any row in common with the one that landed: it may be "
            "another cluster of the same name. Nothing was replaced. Choose another --cluster, or use --adopt.",
            code=ReasonCode.OTHER_CLUSTER,
        )
    return ContentError(
        f"A run sent rows of {batch.id} that are not in {batch.table.name} yet, and OpenCost has no data for the "
        "window any more. If a spool holds the batch, replay it; otherwise run again later.",
        code=ReasonCode.NOT_LANDED,
    )
