"""A Kusto emulator without network or queue: tables and functions of `kql/`, and rows of recorded responses."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import msgspec

from opencost_kusto.batch import Batch, BatchContext, RequestOptions, Run, Source
from opencost_kusto.database import script
from opencost_kusto.emulator.kusto import commands
from opencost_kusto.emulator.kusto.catalog import TYPES
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.emulator.kusto.mapping import select
from opencost_kusto.extract.prometheus import samples
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, METRICS, SYNC_RUNS, TABLES
from opencost_kusto.transform.rows import Encoder
from opencost_kusto.window import Window

Rows = list[dict[str, Any]]
DAY = datetime(2026, 11, 23, tzinfo=UTC)
NEXT = DAY + timedelta(days=1)
SCRAPED = datetime(2026, 11, 24, 5, 46, 30, tzinfo=UTC)
COLLECTED = datetime(2026, 11, 24, 6, 0, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CLUSTER = "aks-shop-prod-weu"


@dataclass(frozen=True, slots=True)
class Requested:
    """Who requested what, of everything a batch can be requested; the defaults are those of a nightly run."""

    cluster: str = CLUSTER
    run: str = "nightly"
    collected: datetime = COLLECTED
    options: RequestOptions = field(default_factory=RequestOptions)

    def origin(self, table: Any, window: Window, scraped: datetime | None = None) -> BatchContext:
        """The origin of one batch's rows."""
        run = Run(self.run, self.collected, "1.0", metadata={"suite": "kql"})
        source = Source(self.cluster, self.cluster, "westeurope", "1.112.0")
        batch = Batch(table, self.cluster, window, self.options, scraped)
        return BatchContext(run, source, batch)


class Database:
    """Tables and functions as `bootstrap` makes them, in memory; rows as `sync` lands them.

    Its clock stands still on the morning after the recorded day, unless it is that of another emulator.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine or Engine("OpenCost", clock=lambda: COLLECTED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()

    def install(self) -> Self:
        """Run every bundled command, in its order."""
        for command in script.commands():
            commands.run(self.engine, command.text)
        return self

    def clear(self) -> None:
        """Remove the rows."""
        for table in TABLES:
            commands.run(self.engine, f".clear table {table.name} data")

    def rows(self, text: str) -> Rows:
        """The result of a query, row by row."""
        reply = self.engine.query(text)
        names = [column.name for column in reply.columns]
        return [dict(zip(names, row, strict=True)) for row in reply.rows]

    def one(self, text: str) -> dict[str, Any]:
        """The only row of a result."""
        (row,) = self.rows(text)
        return row

    def allocation(self, body: bytes, requested: Requested | None = None) -> None:
        """Land the response of /allocation, a batch for each of its sets."""
        for members in json.loads(body)["data"]:
            if members:
                window = _window(next(iter(members.values()))["window"])
                self._land((requested or Requested()).origin(ALLOCATION, window), map(_encoded, members.values()))

    def assets(self, body: bytes, requested: Requested | None = None) -> None:
        """Land the response of /assets."""
        members = json.loads(body)["data"]
        window = _window(next(iter(members.values()))["window"])
        self._land((requested or Requested()).origin(ASSETS, window), map(_encoded, members.values()))

    def metrics(self, body: bytes, requested: Requested | None = None, scraped: datetime = SCRAPED) -> None:
        """Land a scrape of /metrics."""
        minute = scraped.replace(second=0)
        origin = (requested or Requested()).origin(METRICS, Window(minute, minute + timedelta(minutes=1)), scraped)
        self._land(origin, map(msgspec.json.encode, samples(body)))

    def runs(self, outcomes: Iterable[dict[str, Any]], requested: Requested | None = None) -> None:
        """Land rows of the run log."""
        origin = (requested or Requested()).origin(SYNC_RUNS, Window(DAY, NEXT))
        self._land(origin, map(_encoded, outcomes))

    def insert(self, name: str, rows: Rows) -> None:
        """Insert rows by column, as the mapping leaves them; columns that no row has are null."""
        if not rows:
            return
        table = self.engine.table(name)
        columns = sorted({column for row in rows for column in row})
        shape = json.dumps([{column: TYPES[table.columns[column]].sql for column in columns}])
        names = ", ".join(f'row."{column}"' for column in columns)
        statement = f"SELECT {names} FROM (SELECT unnest(from_json($rows, '{shape}')) AS row)"
        self.engine.insert(table, statement, {"rows": json.dumps(rows)}, [], columns=columns)

    def _land(self, origin: BatchContext, records: Iterable[bytes]) -> None:
        encoder = Encoder(origin.batch.table, origin)
        lines = [line.decode() for line in encoder.lines(records)]
        table = self.engine.table(origin.batch.table.name)
        statement, parameters, columns = select(table, table.mappings[f"{table.name}_mapping"], lines)
        self.engine.insert(table, statement, parameters, [], columns=columns)


def _window(window: dict[str, str]) -> Window:
    start, end = (datetime.fromisoformat(window[bound]).astimezone(UTC) for bound in ("start", "end"))
    return Window(start, end)


def _encoded(record: dict[str, Any]) -> bytes:
    return msgspec.json.encode(record)
