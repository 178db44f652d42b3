"""Rows of a `datatable` apart from the query over them: the run log is written as literals, new ones each time.

Translating hundreds of literals takes longer than all else that a command does. What this module does not read, with
certainty and as duckdb-kql does, is left to duckdb-kql.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

_START: Final = re.compile(r"\s*datatable\s*\(([\w\s:,]*)\)\s*\[")
_TYPED: Final = re.compile(r"(\w+)\((null|[\w.:+-]*)\)")
_NEXT: Final = re.compile(r"\s*([,\]])\s*")
_DYNAMIC: Final = "dynamic("
_DECODER: Final = json.JSONDecoder()


class Literals(NamedTuple):
    """A `datatable`: columns with their types, rows as texts, and the operators that follow it."""

    columns: dict[str, str]
    rows: list[list[str | None]]
    operators: str


def literals(query: str) -> Literals | None:
    """The `datatable` that a query starts with; None where there is none, or one with literals of other forms."""
    start = _START.match(query)
    if start is None:
        return None
    columns = {name.strip(): kind.strip() for name, _, kind in (one.partition(":") for one in start[1].split(","))}
    kinds = list(columns.values())
    if not set(kinds) <= {"string", "dynamic", *_READ}:
        return None
    cells: list[str | None] = []
    at = start.end()
    try:
        while True:
            cell, at = _cell(query, at, kinds[len(cells) % len(kinds)])
            cells.append(cell)
            end = _NEXT.match(query, at)
            if end is None:
                return None
            at = end.end()
            if end[1] == "]":
                break
    except ValueError:
        return None
    if len(cells) % len(kinds):
        return None
    rows = [cells[row : row + len(kinds)] for row in range(0, len(cells), len(kinds))]
    return Literals(columns, rows, query[at:])


def _cell(query: str, at: int, kind: str) -> tuple[str | None, int]:
    """A literal of a type as DuckDB casts it, and where it ends; raises ValueError for any other form."""
    if kind == "string":
        text, end = _DECODER.raw_decode(query, at)
        if not isinstance(text, str):
            raise ValueError("not a text")
        return text, end
    if kind == "dynamic" and query.startswith(_DYNAMIC, at) and not query.startswith("null)", at + len(_DYNAMIC)):
        value, end = _DECODER.raw_decode(query, at + len(_DYNAMIC))
        if query[end : end + 1] != ")":
            raise ValueError("not JSON alone")
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")), end + 1
    typed = _TYPED.match(query, at)
    if typed is None or typed[1] != kind:
        raise ValueError("a literal of another type")
    if typed[2] == "null":
        return None, typed.end()
    return _READ[kind](typed[2]), typed.end()


def _moment(text: str) -> str:
    if not text.endswith("Z"):
        raise ValueError("a time without its zone")
    return datetime.fromisoformat(text).replace(tzinfo=None).isoformat()


def _truth(text: str) -> str:
    if text not in ("true", "false"):
        raise ValueError("not a bool")
    return text


_READ: Final[dict[str, Callable[[str], str]]] = {
    "datetime": _moment,
    "bool": _truth,
    "long": lambda text: str(int(text)),
    "int": lambda text: str(int(text)),
    "real": lambda text: repr(float(text)),
}
