"""The totals of the windows in the run log, by source and dataset: read month by month, whatever its length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from opencost_kusto.database import window_states
from opencost_kusto.kusto.client import Kusto, Row
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import DATASETS, SYNC_RUNS
from opencost_kusto.window import Window, stamp
from opencost_kusto.window_state import WindowState

_DAY = timedelta(days=1)
SCRAPES = [name for name, table in DATASETS.items() if table.cadence == "scrape"]
_MERGE: dict[str, Callable[[list[Json]], Json]] = {
    **dict.fromkeys(("Batches", "Rows", "DayRows"), sum),
    **dict.fromkeys(("Until", "EmptyUntil"), max),
    "First": min,
}


def months_query(year: int) -> str:
    """KQL for the months of a year that have run log entries of windows: one row each, from one column."""
    return (
        f"{SYNC_RUNS.name} | where WindowStart >= datetime({year}-01-01) and WindowStart < datetime({year + 1}-01-01)"
        " | extend Month = startofmonth(WindowStart) | distinct Month"
    )


def earlier_query(year: int) -> str:
    """KQL for one run log entry of a window before a year, whichever Kusto finds first."""
    return f"{SYNC_RUNS.name} | where WindowStart < datetime({year}-01-01) | take 1 | project WindowStart"


def totals_query(now: datetime, month: datetime) -> str:
    """KQL for the totals of the run log by source and dataset, of the windows that begin in a month, by their states.

    Empty windows count as batches. Queued batches count among batches and rows, but not as landed; nor do partial
    assets. `First` is the start of the first window aligned to ten minutes.
    """
    landed, empty, queued = map(literal, (WindowState.LANDED, WindowState.EMPTY, WindowState.QUEUED))
    after = (month + timedelta(days=31)).replace(day=1)
    return window_states.log_query(
        Window(month, after),
        "Logged | where WindowStart >= startTime"
        f" | extend Recent = WindowEnd > datetime({stamp(now - _DAY)}),"
        f" Counts = State in ({landed}, {empty}, {queued}),"
        f" End = iff(Dataset in ({', '.join(map(literal, SCRAPES))}), WindowStart, WindowEnd),"
        " Aligned = WindowStart == bin(WindowStart, 10m) and WindowEnd == bin(WindowEnd, 10m)"
        f" | extend Until = iff(not(IsPartial) and State == {landed}, End, datetime(null)),"
        f" EmptyUntil = iff(not(IsPartial) and State == {empty}, End, datetime(null)),"
        " First = iff(Counts and Aligned, WindowStart, datetime(null))"
        " | summarize First = min(First), Until = max(Until), EmptyUntil = max(EmptyUntil), Batches = countif(Counts),"
        " Rows = sumif(Rows, Counts), DayRows = sumif(Rows, Counts and Recent) by Source, Dataset"
        " | order by Source asc, Dataset asc",
    )


def totals(kusto: Kusto, now: datetime) -> list[Row]:
    """The totals of all months, ordered by source and dataset."""
    found: dict[tuple[str, str], Row] = {}
    for month in _months(kusto, now):
        for row in kusto.query(totals_query(now, month), fresh=True):
            name = row["Source"], row["Dataset"]
            found[name] = _merged(found[name], row) if name in found else row
    return [found[name] for name in sorted(found)]


def _months(kusto: Kusto, now: datetime) -> Iterator[datetime]:
    """The months that have entries, year by year, so that no query grows with the run log."""
    year = (now + _DAY).year
    while True:
        yield from (row["Month"].astimezone(UTC) for row in kusto.query(months_query(year), fresh=True))
        if not kusto.query(earlier_query(year), fresh=True):
            return
        year -= 1


def _merged(one: Row, other: Row) -> Row:
    """The totals of two months: the first and the latest, and sums; null where both are null."""
    merged = dict(one)
    for name, merge in _MERGE.items():
        values = [value for value in (one[name], other[name]) if value is not None]
        merged[name] = merge(values) if values else None
    return merged
