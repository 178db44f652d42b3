"""What Kusto knows of a source's windows: the last word of the run ledger on each batch, and the rows in the table."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from opencost_kusto.batch import Batch, Options
from opencost_kusto.grain import aged, refused
from opencost_kusto.kql import literal
from opencost_kusto.kusto import Kusto, Row
from opencost_kusto.report import ALREADY_THERE, EMPTY, FAILED, LANDED, LOST, QUEUED, TIMED_OUT
from opencost_kusto.schema import Table
from opencost_kusto.tables import SYNC_RUNS
from opencost_kusto.window import Window, stamp

# Outcomes with which rows were sent: they are there when the table holds as many.
_SENT = (LANDED, ALREADY_THERE, QUEUED, TIMED_OUT)


@dataclass(frozen=True, slots=True)
class Word:
    """The last the run ledger says of a batch; `asked` is when OpenCost was asked."""

    window: Window
    outcome: str
    reason: str | None
    rows: int | None
    asked: datetime

    @property
    def forgotten(self) -> bool:
        """Whether OpenCost had forgotten the window; an empty answer that came too late proves nothing else."""
        late = self.outcome == EMPTY and aged(self.window, self.asked)
        return late or (self.outcome == FAILED and refused(self.reason))

    @property
    def known_empty(self) -> bool:
        """Whether OpenCost was asked in time, and had no cost for the window."""
        return self.outcome == EMPTY and not self.forgotten

    @property
    def is_answer(self) -> bool:
        """Whether OpenCost gave what it had of the window."""
        return self.outcome in _SENT or self.known_empty


@dataclass(frozen=True, slots=True)
class Held:
    """What a table holds of a batch."""

    window: Window
    rows: int


@dataclass(slots=True)
class Known:
    """What Kusto knows of one dataset of one source, by batch id."""

    table: Table
    source: str
    words: dict[str, Word] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)

    def whole(self, batch_id: str) -> bool:
        """Whether the table holds the batch, and as many rows of it as the ledger says were sent."""
        word, held = self.words.get(batch_id), self.held.get(batch_id)
        return word is not None and held is not None and word.outcome in _SENT and word.rows == held.rows

    def settled(self, options: Options) -> Minutes:
        """The minutes that are there or empty, asked with the same options in whatever grain.

        Rows of which the ledger knows nothing may be half a batch, so they do not settle anything.
        """
        there = (id_ for id_, word in self.words.items() if word.known_empty or self.whole(id_))
        return Minutes(self._asked_with(options, there))

    def lost(self, options: Options) -> Minutes:
        """The minutes that OpenCost had in no grain any more."""
        return Minutes(self._asked_with(options, (id_ for id_, word in self.words.items() if word.outcome == LOST)))

    def _asked_with(self, options: Options, ids: Iterable[str]) -> Iterator[Window]:
        """The windows of those batches that were asked with these options, as their ids tell."""
        for id_ in ids:
            window = self.words[id_].window
            if Batch(self.table, self.source, window, options).id == id_:
                yield window


class Minutes:
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


def words_query(source: str, span: Window) -> str:
    """The last word of the run ledger on each batch of a source whose window touches the span."""
    last = "CollectionTime, TableName, WindowStart, WindowEnd, Outcome, Reason, Rows"
    return f"{SYNC_RUNS.name} | {_touching(source, span)} | summarize arg_max({last}) by BatchId"


def held_query(table: Table, source: str, span: Window) -> str:
    """The rows a table holds of each batch of a source whose window touches the span."""
    return f"{table.name} | {_touching(source, span)} | summarize Rows = count() by BatchId, WindowStart, WindowEnd"


def known(kusto: Kusto, source: str, tables: Iterable[Table], span: Window) -> list[Known]:
    """What Kusto knows of some datasets of a source: one query, and one for each table. Raises KustoError."""
    found = [Known(table, source) for table in tables]
    by_table = {one.table.name: one for one in found}
    for one in found:
        for row in kusto.query(held_query(one.table, source, span)):
            one.held[row["BatchId"]] = Held(_window(row), int(row["Rows"]))
    for row in kusto.query(words_query(source, span)):
        if row["TableName"] in by_table:
            rows = None if row["Rows"] is None else int(row["Rows"])
            word = Word(
                _window(row), row["Outcome"], row["Reason"] or None, rows, row["CollectionTime"].astimezone(UTC)
            )
            by_table[row["TableName"]].words[row["BatchId"]] = word
    return found


def _touching(source: str, span: Window) -> str:
    start, end = (f"datetime({stamp(bound)})" for bound in (span.start, span.end))
    return f"where Source == {literal(source)} and WindowStart < {end} and WindowEnd > {start}"


def _window(row: Row) -> Window:
    return Window(row["WindowStart"].astimezone(UTC), row["WindowEnd"].astimezone(UTC))
