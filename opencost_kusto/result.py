"""What became of each batch, and the exit code that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import msgspec

from opencost_kusto.batch import Batch
from opencost_kusto.errors import NotLandedError, OpenCostKustoError, PartialError
from opencost_kusto.redact import redacted
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.tables import SYNC_RUNS


class Outcome(StrEnum):
    """What became of a batch."""

    LANDED = "landed"
    ALREADY_LANDED = "already landed"
    QUEUED = "queued"
    WRITTEN = "written"
    EMPTY = "empty"
    EXPIRED = "expired"
    LOST = "lost"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    UNSUPPORTED = "unsupported"


class BatchResult(msgspec.Struct, omit_defaults=False):
    """How one batch ended. `cost` is None where the table has none; `exit_code` is 0 unless it failed.

    `notes` are sentences about the answer that the outcome does not tell; `options` are what was asked of OpenCost
    beside the window, by its own names.
    """

    batch_id: str
    table: str
    source: str
    dataset: str
    window_start: datetime
    window_end: datetime
    window_minutes: float
    aggregate: str | None
    outcome: str
    reason: str | None = None
    rows: int | None = None
    cost: float | None = None
    bytes: int | None = None
    parts: int | None = None
    seconds: float = 0.0
    exit_code: int = 0
    notes: list[str] = []
    options: dict[str, Json] = {}


def batch_result(batch: Batch, kind: str, *, error: OpenCostKustoError | None = None, **facts: Json) -> BatchResult:
    """The outcome of a batch; `error` gives the reason, without secrets, and the exit code."""
    if error is not None:
        facts |= {"reason": redacted(error), "exit_code": error.exit_code}
    window = batch.window
    names = (batch.id, batch.table.name, batch.source, batch.table.dataset)
    facts["options"] = batch.options.for_table(batch.table)
    return BatchResult(*names, window.start, window.end, window.minutes, batch.aggregate, kind, **facts)


@dataclass(slots=True)
class Report:
    """The outcomes of one run, in the order in which batches ended; `tell` is called with each."""

    run_id: str
    outcomes: list[BatchResult] = field(default_factory=list)
    on_result: Callable[[BatchResult], None] = lambda _: None

    def end(self, outcomes: Iterable[BatchResult]) -> None:
        """Take outcomes as they come, and tell each."""
        for one in outcomes:
            self.outcomes.append(one)
            self.on_result(one)

    @property
    def sources(self) -> list[str]:
        """The sources that outcomes are of."""
        return list(dict.fromkeys(one.source for one in self.outcomes))

    @property
    def counts(self) -> dict[str, int]:
        """How many batches ended how."""
        return dict(Counter(outcome.outcome for outcome in self.outcomes))

    @property
    def rows(self) -> int:
        """Rows in Kusto, or written or queued, for which this run vouches."""
        return sum(
            o.rows or 0
            for o in self.outcomes
            if o.outcome in (Outcome.LANDED, Outcome.ALREADY_LANDED, Outcome.QUEUED, Outcome.WRITTEN)
        )

    @property
    def exit_code(self) -> int:
        """0 when every batch is where it was asked to be; else the worst kind, or 7 when only some failed."""
        failed = [outcome.exit_code for outcome in self.outcomes if outcome.outcome in (Outcome.FAILED, Outcome.LOST)]
        # The run's own ledger says what became of the others; that it landed is no success of theirs.
        # What is forgotten comes coarser, and that, or that it is lost, is what counts.
        others = [o for o in self.outcomes if o.table != SYNC_RUNS.name and o.outcome != Outcome.EXPIRED]
        nothing_else = all(o.outcome in (Outcome.FAILED, Outcome.LOST) for o in others)
        late = any(outcome.outcome == Outcome.TIMED_OUT for outcome in self.outcomes)
        if failed:
            return max(failed) if nothing_else else PartialError.exit_code
        return NotLandedError.exit_code if late else 0

    def document(self) -> dict[str, Json]:
        """The report as one JSON document."""
        return {
            "run_id": self.run_id,
            "sources": self.sources,
            "exit_code": self.exit_code,
            "counts": self.counts,
            "rows": self.rows,
            "batches": msgspec.to_builtins(self.outcomes),
        }


def unreported(exit_code: int, error: object) -> dict[str, Json]:
    """The document of a run that ended before there could be a report: its exit code, its sentence, and no batches."""
    return {"exit_code": exit_code, "error": redacted(error), "batches": []}
