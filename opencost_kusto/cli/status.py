"""The status of datasets as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from opencost_kusto.coverage.status import DatasetStatus, Failure
from opencost_kusto.window import Window, stamp


def status_lines(one: DatasetStatus, now: datetime) -> Iterator[str]:
    """One line, and below it what is not in Kusto."""
    age = one.age(now)
    until = f"until {stamp(one.until)}, {_spoken(age)} ago" if one.until and age is not None else "nothing landed"
    if one.empty_since_last and one.empty_until:
        until += f", empty until {stamp(one.empty_until)}"
    cost = f" costing {one.day_cost:.5f}" if one.day_cost is not None else ""
    day = f"last day {one.day_rows} rows{cost}"
    yield f"{one.source:<24} {one.dataset:<10} {until}: {one.batches} batches, {one.rows} rows; {day}"
    for window in one.missing:
        yield f"    missing {_period(window)}; backfill loads what OpenCost still has"
    for window in one.lost:
        yield f"    lost    {_period(window)}"
    for window in one.damaged:
        yield f"    damaged {_period(window)}; the next sync, schedule or backfill of it repairs it"
    for failure in one.failures:
        yield f"    {failure.outcome:<7} {_period(failure.window)}{_others(failure)}: {failure.reason}"


def _others(one: Failure) -> str:
    return f" and {one.windows - 1} more" if one.windows > 1 else ""


def _period(window: Window) -> str:
    return f"{stamp(window.start)} to {stamp(window.end)} ({_spoken(window.length)})"


def _spoken(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    days, minutes = divmod(minutes, 24 * 60)
    hours, minutes = divmod(minutes, 60)
    return f"{days}d {hours}h" if days else f"{hours}h {minutes}m"
