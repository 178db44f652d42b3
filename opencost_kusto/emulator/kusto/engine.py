"""One database: its metadata, its rows in DuckDB, and queries over them.

Everything happens under one lock, so every method is atomic to every other thread.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import duckdb
import duckdb_kql
from duckdb_kql.server import RestColumn, Result
from duckdb_kql.types import kusto_type

from opencost_kusto.emulator.kusto.access import Access
from opencost_kusto.emulator.kusto.catalog import TYPES, Extent, Failure, KustoRefusal, Table, not_found
from opencost_kusto.emulator.kusto.functions import Function
from opencost_kusto.emulator.kusto.rows import HIDDEN, INGESTED, STALE, WITH_HIDDEN, Rows, merged, quoted
from opencost_kusto.emulator.kusto.translation import Translation, asks_for_hidden, shows_ingestion, translated

_PIPED: Final = "_CommandResult"
_UNKNOWN_FUNCTION: Final = re.compile(r"'function:(\w+)'")
_UNKNOWN_TABLE: Final = re.compile(r"Table with name (?:\S+\.)?(\S+) does not exist")


def result(columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> Result:
    """The answer of a command: columns by name and Kusto type."""
    return Result([RestColumn.derived(name, kind) for name, kind in columns.items()], list(rows))


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


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
        self._rows = Rows(database)

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
            if as_of is not None:
                self._rows.as_of(as_of)
            return self._run(text, parameters, self.database if as_of is None else STALE)

    def pipe(self, source: Result, operators: str) -> Result:
        """Run query operators, which start with a pipe, over the answer of a command."""
        columns = [(quoted(column.name), TYPES[column.kql].sql) for column in source.columns]
        with self.lock:
            shape = ", ".join(f"{name} {kind}" for name, kind in columns)
            self._rows.duckdb.execute(f"CREATE OR REPLACE TABLE {_PIPED} ({shape})")
            if source.rows:
                values = ", ".join(f"unnest(${at}::VARCHAR[])::{kind}" for at, (_, kind) in enumerate(columns, 1))
                texts = [
                    [None if row[at] is None else str(row[at]) for row in source.rows] for at in range(len(columns))
                ]
                self._rows.duckdb.execute(f"INSERT INTO {_PIPED} SELECT {values}", texts)
            try:
                piped = {_PIPED: [column.name for column in source.columns]}
                return self._run(_PIPED + operators, None, self.database, piped)
            finally:
                self._rows.duckdb.execute(f"DROP TABLE {_PIPED}")

    def create(self, table: Table) -> None:
        """Create a table."""
        with self.lock, self._duckdb_errors():
            self._rows.create(table)
            self.tables[table.name] = table

    def add_columns(self, table: Table, columns: Mapping[str, str]) -> None:
        """Add columns at the end of a table."""
        with self.lock, self._duckdb_errors():
            for name, kind in columns.items():
                self._rows.add_column(table, name, kind)

    def drop(self, table: Table) -> None:
        """Drop a table and its rows."""
        with self.lock:
            self._rows.drop(table)
            del self.tables[table.name]

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
        with self.lock, self._duckdb_errors():
            now = self.clock()
            extent = Extent(0, created or now, tuple(tags))
            rows = self._rows.insert(table, select, parameters, columns=columns, extent=extent.id, now=now)
            table.extents[extent.id] = replace(extent, rows=rows)
            return table.extents[extent.id]

    def append(self, table: Table, query: str, tags: Sequence[str], created: datetime | None = None) -> Extent:
        """Insert the rows of a query as one extent; columns go by position, as in Kusto."""
        with self.lock, self._duckdb_errors():
            made = self._selecting(query)
            self._same_types(table, list(self._shape(made).values()))
            bound = made.bound(self.clock())
            return self.insert(table, made.sql, bound, tags, columns=list(table.columns), created=created)

    def shape(self, query: str) -> dict[str, str]:
        """The columns of a query's result, by name and Kusto type."""
        with self.lock, self._duckdb_errors():
            return self._shape(self._selecting(query))

    def drop_extents(self, table: Table, extents: Sequence[str]) -> None:
        """Drop extents of a table with their rows and tags."""
        with self.lock, self._duckdb_errors():
            self._rows.drop_extents(table, extents, self.clock())
            for id in extents:
                del table.extents[id]

    def replace(self, table: Table, dropped: Sequence[str], moved: Mapping[str, Table]) -> dict[str, Extent]:
        """Drop extents of a table and move others into it, all or nothing; the moved ones by their old ids."""
        with self.lock, self._transaction():
            self.drop_extents(table, dropped)
            return self._move(table, moved)

    def matching(self, table: Table, predicate: str) -> list[tuple[int, str]]:
        """The rows of a table, by id and extent, that a query which keeps their hidden columns returns."""
        with self.lock, self._duckdb_errors():
            made = self._translated(predicate, None, WITH_HIDDEN)
            return self._rows.matching(table, made.sql, made.bound(self.clock()))

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

    def _run(
        self, text: str, parameters: Mapping[str, Any] | None, catalog: str, more: Mapping[str, list[str]] | None = None
    ) -> Result:
        with self._duckdb_errors():
            hidden = catalog == self.database and asks_for_hidden(text, self.functions)
            made = self._translated(text, parameters, WITH_HIDDEN if hidden else catalog, more)
            # Executed at once: a relation is planned once for its types and once for its rows.
            answer = self._rows.duckdb.execute(made.sql, made.bound(self.clock()))
            columns = [RestColumn.derived(name, kusto_type(kind)) for name, kind, *_ in answer.description or ()]
            found = Result(columns, answer.fetchall())
        return self._without_hidden(text, found) if hidden else found

    def _without_hidden(self, text: str, found: Result) -> Result:
        wanted = {INGESTED} if shows_ingestion(text, self.functions) else set()
        hidden = set(HIDDEN) - wanted
        kept = [at for at, column in enumerate(found.columns) if column.name not in hidden]
        return Result([found.columns[at] for at in kept], [[row[at] for at in kept] for row in found.rows])

    def _translated(
        self,
        text: str,
        parameters: Mapping[str, Any] | None,
        catalog: str,
        more: Mapping[str, list[str]] | None = None,
    ) -> Translation:
        before = HIDDEN if catalog == WITH_HIDDEN else ()
        return translated(
            text,
            catalog=catalog,
            schema={**{name: [*before, *one.columns] for name, one in self.tables.items()}, **(more or {})},
            functions=self.functions,
            parameters=parameters,
            now=self.clock(),
        )

    def _selecting(self, query: str) -> Translation:
        """A query as SQL without hidden columns, whether or not it asks for them."""
        if not asks_for_hidden(query, self.functions):
            return self._translated(query, None, self.database)
        made = self._translated(query, None, WITH_HIDDEN)
        kept = [quoted(name) for name in self._shape(made) if name not in HIDDEN]
        return made._replace(sql=f"SELECT {', '.join(kept)} FROM ({made.sql})")

    def _shape(self, made: Translation) -> dict[str, str]:
        described = self._rows.duckdb.execute(f"DESCRIBE {made.sql}", made.bound(self.clock()))
        return {row[0]: kusto_type(row[1]) for row in described.fetchall()}

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
            with self._duckdb_errors(), self._rows.transaction():
                yield
        except BaseException:
            for table, extents in before:
                table.extents = extents
            raise

    @contextmanager
    def _duckdb_errors(self) -> Iterator[None]:
        try:
            yield
        except (duckdb.Error, duckdb_kql.KqlError, ValueError, TypeError) as wrong:
            unknown = _UNKNOWN_TABLE.search(str(wrong))
            kind = "SyntaxException" if isinstance(wrong, duckdb_kql.KqlSyntaxError) else "SemanticException"
            message = f"Failed to resolve table or column expression named '{unknown[1]}'" if unknown else str(wrong)
            if call := _UNKNOWN_FUNCTION.search(message):
                message = f"Unknown function: '{call[1]}'"
            raise KustoRefusal(
                f"{kind.removesuffix('Exception')} error: {message}", kind=f"Kusto.Data.Exceptions.{kind}"
            ) from wrong
