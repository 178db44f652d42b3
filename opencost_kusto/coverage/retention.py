"""How finely a window is asked for, how long OpenCost remembers windows so fine, and which coarser one holds it.

With its built-in store OpenCost keeps 36 windows of ten minutes, 49 of an hour and 15 of a day, the unfinished one
included, and no others: these are the defaults of COLLECTOR_10M_RESOLUTION_RETENTION and its like in OpenCost's
source. With a Prometheus behind it, it remembers what Prometheus does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from opencost_kusto.errors import UsageError
from opencost_kusto.window import Window

_DAY = timedelta(days=1)
# By length of the window: how many of them the built-in store keeps.
RETENTION = {timedelta(minutes=10): 36, timedelta(hours=1): 49, _DAY: 15}
# What it says of a window that it has forgotten.
_FORGOTTEN = re.compile(r"past limit|failed to find MetricCollector")


def checked(step: timedelta) -> timedelta:
    """The step, if windows of it tile a day; raises UsageError."""
    if _DAY % step:
        raise UsageError(
            f"Windows of {step / timedelta(minutes=1):g} minutes do not tile a day; choose 10m, 1h or 1d, or another "
            "step that does."
        )
    return step


def fallbacks(step: timedelta) -> list[timedelta]:
    """The steps to fall back to, the finest first."""
    return [kept for kept in RETENTION if kept > step and not kept % step]


def aligned(start: datetime, end: datetime, step: timedelta) -> Iterator[Window]:
    """The whole windows of a step between two times, cut where every run cuts them, oldest first."""
    first = start if start == _minute(start) else _minute(start) + timedelta(minutes=1)
    last = _minute(end)
    if first < last:
        yield from (window for window in Window(first, last).steps(step) if window.end - window.start == step)


def containing(window: Window, step: timedelta) -> Window:
    """The one window of a step in which a finer one lies."""
    around = aligned(window.start - step, window.end + step, step)
    return next(one for one in around if one.start <= window.start < one.end)


def length(window: Window) -> timedelta:
    """How long a window is."""
    return window.end - window.start


def past_retention(window: Window, asked: datetime) -> bool:
    """Whether the built-in store may have forgotten a window when it was asked: then an empty answer proves nothing."""
    fits = [kept for kept in RETENTION if kept <= length(window)]
    grain = max(fits, default=min(RETENTION))
    return asked - window.start >= grain * (RETENTION[grain] - 1)


def refused(reason: str | None) -> bool:
    """Whether OpenCost's refusal says that it has forgotten the window."""
    return bool(reason and _FORGOTTEN.search(reason))


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
