"""Rows in DuckDB: a base table per Kusto table with columns that Kusto hides, and the views that queries read.

The hidden columns say which extent a row is in, when it was ingested, and, where stale reads are switched on, when it
came into the table and left it. Every method is called under the database's lock.

All databases of a process share one DuckDB, since starting one takes longer than everything else about an empty
database. Each is a catalog of its own, in which every kind of view is a schema.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from opencost_kusto.emulator.kusto.catalog import TYPES, Extent, Table
from opencost_kusto.emulator.kusto.shared_duckdb import attached, detach, statement

EXTENT_ID: Final = "_ExtentId"
ROW_ID: Final = "_RowId"
INGESTED: Final = "$IngestionTime"
HIDDEN: Final = (EXTENT_ID, ROW_ID, INGESTED)
WITH_HIDDEN: Final = "_hidden"
"""The schema whose tables show their hidden columns."""
ALL: Final = "_all"
"""The schema whose tables show their hidden columns whatever row-level security says."""
STALE: Final = "_stale"
"""The schema whose tables show what they held at the moment given to `as_of`."""
_BASE: Final = "_base"


def quoted(name: str) -> str:
    """A name as SQL wants it."""
    return '"' + name.replace('"', '""') + '"'


def naive(moment: datetime) -> datetime:
    """A moment as DuckDB's TIMESTAMP, which is UTC without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None)


class Rows:
    """The rows of every table; with a history, rows that are gone are kept for stale reads."""

    def __init__(self, database: str) -> None:
        self.duckdb, catalog = attached()
        self._close = weakref.finalize(self, detach, self.duckdb, catalog)
        self._database = database
        self._history = False
        self._tables: dict[str, Table] = {}
        self._restrictions: dict[str, str] = {}
        self._shown = [database]
        for schema in (_BASE, ALL, WITH_HIDDEN, STALE, quoted(database)):
            self.duckdb.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        self.duckdb.execute(f"CREATE SEQUENCE {_BASE}.ids; USE {catalog}.{quoted(database)}")

    def close(self) -> None:
        """Drop everything."""
        self._close()

    def execute(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> Any:
        """Execute one statement; a cursor over what it returns."""
        return self.duckdb.execute(statement(sql), parameters if parameters is not None else [])

    def keep_history(self, tables: Iterable[Table]) -> None:
        """Keep rows that are gone from now on."""
        self._history = True
        for table in tables:
            self._show(table)
        self.show(STALE)

    def create(self, table: Table) -> None:
        """Create a table."""
        columns = ", ".join(f"{quoted(name)} {TYPES[kind].sql}" for name, kind in table.columns.items())
        self.execute(
            f"CREATE TABLE {_base(table)} ({EXTENT_ID} UUID, {ROW_ID} BIGINT DEFAULT nextval('{_BASE}.ids'), "
            f"{quoted(INGESTED)} TIMESTAMP, _Added TIMESTAMP, _Deleted TIMESTAMP, {columns})"
        )
        self._tables[table.name] = table
        self._show(table)

    def add_column(self, table: Table, name: str, kind: str) -> None:
        """Add a column at the end of a table."""
        self.execute(f"ALTER TABLE {_base(table)} ADD COLUMN {quoted(name)} {TYPES[kind].sql}")
        table.columns[name] = kind
        self._show(table)

    def drop(self, table: Table) -> None:
        """Drop a table and its rows."""
        self._restrictions.pop(table.name, None)
        del self._tables[table.name]
        for schema in self._shown:
            self.execute(f"DROP VIEW {quoted(schema)}.{quoted(table.name)}")
        self.execute(f"DROP TABLE {_base(table)}")

    def restrict(self, table: Table, select: str | None) -> None:
        """Let queries see only what a SELECT over the catalog of all rows returns; None lifts it."""
        if select is None:
            self._restrictions.pop(table.name, None)
        else:
            self._restrictions[table.name] = select
        self._show(table)

    def insert(
        self,
        table: Table,
        select: str,
        parameters: Mapping[str, Any],
        *,
        columns: Sequence[str],
        extent: str,
        now: datetime,
    ) -> int:
        """Insert the rows of a SELECT into one extent; returns how many."""
        names = ", ".join(map(quoted, (EXTENT_ID, INGESTED, "_Added", *columns)))
        counted = self.execute(
            f"INSERT INTO {_base(table)} ({names}) SELECT $extent::UUID, $at::TIMESTAMP, $at::TIMESTAMP, * "
            f"FROM ({select})",
            {**parameters, "extent": extent, "at": naive(now)},
        ).fetchone()
        return int(counted[0]) if counted else 0

    def drop_extents(self, table: Table, extents: Sequence[str], now: datetime) -> None:
        """Remove the rows of whole extents."""
        self._remove(table, f"{EXTENT_ID} IN (SELECT unnest($extents::UUID[]))", {"extents": list(extents)}, now)

    def matching(self, table: Table, select: str, parameters: Mapping[str, Any]) -> list[tuple[int, str]]:
        """The id and the extent of each row of a table that a SELECT of row ids names."""
        self.show(WITH_HIDDEN)
        found = self.execute(
            f"SELECT {ROW_ID}, {EXTENT_ID}::VARCHAR FROM {WITH_HIDDEN}.{quoted(table.name)} "
            f"WHERE {ROW_ID} IN (SELECT {ROW_ID} FROM ({select}))",
            dict(parameters),
        )
        return [(int(row), str(extent)) for row, extent in found.fetchall()]

    def remove(self, table: Table, ids: Sequence[int], now: datetime) -> None:
        """Remove single rows."""
        self._remove(table, f"{ROW_ID} IN (SELECT unnest($ids::BIGINT[]))", {"ids": list(ids)}, now)

    def move(self, source: Table, extent: str, target: Table, moved: str, now: datetime) -> None:
        """Move an extent between tables of the same columns; rows keep the time of their ingestion."""
        self.show(WITH_HIDDEN)
        columns = ", ".join(map(quoted, target.columns))
        names = ", ".join(map(quoted, (EXTENT_ID, INGESTED, "_Added", *target.columns)))
        self.execute(
            f"INSERT INTO {_base(target)} ({names}) SELECT $new::UUID, {quoted(INGESTED)}, $at::TIMESTAMP, {columns} "
            f"FROM {WITH_HIDDEN}.{quoted(source.name)} WHERE {EXTENT_ID} = $old::UUID",
            {"new": moved, "old": extent, "at": naive(now)},
        )
        self.drop_extents(source, [extent], now)

    def rename(self, table: Table, extents: Sequence[str], into: str) -> None:
        """Make the rows of some extents those of another: a merge, or an extent that was rewritten."""
        self.execute(
            f"UPDATE {_base(table)} SET {EXTENT_ID} = $into::UUID "
            f"WHERE {EXTENT_ID} IN (SELECT unnest($extents::UUID[]))",
            {"into": into, "extents": list(extents)},
        )

    def show(self, schema: str) -> None:
        """Make the views of a schema, which most databases never need."""
        if schema not in self._shown:
            self._shown.append(schema)
            for table in self._tables.values():
                self._show(table)

    def as_of(self, moment: datetime) -> None:
        """Choose what the catalog of stale tables shows."""
        self.execute("SET VARIABLE as_of = $1::TIMESTAMP", [naive(moment)])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def _remove(self, table: Table, condition: str, parameters: dict[str, Any], now: datetime) -> None:
        if not self._history:
            self.execute(f"DELETE FROM {_base(table)} WHERE {condition}", parameters)
            return
        self.execute(
            f"UPDATE {_base(table)} SET _Deleted = $at::TIMESTAMP WHERE _Deleted IS NULL AND {condition}",
            {**parameters, "at": naive(now)},
        )

    def _show(self, table: Table) -> None:
        names = ", ".join(map(quoted, table.columns))
        hidden = ", ".join(map(quoted, HIDDEN))
        past = "getvariable('as_of')"
        base = _base(table)
        rows = f"{base} WHERE _Deleted IS NULL" if self._history else base
        seen = f"({self._restrictions[table.name]})" if table.name in self._restrictions else rows
        views = {
            ALL: f"SELECT {hidden}, {names} FROM {rows}",
            WITH_HIDDEN: f"SELECT {hidden}, {names} FROM {seen}",
            STALE: f"SELECT {names} FROM {base} WHERE _Added <= {past} AND (_Deleted IS NULL OR _Deleted > {past})",
            self._database: f"SELECT {names} FROM {seen}",
        }
        for schema in self._shown:
            self.execute(f"CREATE OR REPLACE VIEW {quoted(schema)}.{quoted(table.name)} AS {views[schema]}")


def merged(extents: Sequence[Extent]) -> Extent:
    """The extent that holds the rows of some: with all their tags, and their creation times as a range."""
    return Extent(
        sum(one.rows for one in extents),
        min(one.created for one in extents),
        tuple(dict.fromkeys(tag for one in extents for tag in one.tags)),
        max(one.latest or one.created for one in extents),
        sum(one.deleted for one in extents),
    )


def _base(table: Table) -> str:
    return f"{_BASE}.{quoted(table.name)}"
