"""What is known of each window: from what the table holds, and from the latest entry of the run log.

                   ┌────────────── the table holds a complete response ──────────► LANDED
                   ├────────────── the table holds anything else ────────────────► DAMAGED
                   │
    DUE ── sync ───┼─ queued, timed out ─► QUEUED ─── the rows arrive ───────────► LANDED
                   ├─ no cost, in time ──────────────────────────────────────────► EMPTY
                   ├─ no cost, past retention ─► INCONCLUSIVE ─┬─ confirmed ─────► EMPTY
                   │                                           └─ a longer window
                   ├─ no longer at this step ──► EXPIRED ──────────────┴──┬──────► LANDED, by the longer window
                   │                                                      └──────► LOST, at every step
                   └─ anything else ───────────► FAILED ─── sync again

The table takes precedence over the run log: a window with an entry "landed" and no rows is due.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from opencost_kusto.batch import Batch, RequestOptions
from opencost_kusto.coverage.interval_set import IntervalSet
from opencost_kusto.coverage.retention import past_retention
from opencost_kusto.errors import ReasonCode
from opencost_kusto.kusto.client import Kusto, Row
from opencost_kusto.load.holdings import Holding, proof, read
from opencost_kusto.result import BatchResult, Outcome
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import BUILT_IN_STORE, PARTIAL, SYNC_RUNS, TABLES
from opencost_kusto.window import Window, stamp


class WindowState(StrEnum):
    """What is known of a window; the diagram above shows how one becomes another."""

    DUE = "due"
    QUEUED = "queued"
    LANDED = "landed"
    DAMAGED = "damaged"
    EMPTY = "empty"
    INCONCLUSIVE = "inconclusive"
    EXPIRED = "expired"
    LOST = "lost"
    FAILED = "failed"


# The longest period in one query, so that no answer grows with the length of a backfill.
_MONTH = timedelta(days=30)
# States of windows that need no request.
SETTLED = frozenset({WindowState.LANDED, WindowState.EMPTY})
# States in which only a longer window can still have the cost.
GONE = frozenset({WindowState.EXPIRED, WindowState.INCONCLUSIVE})


@dataclass(frozen=True, slots=True)
class RunLogEntry:
    """Latest run log entry of a batch; `requested_at` is when the run that requested it began.

    `partial` marks a batch that does not have the whole cost of its window. `retention` is the fewest windows that any
    OpenCost keeps of its table; a response of one that keeps more and has no cost is confirmed.
    """

    window: Window
    outcome: Outcome
    reason: str | None
    code: str | None
    rows: int | None
    requested_at: datetime
    cost: float | None = None
    aggregate: str | None = None
    partial: bool = False
    retention: Mapping[timedelta, int] = field(default_factory=lambda: BUILT_IN_STORE)

    @classmethod
    def of(cls, result: BatchResult, requested_at: datetime) -> RunLogEntry:
        """The entry that a result of this run becomes."""
        window = Window(result.window_start, result.window_end)
        said = (result.outcome, result.reason, result.reason_code, result.rows, requested_at)
        retention = _retention(result.table)
        return cls(window, *said, result.cost, result.aggregate, is_partial(result.options), retention)


def state(entry: RunLogEntry | None, held: Holding | None) -> WindowState:
    """Return what is known of the window of a batch."""
    if held is not None:
        return WindowState.LANDED if held.whole else WindowState.DAMAGED
    match entry.outcome if entry else None:
        case Outcome.QUEUED | Outcome.TIMED_OUT:
            return WindowState.QUEUED
        case Outcome.EMPTY if entry:
            late = (
                past_retention(entry.window, entry.requested_at, entry.retention)
                and entry.code != ReasonCode.CONFIRMED_EMPTY
            )
            return WindowState.INCONCLUSIVE if late else WindowState.EMPTY
        case Outcome.EXPIRED if entry:
            return WindowState.INCONCLUSIVE if entry.code == ReasonCode.INCONCLUSIVE else WindowState.EXPIRED
        case Outcome.LOST:
            return WindowState.LOST
        case Outcome.FAILED if entry:
            return WindowState.EXPIRED if entry.code == ReasonCode.EXPIRED else WindowState.FAILED
        case _:
            return WindowState.DUE


@dataclass(slots=True)
class DatasetState:
    """What is known of one dataset of one source: run log entries and holdings with their windows, by batch id."""

    table: Table
    source: str
    entries: dict[str, RunLogEntry] = field(default_factory=dict)
    held: dict[str, tuple[Window, Holding]] = field(default_factory=dict)

    def state(self, batch_id: str) -> WindowState:
        """What is known of a batch's window."""
        held = self.held.get(batch_id)
        return state(self.entries.get(batch_id), held and held[1])

    def window(self, batch_id: str) -> Window:
        """The window of a batch that is in either dictionary."""
        return self.held[batch_id][0] if batch_id in self.held else self.entries[batch_id].window

    def windows(self, states: Iterable[WindowState], options: RequestOptions | None = None) -> Iterator[Window]:
        """The windows in one of these states and with these options; without options, those that are not partial."""
        wanted = set(states)
        for id_ in self.entries.keys() | self.held.keys():
            if self.state(id_) in wanted and self._counts(id_, options):
                yield self.window(id_)

    def minutes(self, states: Iterable[WindowState], options: RequestOptions | None = None) -> IntervalSet:
        """The minutes of those windows."""
        return IntervalSet(self.windows(states, options))

    def _counts(self, id_: str, options: RequestOptions | None) -> bool:
        """Whether a batch was requested with these options, as its id says; without options, that it is not partial."""
        if options is not None:
            return Batch(self.table, self.source, self.window(id_), options).id == id_
        entry = self.entries.get(id_)
        # Without an entry the options are not known.
        return not entry.partial if entry else not any(option.partial for option in self.table.options)


def entries_query(sources: Sequence[str] | None, window: Window) -> str:
    """KQL for the latest run log entry of each batch whose window overlaps a window; None reads every source."""
    last = (
        "LoggedAt, CollectionTime, Source, TableName, WindowStart, WindowEnd, Aggregate, Outcome, Reason, ReasonCode,"
        " Rows, Cost, Options"
    )
    return f"{SYNC_RUNS.name} | {touching(sources, window)} | summarize arg_max({last}) by BatchId"


def held_query(table: Table, sources: Sequence[str] | None, window: Window) -> str:
    """KQL for the proof of each batch whose window overlaps a window; None reads every source."""
    # A scrape is of a moment, and its rows have no window.
    bounds = ("WindowStart", "WindowEnd") if table.cadence == "step" else ("Timestamp", "Timestamp")
    return proof(table, touching(sources, window, *bounds), extra=("Source", *dict.fromkeys(bounds)))


def dataset_states(
    kusto: Kusto, sources: Sequence[str] | None, tables: Sequence[Table], window: Window
) -> list[DatasetState]:
    """What is known of some datasets of some sources, or of all. Raises KustoError.

    Each month of the window is one query, and one for each table.
    """
    found = {(table.name, source): DatasetState(table, source) for table in tables for source in sources or ()}
    by_name = {table.name: table for table in tables}

    def of(name: str, whose: str) -> DatasetState:
        return found.setdefault((name, whose), DatasetState(by_name[name], whose))

    # A batch whose window lies in two months is read twice, whole each time.
    for month in window.cut(_MONTH):
        for table in tables:
            for row in kusto.query(held_query(table, sources, month), fresh=True):
                of(table.name, row["Source"]).held[row["BatchId"]] = _window(row, table), read(row, table)
        for row in kusto.query(entries_query(sources, month), fresh=True):
            if row["TableName"] in by_name:
                of(row["TableName"], row["Source"]).entries[row["BatchId"]] = _entry(row)
    return list(found.values())


def touching(sources: Sequence[str] | None, window: Window, first: str = "WindowStart", last: str = "WindowEnd") -> str:
    """KQL for the rows of some sources, or of all, whose window overlaps a window."""
    start, end = (f"datetime({stamp(bound)})" for bound in (window.start, window.end))
    whose = f"Source in ({', '.join(map(literal, sources))}) and " if sources is not None else ""
    return f"where {whose}{first} < {end} and {last} > {start}"


def _window(row: Row, table: Table) -> Window:
    if table.cadence == "step":
        return Window(row["WindowStart"].astimezone(UTC), row["WindowEnd"].astimezone(UTC))
    return Window.minute(row["Timestamp"].astimezone(UTC))


def _entry(row: Row) -> RunLogEntry:
    start, end, requested = (row[name].astimezone(UTC) for name in ("WindowStart", "WindowEnd", "CollectionTime"))
    rows = None if row["Rows"] is None else int(row["Rows"])
    said = (Outcome(row["Outcome"]), row["Reason"] or None, row["ReasonCode"] or None, rows, requested)
    more = (row["Cost"], row["Aggregate"] or None, is_partial(row["Options"]), _retention(row["TableName"]))
    return RunLogEntry(Window(start, end), *said, *more)


def is_partial(options: dict[str, Json] | None) -> bool:
    """Whether options, by OpenCost's names, leave out some of the cost of a window (`Option.partial`)."""
    return any((options or {}).get(name) for name in PARTIAL)


def _retention(name: str) -> Mapping[timedelta, int]:
    """The retention of the table of that name."""
    return next((table.retention for table in TABLES if table.name == name), {})
