"""Commands that show and change roles: https://learn.microsoft.com/kusto/management/manage-database-security-roles."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from duckdb_kql.server import Result

from opencost_kusto.emulator.kusto.access import ROLES
from opencost_kusto.emulator.kusto.catalog import KustoRefusal
from opencost_kusto.emulator.kusto.engine import result
from opencost_kusto.emulator.kusto.session import Session
from opencost_kusto.emulator.kusto.syntax import Cursor

_PRINCIPALS: Final = {
    **{"Role": "string", "PrincipalType": "string", "PrincipalDisplayName": "string", "PrincipalObjectId": "string"},
    **{"PrincipalFQN": "string", "Notes": "string", "RoleAssignmentIdentifier": "string"},
}
_PRINCIPAL: Final = re.compile(r"(?i:aadapp)=[^;]+;[^;]+|(?i:aaduser|aadgroup)=[^;]+(;[^;]+)?|(?i:msauser)=.+")
_MINE: Final = {"Scope": "string", "DisplayName": "string", "AADObjectID": "string", "Role": "string"}
_SINGULAR: Final = {role: role.removesuffix("s").capitalize() for role in ROLES} | {
    "unrestrictedviewers": "UnrestrictedViewer"
}


def add(session: Session, cursor: Cursor) -> Result:
    """`.add database|table|function E ROLE ('aadapp=…;…', …) ['note']`."""
    kind = cursor.value().lower()
    return _change(session, kind, cursor, lambda held, names: [*held, *(name for name in names if name not in held)])


def drop(session: Session, cursor: Cursor) -> Result:
    """`.drop database D ROLE ('aadapp=…;…', …)`."""
    return _change(session, "database", cursor, lambda held, names: [name for name in held if name not in names])


def principals(session: Session) -> Result:
    """`.show database D principals`."""
    session.access.admin(session.principal, "DatabaseShowPrincipalsCommand")
    return _principals(f"Database {session.engine.database}", session.access.roles)


def table_principals(session: Session, table: str) -> Result:
    """`.show table T principals`."""
    session.access.table_admin(session.principal, table, "TableShowPrincipalsCommand")
    return _principals(f"Table {table}", session.access.tables.get(table, {}))


def mine(session: Session) -> Result:
    """`.show database D principal roles`: what the caller has in the database.

    What it has on a table or a function is shown of that one: https://learn.microsoft.com/kusto/management/security-roles.
    """
    return _mine(session, f"Database {session.engine.database}", session.access.roles)


def mine_on_table(session: Session, table: str) -> Result:
    """`.show table T principal roles`."""
    return _mine(session, f"Table {table}", session.access.tables.get(table, {}))


def mine_on_function(session: Session, function: str) -> Result:
    """`.show function F principal roles`."""
    return _mine(session, f"Function {function}", session.access.functions.get(function, {}))


def _mine(session: Session, scope: str, roles: dict[str, list[str]]) -> Result:
    me = session.principal
    rows = [[scope, me, "", f"{scope} {_SINGULAR[role]}"] for role in ROLES if me in roles.get(role, ())]
    return result(_MINE, rows)


def _change(
    session: Session, kind: str, cursor: Cursor, changed: Callable[[list[str], list[str]], list[str]]
) -> Result:
    access, me = session.access, session.principal
    name = cursor.name()
    role = cursor.value().lower()
    named = _names(cursor)
    if kind == "database":
        access.admin(me, "DatabaseAddPrincipalsCommand")
        if name.lower() != session.engine.database.lower() or role not in ROLES:
            raise KustoRefusal(
                f"Database '{name}' with role '{role}' could not be found", code="BadRequest_EntityNotFound"
            )
        roles, scope = access.roles, f"Database {name}"
    elif kind == "table" and role in ("admins", "ingestors"):
        session.engine.table(name)
        access.table_admin(me, name, "TableAddPrincipalsCommand")
        roles, scope = access.tables.setdefault(name, {}), f"Table {name}"
    elif kind == "function" and role == "admins":
        access.function_admin(me, name, "FunctionAddPrincipalsCommand")
        roles, scope = access.functions.setdefault(name, {}), f"Function {name}"
    else:
        raise KustoRefusal(f"Syntax error: SYN0002: '{kind}' has no role '{role}'")
    roles[role] = changed(roles.get(role, []), named)
    return _principals(scope, roles)


def _names(cursor: Cursor) -> list[str]:
    """The principals in parentheses, and what may follow them."""
    found: list[str] = []
    cursor.expect("(")
    while not cursor.accept(")"):
        found.append(_principal(cursor.literal()))
        cursor.accept(",")
    cursor.rest()
    return found


def _principal(text: str) -> str:
    """A principal, checked: https://learn.microsoft.com/kusto/management/reference-security-principals."""
    if not _PRINCIPAL.fullmatch(text):
        raise KustoRefusal(f"'{text}' is not a principal: aadapp=ID;TENANT, aaduser=UPN or aadgroup=NAME")
    return text


def _principals(scope: str, roles: dict[str, list[str]]) -> Result:
    rows = []
    for role, held in roles.items():
        for name in held:
            kind = "Microsoft Entra application" if name.startswith("aadapp=") else "Microsoft Entra user"
            rows.append([f"{scope} {_SINGULAR[role]}", kind, name, "", name, "", ""])
    return result(_PRINCIPALS, rows)
