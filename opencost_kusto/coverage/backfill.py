"""Load all missing windows of a period; windows that have landed are not requested again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from opencost_kusto.batch import Run
from opencost_kusto.cancel import CancelToken
from opencost_kusto.coverage.catch_up import CatchUp, fail_newest, load, lost
from opencost_kusto.coverage.gaps import Gaps, Target, find_gaps
from opencost_kusto.coverage.retention import aligned
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.clocks import timed
from opencost_kusto.pipeline.fleet import Contact, contacts, divided
from opencost_kusto.pipeline.identity import Identity
from opencost_kusto.pipeline.loading import Loading
from opencost_kusto.pipeline.request import new_run
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.window import Window, stamp


@dataclass(frozen=True, slots=True)
class Survey:
    """The missing windows of a period that end by `closed`, by source; `away` has the servers that cannot be loaded."""

    target: Target
    period: Window
    closed: datetime
    found: list[tuple[OpenCost, Identity, Gaps]]
    away: list[Contact] = field(default_factory=list)

    @property
    def due(self) -> int:
        """The number of batches to request."""
        return sum(len(one.due) for *_, one in self.found)

    @property
    def gone(self) -> int:
        """The number of batches that OpenCost no longer has at this step; longer windows are requested instead."""
        return sum(len(one.gone) for *_, one in self.found)

    @property
    def lost(self) -> int:
        """The number of batches that OpenCost has at no step."""
        return sum(len(one.lost) for *_, one in self.found)

    @property
    def expected(self) -> int:
        """The number of batches in the period."""
        return sum(one.expected for *_, one in self.found)


def survey(
    opencosts: Sequence[OpenCost],
    kusto: Kusto,
    target: Target,
    period: Window,
    *,
    now: datetime,
    closed: datetime,
    run: Run | None = None,
    policy: LoadPolicy | None = None,
    cancel: CancelToken | None = None,
) -> Survey:
    """Find the missing windows of a period that end by `closed`.

    Contacts each server once, and decides whether it can be loaded under its name, with the run and the policy of the
    backfill. Raises UsageError for a period without such a window and for datasets that OpenCost has only of this
    moment, KustoError where Kusto cannot be read, and the error of a server that cannot be loaded where it has no name
    or none can.
    """
    scrapes = [name for name in target.datasets if DATASETS[name].cadence == "scrape"]
    if scrapes:
        raise UsageError(f"OpenCost has {', '.join(scrapes)} only of this moment. Choose another --dataset.")
    windows = list(aligned(period.start, min(period.end, closed), target.step))
    if not windows:
        raise UsageError(f"No full window lies in {period} and ends by {stamp(closed)}. Choose a longer period.")
    full = Window(windows[0].start, windows[-1].end)
    run = timed(run or new_run(kind="backfill"), kusto)
    reached, away = divided(contacts(opencosts, kusto, run, policy or LoadPolicy(), cancel))
    for one in away:
        if one.refused is not None and (not reached or one.opencost.cluster is None):
            raise one.refused
    gaps = find_gaps(kusto, [identity.source for _, identity in reached], target, full, now)
    return Survey(target, full, closed, [(*each, of) for each, of in zip(reached, gaps, strict=True)], away)


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
    found lost are in the report again, because they are still not in Kusto. A source that cannot be loaded fails with
    its newest window.
    """
    run = timed(run, kusto)
    with Loading(kusto, run, policy, cancel, on_result) as loading:
        fail_newest(loading, surveyed.away, surveyed.target, surveyed.period)
        for *_, gaps in surveyed.found:
            loading.report.add(map(lost, gaps.lost))
        load(
            [CatchUp(*each, surveyed.target, run, surveyed.closed, max_windows=None) for each in surveyed.found],
            loading,
        )
    loading.log()
    return loading.report
