"""OpenCost's retention (`Table.retention`): which windows may have expired, and which longer ones contain them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from opencost_kusto.errors import UsageError
from opencost_kusto.schema.retention import kept_for
from opencost_kusto.schema.tables import BUILT_IN_STORE
from opencost_kusto.window import Window, floor

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)


def check_step(step: timedelta) -> timedelta:
    """Return the step if it divides a day; raise UsageError otherwise."""
    if _DAY % step:
        raise UsageError(
            f"Windows of {step / _MINUTE:g} minutes do not tile a day; choose 10m, 1h or 1d, or another step that does."
        )
    return step


def fallbacks(step: timedelta) -> list[timedelta]:
    """The longer steps to fall back to, the shortest first."""
    return [kept for kept in BUILT_IN_STORE if kept > step and not kept % step]


def aligned(start: datetime, end: datetime, step: timedelta) -> Iterator[Window]:
    """The full windows of a step between two times, aligned to the clock, oldest first."""
    first, last = floor(start, _MINUTE), floor(end, _MINUTE)
    if first < start:
        first += _MINUTE
    if first < last:
        yield from (window for window in Window(first, last).steps(step) if window.length == step)


def containing(window: Window, step: timedelta) -> Window:
    """The one aligned window of a longer step that contains a window."""
    around = aligned(window.start - step, window.end + step, step)
    return next(one for one in around if one.start <= window.start < one.end)


def past_retention(window: Window, requested_at: datetime, retention: Mapping[timedelta, int] = BUILT_IN_STORE) -> bool:
    """Whether the built-in store may no longer have had a window, so that an empty response proves nothing."""
    until = kept_for(window.length, retention)
    return until is not None and requested_at - window.start >= until
