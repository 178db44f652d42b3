"""What Kusto knows of a source's windows: the last word of the run ledger on each batch, and the rows in the table."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from opencost_kusto.batch import Batch, RequestOptions
from opencost_kusto.coverage.retention import past_retention, refused
from opencost_kusto.kusto.client import Kusto, Row
from opencost_kusto.result import Outcome
from opencost_kusto.schema.aggregate import CONTAINER_ROWS
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import SYNC_RUNS
from opencost_kusto.window import Window, stamp

# Outcomes with which rows were sent: they are there when the table holds as many.
_SENT = (Outcome.LANDED, Outcome.ALREADY_LANDED, Outcome.QUEUED, Outcome.TIMED_OUT)


@dataclass(frozen=True, slots=True)
class RunLogEntry:
    """The last the run ledger says of a batch; `asked` is when OpenCost was asked.

    `partial` is a batch of some types of assets only.
    """

    window: Window
    outcome: str
    reason: str | None
    rows: int | None
    asked: datetime
    cost: float | None = None
    aggregate: str | None = None
    partial: bool = False

    @property
    def forgotten(self) -> bool:
        """Whether OpenCost had forgotten the window; an empty answer that came too late proves nothing else."""
        if self.outcome == Outcome.EMPTY:
            return self.doubtful
        return self.outcome == Outcome.EXPIRED or (self.outcome == Outcome.FAILED and refused(self.reason))

    @property
    def doubtful(self) -> bool:
        """Whether all that is known is an empty answer that may have come too late; a reason would settle it."""
        late = self.outcome in (Outcome.EMPTY, Outcome.EXPIRED) and past_retention(self.window, self.asked)
        return late and self.reason is None

    @property
    def known_empty(self) -> bool:
        """Whether OpenCost was asked in time, and had no cost for the window."""
        return self.outcome == Outcome.EMPTY and not self.doubtful

    @property
    def sent(self) -> bool:
        """Whether OpenCost gave rows of the window, which were sent, or were there already."""
        return self.outcome in _SENT


@dataclass(slots=True)
class DatasetState:
    """What Kusto knows of one dataset of one source, by batch id; `held` is how many rows its table holds."""

    table: Table
    source: str
    words: dict[str, RunLogEntry] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)

    def whole(self, batch_id: str) -> bool:
        """Whether the table holds the batch, and as many rows of it as the ledger says were sent."""
        word, held = self.words.get(batch_id), self.held.get(batch_id)
        return word is not None and held is not None and word.sent and word.rows == held

    def there(self, options: RequestOptions | None = None) -> list[RunLogEntry]:
        """The words on batches that are whole, asked with these options or with any."""
        return [self.words[id_] for id_ in self._same(options, filter(self.whole, self.words))]

    def settled(self, options: RequestOptions | None = None) -> IntervalSet:
        """The minutes that are there or empty, in whatever grain, asked with these options or with any.

        Rows of which the ledger knows nothing may be half a batch, so they do not settle anything; nor do some types
        of assets, unless it is they that are wanted.
        """
        ids = (id_ for id_, word in self.words.items() if word.known_empty or self.whole(id_))
        return IntervalSet(self.words[id_].window for id_ in self._same(options, ids))

    def lost(self, options: RequestOptions | None = None) -> IntervalSet:
        """The minutes that OpenCost had in no grain any more when it was asked."""
        ids = (id_ for id_, word in self.words.items() if word.outcome == Outcome.LOST)
        return IntervalSet(self.words[id_].window for id_ in self._same(options, ids))

    def _same(self, options: RequestOptions | None, ids: Iterable[str]) -> Iterator[str]:
        """Those batches that were asked with these options, as their ids tell; or with any that leave nothing out."""
        for id_ in ids:
            word = self.words[id_]
            same = options is not None and Batch(self.table, self.source, word.window, options).id == id_
            if same or (options is None and not word.partial):
                yield id_


class IntervalSet:
    """A set of minutes, given as windows that may overlap."""

    def __init__(self, windows: Iterable[Window]) -> None:
        self._starts: list[datetime] = []
        self._ends: list[datetime] = []
        for window in sorted(windows):
            if self._ends and window.start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], window.end)
            else:
                self._starts.append(window.start)
                self._ends.append(window.end)

    def __contains__(self, window: Window) -> bool:
        """Whether every minute of the window is in the set."""
        at = bisect_right(self._starts, window.start) - 1
        return at >= 0 and window.end <= self._ends[at]

    def __iter__(self) -> Iterator[Window]:
        """The stretches of minutes without a hole, oldest first."""
        return map(Window, self._starts, self._ends)

    def holes(self, window: Window) -> Iterator[Window]:
        """The stretches of a window whose minutes are not in the set, oldest first."""
        start = window.start
        for at in range(max(bisect_right(self._starts, start) - 1, 0), len(self._starts)):
            if self._starts[at] >= window.end:
                break
            if self._starts[at] > start:
                yield Window(start, self._starts[at])
            start = max(start, self._ends[at])
        if start < window.end:
            yield Window(start, window.end)


def cost_once(words: Iterable[RunLogEntry]) -> float | None:
    """The cost of windows that may overlap, each minute counted once; None when none has a cost.

    By container where there is such, and in the shortest window there is.
    """
    cost, counted = None, IntervalSet([])
    known = [word for word in words if word.cost is not None]
    for word in sorted(known, key=lambda one: (one.aggregate != CONTAINER_ROWS, one.window.minutes, one.cost)):
        free = sum(hole.minutes for hole in counted.holes(word.window))
        cost = (cost or 0.0) + (word.cost or 0.0) * free / word.window.minutes
        counted = IntervalSet([*counted, word.window])
    return cost


def words_query(source: str | None, span: Window) -> str:
    """The last word of the run ledger on each batch whose window touches the span; None asks of every source."""
    last = "CollectionTime, Source, TableName, WindowStart, WindowEnd, Aggregate, Outcome, Reason, Rows, Cost, Options"
    return f"{SYNC_RUNS.name} | {_touching(source, span)} | summarize arg_max({last}) by BatchId"


def held_query(table: Table, source: str | None, span: Window) -> str:
    """The rows a table holds of each batch whose window touches the span; None asks of every source."""
    # A scrape is of a moment, and its rows have no window.
    bounds = ("WindowStart", "WindowEnd") if table.cadence == "step" else ("Timestamp", "Timestamp")
    return f"{table.name} | {_touching(source, span, *bounds)} | summarize Rows = count() by Source, BatchId"


def known(kusto: Kusto, source: str | None, tables: Sequence[Table], span: Window) -> list[DatasetState]:
    """What Kusto knows of some datasets, of one source or of all: one query, and one for each table.

    One for each table and source; for a source of which it knows nothing too. Raises KustoError.
    """
    found = {(table.name, source): DatasetState(table, source) for table in tables if source is not None}
    by_name = {table.name: table for table in tables}

    def of(name: str, whose: str) -> DatasetState:
        return found.setdefault((name, whose), DatasetState(by_name[name], whose))

    for table in tables:
        for row in kusto.query(held_query(table, source, span)):
            of(table.name, row["Source"]).held[row["BatchId"]] = int(row["Rows"])
    for row in kusto.query(words_query(source, span)):
        if row["TableName"] in by_name:
            of(row["TableName"], row["Source"]).words[row["BatchId"]] = _word(row)
    return list(found.values())


def _touching(source: str | None, span: Window, first: str = "WindowStart", last: str = "WindowEnd") -> str:
    start, end = (f"datetime({stamp(bound)})" for bound in (span.start, span.end))
    whose = f"Source == {literal(source)} and " if source is not None else ""
    return f"where {whose}{first} < {end} and {last} > {start}"


def _word(row: Row) -> RunLogEntry:
    start, end, asked = (row[name].astimezone(UTC) for name in ("WindowStart", "WindowEnd", "CollectionTime"))
    rows = None if row["Rows"] is None else int(row["Rows"])
    said = row["Outcome"], row["Reason"] or None
    partial = some_only(row["Options"])
    return RunLogEntry(Window(start, end), *said, rows, asked, row["Cost"], row["Aggregate"] or None, partial)


def some_only(options: dict[str, Json] | None) -> bool:
    """Whether with these options, by OpenCost's names, only some of what costs is asked for; None is not known."""
    return bool((options or {}).get("filterTypes"))
