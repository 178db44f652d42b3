"""Commands that make and drop stored functions."""

from __future__ import annotations

from collections.abc import Sequence

from duckdb_kql.server import Result

from opencost_kusto.emulator.kusto import functions, names
from opencost_kusto.emulator.kusto.catalog import not_found
from opencost_kusto.emulator.kusto.engine import result
from opencost_kusto.emulator.kusto.functions import Function
from opencost_kusto.emulator.kusto.session import Session
from opencost_kusto.emulator.kusto.syntax import Cursor


def create_or_alter(session: Session, cursor: Cursor) -> Result:
    """`.create-or-alter function [with (…)] F(…) { … }`."""
    function = functions.read(cursor)
    if not function.skips_validation:
        names.check(function, session.engine.tables, session.engine.functions)
    if function.name in session.engine.functions:
        session.access.function_admin(session.principal, function.name, "FunctionAlterCommand")
    else:
        session.access.user(session.principal, "FunctionCreateCommand")
        session.access.own_function(function.name, session.principal)
    session.engine.functions[function.name] = function
    return described([function])


def drop(session: Session, cursor: Cursor) -> Result:
    """`.drop function F [ifexists]`."""
    name = cursor.name()
    if_exists = cursor.accept("ifexists")
    cursor.end()
    if name in session.engine.functions:
        session.access.function_admin(session.principal, name, "FunctionDropCommand")
        del session.engine.functions[name]
        session.access.functions.pop(name, None)
    elif not if_exists:
        raise not_found("Function", name)
    return result({"Name": "string"}, [[name]])


def described(found: Sequence[Function]) -> Result:
    """Functions as `.show functions` describes them."""
    columns = ("Name", "Parameters", "Body", "Folder", "DocString")
    rows = [[one.name, one.parameters, one.body, one.folder, one.docstring] for one in found]
    return result(dict.fromkeys(columns, "string"), rows)
