"""Macros for what duckdb-kql writes out at each conversion: DuckDB takes longer to read a query than to run it.

`tostring(x)` becomes a thousand characters of SQL that name `x` eight times, and a function of ours has fifty of them.
DuckDB then plans every branch, whatever the type. So a column is converted by a macro with an overload for the type
that needs no conversion, and a literal is written as what it is converted to.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final, NamedTuple

import duckdb_kql

from opencost_kusto.emulator.kusto.listed_texts import PLACE, TIME

CATALOG: Final = "_kusto"
"""The catalog of the macros, which all databases share."""
_CONVERSIONS: Final = {
    **{"tolong": "BIGINT", "tostring": None, "toint": "INTEGER", "toreal": "DOUBLE", "totimespan": "INTERVAL"},
    **{"tobool": "BOOLEAN", "todatetime": "TIMESTAMP"},
}
"""Each conversion, and the type of DuckDB that it leaves; strings are not distinguished from dynamic values."""
_COLUMN: Final = "_x_"
_ARGUMENT: Final = f'"{_COLUMN}"'
# An overload is chosen by what DuckDB knows of an argument before it plans: of an aggregate, nothing.
_IS_COLUMN: Final = re.compile(r'(?:_\w+\.)?"[^"]+"')
_IS_TEXT: Final = re.compile(r"'(?:[^']|'')*'")
_IS_TIME: Final = re.compile(f"'(?:{PLACE}|{TIME})'")
_LONG_BRANCHES: Final = re.compile(r" WHEN '(?:TIMESTAMP|INTERVAL)' THEN .*?(?= WHEN '| ELSE CAST\(\")", re.DOTALL)


class Macro(NamedTuple):
    """A conversion: its name, the type it leaves as it is, and the SQL around each of its arguments."""

    name: str
    exact: str | None
    around: tuple[str, ...]

    @property
    def definitions(self) -> list[str]:
        """The statements that create it, for any argument and for columns."""
        expression = _ARGUMENT.join(self.around)
        if self.exact:
            overloads = f"({_COLUMN} {self.exact}) AS {_ARGUMENT}, ({_COLUMN}) AS {expression}"
        else:
            kinds = ", ".join(f"({_COLUMN} {kind}) AS {expression}" for kind in ("TIMESTAMP", "INTERVAL"))
            overloads = f"{kinds}, ({_COLUMN}) AS {_LONG_BRANCHES.sub('', expression)}"
        return [
            f"CREATE MACRO {CATALOG}.{self.name}({_COLUMN}) AS {expression}",
            f"CREATE MACRO {CATALOG}.{self.name}_of_column{overloads}",
        ]

    def call(self, argument: str) -> str:
        """The SQL for the conversion of an argument."""
        if self.name == "kusto_tostring" and _is_text(argument):
            return argument
        if self.name == "kusto_todatetime" and _IS_TIME.fullmatch(argument):
            return f"TRY_CAST({argument} AS TIMESTAMP)"
        of = "_of_column" if _IS_COLUMN.fullmatch(argument) else ""
        return f"{CATALOG}.{self.name}{of}({argument})"

    def shortened(self, sql: str) -> str:
        """The SQL with calls in place of what it stands for, those within an argument first."""
        before = self.around[0]
        at = sql.rfind(before)
        while at >= 0:
            argument = _argument(sql, at + len(before))
            written = argument.join(self.around)
            if sql.startswith(written, at):
                sql = f"{sql[:at]}{self.call(argument)}{sql[at + len(written) :]}"
            at = sql.rfind(before, 0, at + len(before) - 1)
        return sql


@cache
def macros() -> tuple[Macro, ...]:
    """A macro for each conversion that duckdb-kql writes out, the longer before those that are in them."""
    found = []
    for name, exact in _CONVERSIONS.items():
        query = f"T | project y = {name}({_COLUMN})"
        sql = str(duckdb_kql.to_sql(query, {"T": [_COLUMN]}, None, "d", False))
        around = sql.split("(SELECT ", 2)[-1].rsplit(' AS "y" FROM', 1)[0].split(_ARGUMENT)
        found.append(Macro(f"kusto_{name}", exact, tuple(around)))
    return tuple(sorted(found, key=lambda one: -sum(map(len, one.around))))


def shortened(sql: str) -> str:
    """The SQL of a query with macros for its conversions."""
    for macro in macros():
        sql = macro.shortened(sql)
    return sql


def _is_text(sql: str) -> bool:
    """Whether an expression is a string that is not null: a literal, or what duckdb-kql reads of a dynamic value."""
    before, after = "coalesce(json_extract(", ") ->> '$', '')"
    is_read = sql == f"{before}{_argument(sql, len(before))}{after}"
    return is_read or bool(_IS_TEXT.fullmatch(sql))


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
