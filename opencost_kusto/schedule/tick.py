"""One tick of the schedule: of every source, side by side, what Kusto lacks of the last hours or days."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from opencost_kusto.batch import Run
from opencost_kusto.cancel import CancelToken
from opencost_kusto.coverage.catch_up import MAX_WINDOWS, catch_up
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.coverage.retention import aligned
from opencost_kusto.errors import OpenCostKustoError, UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.pipeline.fleet import run_concurrently
from opencost_kusto.result import BatchResult, Outcome, Report, batch_result
from opencost_kusto.window import Window


@dataclass(frozen=True, slots=True)
class Lookback:
    """How far back a tick looks, and what it leaves alone.

    A window is closed `lag` after its end, when OpenCost's own measurements have settled. Raises UsageError where
    nothing would lie in between.
    """

    catch_up: timedelta = timedelta(hours=48)
    lag: timedelta = timedelta(minutes=10)
    at_most: int = MAX_WINDOWS

    def closed(self, now: datetime) -> datetime:
        """Up to when windows are closed."""
        return (now.astimezone(UTC) - self.lag).replace(second=0, microsecond=0)

    def span(self, now: datetime, step: timedelta) -> Window:
        """The whole windows a tick looks at, as one; raises UsageError when there is none."""
        windows = list(aligned(now.astimezone(UTC) - self.catch_up, self.closed(now), step))
        if not windows:
            raise UsageError("No closed window lies in the catch-up; make --catch-up longer than --every and --lag.")
        return Window(windows[0].start, windows[-1].end)


def tick(
    opencosts: Sequence[OpenCost],
    kusto: Kusto,
    wanted: Target,
    horizon: Lookback,
    *,
    run: Run,
    on_result: Callable[[BatchResult], None] = lambda _: None,
    know: Callable[[str, str, datetime], None] = lambda *_: None,
    stop: CancelToken | None = None,
    **loading: Any,
) -> Report:
    """Bring what is due of every source, in one report; the moment is the run's `collection_time`.

    A source that has a name and cannot be asked, or of which Kusto cannot be asked, fails with its newest window;
    one without a name raises what went wrong. `stop` ends it from another thread, with Stopped; `loading` is what
    `sync` takes beside. `tell`, and what `catch_up` calls `know`, are called from several threads.
    """
    now = run.collection_time
    span, closed = horizon.span(now, wanted.step), horizon.closed(now)
    told: dict[int, list[BatchResult]] = {number: [] for number in range(len(opencosts))}

    def bring(number: int, opencost: OpenCost) -> None:
        report = Report(run.id, told[number], on_result)
        more: dict[str, Any] = {
            "closed": closed,
            "at_most": horizon.at_most,
            "on_result": lambda one: report.end([one]),
            "know": know,
            "stop": stop,
        }
        try:
            catch_up(opencost, kusto, wanted, span, run=run, scrape=True, **more, **loading)
        except OpenCostKustoError as error:
            if opencost.cluster is None:
                raise
            newest = wanted.batches(opencost.cluster, Window(span.end - wanted.step, span.end))
            report.end(batch_result(batch, Outcome.FAILED, error=error) for batch in newest)

    run_concurrently([lambda at=at: bring(*at) for at in enumerate(opencosts)], stop)  # type: ignore[misc]
    return Report(run.id, [one for outcomes in told.values() for one in outcomes])
