"""Commands that show, set and delete a policy of a table."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from duckdb_kql.server import Result

from opencost_kusto.emulator.kusto import policies
from opencost_kusto.emulator.kusto.catalog import KustoRefusal, Table
from opencost_kusto.emulator.kusto.engine import Engine, result
from opencost_kusto.emulator.kusto.policies import RESTRICTED, SECURITY
from opencost_kusto.emulator.kusto.session import Session
from opencost_kusto.emulator.kusto.syntax import Cursor


def show(engine: Engine, table: Table, name: str) -> Result:
    """A policy of a table as `.show` lists it; `null` when it was never set."""
    if name not in policies.NAMES:
        raise KustoRefusal(f"Syntax error: SYN0002: '{name}' is not a policy known here")
    columns = ("PolicyName", "EntityName", "Policy", "ChildEntities", "EntityType")
    entity = f"[{engine.database}].[{table.name}]"
    row = [policies.NAMES[name], entity, json.dumps(table.policies.get(name)), "[]", "Table"]
    return result(dict.fromkeys(columns, "string"), [row])


def alter(session: Session, table: Table, cursor: Cursor, *, merge: bool) -> Result:
    """`.alter table T policy P …` or `.alter-merge table T policy P …`; the caller has checked the role."""
    engine, name = session.engine, cursor.value().lower()
    show(engine, table, name)
    document = _document(cursor, name, table.policies.get(name), merge=merge, now=engine.clock())
    cursor.end()
    if name in (RESTRICTED, SECURITY) and document["IsEnabled"]:
        _exclusive(engine, table, name, document)
    if name == "update":
        _check_update(engine, table, document)
    if name == SECURITY:
        engine.restrict(table, document["Query"] if document["IsEnabled"] else None)
    table.policies[name] = document
    return show(engine, table, name)


def delete(session: Session, table: Table, cursor: Cursor) -> Result:
    """`.delete table T policy P`: as if it had never been set."""
    name = cursor.value().lower()
    cursor.end()
    shown = show(session.engine, table, name)
    session.access.table_admin(session.principal, table.name, "TablePolicyDeleteCommand")
    table.policies.pop(name, None)
    if name == SECURITY:
        session.engine.restrict(table, None)
    return shown._replace(rows=show(session.engine, table, name).rows)


def _document(cursor: Cursor, name: str, before: Any, *, merge: bool, now: datetime) -> Any:
    """The policy that a command sets: mostly a JSON document, but for those with words of their own.

    https://learn.microsoft.com/kusto/management/row-level-security-policy and
    https://learn.microsoft.com/kusto/management/restricted-view-access-policy
    """
    if name == RESTRICTED:
        return {"IsEnabled": cursor.value() == "true"}
    if name == SECURITY:
        enabled = cursor.accept("enable")
        if not enabled:
            cursor.expect("disable")
        return {"IsEnabled": enabled, "Query": cursor.literal()}
    if name == "retention" and cursor.accept("softdelete"):
        cursor.expect("=")
        text = json.dumps({"SoftDeletePeriod": policies.as_text(cursor.value())})
        return policies.parse(name, text, before, merge=merge, now=now)
    return policies.parse(name, cursor.literal(), before, merge=merge, now=now)


def _check_update(engine: Engine, table: Table, document: Any) -> None:
    """Source and query are there, and the query has the columns of the table.

    https://learn.microsoft.com/kusto/management/update-policy
    """
    for rule in document if isinstance(document, list) else [document]:
        source, query = rule.get("Source", ""), rule.get("Query", "")
        engine.table(source)
        kinds = list(engine.shape(query).values())
        if kinds != list(table.columns.values()):
            raise KustoRefusal(
                f"{policies.NAMES['update']} is malformed: the query has {','.join(kinds)}; '{table.name}' has "
                f"{','.join(table.columns.values())}",
                code="BadRequest_InvalidPolicy",
            )


def _exclusive(engine: Engine, table: Table, name: str, document: dict[str, Any]) -> None:
    """Each of the two pages under "Limitations": the two exclude each other, and no secured table reads another."""
    other = SECURITY if name == RESTRICTED else RESTRICTED
    if (table.policies.get(other) or {}).get("IsEnabled"):
        raise KustoRefusal(
            f"{policies.NAMES[name]} cannot be enabled: table '{table.name}' has {policies.NAMES[other]}",
            code="BadRequest_InvalidPolicy",
        )
    if name == SECURITY and (secured := set(engine.guarded(document["Query"], SECURITY)) - {table.name}):
        raise KustoRefusal(
            f"{policies.NAMES[name]} cannot be enabled: its query reads {', '.join(sorted(secured))}, which has it too",
            code="BadRequest_InvalidPolicy",
        )
