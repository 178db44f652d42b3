"""One tick of the scheduler: load the missing windows of the last hours or days, all sources concurrently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from opencost_kusto.batch import Run
from opencost_kusto.cancel import CancelToken
from opencost_kusto.coverage.catch_up import MAX_WINDOWS, catch_up
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.coverage.retention import aligned
from opencost_kusto.errors import OpenCostKustoError, UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.fleet import merged, run_concurrently
from opencost_kusto.pipeline.sync import timed
from opencost_kusto.result import BatchResult, Outcome, Report, batch_result
from opencost_kusto.window import Window


@dataclass(frozen=True, slots=True)
class Lookback:
    """The period in which a tick looks for missing windows, and which windows it leaves for later.

    A window is closed `lag` after its end, when OpenCost's measurements have settled. Raises UsageError where no window
    lies in between.
    """

    catch_up: timedelta = timedelta(hours=48)
    lag: timedelta = timedelta(minutes=10)
    max_windows: int = MAX_WINDOWS

    def closed(self, now: datetime) -> datetime:
        """Up to when windows are closed."""
        return (now.astimezone(UTC) - self.lag).replace(second=0, microsecond=0)

    def period(self, now: datetime, step: timedelta) -> Window:
        """The whole windows of a tick, as one; raises UsageError when there is none."""
        windows = list(aligned(now.astimezone(UTC) - self.catch_up, self.closed(now), step))
        if not windows:
            raise UsageError("No closed window lies in the catch-up; make --catch-up longer than --every and --lag.")
        return Window(windows[0].start, windows[-1].end)


def tick(
    opencosts: Sequence[OpenCost],
    kusto: Kusto,
    target: Target,
    lookback: Lookback,
    *,
    run: Run,
    policy: LoadPolicy | None = None,
    cancel: CancelToken | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
    on_covered: Callable[[str, str, datetime], None] = lambda *_: None,
) -> Report:
    """Load what is due of every source, in one report; the moment is the run's `collection_time`.

    A source with a name that cannot be read, or of which Kusto cannot be read, fails with its newest window; one
    without a name raises what went wrong. `cancel` ends it from another thread, with Cancelled. `on_result` and
    `on_covered` are called from several threads.
    """
    run = timed(run, kusto)
    now = run.collection_time
    period, closed = lookback.period(now, target.step), lookback.closed(now)
    reports = [Report(run.id, on_result=on_result) for _ in opencosts]

    def load(at: int) -> None:
        report, opencost = reports[at], opencosts[at]
        try:
            done = catch_up(
                opencost,
                kusto,
                target,
                period,
                run=run,
                closed=closed,
                max_windows=lookback.max_windows,
                scrape=True,
                policy=policy,
                cancel=cancel,
                on_result=lambda one: report.add([one]),
                on_covered=on_covered,
            )
            report.run_log, report.warnings = done.run_log, done.warnings
        except OpenCostKustoError as error:
            if opencost.cluster is None:
                raise
            newest = target.of(opencost.settings).batches(
                opencost.cluster, Window(period.end - target.step, period.end)
            )
            report.add(batch_result(batch, Outcome.FAILED, error=error) for batch in newest)

    run_concurrently([lambda at=at: load(at) for at in range(len(opencosts))], cancel)  # type: ignore[misc]
    return merged(run.id, reports)
