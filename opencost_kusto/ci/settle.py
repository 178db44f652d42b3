"""Wait until a window has ended and OpenCost has measured it, before it is requested."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from opencost_kusto.batch import Run
from opencost_kusto.errors import UsageError
from opencost_kusto.times import duration, utc_now
from opencost_kusto.window import Window

SETTLE = "2m"


def settle_time(text: str) -> timedelta:
    """Read `2m`, or `0` for no waiting; raises UsageError for anything else."""
    if text.strip() == "0":
        return timedelta()
    try:
        return duration(text)
    except UsageError:
        raise UsageError(f"--settle {text!r} is not a duration; write 0, or a number and m, h or d: 2m.") from None


def settled(
    run: Run,
    window: Window,
    settle: timedelta,
    *,
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
    on_result: Callable[[str], None] = lambda _: None,
    before: Callable[[], None] = lambda: None,
) -> Run:
    """Wait until `settle` after the window's end; return the run, which begins then.

    OpenCost reports only what Prometheus has scraped, by default every minute. An earlier response would be
    incomplete, and would stay so in Kusto. `before` is called before a wait, and an error that it raises ends it.
    """
    until = window.end + settle
    if (moment := now()) < until:
        before()
        on_result(
            f"Waiting until {until:%H:%M:%S}Z for OpenCost to measure the window that ends at {window.end:%H:%M}Z."
        )
        while moment < until:
            sleep((until - moment).total_seconds())
            moment = now()
    return replace(run, collection_time=moment)
