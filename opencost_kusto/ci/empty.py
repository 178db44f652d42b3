"""Whether a run found no cost, and the probable reason."""

from __future__ import annotations

from datetime import datetime, timedelta

from opencost_kusto.result import Outcome, Report
from opencost_kusto.schema.tables import TABLES
from opencost_kusto.window import Window, stamp

# By default, Prometheus scrapes every minute, and OpenCost samples every five minutes: a shorter window may
# have no sample at all, and a younger one not all of them yet.
_SHORT = timedelta(minutes=5)
_YOUNG = timedelta(minutes=2)
_COSTS = {table.name for table in TABLES if table.cost}


def empty_reason(report: Report, window: Window, now: datetime) -> str | None:
    """Why OpenCost has no cost in the window, in sentences; None where some dataset with costs has rows or failed."""
    results = [one for one in report.results if one.table in _COSTS]
    if not results or any(one.outcome != Outcome.EMPTY for one in results):
        return None
    if window.end - window.start < _SHORT:
        why = "The window is shorter than five minutes, the resolution of OpenCost. Run for longer"
    elif now - window.end < _YOUNG:
        why = "The window has just ended, and OpenCost has not measured it yet. Set --settle to a longer time"
    else:
        why = (
            "OpenCost probably cannot query its Prometheus, Prometheus does not scrape OpenCost, or the window is "
            "older than its data. Check these"
        )
    times = f"{stamp(window.start)} to {stamp(window.end)}"
    return f"OpenCost has no cost from {times}. {why}, or accept it with --no-fail-on-empty."
