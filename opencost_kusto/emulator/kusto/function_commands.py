"""Commands that make and drop stored functions."""

from __future__ import annotations

from typing import Any

from duckdb_kql.server import Result
from duckdb_kql.stored_functions import StoredFunction

from opencost_kusto.emulator.kusto.catalog import TYPES, KustoRefusal, not_found
from opencost_kusto.emulator.kusto.engine import Engine, result
from opencost_kusto.emulator.kusto.syntax import Cursor, split_commas


def create_or_alter(engine: Engine, cursor: Cursor) -> Result:
    """`.create-or-alter function [with (…)] F(…) { … }`."""
    return described([engine.define(f".create-or-alter function {cursor.rest()}")])


def drop(engine: Engine, cursor: Cursor) -> Result:
    """`.drop function F [ifexists]`."""
    name = cursor.name()
    if_exists = cursor.accept("ifexists")
    cursor.end()
    if engine.functions.pop(name, None) is None and not if_exists:
        raise not_found("Function", name)
    return described(list(engine.functions.values()))


def described(functions: list[StoredFunction]) -> Result:
    """Functions as `.show functions` tells them."""
    columns = ("Name", "Parameters", "Body", "Folder", "DocString")
    rows = [[one.name, one.parameters, one.body, one.folder, one.docstring] for one in functions]
    return result(dict.fromkeys(columns, "string"), rows)


def as_json(function: StoredFunction) -> dict[str, Any]:
    """The function as `.show database schema as json` tells it."""
    return {
        "Name": function.name,
        "InputParameters": [_parameter(text) for text in split_commas(function.parameters[1:-1])],
        "Body": function.body,
        "Folder": function.folder,
        "DocString": function.docstring,
        "FunctionKind": "Unknown",
        "OutputColumns": [],
    }


def _parameter(text: str) -> dict[str, str]:
    declaration, given, default = text.partition("=")
    name, _, kind = (part.strip() for part in declaration.partition(":"))
    if kind not in TYPES:
        raise KustoRefusal(f"Parameter '{name}' is of type '{kind}', which is not known here")
    parameter = {"Name": name, "Type": TYPES[kind].clr, "CslType": kind}
    return {**parameter, "CslDefaultValue": default.strip()} if given else parameter
