"""The outcome of each batch, and the exit code of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import msgspec

from opencost_kusto.batch import Batch, Source
from opencost_kusto.errors import NotLandedError, OpenCostKustoError, PartialError, ReasonCode
from opencost_kusto.redact import redacted
from opencost_kusto.schema.columns import Json


class Outcome(StrEnum):
    """The outcome of a batch.

    Landed: its rows are in the table, counted and equal. Already landed: an earlier run landed it. Queued:
    the run did not wait. Written: to files. Empty: OpenCost has no cost for the window. Expired: OpenCost no longer has
    the window at this step. Lost: at no step. Unsupported: this OpenCost does not have the dataset.
    """

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


# Outcomes with which the rows of a batch are where they were requested to be.
ARRIVED = frozenset({Outcome.LANDED, Outcome.ALREADY_LANDED, Outcome.QUEUED, Outcome.WRITTEN})
# Outcomes with which the run failed.
_FAILED = frozenset({Outcome.FAILED, Outcome.LOST})


class BatchResult(msgspec.Struct, omit_defaults=False):
    """The result of one batch.

    `cost` is None where the table has none. `exit_code` is 0 unless the batch failed; `reason_code` is why it did, or a
    remark about one that did not. `notes` are sentences for people. `options` are those of the request, by
    OpenCost's names. `response_keys` is the digest of the rows' keys.
    """

    batch_id: str
    table: str
    source: str
    dataset: str
    window_start: datetime
    window_end: datetime
    window_minutes: float
    aggregate: str | None
    outcome: Outcome
    reason: str | None = None
    reason_code: str | None = None
    rows: int | None = None
    cost: float | None = None
    bytes: int | None = None
    seconds: float = 0.0
    exit_code: int = 0
    notes: list[str] = []
    options: dict[str, Json] = {}
    response_keys: str | None = None


def batch_result(
    batch: Batch,
    outcome: Outcome,
    *,
    error: OpenCostKustoError | None = None,
    code: ReasonCode | None = None,
    **facts: Json,
) -> BatchResult:
    """The result of a batch; `error` gives the reason, without secrets, its code and the exit code."""
    if error is not None:
        facts |= {"reason": redacted(error), "exit_code": error.exit_code}
        code = error.code
    elif facts.get("reason"):
        facts["reason"] = redacted(facts["reason"])
    window = batch.window
    names = (batch.id, batch.table.name, batch.source, batch.table.dataset)
    facts |= {"options": batch.options.for_table(batch.table), "reason_code": code and code.value}
    return BatchResult(*names, window.start, window.end, window.minutes, batch.aggregate, outcome, **facts)


@dataclass(slots=True)
class Report:
    """The results of one run, in the order in which batches ended; `on_result` is called with each.

    `run_log` is the error where the run log could not be written; `warnings` are sentences about the sources,
    `routes` how those in Kubernetes were reached, by name.
    """

    run_id: str
    results: list[BatchResult] = field(default_factory=list)
    on_result: Callable[[BatchResult], None] = lambda _: None
    run_log: OpenCostKustoError | None = None
    warnings: list[str] = field(default_factory=list)
    routes: dict[str, str] = field(default_factory=dict)

    def reached(self, sources: Iterable[Source]) -> None:
        """Store how sources in Kubernetes were reached."""
        self.routes |= {one.name: one.route for one in sources if one.route is not None}

    def add(self, results: Iterable[BatchResult]) -> None:
        """Add results, and call `on_result` with each."""
        for one in results:
            self.results.append(one)
            self.on_result(one)

    @property
    def sources(self) -> list[str]:
        """The sources that have results, by name."""
        return sorted({one.source for one in self.results})

    @property
    def counts(self) -> dict[str, int]:
        """How many batches ended with each outcome."""
        return dict(Counter(str(one.outcome) for one in self.results))

    @property
    def rows(self) -> int:
        """Rows that are in Kusto, written or queued."""
        return sum(one.rows or 0 for one in self.results if one.outcome in ARRIVED)

    @property
    def exit_code(self) -> int:
        """0 when every batch is where it was requested to be; else the worst kind, or 7 when only some failed."""
        failed = [one.exit_code for one in self.results if one.outcome in _FAILED]
        # An expired window is loaded at a coarser step, or is lost: that is what counts.
        others = [one for one in self.results if one.outcome not in _FAILED | {Outcome.EXPIRED, Outcome.UNSUPPORTED}]
        if failed:
            return PartialError.exit_code if others else max(failed)
        if any(one.outcome is Outcome.TIMED_OUT for one in self.results):
            return NotLandedError.exit_code
        return PartialError.exit_code if self.run_log is not None else 0

    def document(self) -> dict[str, Json]:
        """The report as one JSON document."""
        return {
            "run_id": self.run_id,
            "sources": self.sources,
            "exit_code": self.exit_code,
            "counts": self.counts,
            "rows": self.rows,
            "run_log": self.run_log and redacted(self.run_log),
            "warnings": self.warnings,
            "routes": self.routes,
            "batches": msgspec.to_builtins(self.results),
        }


def unreported(exit_code: int, error: object) -> dict[str, Json]:
    """The document of a run that ended before it had a report: its exit code, its error, and no batches."""
    return {"exit_code": exit_code, "error": redacted(error), "batches": []}
