"""Everything Kusto lacks of a range, for as long as it takes; what is there already is not asked for again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from opencost_kusto.batch import Run
from opencost_kusto.cancel import CancelToken
from opencost_kusto.coverage.catch_up import LOST_REASON, CatchUp
from opencost_kusto.coverage.gaps import Gaps, Target, find_gaps
from opencost_kusto.coverage.retention import aligned
from opencost_kusto.errors import OpenCostError, UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.pipeline.fleet import run_concurrently
from opencost_kusto.result import BatchResult, Outcome, Report, batch_result
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.window import Window, stamp


@dataclass(frozen=True, slots=True)
class Survey:
    """What Kusto lacks of a range, by source; `closed` is when windows had to end to be in it."""

    wanted: Target
    span: Window
    closed: datetime
    found: list[tuple[OpenCost, Gaps]]

    @property
    def due(self) -> int:
        """How many batches are to be asked for."""
        return sum(len(one.due) for _, one in self.found)

    @property
    def coarser(self) -> int:
        """How many batches OpenCost has forgotten so fine: the hour or the day that holds them is asked for."""
        return sum(len(one.forgotten) for _, one in self.found)

    @property
    def lost(self) -> int:
        """How many batches OpenCost has in no grain any more."""
        return sum(len(one.lost) for _, one in self.found)

    @property
    def expected(self) -> int:
        """How many batches the range has."""
        return sum(one.expected for _, one in self.found)


def survey(
    opencosts: Sequence[OpenCost], kusto: Kusto, wanted: Target, span: Window, *, now: datetime, closed: datetime
) -> Survey:
    """Look for what Kusto lacks of a range, in windows that end before `closed`.

    Raises UsageError for a range without such a window and for datasets that are of the moment only, KustoError, and
    OpenCostError when a server does not say which cluster it serves.
    """
    scrapes = [name for name in wanted.datasets if DATASETS[name].cadence == "scrape"]
    if scrapes:
        raise UsageError(f"OpenCost answers {', '.join(scrapes)} only of this moment; choose another --dataset.")
    windows = list(aligned(span.start, min(span.end, closed), wanted.step))
    if not windows:
        raise UsageError(f"No whole window lies in {span} and ends before {stamp(closed)}; choose a longer range.")
    whole = Window(windows[0].start, windows[-1].end)
    found = [(one, find_gaps(kusto, one.source(), wanted, whole, now)) for one in opencosts]
    return Survey(wanted, whole, closed, found)


def backfill(
    surveyed: Survey,
    kusto: Kusto,
    *,
    run: Run,
    stop: CancelToken | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
    **loading: Any,
) -> Report:
    """Bring what a survey found, every source side by side; `loading` is what `sync` takes beside.

    The ledger learns of it some windows at a time, so one that was broken off goes on where it was. What an earlier
    run found lost is in the report again, as it is still not in Kusto. `tell` is called from several threads, which an
    interruption ends.
    """
    stop = stop or CancelToken()
    reports = [Report(run.id, on_result=on_result) for _ in surveyed.found]

    def fill(report: Report, opencost: OpenCost, found: Gaps) -> None:
        report.end(batch_result(batch, Outcome.LOST, error=OpenCostError(LOST_REASON)) for batch in found.lost)
        end: dict[str, Any] = {"run": run, "closed": surveyed.closed, "on_result": lambda one: report.end([one])}
        CatchUp(opencost, kusto, surveyed.wanted, found, stop=stop, **end, **loading).fill()

    works = [(report, *one) for report, one in zip(reports, surveyed.found, strict=True)]
    run_concurrently([lambda work=work: fill(*work) for work in works], stop)  # type: ignore[misc]
    return Report(run.id, [one for report in reports for one in report.outcomes])
