"""One tick of the scheduler: load the missing windows of the last hours or days, all sources concurrently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from opencost_kusto.batch import Run, Source
from opencost_kusto.cancel import CancelToken
from opencost_kusto.coverage.catch_up import MAX_WINDOWS, CatchUp, fail_newest, load
from opencost_kusto.coverage.gaps import Gaps, Target
from opencost_kusto.coverage.missing import covered, find_all
from opencost_kusto.coverage.retention import aligned
from opencost_kusto.errors import KustoError, UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.clocks import timed
from opencost_kusto.pipeline.fleet import Contact, contacts, divided
from opencost_kusto.pipeline.identity import Identity
from opencost_kusto.pipeline.loading import Loading
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.schedule.left import Left, left
from opencost_kusto.window import Window


@dataclass(frozen=True, slots=True)
class Lookback:
    """The period in which a tick finds missing windows, and which windows it leaves for later.

    A window is closed `lag` after its end, when OpenCost's measurements have settled. Raises UsageError where no window
    lies in between.
    """

    catch_up: timedelta = timedelta(hours=48)
    lag: timedelta = timedelta(minutes=10)
    max_windows: int = MAX_WINDOWS

    def closed(self, now: datetime) -> datetime:
        """The time up to which windows are closed."""
        return (now.astimezone(UTC) - self.lag).replace(second=0, microsecond=0)

    def period(self, now: datetime, step: timedelta) -> Window:
        """The full windows of a tick, as one; raises UsageError when there is none."""
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
    on_left: Callable[[Left], None] | None = None,
) -> Report:
    """Load the due windows of every source, in one report; now is the run's `collection_time`.

    A source with a name that cannot be read, or of which Kusto cannot be read, fails with its newest window; one
    without a name raises the error. `cancel` ends it from another thread, with Cancelled.
    `on_left` is called with what is missing and lost at the end, by the results of the tick; also of sources that could
    not be reached, whose gaps are read only then.
    """
    run, policy = timed(run, kusto), policy or LoadPolicy()
    period, closed = lookback.period(run.collection_time, target.step), lookback.closed(run.collection_time)
    with Loading(kusto, run, policy, cancel, on_result) as loading:
        reached, away = divided(contacts(opencosts, kusto, run, policy, loading.cancel))
        fail_newest(loading, away, target, period)
        try:
            sources = _first(reached, loading.sources if on_left is not None else ())
            found = find_all(kusto, sources, target, period, run.collection_time)
        except KustoError as error:
            fail_newest(loading, [Contact(*one, error) for one in reached], target, period)
            return loading.report
        for source, dataset, until in covered(found):
            on_covered(source, dataset, until)
        pairs = zip(reached, found[: len(reached)], strict=True)
        due = [CatchUp(*one, gaps, target, run, closed, lookback.max_windows) for one, gaps in pairs]
        load(due, loading, scrape=True)
    loading.log()
    if on_left is not None:
        _log_left(on_left, [*(one.rest() for one in due), *found[len(due) :]], target)
    return loading.report


def _first(reached: Sequence[tuple[OpenCost, Identity]], sources: Iterable[Source]) -> list[Source]:
    """The sources that were reached, then the others, by name."""
    first = [identity.source for _, identity in reached]
    by_name = {one.name: one for one in sources}
    return [*first, *(by_name[name] for name in sorted(by_name.keys() - {one.name for one in first}))]


def _log_left(on_left: Callable[[Left], None], found: Iterable[Gaps], target: Target) -> None:
    """Call a function with what is left of each dataset of each source."""
    for gaps in found:
        for one in left(gaps, target):
            on_left(one)
