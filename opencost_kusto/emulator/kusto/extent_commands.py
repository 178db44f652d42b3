"""Commands that make, drop and move extents, each in one transaction."""

from __future__ import annotations

import json

from duckdb_kql.server import Result

from opencost_kusto.emulator.kusto.catalog import KustoRefusal, Table
from opencost_kusto.emulator.kusto.engine import Engine, result
from opencost_kusto.emulator.kusto.syntax import Cursor


def set_or_append(engine: Engine, cursor: Cursor) -> Result:
    """`.set-or-append T [with (tags='[…]', ingestIfNotExists='[…]')] <| query`."""
    name, options = cursor.name(), cursor.options()
    cursor.expect("<|")
    keys = tuple(json.loads(options.get("ingestifnotexists", "[]")))
    if name in engine.tables and any(extent.holds(keys) for extent in engine.tables[name].extents.values()):
        extents = []
    else:
        extents = [engine.append(name, cursor.rest(), json.loads(options.get("tags", "[]")))]
    columns = {"ExtentId": "guid", "OriginalSize": "real", "ExtentSize": "real"}
    columns |= {"CompressedSize": "real", "IndexSize": "real", "RowCount": "long"}
    return result(columns, [[extent.id, None, None, None, None, extent.rows] for extent in extents])


def drop(engine: Engine, cursor: Cursor) -> Result:
    """`.drop extents <| …`, where the query or `.show` command names ExtentId and TableName."""
    cursor.expect("<|")
    found = _named(engine, cursor.rest(), None)
    for table in {table.name: table for table in found.values()}.values():
        engine.replace(table, [id for id, owner in found.items() if owner is table], {})
    columns = {"ExtentId": "guid", "TableName": "string", "CreatedOn": "datetime"}
    return result(columns, [[id, table.name, None] for id, table in found.items()])


def replace(engine: Engine, cursor: Cursor) -> Result:
    """`.replace extents in table T <| {extents to drop}, {extents to move, with their TableName}`."""
    target = engine.table(cursor.name())
    cursor.options()
    cursor.expect("<|")
    dropping = cursor.block()
    cursor.expect(",")
    moving = cursor.block()
    cursor.end()
    dropped = _named(engine, dropping, target)
    moved = {id: table for id, table in _named(engine, moving, None, of="TableName").items() if table is not target}
    for id, table in dropped.items():
        if table is not target:
            raise KustoRefusal(f"Extent {id} to drop is of table '{table.name}', not of '{target.name}'")
    for source in moved.values():
        for column, kind in source.columns.items():
            if target.columns.get(column) != kind:
                raise KustoRefusal(f"Column '{column}' ({kind}) of '{source.name}' is not in '{target.name}' as such")
    arriving = engine.replace(target, list(dropped), moved)
    columns = {"OriginalExtentId": "string", "ResultExtentId": "string", "Details": "string"}
    return result(
        columns,
        [[id, "", ""] for id in dropped] + [[id, extent.id, ""] for id, extent in arriving.items()],
    )


def _named(engine: Engine, text: str, owner: Table | None, of: str | None = None) -> dict[str, Table]:
    """The live extents that a query or `.show` command names, with their tables; one that is gone is an error.

    `of` is a further column that the query must have.
    """
    # `commands` knows this module, and what names extents may be any command.
    from opencost_kusto.emulator.kusto.commands import extents

    answer = extents(engine, text)
    names = [column.name for column in answer.columns]
    for needed in ("ExtentId", of):
        if needed is not None and needed not in names:
            raise KustoRefusal(f"The query that names extents must have a column {needed}")
    at = names.index("ExtentId")
    tables = [owner] if owner is not None else list(engine.tables.values())
    found: dict[str, Table] = {}
    for row in answer.rows:
        id = str(row[at])
        holder = next((table for table in tables if id in table.extents), None)
        if holder is None:
            where = f" in table '{owner.name}'" if owner is not None else ""
            raise KustoRefusal(f"Extent {id} was not found{where}", code="BadRequest_EntityNotFound")
        found[id] = holder
    return found
