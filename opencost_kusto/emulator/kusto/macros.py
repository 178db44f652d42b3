"""Macros for what duckdb-kql writes out at each conversion: DuckDB takes longer to read a query than to run it.

`tostring(x)` becomes a thousand characters of SQL that name `x` eight times, and a function of ours has fifty of them.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import duckdb_kql

CATALOG: Final = "_kusto"
"""The catalog of the macros, which all databases share."""
_CONVERSIONS: Final = ("tolong", "tostring", "toint", "toreal", "totimespan", "tobool", "todatetime")
_COLUMN: Final = "_x_"
_ARGUMENT: Final = f'"{_COLUMN}"'


class Macro(NamedTuple):
    """A conversion: its name, and the SQL around each of its arguments, as duckdb-kql writes it."""

    name: str
    around: tuple[str, ...]

    @property
    def definition(self) -> str:
        """The statement that creates it."""
        return f"CREATE MACRO {CATALOG}.{self.name}({_COLUMN}) AS {_ARGUMENT.join(self.around)}"

    def shortened(self, sql: str) -> str:
        """The SQL with calls in place of what it stands for, those within an argument first."""
        before = self.around[0]
        at = sql.rfind(before)
        while at >= 0:
            argument = _argument(sql, at + len(before))
            written = argument.join(self.around)
            if sql.startswith(written, at):
                sql = f"{sql[:at]}{CATALOG}.{self.name}({argument}){sql[at + len(written) :]}"
            at = sql.rfind(before, 0, at + len(before) - 1)
        return sql


@cache
def macros() -> tuple[Macro, ...]:
    """A macro for each conversion that duckdb-kql writes out, the longer before those that are in them."""
    found = []
    for name in _CONVERSIONS:
        query = f"T | project y = {name}({_COLUMN})"
        sql = str(duckdb_kql.to_sql(query, {"T": [_COLUMN]}, None, "d", False))
        around = sql.split("(SELECT ", 2)[-1].rsplit(' AS "y" FROM', 1)[0].split(_ARGUMENT)
        found.append(Macro(f"kusto_{name}", tuple(around)))
    return tuple(sorted(found, key=lambda one: -sum(map(len, one.around))))


def shortened(sql: str) -> str:
    """The SQL of a query with macros for its conversions."""
    for macro in macros():
        sql = macro.shortened(sql)
    return sql


def _argument(sql: str, start: int) -> str:
    """The text from a place to the bracket or the ` AS ` that ends it."""
    depth, at = 0, start
    while at < len(sql):
        sign = sql[at]
        if sign in "'\"":
            at = sql.find(sign, at + 1)
            if at < 0:
                return ""
        elif sign in "([":
            depth += 1
        elif sign in ")]":
            depth -= 1
            if depth < 0:
                break
        elif depth == 0 and sql.startswith(" AS ", at):
            break
        at += 1
    return sql[start:at]
