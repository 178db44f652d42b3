"""Commands that make, change and drop tables, and what belongs to them: mappings, policies, docstrings."""

from __future__ import annotations

import json
from dataclasses import replace

from duckdb_kql.server import Result

from opencost_kusto.emulator.kusto import policy_commands
from opencost_kusto.emulator.kusto.catalog import KustoRefusal, Table, already_exists
from opencost_kusto.emulator.kusto.engine import Engine, result
from opencost_kusto.emulator.kusto.mapping import parse_mapping
from opencost_kusto.emulator.kusto.session import Session
from opencost_kusto.emulator.kusto.syntax import Cursor


def create_merge(session: Session, cursor: Cursor) -> Result:
    """`.create-merge table`: creates it, or adds the columns that are missing; a column of another type is refused.

    https://learn.microsoft.com/kusto/management/create-merge-table-command says of a table that is there what happens
    to its columns, and no more: its docstring and folder stay.
    """
    engine = session.engine
    name, columns, options = cursor.new_name(), cursor.schema(), cursor.options()
    cursor.end()
    if name not in engine.tables:
        _create(session, Table(name, columns, options.get("folder", ""), options.get("docstring", "")))
        return _described(engine, engine.tables[name])
    session.access.table_admin(session.principal, name, "TableCreateMergeCommand")
    table = engine.tables[name]
    for column, kind in columns.items():
        if table.columns.get(column, kind) != kind:
            raise KustoRefusal(
                f"Column '{column}' of table '{name}' is of type {table.columns[column]}; "
                f"it cannot be merged with type {kind}"
            )
    engine.add_columns(table, {column: kind for column, kind in columns.items() if column not in table.columns})
    return _described(engine, table)


def create(session: Session, cursor: Cursor) -> Result:
    """`.create table`, with a schema, or based on another table with all its properties but the update policy.

    https://learn.microsoft.com/kusto/management/create-table-based-on-command
    """
    engine = session.engine
    name = cursor.new_name()
    if cursor.accept("based-on"):
        session.access.admin(session.principal, "TableCreateBasedOnCommand")
        table = engine.table(cursor.name()).copied(name)
    else:
        table = Table(name, cursor.schema())
    keep = cursor.accept("ifnotexists")
    table.describe(cursor.options())
    cursor.end()
    if name not in engine.tables:
        _create(session, table)
    elif not keep:
        raise already_exists("Table", name)
    return _described(engine, engine.tables[name])


def rename(session: Session, cursor: Cursor) -> Result:
    """`.rename table T to N`: rows, mappings, policies and roles stay with it.

    https://learn.microsoft.com/kusto/management/rename-table-command
    """
    engine = session.engine
    table = engine.table(cursor.name())
    cursor.expect("to")
    name = cursor.new_name()
    cursor.end()
    session.access.table_admin(session.principal, table.name, "TableRenameCommand")
    if name in engine.tables:
        raise KustoRefusal(
            f"Table '{name}' already exists",
            code="BadRequest_EntityAlreadyExists",
            kind="Kusto.Data.Exceptions.EntityAlreadyExistsException",
        )
    renamed = replace(table, name=name, extents={})
    engine.create(renamed)
    engine.update(renamed, [], None, dict.fromkeys(table.extents, table))
    engine.drop(table)
    session.access.tables[name] = session.access.tables.pop(table.name, {})
    columns = ("TableName", "DatabaseName", "Folder", "DocString")
    return result(dict.fromkeys(columns, "string"), [[name, engine.database, renamed.folder, renamed.docstring]])


def drop(session: Session, cursor: Cursor) -> Result:
    """`.drop table T [ifexists]`, or `.drop table T ingestion json mapping "M"`."""
    engine = session.engine
    name = cursor.name()
    if cursor.accept("ingestion json mapping"):
        mapping, table = cursor.literal(), engine.table(name)
        session.access.table_admin(session.principal, name, "IngestionMappingDropCommand")
        if mapping not in table.mappings:
            raise KustoRefusal(f"Mapping '{mapping}' of table '{name}' was not found", code="BadRequest_EntityNotFound")
        dropped = mappings(engine, table, [mapping])
        del table.mappings[mapping]
        return dropped
    if_exists = cursor.accept("ifexists")
    cursor.end()
    if name in engine.tables or not if_exists:
        table = engine.table(name)
        session.access.table_admin(session.principal, name, "TableDropCommand")
        engine.drop(table)
    return result(
        {"TableName": "string", "DatabaseName": "string"}, [[name, engine.database] for name in engine.tables]
    )


def clear(session: Session, cursor: Cursor) -> Result:
    """`.clear table T data`."""
    engine = session.engine
    table = engine.table(cursor.name())
    cursor.expect("data")
    cursor.end()
    session.access.table_admin(session.principal, table.name, "TableClearDataCommand")
    engine.drop_extents(table, list(table.extents))
    return result({"Status": "string"}, [["Succeeded"]])


def create_mapping(session: Session, cursor: Cursor) -> Result:
    """`.create-or-alter table T ingestion json mapping "M" '[…]'`."""
    engine = session.engine
    table = engine.table(cursor.name())
    cursor.expect("ingestion json mapping")
    name, text = cursor.literal(), cursor.literal()
    cursor.end()
    session.access.table_ingestor(session.principal, table.name, "IngestionMappingCreateOrAlterCommand")
    table.mappings[name] = parse_mapping(text)
    return mappings(engine, table, [name])


def alter_merge(session: Session, cursor: Cursor) -> Result:
    """`.alter-merge table T` with column docstrings or a policy, both merged into what is there."""
    return _alter(session, cursor, merge=True)


def alter(session: Session, cursor: Cursor) -> Result:
    """`.alter table T` with column docstrings, a policy, the docstring or the folder, each replaced."""
    return _alter(session, cursor, merge=False)


def mappings(engine: Engine, table: Table, names: list[str]) -> Result:
    """The mappings of a table as `.show` lists them."""
    columns = {"Name": "string", "Kind": "string", "Mapping": "string"}
    columns |= {"LastUpdatedOn": "datetime", "Database": "string", "Table": "string"}
    found = [(name, table.mappings[name]) for name in names]
    return result(columns, [[n, "Json", m.text, m.updated, engine.database, table.name] for n, m in found])


def _create(session: Session, table: Table) -> None:
    """Create a table; who creates it is its admin."""
    session.access.user(session.principal, "TableCreateCommand")
    session.engine.create(table)
    session.access.own_table(table.name, session.principal)


def _alter(session: Session, cursor: Cursor, *, merge: bool) -> Result:
    engine = session.engine
    table = engine.table(cursor.name())
    session.access.table_admin(session.principal, table.name, "TableAlterCommand")
    if cursor.accept("column-docstrings"):
        docstrings = _docstrings(cursor, table)
        table.column_docstrings = {**(table.column_docstrings if merge else {}), **docstrings}
    elif cursor.accept("policy"):
        return policy_commands.alter(session, table, cursor, merge=merge)
    elif not merge and cursor.accept("docstring"):
        table.docstring = cursor.literal()
    else:
        cursor.expect("policy" if merge else "folder")
        table.folder = cursor.literal()
    cursor.end()
    return _described(engine, table)


def _docstrings(cursor: Cursor, table: Table) -> dict[str, str]:
    found: dict[str, str] = {}
    cursor.expect("(")
    while not cursor.accept(")"):
        name = cursor.name()
        if name not in table.columns:
            raise KustoRefusal(
                f"Column '{name}' of table '{table.name}' was not found", code="BadRequest_EntityNotFound"
            )
        cursor.expect(":")
        found[name] = cursor.literal()
        cursor.accept(",")
    return found


def _described(engine: Engine, table: Table) -> Result:
    columns = ("TableName", "Schema", "DatabaseName", "Folder", "DocString")
    schema = json.dumps(table.as_json())
    return result(
        dict.fromkeys(columns, "string"), [[table.name, schema, engine.database, table.folder, table.docstring]]
    )
