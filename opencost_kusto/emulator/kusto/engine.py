"""One database: its metadata, its rows in DuckDB, and queries over them.

Everything happens under one lock, so every method is atomic to every other thread.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from duckdb_kql.server import RestColumn, Result

from opencost_kusto.emulator.kusto.access import Access
from opencost_kusto.emulator.kusto.catalog import Extent, Failure, KustoRefusal, Table, not_found
from opencost_kusto.emulator.kusto.functions import Function, called, identifiers
from opencost_kusto.emulator.kusto.queries import Queries, kusto_errors
from opencost_kusto.emulator.kusto.rows import Rows, merged
from opencost_kusto.times import utc_now


def result(columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> Result:
    """The result of a command: columns by name and Kusto type."""
    return Result([RestColumn.derived(name, kind) for name, kind in columns.items()], list(rows))


class Engine:
    """One database in memory; `clock` is the service's."""

    def __init__(self, database: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.database = database
        self.clock = clock
        self.lock = threading.RLock()
        self.tables: dict[str, Table] = {}
        self.functions: dict[str, Function] = {}
        self.failures: list[Failure] = []
        self.access = Access(database)
        # https://learn.microsoft.com/kusto/management/update-table-command
        self.most_deleted = 5_000_000
        self._rows = Rows(database)
        self._queries = Queries(database, self._rows, self.tables, self.functions, lambda: self.clock())

    def close(self) -> None:
        """Drop everything."""
        with self.lock:
            self._rows.close()

    def keep_history(self) -> None:
        """Keep rows that are gone from now on, so that queries can see an earlier state."""
        with self.lock:
            self._rows.keep_history(self.tables.values())

    def table(self, name: str) -> Table:
        """The table of this name."""
        try:
            return self.tables[name]
        except KeyError:
            raise not_found("Table", name) from None

    def query(self, text: str, parameters: Mapping[str, Any] | None = None, *, as_of: datetime | None = None) -> Result:
        """Run a KQL query; with `as_of`, over what the tables held then."""
        with self.lock:
            return self._queries.run(text, parameters, as_of)

    def guarded(self, text: str, policy: str) -> list[str]:
        """The tables that a query, or a function it calls, names and on which a policy is enabled."""
        guarded = {name for name, table in self.tables.items() if (table.policies.get(policy) or {}).get("IsEnabled")}
        if not guarded:
            return []
        texts = [text, *(one.body for one in called(text, self.functions).values())]
        return sorted(guarded & set().union(*map(identifiers, texts)))

    def pipe(self, source: Result, operators: str) -> Result:
        """Run query operators, which start with a pipe, over the result of a command."""
        with self.lock:
            return self._queries.pipe(source, operators)

    def create(self, table: Table) -> None:
        """Create a table."""
        with self.lock, kusto_errors():
            self._rows.create(table)
            self.tables[table.name] = table

    def add_columns(self, table: Table, columns: Mapping[str, str]) -> None:
        """Add columns at the end of a table."""
        with self.lock, kusto_errors():
            for name, kind in columns.items():
                self._rows.add_column(table, name, kind)

    def restrict(self, table: Table, query: str | None) -> None:
        """Row-level security: queries see of a table what this one returns; None lifts it."""
        with self.lock, kusto_errors():
            self._rows.restrict(table, None if query is None else self._queries.unrestricted(query))

    def drop(self, table: Table) -> None:
        """Drop a table and its rows."""
        with self.lock:
            self._rows.drop(table)
            del self.tables[table.name]
            self.access.tables.pop(table.name, None)

    def insert(
        self,
        table: Table,
        select: str,
        parameters: Mapping[str, Any],
        tags: Sequence[str],
        *,
        columns: Sequence[str],
        created: datetime | None = None,
    ) -> Extent:
        """Insert the rows of a SELECT as one extent, or nothing."""
        with self.lock, kusto_errors():
            now = self.clock()
            extent = Extent(0, created or now, tuple(tags))
            rows = self._rows.insert(table, select, parameters, columns=columns, extent=extent.id, now=now)
            table.extents[extent.id] = replace(extent, rows=rows)
            return table.extents[extent.id]

    def append(self, table: Table, query: str, tags: Sequence[str], created: datetime | None = None) -> Extent:
        """Insert the rows of a query as one extent; columns go by position, as in Kusto."""
        with self.lock, kusto_errors():
            made = self._queries.selecting(query)
            self._same_types(table, list(self._queries.shape(made).values()))
            bound = made.bound(self.clock())
            return self.insert(table, made.sql, bound, tags, columns=list(table.columns), created=created)

    def shape(self, query: str) -> dict[str, str]:
        """The columns of a query's result, by name and Kusto type."""
        with self.lock:
            return self._queries.shape(self._queries.selecting(query))

    def drop_extents(self, table: Table, extents: Sequence[str]) -> None:
        """Drop extents of a table with their rows and tags."""
        with self.lock, kusto_errors():
            self._rows.drop_extents(table, extents, self.clock())
            for id in extents:
                del table.extents[id]

    def matching(self, table: Table, predicate: str) -> list[tuple[int, str]]:
        """The rows of a table, by id and extent, that a query which keeps their hidden columns returns."""
        with self.lock:
            return self._queries.matching(table, predicate)

    def update(
        self, table: Table, doomed: Sequence[tuple[int, str]], append: str | None, moved: Mapping[str, Table]
    ) -> list[Extent]:
        """Soft-delete rows, then append those of a query or move extents, all or nothing; returns new extents.

        Both read the tables as they were before. An extent that lost rows is another, with the same tags and times.
        """
        with self.lock, self._transaction():
            arriving = []
            if append is not None:
                arriving.append(self.append(table, append, []))
            arriving += self._move(table, moved).values()
            self._rows.remove(table, [row for row, _ in doomed], self.clock())
            for id in dict.fromkeys(extent for _, extent in doomed):
                lost = sum(extent == id for _, extent in doomed)
                old = table.extents.pop(id)
                new = replace(old, id=str(uuid.uuid4()), rows=old.rows - lost, deleted=old.deleted + lost)
                table.extents[new.id] = new
                self._rows.rename(table, [id], new.id)
            return arriving

    def merge(self, table: Table, extents: Sequence[str]) -> Extent:
        """Merge extents into one, as Kusto does at any time."""
        with self.lock:
            new = merged([table.extents.pop(id) for id in extents])
            self._rows.rename(table, extents, new.id)
            table.extents[new.id] = new
            return new

    def _move(self, table: Table, moved: Mapping[str, Table]) -> dict[str, Extent]:
        arriving = {}
        for id, source in moved.items():
            arriving[id] = replace(source.extents.pop(id), id=str(uuid.uuid4()))
            self._rows.move(source, id, table, arriving[id].id, self.clock())
            table.extents[arriving[id].id] = arriving[id]
        return arriving

    def _same_types(self, table: Table, kinds: list[str]) -> None:
        if kinds != list(table.columns.values()):
            raise KustoRefusal(
                f"Query schema does not match table schema: the query has {','.join(kinds)}; "
                f"'{table.name}' has {','.join(table.columns.values())}"
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        before = [(table, dict(table.extents)) for table in self.tables.values()]
        try:
            with kusto_errors(), self._rows.transaction():
                yield
        except BaseException:
            for table, extents in before:
                table.extents = extents
            raise
