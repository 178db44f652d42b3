"""Queries over the tables of a database: KQL in, described rows out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import duckdb
import duckdb_kql
from duckdb_kql.server import RestColumn, Result
from duckdb_kql.types import kusto_type

from opencost_kusto.emulator.kusto.catalog import TYPES, KustoRefusal, Table
from opencost_kusto.emulator.kusto.functions import Function, identifiers
from opencost_kusto.emulator.kusto.literals import literals
from opencost_kusto.emulator.kusto.names import declared
from opencost_kusto.emulator.kusto.rows import ALL, HIDDEN, INGESTED, STALE, WITH_HIDDEN, Rows, quoted
from opencost_kusto.emulator.kusto.translation import Translation, requests_hidden, shows_ingestion, translated

_PIPED: Final = "_CommandResult"
_LITERALS: Final = "_Literals"
_UNKNOWN_FUNCTION: Final = re.compile(r"'function:(\w+)'")
_UNKNOWN_TABLE: Final = re.compile(r"Table with name (?:\S+\.)?(\S+) does not exist")


class Queries:
    """What reads a database; every method is called under its lock and raises KustoRefusal."""

    def __init__(
        self,
        database: str,
        rows: Rows,
        tables: Mapping[str, Table],
        functions: Mapping[str, Function],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._rows = rows
        self._tables = tables
        self._functions = functions
        self._clock = clock

    def run(self, text: str, parameters: Mapping[str, Any] | None, as_of: datetime | None) -> Result:
        """Run a KQL query; with `as_of`, over what the tables held then, unless it reads hidden columns."""
        if requests_hidden(text, self._functions):
            return self._without_hidden(text, self._run(text, parameters, WITH_HIDDEN))
        if as_of is None:
            return self._run(text, parameters, self._database)
        self._rows.as_of(as_of)
        return self._run(text, parameters, STALE)

    def pipe(self, source: Result, operators: str) -> Result:
        """Run query operators, which start with a pipe, over the result of a command."""
        self._fill(_PIPED, {column.name: column.kql for column in source.columns}, source.rows)
        try:
            piped = {_PIPED: [column.name for column in source.columns]}
            return self._run(_PIPED + operators, None, self._database, piped)
        finally:
            self._rows.execute(f"DROP TABLE {_PIPED}")

    def matching(self, table: Table, predicate: str) -> list[tuple[int, str]]:
        """The rows of a table, by id and extent, that a query which keeps their hidden columns returns."""
        with kusto_errors():
            made = self._translated(predicate, None, WITH_HIDDEN)
            return self._rows.matching(table, made.sql, made.bound(self._clock()))

    def selecting(self, query: str) -> Translation:
        """A query as SQL without hidden columns, whether or not it reads them."""
        with kusto_errors():
            if found := literals(query):
                self._fill(_LITERALS, found.columns, found.rows)
                return self._translated(
                    f"{_LITERALS} {found.operators}", None, self._database, {_LITERALS: list(found.columns)}
                )
            if not requests_hidden(query, self._functions):
                return self._translated(query, None, self._database)
            made = self._translated(query, None, WITH_HIDDEN)
        kept = [quoted(name) for name in self.shape(made) if name not in HIDDEN]
        return made._replace(sql=f"SELECT {', '.join(kept)} FROM ({made.sql})")

    def unrestricted(self, query: str) -> str:
        """A query over all rows as SQL that keeps hidden columns; for row-level security."""
        with kusto_errors():
            return self._translated(query, None, ALL).sql

    def shape(self, made: Translation) -> dict[str, str]:
        """The columns of a query's result, by name and Kusto type."""
        with kusto_errors():
            described = self._rows.execute(f"DESCRIBE {made.sql}", made.bound(self._clock()))
            return {row[0]: kusto_type(row[1]) for row in described.fetchall()}

    def _fill(self, name: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """Make a table of these columns, by name and Kusto type, and rows."""
        shape = {quoted(column): TYPES[kind].sql for column, kind in columns.items()}
        made = ", ".join(f"{column} {kind}" for column, kind in shape.items())
        self._rows.execute(f"CREATE OR REPLACE TABLE {name} ({made})")
        if rows:
            values = ", ".join(f"unnest(${at}::VARCHAR[])::{kind}" for at, kind in enumerate(shape.values(), 1))
            texts = [[None if row[at] is None else str(row[at]) for row in rows] for at in range(len(shape))]
            self._rows.execute(f"INSERT INTO {name} SELECT {values}", texts)

    def _run(
        self, text: str, parameters: Mapping[str, Any] | None, catalog: str, more: Mapping[str, list[str]] | None = None
    ) -> Result:
        with kusto_errors():
            made = self._translated(text, parameters, catalog, more)
            # Executed at once: a relation is planned once for its types and once for its rows.
            cursor = self._rows.execute(made.sql, made.bound(self._clock()))
            columns = [RestColumn.derived(name, kusto_type(kind)) for name, kind, *_ in cursor.description or ()]
            return Result(columns, cursor.fetchall())

    def _check_case(self, text: str) -> None:
        """Refuse a table in another case, which DuckDB would find.

        https://learn.microsoft.com/kusto/query/schema-entities/entity-names
        """
        tables = {name.lower(): name for name in self._tables}
        named = {word for word in identifiers(text) if tables.get(word.lower(), word) != word} - set(self._tables)
        if named:
            own = declared(text) | {column for table in self._tables.values() for column in table.columns}
            for name in sorted(named - own):
                raise KustoRefusal(
                    f"Semantic error: Failed to resolve table or column expression named '{name}'",
                    kind="Kusto.Data.Exceptions.SemanticException",
                )

    def _without_hidden(self, text: str, found: Result) -> Result:
        hidden = set(HIDDEN) - ({INGESTED} if shows_ingestion(text, self._functions) else set())
        kept = [at for at, column in enumerate(found.columns) if column.name not in hidden]
        return Result([found.columns[at] for at in kept], [[row[at] for at in kept] for row in found.rows])

    def _translated(
        self,
        text: str,
        parameters: Mapping[str, Any] | None,
        catalog: str,
        more: Mapping[str, list[str]] | None = None,
    ) -> Translation:
        self._check_case(text)
        self._rows.show(catalog)
        before = HIDDEN if catalog in (WITH_HIDDEN, ALL) else ()
        return translated(
            text,
            catalog=catalog,
            schema={**{name: [*before, *one.columns] for name, one in self._tables.items()}, **(more or {})},
            functions=self._functions,
            parameters=parameters,
            now=self._clock(),
        )


@contextmanager
def kusto_errors() -> Iterator[None]:
    """Turn what DuckDB and duckdb-kql raise into what Kusto says."""
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
