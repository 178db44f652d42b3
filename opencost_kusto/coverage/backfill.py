"""Load all missing windows of a period; windows that have landed are not requested again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from opencost_kusto.batch import Run
from opencost_kusto.cancel import CancelToken
from opencost_kusto.coverage.catch_up import CatchUp, load, lost
from opencost_kusto.coverage.gaps import Gaps, Target, find_gaps
from opencost_kusto.coverage.retention import aligned
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.clocks import timed
from opencost_kusto.pipeline.identity import Identity, hold_all_if_read
from opencost_kusto.pipeline.loading import Loading
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.window import Window, stamp


@dataclass(frozen=True, slots=True)
class Survey:
    """The missing windows of a period that end by `closed`, by source."""

    target: Target
    period: Window
    closed: datetime
    found: list[tuple[OpenCost, Gaps]]

    @property
    def due(self) -> int:
        """The number of batches to request."""
        return sum(len(one.due) for _, one in self.found)

    @property
    def gone(self) -> int:
        """The number of batches that OpenCost no longer has at this step; longer windows are requested instead."""
        return sum(len(one.gone) for _, one in self.found)

    @property
    def lost(self) -> int:
        """The number of batches that OpenCost has at no step."""
        return sum(len(one.lost) for _, one in self.found)

    @property
    def expected(self) -> int:
        """The number of batches in the period."""
        return sum(one.expected for _, one in self.found)


def survey(
    opencosts: Sequence[OpenCost], kusto: Kusto, target: Target, period: Window, *, now: datetime, closed: datetime
) -> Survey:
    """Find the missing windows of a period that end by `closed`.

    Raises UsageError for a period without such a window and for datasets that OpenCost has only of this moment,
    KustoError, and OpenCostError when a server does not say which cluster it serves.
    """
    scrapes = [name for name in target.datasets if DATASETS[name].cadence == "scrape"]
    if scrapes:
        raise UsageError(f"OpenCost has {', '.join(scrapes)} only of this moment. Choose another --dataset.")
    windows = list(aligned(period.start, min(period.end, closed), target.step))
    if not windows:
        raise UsageError(f"No full window lies in {period} and ends by {stamp(closed)}. Choose a longer period.")
    full = Window(windows[0].start, windows[-1].end)
    found = [(one, find_gaps(kusto, one.source(), target, full, now)) for one in opencosts]
    return Survey(target, full, closed, found)


def backfill(
    surveyed: Survey,
    kusto: Kusto,
    *,
    run: Run,
    policy: LoadPolicy | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
    cancel: CancelToken | None = None,
) -> Report:
    """Load what a survey found, all sources concurrently.

    The run log is written some windows at a time, so an interrupted backfill can continue. Windows that an earlier run
    found lost are in the report again, because they are still not in Kusto.
    """
    run = timed(run, kusto)
    with Loading(kusto, run, policy, cancel, on_result) as loading:
        for _, gaps in surveyed.found:
            loading.report.add(map(lost, gaps.lost))
        adopt = loading.policy.adopt
        identities = [Identity(kusto, gaps.source, run, adopt) for _, gaps in surveyed.found]
        hold_all_if_read(identities)
        for one in identities:
            if one.refused is not None:
                raise one.refused
        load(
            [
                CatchUp(opencost, identity, gaps, surveyed.target, run, surveyed.closed, max_windows=None)
                for (opencost, gaps), identity in zip(surveyed.found, identities, strict=True)
            ],
            loading,
        )
    loading.log()
    return loading.report
