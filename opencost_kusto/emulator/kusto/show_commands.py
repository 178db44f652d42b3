"""Commands that only read."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from duckdb_kql.server import Result

from opencost_kusto.emulator.kusto import function_commands, policies, policy_commands, role_commands, table_commands
from opencost_kusto.emulator.kusto.catalog import Extent, KustoRefusal, Table, not_found
from opencost_kusto.emulator.kusto.engine import Engine, result
from opencost_kusto.emulator.kusto.session import Session
from opencost_kusto.emulator.kusto.syntax import Cursor

_EXTENT_COLUMNS = {
    **{"ExtentId": "guid", "DatabaseName": "string", "TableName": "string", "MaxCreatedOn": "datetime"},
    **{"OriginalSize": "real", "ExtentSize": "real", "CompressedSize": "real", "IndexSize": "real"},
    **{"Blocks": "long", "Segments": "long", "ExtentContainerId": "string", "RowCount": "long"},
    **{"MinCreatedOn": "datetime", "Tags": "string", "Kind": "string", "DeletedRowCount": "long"},
}
_FAILURE_COLUMNS = {
    **{"OperationId": "guid", "Database": "string", "Table": "string", "FailedOn": "datetime"},
    **{"IngestionSourcePath": "string", "Details": "string", "FailureKind": "string"},
    **{"RootActivityId": "guid", "OperationKind": "string", "OriginatesFromUpdatePolicy": "bool"},
    **{"ErrorCode": "string", "Principal": "string", "ShouldRetry": "bool", "User": "string"},
    **{"IngestionProperties": "string"},
}
_VIEW_COLUMNS = {
    **{"Name": "string", "SourceTable": "string", "Query": "string", "MaterializedTo": "datetime"},
    **{"LastRun": "datetime", "LastRunResult": "string", "IsHealthy": "bool", "IsEnabled": "bool"},
    **{"Folder": "string", "DocString": "string", "AutoUpdateSchema": "bool", "EffectiveDateTime": "datetime"},
    **{"Lookback": "timespan", "LookbackColumn": "string"},
}


def table(session: Session, cursor: Cursor) -> Result:
    """`.show table T …`: extents, mappings, a policy, principals, or the schema."""
    engine = session.engine
    session.access.shows(session.principal)
    found = engine.table(cursor.name())
    if cursor.accept("principal roles"):
        cursor.end()
        return role_commands.mine_on_table(session, found.name)
    if cursor.accept("principals"):
        cursor.end()
        return role_commands.table_principals(session, found.name)
    if cursor.accept("extents"):
        return _extents(engine, found, cursor)
    if cursor.accept("ingestion json mappings") or cursor.accept("ingestion mappings"):
        cursor.end()
        return table_commands.mappings(engine, found, list(found.mappings))
    if cursor.accept("policy"):
        name = cursor.value().lower()
        cursor.end()
        return policy_commands.show(engine, found, name)
    cursor.expect("cslschema")
    cursor.end()
    schema = ",".join(f"{name}:{kind}" for name, kind in found.columns.items())
    columns = ("TableName", "Schema", "DatabaseName", "Folder", "DocString")
    row = [found.name, schema, engine.database, found.folder, found.docstring]
    return result(dict.fromkeys(columns, "string"), [row])


def tables(session: Session, cursor: Cursor) -> Result:
    """`.show tables`."""
    engine = session.engine
    session.access.shows(session.principal)
    cursor.end()
    columns = ("TableName", "DatabaseName", "Folder", "DocString")
    rows = [[one.name, engine.database, one.folder, one.docstring] for one in engine.tables.values()]
    return result(dict.fromkeys(columns, "string"), rows)


def materialized_views(session: Session, cursor: Cursor) -> Result:
    """`.show materialized-views`: there are none here."""
    session.access.shows(session.principal)
    cursor.end()
    return result(_VIEW_COLUMNS, [])


def functions(session: Session, cursor: Cursor) -> Result:
    """`.show functions`."""
    engine = session.engine
    session.access.shows(session.principal)
    cursor.end()
    return function_commands.described(list(engine.functions.values()))


def function(session: Session, cursor: Cursor) -> Result:
    """`.show function F principal roles`."""
    session.access.shows(session.principal)
    name = cursor.name()
    if name not in session.engine.functions:
        raise not_found("Function", name)
    cursor.expect("principal roles")
    cursor.end()
    return role_commands.mine_on_function(session, name)


def database(session: Session, cursor: Cursor) -> Result:
    """`.show database [DB] schema as json|principals|principal roles|policy P`."""
    engine = session.engine
    if not cursor.accept("schema"):
        name = cursor.name()
        if name.lower() != engine.database.lower():
            raise KustoRefusal(f"Database '{name}' could not be found", code="BadRequest_DatabaseNotExist")
        if cursor.accept("principal roles"):
            return role_commands.mine(session)
        if cursor.accept("principals"):
            return role_commands.principals(session)
        if cursor.accept("policy"):
            session.access.shows(session.principal)
            return _no_policy(engine, cursor.value().lower())
        cursor.expect("schema")
    session.access.shows(session.principal)
    cursor.expect("as json")
    cursor.end()
    schema = {
        "Name": engine.database,
        "Tables": {name: one.as_json() for name, one in engine.tables.items()},
        "Functions": {name: one.as_json() for name, one in engine.functions.items()},
    }
    return result({"DatabaseSchema": "string"}, [[json.dumps({"Databases": {engine.database: schema}})]])


def failures(session: Session, cursor: Cursor) -> Result:
    """`.show ingestion failures`."""
    engine = session.engine
    session.access.shows(session.principal)
    cursor.end()
    rows = [
        [
            *(one.operation_id, engine.database, one.table, one.failed, one.source_path),
            *(one.details, one.kind, one.operation_id, "DataIngestPull", False, one.error_code),
            *("aadapp=emulator", False, "", one.properties),
        ]
        for one in engine.failures
    ]
    return result(_FAILURE_COLUMNS, rows)


def capacity(session: Session, cursor: Cursor) -> Result:
    """`.show capacity [ingestions]`: https://learn.microsoft.com/kusto/management/show-capacity-command."""
    session.access.user(session.principal, "CapacityShowCommand")
    cursor.accept("ingestions")
    cursor.end()
    columns = {"Resource": "string", "Total": "long", "Consumed": "long", "Remaining": "long", "Origin": "string"}
    total, consumed = session.capacity
    return result(columns, [["ingestions", total, consumed, total - consumed, "CapacityPolicy/Ingestion"]])


def version(_: Session, cursor: Cursor) -> Result:
    """`.show version`."""
    cursor.end()
    columns = {"BuildVersion": "string", "BuildTime": "datetime", "ServiceType": "string"}
    columns |= {"ProductVersion": "string", "ServiceOffering": "string"}
    row = ["0.0.0.0", datetime(2026, 1, 1, tzinfo=UTC), "Engine", "opencost-kusto emulator", "{}"]
    return result(columns, [row])


def _no_policy(engine: Engine, name: str) -> Result:
    """A policy of the database, which is never set here."""
    if name not in policies.NAMES:
        raise KustoRefusal(f"Syntax error: SYN0002: '{name}' is not a policy known here")
    columns = ("PolicyName", "EntityName", "Policy", "ChildEntities", "EntityType")
    row = [policies.NAMES[name], f"[{engine.database}]", "null", "[]", "Database"]
    return result(dict.fromkeys(columns, "string"), [row])


def _extents(engine: Engine, owner: Table, cursor: Cursor) -> Result:
    """`.show table T extents [(id, …)] [where tags has|contains 'x' [and …]]`; ids that are gone are left out."""
    found = list(owner.extents.values())
    if cursor.accept("("):
        ids = set()
        while not cursor.accept(")"):
            ids.add(cursor.value().lower())
            cursor.accept(",")
        found = [extent for extent in found if extent.id in ids]
    if cursor.accept("where"):
        found = _tagged(found, cursor)
        while cursor.accept("and"):
            found = _tagged(found, cursor)
    cursor.end()
    return result(_EXTENT_COLUMNS, [_extent(engine, owner, extent) for extent in found])


def _tagged(extents: list[Extent], cursor: Cursor) -> list[Extent]:
    cursor.expect("tags")
    wanted = not cursor.accept("!")
    exact = cursor.accept("has")
    if not exact:
        cursor.expect("contains")
    tag = cursor.literal()
    # `has` is equality of the whole tag: https://learn.microsoft.com/kusto/management/show-extents
    return [extent for extent in extents if wanted == any(_matches(tag, one, exact) for one in extent.tags)]


def _matches(wanted: str, tag: str, exact: bool) -> bool:
    return tag == wanted if exact else wanted.lower() in tag.lower()


def _extent(engine: Engine, owner: Table, extent: Extent) -> list[object]:
    sizes = [None, None, None, None, None, None]
    tags = "\r\n".join(extent.tags)
    return [
        *(extent.id, engine.database, owner.name, extent.latest or extent.created, *sizes, ""),
        *(extent.rows, extent.created, tags, "ShardedStorage", extent.deleted),
    ]
