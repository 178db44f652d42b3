"""Waiting until a window is over and its costs are known, before OpenCost is asked about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from opencost_kusto.batch import Run
from opencost_kusto.errors import UsageError
from opencost_kusto.window import Window, duration

SETTLE = "2m"


def clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def settle_time(text: str) -> timedelta:
    """Read `2m`, or `0` for no time at all; raises UsageError for anything else."""
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
    now: Callable[[], datetime] = clock,
    sleep: Callable[[float], None] = time.sleep,
    on_result: Callable[[str], None] = lambda _: None,
) -> Run:
    """The run, beginning when the window has been over for `settle`, or now when it has; waits until then.

    What a cluster did is known to OpenCost only after Prometheus has scraped it, which by default takes a minute. An
    answer that came too early would stay in Kusto as it is.
    """
    until = window.end + settle
    if (moment := now()) < until:
        on_result(f"Waiting until {until:%H:%M:%S}Z, when what happened up to {window.end:%H:%M}Z will be known.")
        while moment < until:
            sleep((until - moment).total_seconds())
            moment = now()
    return replace(run, collection_time=moment)
