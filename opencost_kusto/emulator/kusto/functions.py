"""Stored functions: their text, and their parse where a query calls them.

Parsing a function costs more than everything else about it, and most are never called, so it waits for the first call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from duckdb_kql.stored_functions import StoredFunction, parse_functions

from opencost_kusto.emulator.kusto.catalog import TYPES, KustoRefusal
from opencost_kusto.emulator.kusto.syntax import Cursor, masked, split_commas

_NUMBER: Final = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_DEFAULTS: Final = {
    "string": r"""[@hH]?(?:"[^"\n]*"|'[^'\n]*')""",
    "bool": r"true|false|bool\(\w+\)",
    "int": r"-?\d+|int\([\w-]+\)",
    "long": r"-?\d+|long\([\w-]+\)",
    "real": rf"{_NUMBER}|real\([^()]+\)",
    "decimal": rf"{_NUMBER}|decimal\([^()]+\)",
    "datetime": r"datetime\([^()]*\)",
    "timespan": r"\d+(?:\.\d+)?(?:d|h|m|s|ms|microsecond|tick)|time(?:span)?\([^()]+\)",
    "guid": r"guid\([^()]+\)",
    "dynamic": r"dynamic\(.*\)",
}
"""The literals of each type, which a default must be."""
_WORD: Final = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Function:
    """A stored function as `.show functions` describes it: `(x:long=5)` and `{ … }`."""

    name: str
    parameters: str
    body: str
    folder: str = ""
    docstring: str = ""
    skips_validation: bool = False

    @property
    def declared(self) -> list[tuple[str, str, str | None]]:
        """Name, type and default of each parameter."""
        found = []
        for text in split_commas(self.parameters[1:-1]):
            declaration, given, default = text.partition("=")
            name, _, kind = (part.strip() for part in declaration.partition(":"))
            found.append((name, kind, default.strip() if given else None))
        return found

    def as_json(self) -> dict[str, Any]:
        """The function as `.show database schema as json` describes it."""
        parameters = []
        for name, kind, default in self.declared:
            parameter = {"Name": name, "Type": TYPES[kind].clr, "CslType": kind}
            parameters.append(parameter if default is None else {**parameter, "CslDefaultValue": default})
        return {
            **{"Name": self.name, "InputParameters": parameters, "Body": self.body, "Folder": self.folder},
            **{"DocString": self.docstring, "FunctionKind": "Unknown", "OutputColumns": []},
        }


def read(cursor: Cursor) -> Function:
    """The function of `.create-or-alter function [with (…)] F(…) { … }`."""
    options, name = cursor.options(), cursor.new_name()
    parameters = [re.sub(r"\s*([:=])\s*", r"\1", one, count=2) for one in split_commas(cursor.block("()"))]
    body = cursor.block("{}")
    cursor.end()
    function = Function(
        name,
        f"({', '.join(parameters)})",
        f"{{{body}}}",
        options.get("folder", ""),
        options.get("docstring", ""),
        options.get("skipvalidation", "false").lower() == "true",
    )
    _check_parameters(function)
    return function


def _check_parameters(function: Function) -> None:
    """https://learn.microsoft.com/kusto/query/functions/user-defined-functions, "Default values"."""
    seen: dict[str, str | None] = {}
    for name, kind, default in function.declared:
        if kind not in TYPES:
            raise KustoRefusal(f"Syntax error: SYN0002: parameter '{name}' has the type '{kind}', which is none")
        if name in seen:
            raise KustoRefusal(f"Semantic error: SEM0100: parameter '{name}' is declared twice")
        if default is None and any(one is not None for one in seen.values()):
            raise KustoRefusal(f"Semantic error: SEM0100: parameter '{name}' without a default follows one with it")
        if default is not None and not re.fullmatch(_DEFAULTS[kind], default, re.DOTALL):
            raise KustoRefusal(
                f"Semantic error: SEM0100: the default of parameter '{name}' is no literal of type {kind}"
            )
        seen[name] = default


@lru_cache(maxsize=1024)
def identifiers(text: str) -> frozenset[str]:
    """The identifiers in a text, without its literals and comments."""
    return frozenset(_WORD.findall(masked(text)))


def called(text: str, functions: Mapping[str, Function]) -> dict[str, Function]:
    """The functions that a text names, and those that they name."""
    found: dict[str, Function] = {}
    pending = [name for name in identifiers(text) if name in functions]
    while pending:
        name = pending.pop()
        if name not in found:
            found[name] = functions[name]
            pending += [other for other in identifiers(functions[name].body) if other in functions]
    return found


def parsed(function: Function, body: str) -> StoredFunction:
    """The function with this body, as the translator wants it."""
    return _parsed(function.name, function.parameters, body)


@lru_cache(maxsize=512)
def _parsed(name: str, parameters: str, body: str) -> StoredFunction:
    try:
        found = parse_functions([f"function {name}{parameters} {body}"]) or {}
    except ValueError as wrong:
        raise KustoRefusal(f"Syntax error: {wrong}", kind="Kusto.Data.Exceptions.SyntaxException") from wrong
    return next(iter(found[None].values()))
