"""Commands that make and drop extents."""

from __future__ import annotations

from duckdb_kql.server import Result

from opencost_kusto.emulator.kusto.catalog import KustoRefusal, Table, already_exists, moment
from opencost_kusto.emulator.kusto.engine import result
from opencost_kusto.emulator.kusto.mapping import MalformedFile, csv_records, identity, records, select
from opencost_kusto.emulator.kusto.session import Session
from opencost_kusto.emulator.kusto.syntax import Cursor, texts

_MADE = {
    **{"ExtentId": "guid", "OriginalSize": "long", "ExtentSize": "long"},
    **{"ColumnSize": "long", "IndexSize": "long", "RowCount": "long"},
}


def set_new(session: Session, cursor: Cursor) -> Result:
    """`.set T [with (…)] <| query`: the table must not be there."""
    name = cursor.new_name()
    if name in session.engine.tables:
        raise already_exists("Table", name)
    return _from_query(session, name, cursor)


def append(session: Session, cursor: Cursor) -> Result:
    """`.append T [with (…)] <| query`: the table must be there."""
    return _from_query(session, session.engine.table(cursor.name()).name, cursor)


def set_or_append(session: Session, cursor: Cursor) -> Result:
    """`.set-or-append T [with (tags='[…]', ingestIfNotExists='[…]', creationTime='…')] <| query`."""
    return _from_query(session, cursor.new_name(), cursor)


def _from_query(session: Session, name: str, cursor: Cursor) -> Result:
    """https://learn.microsoft.com/kusto/management/data-ingestion/ingest-from-query."""
    engine, options = session.engine, cursor.options()
    cursor.expect("<|")
    query = cursor.rest()
    keys = tuple(texts(options, "ingestifnotexists"))
    if name in engine.tables and any(extent.holds(keys) for extent in engine.tables[name].extents.values()):
        return result(_MADE, [])
    session.access.reads(session.principal)
    if name not in engine.tables:
        session.access.user(session.principal, "TableSetOrAppendCommand")
        engine.create(Table(name, engine.shape(query)))
        session.access.own_table(name, session.principal)
    session.access.table_ingestor(session.principal, name, "TableSetOrAppendCommand")
    created = moment(options["creationtime"]) if "creationtime" in options else None
    made = engine.append(engine.tables[name], query, texts(options, "tags"), created)
    return result(_MADE, [[made.id, 0, 0, 0, 0, made.rows]])


def ingest_inline(session: Session, cursor: Cursor) -> Result:
    """`.ingest inline into table T [with (format='…', ingestionMappingReference='…', tags='[…]')] <| rows`.

    https://learn.microsoft.com/kusto/management/data-ingestion/ingest-inline: CSV unless a format is given.
    """
    engine, name, options = session.engine, cursor.name(), cursor.options()
    cursor.expect("<|")
    data = cursor.rest()
    table = engine.table(name)
    session.access.table_ingestor(session.principal, name, "DataIngestInlineCommand")
    kind = options.get("format", "csv").lower()
    if kind not in ("csv", "json", "multijson"):
        raise KustoRefusal(f"Format '{kind}' is not served by this emulator", code="BadRequest_FormatNotSupported")
    reference = options.get("ingestionmappingreference")
    if reference is not None and reference not in table.mappings:
        what = f"Mapping reference '{reference}' of table '{name}' was not found"
        raise KustoRefusal(what, code="BadRequest_MappingReferenceWasNotFound")
    mapping = table.mappings[reference] if reference else identity(table)
    try:
        rows = csv_records(table, data) if kind == "csv" else records(data.encode(), kind)
    except MalformedFile as malformed:
        raise KustoRefusal(f"The data was refused: {malformed}", code="BadRequest_NoRecordsOrWrongFormat") from None
    keys = tuple(texts(options, "ingestifnotexists"))
    if not rows or any(extent.holds(keys) for extent in table.extents.values()):
        return result({"ExtentId": "guid"}, [["00000000-0000-0000-0000-000000000000"]])
    sql, parameters, columns = select(table, mapping, rows)
    tags = texts(options, "tags")
    made = engine.insert(table, sql, parameters, tags, columns=columns)
    return result({"ExtentId": "guid"}, [[made.id]])


def drop(session: Session, cursor: Cursor) -> Result:
    """`.drop extents <| …`, where the query or `.show` command names ExtentId and TableName."""
    cursor.expect("<|")
    found = _named(session, cursor.rest())
    columns = {"ExtentId": "guid", "TableName": "string", "CreatedOn": "datetime"}
    rows = [[id, table.name, table.extents[id].created] for id, table in found.items()]
    for table in {table.name: table for table in found.values()}.values():
        session.access.table_admin(session.principal, table.name, "ExtentsDropCommand")
        session.engine.drop_extents(table, [id for id, owner in found.items() if owner is table])
    return result(columns, rows)


def _named(session: Session, text: str) -> dict[str, Table]:
    """The live extents that a query or `.show` command names, with their tables; one that is gone is an error."""
    listed = session.run(text)
    names = [column.name for column in listed.columns]
    if "ExtentId" not in names:
        raise KustoRefusal("The query that names extents must have a column ExtentId")
    at = names.index("ExtentId")
    found: dict[str, Table] = {}
    for row in listed.rows:
        id = str(row[at])
        holder = next((table for table in session.engine.tables.values() if id in table.extents), None)
        if holder is None:
            raise KustoRefusal(f"Extent {id} was not found", code="BadRequest_EntityNotFound")
        found[id] = holder
    return found
