"""A queued batch, until it has a result."""

from __future__ import annotations

from dataclasses import dataclass, field

from opencost_kusto.batch import Batch
from opencost_kusto.errors import KustoError, OpenCostKustoError, ReasonCode
from opencost_kusto.load.holdings import Holding
from opencost_kusto.load.replace import BatchReplacement
from opencost_kusto.load.sealed import SealedBatch, remove
from opencost_kusto.load.staged import StagedBatch
from opencost_kusto.result import BatchResult, Outcome, batch_result
from opencost_kusto.schema.columns import Json


@dataclass(slots=True)
class Pending:
    """A queued batch. `source_ids` identify its blobs, one for each time it was queued; `tag` is its ingest-by tag.

    `replaces` is the note of a replacement that has landed.
    """

    staged: StagedBatch
    sealed: SealedBatch
    replacement: BatchReplacement | None = None
    tag: str | None = None
    source_ids: list[str] = field(default_factory=list)
    replaces: str = ""

    @property
    def id(self) -> str:
        """The id of the batch."""
        return self.sealed.batch_id

    @property
    def batch(self) -> Batch:
        """The batch."""
        return self.staged.batch

    @property
    def target(self) -> str:
        """The table it was queued for: its own, or a staging table."""
        return self.replacement.staging if self.replacement else self.batch.table.name

    def clean(self) -> str | None:
        """Drop the staging table of a replacement; a sentence if that fails."""
        try:
            if self.replacement:
                self.replacement.drop()
        except KustoError as error:
            return f"{self.target} could not be dropped; it expires, or delete it by hand: {error}"
        return None

    def end(
        self,
        outcome: Outcome,
        error: OpenCostKustoError | None,
        *,
        reason: str | None,
        held: Holding | None,
        seconds: float,
        keep: bool,
    ) -> BatchResult:
        """Release the batch's resources, and return its result. `keep` leaves one that has not landed in its spool."""
        sealed, staged = self.sealed, self.staged
        if self.replaces and outcome is Outcome.LANDED:
            staged.note(self.replaces)
        if sentence := self.clean():
            staged.note(sentence)
        if keep and outcome not in (Outcome.LANDED, Outcome.ALREADY_LANDED):
            staged.note(sealed.kept)
        else:
            remove(sealed.folder)
        rows, cost = (sealed.rows, sealed.cost) if held is None else (held.rows, held.cost)
        size: dict[str, Json] = {"rows": rows, "cost": cost, "bytes": sealed.bytes, "response_keys": sealed.keys}
        code = ReasonCode.NOT_LANDED if outcome is Outcome.TIMED_OUT else staged.code
        size["seconds"] = seconds
        return batch_result(staged.batch, outcome, error=error, reason=reason, code=code, notes=staged.notes, **size)
