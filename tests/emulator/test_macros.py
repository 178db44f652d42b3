"""Conversions become macros in SQL, and mean what they meant."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb_kql
import pytest

from opencost_kusto.emulator.kusto.catalog import Table
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.emulator.kusto.macros import macros, shortened

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


def test_each_conversion_has_its_macro() -> None:
    """The longest first, each with something around its argument."""
    found = macros()
    assert len(found) == 7
    assert all(len(one.around) > 1 and all(one.around) for one in found)
    assert shortened("SELECT 1") == "SELECT 1"
