"""The state of each window, from the rows in the table and the latest entry of the run log.

The rule is KQL (`database.window_states`), which this reads. Options, retention and outcomes are columns there. The
request that a window belongs to is identified by its batch id, which Kusto cannot compute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from opencost_kusto.batch import Batch, RequestOptions
from opencost_kusto.coverage.retention import past_retention
from opencost_kusto.database import window_states
from opencost_kusto.kusto.client import Kusto, Row
from opencost_kusto.result import BatchResult, Outcome
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.tables import TABLES
from opencost_kusto.window import Window
from opencost_kusto.window_state import WindowState, by_entry

# The longest period in one query, so that no result grows with the length of a backfill.
MONTH = timedelta(days=30)
_COLUMNS = "BatchId, Source, TableName, WindowStart, WindowEnd, State, IsPartial, Outcome, Reason, Cost"


@dataclass(frozen=True, slots=True)
class WindowEntry:
    """The state of the window of one request, and its latest run log entry.

    `outcome` and `reason` are those of the entry, None without one. `cost` is that of its rows, else of the entry.
    `partial` marks a batch that is known not to have the complete cost of its window.
    """

    window: Window
    state: WindowState
    outcome: Outcome | None = None
    reason: str | None = None
    cost: float | None = None
    partial: bool = False

    @classmethod
    def of(cls, result: BatchResult, requested_at: datetime) -> WindowEntry:
        """The entry of a result of this run, before it is in the run log."""
        window = Window(result.window_start, result.window_end)
        retention = next(table.retention for table in TABLES if table.name == result.table)
        late = past_retention(window, requested_at, retention)
        state = by_entry(result.outcome, result.reason_code, past_retention=late)
        return cls(window, state, result.outcome, result.reason, result.cost)


@dataclass(slots=True)
class DatasetState:
    """The windows of one dataset of one source, by batch id."""

    table: Table
    source: str
    entries: dict[str, WindowEntry] = field(default_factory=dict)

    def state(self, batch_id: str) -> WindowState:
        """The state of a batch's window; due without an entry."""
        return self.entries[batch_id].state if batch_id in self.entries else WindowState.DUE

    def windows(self, states: Iterable[WindowState], options: RequestOptions | None = None) -> Iterator[Window]:
        """The windows in one of these states and with these options; without options, those that are not partial."""
        selected = set(states)
        for id_, one in self.entries.items():
            if one.state in selected and self._counts(id_, one, options):
                yield one.window

    def _counts(self, id_: str, one: WindowEntry, options: RequestOptions | None) -> bool:
        """Whether a batch was requested with these options, by its id; without options, whether it is not partial."""
        return not one.partial if options is None else Batch(self.table, self.source, one.window, options).id == id_


def states_query(sources: Sequence[str] | None, tables: Sequence[Table], window: Window) -> str:
    """KQL for the states of the windows that overlap a window; None reads every source."""
    return window_states.query(window, sources, tables, f"States | project {_COLUMNS}")


def dataset_states(
    kusto: Kusto, sources: Sequence[str] | None, tables: Sequence[Table], window: Window
) -> list[DatasetState]:
    """The states of some datasets of some sources, or of all. Raises KustoError.

    Each month of the window is one query.
    """
    found = {(table.name, source): DatasetState(table, source) for table in tables for source in sources or ()}
    by_name = {table.name: table for table in tables}
    # A batch whose window overlaps two months is read twice, in full each time.
    for month in window.cut(MONTH) if tables else ():
        for row in kusto.query(states_query(sources, tables, month), fresh=True):
            name, source = row["TableName"], row["Source"]
            one = found.setdefault((name, source), DatasetState(by_name[name], source))
            one.entries[row["BatchId"]] = _entry(row)
    return list(found.values())


def _entry(row: Row) -> WindowEntry:
    start, end = (row[name].astimezone(UTC) for name in ("WindowStart", "WindowEnd"))
    outcome = Outcome(row["Outcome"]) if row["Outcome"] else None
    values = (WindowState(row["State"]), outcome, row["Reason"] or None, row["Cost"])
    return WindowEntry(Window(start, end), *values, row["IsPartial"])
