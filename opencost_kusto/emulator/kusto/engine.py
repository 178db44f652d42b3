"""The database: tables whose rows lie in extents on DuckDB, and queries over them through duckdb-kql.

Rows lie in a second DuckDB database that has one column more, the extent; what a query sees are views without
it. Everything happens under one lock, so every method is atomic to every other thread.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import duckdb
import duckdb_kql
from duckdb_kql.engine import kql, schema
from duckdb_kql.server import RestColumn, Result
from duckdb_kql.stored_functions import ResolvedFunctions, StoredFunction, parse_functions
from duckdb_kql.types import kusto_type

from opencost_kusto.emulator.kusto.catalog import TYPES, Extent, Failure, KustoRefusal, Table, not_found
from opencost_kusto.emulator.kusto.syntax import masked

_ROWS: Final = "_extents"
_EXTENT_ID: Final = "_ExtentId"
_PIPED: Final = "_CommandResult"
_EXTENT_ID_CALL: Final = re.compile(r"\bextent_id\s*\(\s*\)")
_UNKNOWN_FUNCTION: Final = re.compile(r"'function:(OpenCost\w+)'")
_UNKNOWN_TABLE: Final = re.compile(r"Table with name (?:\S+\.)?(\S+) does not exist")


def quoted(name: str) -> str:
    """A name as SQL wants it."""
    return '"' + name.replace('"', '""') + '"'


def result(columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> Result:
    """The answer of a command: columns by name and Kusto type."""
    return Result([RestColumn.derived(name, kind) for name, kind in columns.items()], list(rows))


class Engine:
    """One database in memory."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.lock = threading.RLock()
        self.tables: dict[str, Table] = {}
        self.failures: list[Failure] = []
        self.functions: dict[str, StoredFunction] = {}
        self._registry: ResolvedFunctions = {None: self.functions}
        self._duckdb = duckdb_kql.connect()
        self._duckdb.execute(f"ATTACH ':memory:' AS {_ROWS}; ATTACH ':memory:' AS {quoted(database)}")
        self._duckdb.execute(f"USE {quoted(database)}")

    def close(self) -> None:
        """Forget everything."""
        with self.lock:
            self._duckdb.close()

    def table(self, name: str) -> Table:
        """The table of this name."""
        try:
            return self.tables[name]
        except KeyError:
            raise not_found("Table", name) from None

    def query(self, text: str, parameters: dict[str, Any] | None = None) -> Result:
        """Run a KQL query."""
        if not _EXTENT_ID_CALL.search(masked(text)):
            return self._run(text, parameters, self.database)
        found = self._run(_with_extent_id(text), parameters, _ROWS)
        # What bears the hidden name is the hidden column: a call's own result is named Column1.
        kept = [at for at, column in enumerate(found.columns) if column.name != _EXTENT_ID]
        return Result([found.columns[at] for at in kept], [[row[at] for at in kept] for row in found.rows])

    def pipe(self, source: Result, operators: str) -> Result:
        """Run query operators, which start with a pipe, over the answer of a command."""
        columns = [(quoted(column.name), TYPES[column.kql].sql) for column in source.columns]
        with self.lock:
            shape = ", ".join(f"{name} {kind}" for name, kind in columns)
            self._duckdb.execute(f"CREATE OR REPLACE TABLE {_PIPED} ({shape})")
            if source.rows:
                values = ", ".join(f"unnest(${at}::VARCHAR[])::{kind}" for at, (_, kind) in enumerate(columns, 1))
                texts = [
                    [None if row[at] is None else str(row[at]) for row in source.rows] for at in range(len(columns))
                ]
                self._duckdb.execute(f"INSERT INTO {_PIPED} SELECT {values}", texts)
            try:
                return self.query(_PIPED + operators)
            finally:
                self._duckdb.execute(f"DROP TABLE {_PIPED}")

    def create(self, table: Table) -> None:
        """Create a table."""
        with self.lock:
            columns = ", ".join(f"{quoted(name)} {TYPES[kind].sql}" for name, kind in table.columns.items())
            with self._duckdb_errors():
                self._duckdb.execute(f"CREATE TABLE {_rows(table)} ({_EXTENT_ID} UUID, {columns})")
            self.tables[table.name] = table
            self._show(table)

    def add_columns(self, table: Table, columns: Mapping[str, str]) -> None:
        """Add columns at the end of a table."""
        with self.lock, self._duckdb_errors():
            for name, kind in columns.items():
                self._duckdb.execute(f"ALTER TABLE {_rows(table)} ADD COLUMN {quoted(name)} {TYPES[kind].sql}")
                table.columns[name] = kind
            self._show(table)

    def drop(self, table: Table) -> None:
        """Drop a table and its rows."""
        with self.lock:
            self._duckdb.execute(f"DROP VIEW {quoted(table.name)}; DROP TABLE {_rows(table)}")
            del self.tables[table.name]

    def insert(
        self, table: Table, select: str, parameters: Mapping[str, Any], tags: Sequence[str], *, columns: Sequence[str]
    ) -> Extent:
        """Insert the rows of a SELECT as one extent, or nothing."""
        with self.lock, self._duckdb_errors():
            extent = Extent(0, tuple(tags))
            names = ", ".join(quoted(name) for name in (_EXTENT_ID, *columns))
            statement = f"INSERT INTO {_rows(table)} ({names}) SELECT $extent::UUID, * FROM ({select})"
            counted = self._duckdb.execute(statement, {**parameters, "extent": extent.id}).fetchone()
            extent = Extent(int(counted[0]) if counted else 0, extent.tags, extent.id, extent.created)
            table.extents[extent.id] = extent
            return extent

    def append(self, name: str, query: str, tags: Sequence[str]) -> Extent:
        """`.set-or-append`: the rows of a query as one extent; columns go by position, as in Kusto."""
        with self.lock, self._duckdb_errors():
            sql = self._selecting(query)
            shape = {row[0]: kusto_type(row[1]) for row in self._duckdb.execute(f"DESCRIBE {sql}").fetchall()}
            select = str(sql)
            if shape.pop(_EXTENT_ID, None):
                select = f"SELECT * EXCLUDE ({_EXTENT_ID}) FROM ({select})"
            if name not in self.tables:
                self.create(Table(name, shape))
            table = self.tables[name]
            if list(shape.values()) != list(table.columns.values()):
                raise KustoRefusal(f"Query schema does not match table schema: {_text(shape)}; {_text(table.columns)}")
            return self.insert(table, select, sql.parameters, tags, columns=list(table.columns))

    def _selecting(self, query: str) -> Any:
        """A KQL query as SQL with its parameters; where it asks for extents, their hidden column is among its own."""
        hidden = _EXTENT_ID_CALL.search(masked(query)) is not None
        text, database = (_with_extent_id(query), _ROWS) if hidden else (query, self.database)
        return duckdb_kql.to_sql(text, schema(self._duckdb), None, database, functions=self._registry)

    def replace(self, table: Table, dropped: Sequence[str], moved: Mapping[str, Table]) -> dict[str, Extent]:
        """Drop extents of a table and move others into it, all or nothing; the moved ones by their old ids."""
        with self.lock:
            arriving = {id: Extent(source.extents[id].rows, source.extents[id].tags) for id, source in moved.items()}
            names = ", ".join(quoted(name) for name in table.columns)
            with self._transaction():
                self._delete(table, dropped)
                for id, source in moved.items():
                    columns = ", ".join(quoted(n) if n in source.columns else "NULL" for n in table.columns)
                    self._duckdb.execute(
                        f"INSERT INTO {_rows(table)} ({_EXTENT_ID}, {names}) "
                        f"SELECT $new::UUID, {columns} FROM {_rows(source)} WHERE {_EXTENT_ID} = $old::UUID",
                        {"new": arriving[id].id, "old": id},
                    )
                    self._delete(source, [id])
            for id in dropped:
                del table.extents[id]
            for id, source in moved.items():
                del source.extents[id]
                table.extents[arriving[id].id] = arriving[id]
            return arriving

    def define(self, definition: str) -> StoredFunction:
        """Create or replace a stored function from the whole text of its command."""
        with self.lock:
            try:
                parsed = parse_functions([definition]) or {}
            except ValueError as wrong:
                raise KustoRefusal(f"Syntax error: {wrong}") from wrong
            function = next(iter(parsed[None].values()))
            self.functions[function.name] = function
            return function

    def _run(self, text: str, parameters: dict[str, Any] | None, database: str) -> Result:
        with self.lock, self._duckdb_errors():
            relation = kql(self._duckdb, text, parameters or None, database, False, functions=self._registry)
            kinds = [kusto_type(kind) for kind in relation.types]
            columns = [RestColumn.derived(name, kind) for name, kind in zip(relation.columns, kinds, strict=True)]
            return Result(columns, relation.fetchall())

    def _delete(self, table: Table, ids: Sequence[str]) -> None:
        self._duckdb.execute(f"DELETE FROM {_rows(table)} WHERE {_EXTENT_ID} IN (SELECT unnest($1::UUID[]))", [ids])

    def _show(self, table: Table) -> None:
        names = ", ".join(quoted(name) for name in table.columns)
        self._duckdb.execute(f"CREATE OR REPLACE VIEW {quoted(table.name)} AS SELECT {names} FROM {_rows(table)}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._duckdb_errors():
            self._duckdb.execute("BEGIN")
            try:
                yield
            except BaseException:
                self._duckdb.execute("ROLLBACK")
                raise
            self._duckdb.execute("COMMIT")

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


def _rows(table: Table) -> str:
    return f"{_ROWS}.{quoted(table.name)}"


def _text(columns: Mapping[str, str]) -> str:
    return ",".join(f"{name}:{kind}" for name, kind in columns.items())


def _with_extent_id(text: str) -> str:
    parts, start = [], 0
    for call in _EXTENT_ID_CALL.finditer(masked(text)):
        parts += [text[start : call.start()], f"coalesce({_EXTENT_ID}, {_EXTENT_ID})"]
        start = call.end()
    return "".join([*parts, text[start:]])
