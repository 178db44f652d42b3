"""Options for the window that is requested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated

from opencost_kusto.batch import Run
from opencost_kusto.cancel import CancelToken
from opencost_kusto.ci.elapsed import Elapsed
from opencost_kusto.ci.settle import SETTLE, settle_time, settled
from opencost_kusto.cli.options import WINDOW, option
from opencost_kusto.cli.usage import read_option
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.names import variable
from opencost_kusto.pipeline.coverage_check import check_starts
from opencost_kusto.pipeline.fleet import check_reached
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.times import utc_now
from opencost_kusto.window import RESOLUTION, Window, check_step, duration, parse, resolution, since

Step = Annotated[
    str | None, option("--step", "Cut the window into steps of this length, aligned: 1h, 1d.", panel=WINDOW)
]
Settle = Annotated[
    str, option("--settle", "How long after the end of a window OpenCost is requested: 2m, or 0.", panel=WINDOW)
]
Resolution = Annotated[
    str | None,
    option(
        "--opencost-resolution",
        "OpenCost's sampling interval, on whose marks windows begin and end, as 5m. Read from OpenCost by default.",
        panel=WINDOW,
    ),
]

RequireCoverage = Annotated[
    bool,
    option("--require-coverage", "End with 8, and load nothing, if OpenCost has no data at its start.", panel=WINDOW),
]


def marks_of(text: str | None) -> timedelta:
    """The marks of --opencost-resolution, five minutes without it; raises UsageError."""
    return RESOLUTION if text is None else resolution(text)


def step_of(text: str | None, marks: timedelta) -> timedelta | None:
    """The step that --step names, on the marks; raises UsageError."""
    return read_option("--step", lambda one: check_step(duration(one), marks), text) if text else None


@dataclass(frozen=True, slots=True)
class WhenOptions:
    """The window: by a word or two times, or from a time until now."""

    PANEL = WINDOW
    EXCLUSIVE = (("window",), ("since",))
    window: Annotated[str | None, option("--window", "30m, 1h (the default), 7d, today, yesterday, START,END, …")] = (
        None
    )
    since: Annotated[
        str | None, option("--since", "Instead of --window: from this time to now; a time, or how long ago.")
    ] = None
    settle: Settle = SETTLE
    opencost_resolution: Resolution = None
    require_coverage: RequireCoverage = False

    @property
    def marks(self) -> timedelta | None:
        """The marks of every source without a setting, if they are not read from OpenCost; raises UsageError."""
        return None if self.opencost_resolution is None else resolution(self.opencost_resolution)

    def interval(
        self,
        now: Callable[[], datetime] = utc_now,
        log: Callable[[str], None] = lambda _: None,
        marks: timedelta | None = None,
    ) -> Window:
        """The window on marks; `log` gets a line where it differs. Raises UsageError for two, or an invalid one.

        Without `marks`, they are those of --opencost-resolution.
        """
        settle_time(self.settle)
        marks = marks or marks_of(self.opencost_resolution)
        if (elapsed := self.elapsed(now, marks)) is not None:
            return elapsed.window
        text = "1h" if self.window is None else self.window
        moment = now()
        return read_option("--window", lambda one: parse(one, now=moment, resolution=marks, on_result=log), text)

    def elapsed(self, now: Callable[[], datetime] = utc_now, marks: timedelta | None = None) -> Elapsed | None:
        """From --since to now; None without it. Raises UsageError as `interval` does."""
        if self.since is None:
            return None
        if self.window is not None:
            raise UsageError(f"Use either {variable('--window')} or {variable('--since')}, not both.")
        moment = now()
        return Elapsed(since(self.since, now=moment), moment, marks or marks_of(self.opencost_resolution))

    def ready(
        self,
        run: Run,
        request: SyncRequest,
        opencosts: Sequence[OpenCost],
        stop: CancelToken,
        log: Callable[[str], None],
    ) -> Run:
        """The run, once OpenCost can be requested; waits if the window has not ended.

        Raises OpenCostError before a wait, where no OpenCost can be reached, and EmptyError with --require-coverage,
        for an OpenCost that has no data at the start of the window.
        """
        if self.since is not None:
            wait = settle_time(self.settle)
            check = partial(check_reached, opencosts, stop)
            run = settled(run, request.window, wait, sleep=stop.sleep, on_result=log, before=check)
        if self.require_coverage:
            check_starts(opencosts, request, self.marks)
        return run
