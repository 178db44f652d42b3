"""The emulator's tables, as the committed KQL makes them, and what lines become in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC

import msgspec

from opencost_kusto.database import script
from opencost_kusto.emulator.kusto import commands
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.emulator.kusto.mapping import select
from opencost_kusto.schema.columns import Json, Table


@contextmanager
def engine_with_tables() -> Iterator[Engine]:
    """An engine with the shipped tables and mappings."""
    engine = Engine("OpenCost")
    for command in script.commands("tables"):
        commands.run(engine, command.text)
    yield engine
    engine.close()


def landed(engine: Engine, table: Table, lines: list[bytes]) -> list[dict[str, Json]]:
    """What the table holds once the lines were mapped, as `flatten` writes values."""
    commands.run(engine, f".clear table {table.name} data")
    target = engine.table(table.name)
    chosen = select(target, target.mappings[table.mapping], [line.decode() for line in lines])
    engine.insert(target, chosen.sql, chosen.parameters, [], columns=chosen.columns)
    replied = engine.query(table.name)
    names = [column.name for column in replied.columns]
    return [_plain(table, dict(zip(names, values, strict=True))) for values in replied.rows]


def _plain(table: Table, row: dict[str, Json]) -> dict[str, Json]:
    for column in table.columns:
        value = row[column.name]
        if value is not None and column.type == "dynamic":
            row[column.name] = msgspec.json.decode(value)
        elif value is not None and column.type == "datetime":
            row[column.name] = msgspec.to_builtins(value.replace(tzinfo=UTC))
    return row
