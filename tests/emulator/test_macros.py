"""Conversions become macros in SQL, and mean what they meant."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import duckdb_kql
import pytest

from opencost_kusto.emulator.kusto.catalog import Table
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.emulator.kusto.macros import CATALOG, Macro, macros, shortened

NOW = datetime(2026, 11, 23, tzinfo=UTC)
EXPRESSIONS = [
    *("tolong('7')", "tolong(2.5)", "tostring(1h)", "tostring(true)", "strcat(Text, tostring(tolong(Number)))"),
    *(
        "toint(Number)",
        "toreal(Text)",
        "totimespan(tolong(Text) * 864000000000)",
        "tobool('true')",
        "todatetime('2026-11-23')",
    ),
    *("tostring('[(')", "strcat(')', Text, '\"')"),
    "tolong(iff(tostring(Number) == '2', '3', Text))",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_means_the_same(expression: str) -> None:
    """The SQL with macros returns what the SQL without them does, and nothing that is written out is left."""
    engine = Engine("Costs", clock=lambda: NOW)
    engine.create(Table("T", {"Number": "long", "Text": "string"}))
    query = f"datatable(Number: long, Text: string)[2, 'x', 3, '4'] | project A = {expression}"
    made = duckdb_kql.to_sql(query, {"T": ["Number", "Text"]}, None, "Costs", False)
    written, short = str(made), shortened(str(made))
    assert len(short) < len(written)
    assert not any(all(piece in short for piece in macro.around) for macro in macros())
    assert engine._rows.execute(short).fetchall() == engine._rows.execute(written).fetchall()
    engine.close()


@pytest.mark.parametrize("macro", macros(), ids=lambda one: one.name)
def test_a_column_is_converted_like_any_argument(macro: Macro) -> None:
    """The overloads for columns convert each type as the macro for any argument does, and nulls and no type, too."""
    columns: dict[str, list[object]] = {
        "bigint": [1, -5, None],
        "integer": [2, None],
        "hugeint": [12345678901234567890, None],
        "double": [2.9, "nan", "inf", -1e300, None],
        "varchar": ["7", " 2026-11-23 ", "true", "01:00:00", "", None],
        "json": ['"7"', "7", '{"a": 1}', "true", None],
        "timestamp": ["2026-11-23", "2026-11-23 10:00:00.5", None],
        "interval": ["1 day", "-3661 seconds", None],
        "boolean": [True, False, None],
        "none": [None],
    }
    engine = Engine("Costs", clock=lambda: NOW)

    def converted(by: str, kind: str, value: object) -> str:
        try:
            source = "SELECT NULL AS x" if kind == "none" else f"SELECT $1::{kind} AS x"
            select = f'WITH t AS ({source}) SELECT {CATALOG}.{by}("x") FROM t'
            return repr(engine._rows.execute(select, [] if kind == "none" else [value]).fetchall())
        except duckdb.Error as wrong:
            return type(wrong).__name__

    for kind, values in columns.items():
        for value in values:
            any_argument, of_column = (converted(by, kind, value) for by in (macro.name, f"{macro.name}_of_column"))
            assert of_column == any_argument, (kind, value)
    engine.close()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("tostring('a, (')", """'a, ('"""),
        ("todatetime('2026-11-23T10:00:00Z')", "TRY_CAST('2026-11-23T10:00:00Z' AS TIMESTAMP)"),
        ("todatetime('11/23/2026')", f"{CATALOG}.kusto_todatetime('11/23/2026')"),
        ("tolong(Number)", f'{CATALOG}.kusto_tolong_of_column("Number")'),
        ("tolong(Number + 1)", f'{CATALOG}.kusto_tolong(("Number" + CAST(1 AS BIGINT)))'),
    ],
)
def test_what_needs_no_conversion_has_none(query: str, expected: str) -> None:
    """A literal is written as what it is converted to, a column by the macro that looks at its type first."""
    sql = shortened(str(duckdb_kql.to_sql(f"T | project A = {query}", {"T": ["Number"]}, None, "Costs", False)))
    assert f'{expected} AS "A"' in sql


def test_each_conversion_has_its_macro() -> None:
    """The longest first, each with something around its argument."""
    found = macros()
    assert len(found) == 7
    assert all(len(one.around) > 1 and all(one.around) for one in found)
    assert shortened("SELECT 1") == "SELECT 1"
