"""`bootstrap --migrate`: rename tables that have these names but no batches, and copy their rows.

A batch is a window of a source. The newest row of each key is copied, because a window that was exported twice is one
response of OpenCost. The copies have row numbers and the totals of their batch, so that every function counts them.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.database.catalog import Catalog
from opencost_kusto.errors import KustoError, NotLandedError
from opencost_kusto.kusto.client import Kusto, Row
from opencost_kusto.schema import micros
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import TABLES

_SUFFIX = "_v0"
_MAPPING = "OpenCostMigration"
# Names that identify a row within its window, also in tables without some of the columns.
_KEYS = ("AllocationName", "AssetName", "Type", "Name", "ProviderID", "MetricName", "Labels")
_PAUSE = 2.0
# Ids in one query; its text stays far below the service's limit.
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Migrated:
    """The result for one table; the old table is kept."""

    table: str
    old: str
    batches: int
    rows: int


def migrate(
    kusto: Kusto,
    on_result: Callable[[str], None] = lambda _: None,
    *,
    timeout: float = 900.0,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Migrated]:
    """Rename old tables, bootstrap, and copy their rows; run it again to continue after an interruption.

    Raises KustoError, and NotLandedError if copies are not in their table within `timeout` seconds.
    """
    catalog = Catalog.read(kusto)
    for table in TABLES:
        columns = catalog.columns(table.name)
        if columns and table.batch_column not in columns:
            kusto.command(f".rename table {table.name} to {table.name}{_SUFFIX}", retry=False)
            on_result(f"{table.name} is renamed to {table.name}{_SUFFIX}")
    bootstrap(kusto, lambda difference: on_result(f"{difference.what}: done"))
    catalog = Catalog.read(kusto)
    done = []
    for table in TABLES:
        old = f"{table.name}{_SUFFIX}"
        if old in catalog.tables:
            done.append(_Copy(kusto, table, old, set(catalog.columns(old)), timeout, sleep).run())
    return done


@dataclass(slots=True)
class _Copy:
    """The copy of one table, batch by batch, so that the size of a result or blob does not depend on the table's."""

    kusto: Kusto
    table: Table
    old: str
    columns: set[str]
    timeout: float
    sleep: Callable[[float], None]

    @property
    def window(self) -> list[str]:
        """The columns whose combinations are the batches."""
        return ["Source", *(("WindowStart", "WindowEnd") if "WindowStart" in self.columns else ("Timestamp",))]

    def run(self) -> Migrated:
        name, paths = self.table.name, [(column.name, f"$.{column.name}") for column in self.table.columns]
        mapping = json.dumps([{"column": column, "Properties": {"Path": path}} for column, path in paths])
        self.kusto.command(f'.create-or-alter table {name} ingestion json mapping "{_MAPPING}" ```{mapping}```')
        windows = {self._id(found): found for found in self.kusto.query(f"{self.old} | distinct {self._by}")}
        held = self._held(windows)
        sent: dict[str, int] = {}
        for batch_id, found in windows.items():
            rows = list(numbered(self.table, self._rows(found), batch_id))
            sent[batch_id] = len(rows)
            if held.get(batch_id, 0) != len(rows):
                self._send(batch_id, rows)
        self._wait(sent)
        self.kusto.command(f'.drop table {name} ingestion json mapping "{_MAPPING}"')
        return Migrated(name, self.old, len(sent), sum(sent.values()))

    @property
    def _by(self) -> str:
        return ", ".join(self.window)

    def _id(self, found: Row) -> str:
        return "/".join([self.table.name, *(_text(found[name]) for name in self.window), "v0"])

    def _rows(self, found: Row) -> Iterable[Row]:
        same = " and ".join(f"{name} == {_kql(found[name])}" for name in self.window)
        newest: dict[tuple[str, ...], Row] = {}
        for row in self.kusto.query(f"{self.old} | where {same} | order by CollectionTime asc"):
            newest[tuple(str(row.get(name)) for name in _KEYS)] = row
        return newest.values()

    def _held(self, batch_ids: Iterable[str]) -> dict[str, int]:
        """The rows that the table holds of each batch."""
        by, ids, held = self.table.batch_column, list(batch_ids), dict[str, int]()
        for at in range(0, len(ids), _AT_ONCE):
            some = ", ".join(map(literal, ids[at : at + _AT_ONCE]))
            text = f"{self.table.name} | where {by} in ({some}) | summarize Rows = count() by {by}"
            held |= {row[by]: int(row["Rows"]) for row in self.kusto.query(text, fresh=True)}
        return held

    def _send(self, batch_id: str, rows: list[dict[str, Json]]) -> None:
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "rows.json.gz")
            path.write_bytes(gzip.compress(lines))
            blob = self.kusto.upload(path, name="rows.multijson.gz", table=self.table.name, raw_bytes=len(lines))
        self.kusto.enqueue(blob, table=self.table.name, mapping=_MAPPING, tag=batch_id)

    def _wait(self, sent: dict[str, int]) -> None:
        """Wait until the table holds exactly the rows sent."""
        deadline = time.monotonic() + self.timeout
        while True:
            held = self._held(sent)
            waiting = [batch_id for batch_id, rows in sent.items() if held.get(batch_id, 0) != rows]
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise NotLandedError(
                    f"{len(waiting)} of {len(sent)} batches of {self.old} are not in {self.table.name} after "
                    f"{self.timeout:g} s. Run bootstrap --migrate again: landed batches are not copied again."
                )
            self.sleep(_PAUSE)


def numbered(table: Table, rows: Iterable[Row], batch_id: str) -> Iterator[dict[str, Json]]:
    """The rows of a batch in the new columns, numbered, with the totals on the last; raises KustoError for bad JSON."""
    kept = list(rows)
    collected = max((row["CollectionTime"] for row in kept if row.get("CollectionTime")), default=None)
    cost = sum(micros.from_cost(row.get(table.cost) or 0.0) for row in kept) if table.cost else None
    levels = [name for name in ("Container", "Pod", "Namespace") if any(row.get(name) for row in kept)]
    for number, row in enumerate(kept, 1):
        made = {column.name: _value(row.get(column.name), column.type) for column in table.columns}
        made |= {"CollectionTime": _iso(collected), "Cluster": row.get("Source"), table.batch_column: batch_id}
        made["RowNumber"] = number
        if "WindowStart" in row:
            made["Timestamp"] = made["WindowStart"]
        if "AllocationName" in row:
            made["Aggregate"] = levels[0].lower() if levels else "cluster"
            made |= {"ShareIdle": False, "IncludeIdle": any(one["AllocationName"] == "__idle__" for one in kept)}
        if number == len(kept):
            made |= {"BatchRows": number, "BatchCost": cost}
        yield {name: value for name, value in made.items() if value is not None and name in _names(table)}


def _names(table: Table) -> set[str]:
    return {column.name for column in table.columns}


def _value(value: Json, kind: str) -> Json:
    """A value of an old column for a new one: texts of times and of JSON become times and JSON."""
    if value is None or value == "":
        return None
    if kind == "datetime":
        return _iso(value if isinstance(value, datetime) else datetime.fromisoformat(str(value)))
    if kind == "dynamic" and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError as error:
            raise KustoError(f"{value[:80]!r} in an old table is not JSON: {error}.") from error
    return value


def _iso(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _text(value: Json) -> str:
    return str(_iso(value)) if isinstance(value, datetime) else str(value)


def _kql(value: Json) -> str:
    return f"datetime({_iso(value)})" if isinstance(value, datetime) else literal(str(value))
