"""Rows of a `datatable`, read without a translation: as duckdb-kql reads them, or not at all."""

from __future__ import annotations

import duckdb_kql
import pytest

from opencost_kusto.emulator.kusto.literals import literals

SHAPE = "datatable(S: string, T: datetime, D: dynamic, L: long, R: real, B: bool)"
FULL = (
    '"a \\"b\\" ü, ]", datetime(2026-11-23T01:02:03.5Z), dynamic({"k": ["(", null]}), long(-3), real(1e-05), bool(true)'
)
EMPTY = '"", datetime(null), dynamic(null), long(null), real(null), bool(null)'


def test_rows_are_those_that_duckdb_kql_reads() -> None:
    """Each type, with a value and without one, in two rows."""
    query = f"{SHAPE}[{FULL}, {EMPTY}]"
    found = literals(query)
    assert found is not None
    assert found.columns == {"S": "string", "T": "datetime", "D": "dynamic", "L": "long", "R": "real", "B": "bool"}
    with duckdb_kql.connect() as database:
        cast = ["VARCHAR", "TIMESTAMP", "JSON", "BIGINT", "DOUBLE", "BOOLEAN"]
        select = ", ".join(f"${at}::VARCHAR::{kind}" for at, kind in enumerate(cast, 1))
        ours = [database.execute(f"SELECT {select}", row).fetchone() for row in found.rows]
        assert ours == database.execute(duckdb_kql.to_sql(query)).fetchall()


def test_what_follows_is_left_for_the_translation() -> None:
    """The operators keep their text."""
    found = literals('datatable(S: string)["a"] | extend T = now()')
    assert found is not None
    assert found.operators == "| extend T = now()"


@pytest.mark.parametrize(
    "query",
    [
        "OpenCostAllocation | take 1",
        "datatable(S: string)['a']",
        'datatable(S: string)["\\xe4"]',
        "datatable(S: string)[1]",
        "datatable(T: datetime)[datetime(2026-11-23)]",
        "datatable(T: timespan)[timespan(1h)]",
        "datatable(L: long)[real(1.5)]",
        "datatable(L: long)[long(1)",
        "datatable(L: long)[long(1) + 1]",
        "datatable(B: bool)[bool(1)]",
        "datatable(D: dynamic)[dynamic([1) ]",
        "datatable(L: long, S: string)[long(1)]",
    ],
)
def test_other_literals_are_left_to_duckdb_kql(query: str) -> None:
    """A form that is not read with certainty is not read."""
    assert literals(query) is None
