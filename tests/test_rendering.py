"""How values look in tables, Markdown, CSV and JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencost_kusto.rendering import (
    Column,
    Kind,
    Table,
    cell,
    csv_text,
    json_text,
    markdown,
    money,
    plain,
    printable,
    table_of,
)

ROWS = [
    {"Namespace": "shop", "TotalCost": 1234.5678912, "Pods": 12, "CpuEfficiency": 0.807},
    {"Namespace": "ml", "TotalCost": 0.004321, "Pods": 3, "CpuEfficiency": None},
]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0.00"),
        (1234.5, "1,234.50"),
        (1, "1.00"),
        (0.5, "0.5000"),
        (-0.25, "-0.2500"),
        (1e-7, "0.0000"),
    ],
)
def test_money_has_two_decimals_and_four_below_one(value: float, expected: str) -> None:
    """Thousands are separated; less than one unit has four decimals."""
    assert money(value) == expected


def test_cells_are_for_people() -> None:
    """Columns are formatted by their names: money, counts, shares in percent; other numbers are unchanged."""
    table = table_of(ROWS)
    assert table.cells() == [["shop", "1,234.57", "12", "80.7 %"], ["ml", "0.0043", "3", ""]]
    assert table.totals() == [["Total", "1,234.57", "", ""]]
    assert [column.right for column in table.columns] == [False, True, True, True]
    assert table_of(ROWS[:1]).totals() == []
    assert cell(datetime(2026, 11, 23, 10, tzinfo=UTC)) == "2026-11-23T10:00:00Z"
    assert table_of([{"RamByteHours": 42949672960.0}]).cells() == [["40.00 GiB h"]]
    assert table_of([{"RamBytes": 42949672960}]).cells() == [["40.00 GiB"]]
    assert cell({"a": 1.25}) == '{"a": 1.25}'


def test_percent_is_no_share() -> None:
    """Efficiencies and shares are parts of one; what the functions call percent is of a hundred, however small."""
    assert table_of([{"Share": 0.05, "IdlePercent": 5.0, "ChangePercent": -2.5}]).cells() == [
        ["5.0 %", "5.0 %", "-2.5 %"]
    ]


EURO, DOLLAR = {"Cluster": "a", "Cost": 10.0, "Currency": "EUR"}, {"Cluster": "b", "Cost": 5.0, "Currency": "USD"}


def test_amounts_of_two_currencies_are_never_added() -> None:
    """A currency has its own total and its own sum of others; one that all rows have stands in the heading."""
    table = table_of([EURO, EURO, DOLLAR, DOLLAR])
    assert table.totals() == [["Total", "20.00", "EUR"], ["Total", "10.00", "USD"]]
    assert table.top(1).rows == [["a", 10.0, "EUR"], ["1 other", 10.0, "EUR"], ["2 others", 10.0, "USD"]]
    assert table.readable() is table
    euros = table_of([EURO, EURO]).readable()
    assert ([column.name for column in euros.columns], euros.totals()) == (
        ["Cluster", "Cost (EUR)"],
        [["Total", "20.00"]],
    )
    assert "| **Total** | **20.00** |" in markdown(table_of([EURO, EURO]))


def test_clusters_without_a_currency_have_no_total() -> None:
    """Where rows do not say their currency, those of two clusters may be in two."""
    rows = [{"Cluster": name, "Cost": 1.0} for name in ("a", "b")]
    assert table_of(rows).totals() == []
    assert table_of([rows[0], rows[0]]).totals() == [["Total", "2.00"]]


def test_columns_without_a_value_are_left_out_for_people() -> None:
    """A column in which no row has a value takes no room."""
    table = table_of([{"a": "x", "b": "", "c": None}]).compact()
    assert ([column.name for column in table.columns], table.rows) == (["a"], [["x"]])


def test_two_equal_calls_are_equal_text() -> None:
    """Floats that differ in the last bits of a sum are one text in CSV and JSON, with six decimals."""
    one, other = [{"Cost": 13.30143}], [{"Cost": 13.301430000000003}]
    assert csv_text(table_of(one)) == csv_text(table_of(other)) == "Cost\n13.30143\n"
    assert json_text(one) == json_text(other)
    assert json.loads(json_text({"a": [1 / 3, -0.0], "t": datetime(2026, 1, 1, tzinfo=UTC)})) == {
        "a": [0.333333, 0.0],
        "t": "2026-01-01T00:00:00Z",
    }
    assert str(plain(-0.0)) == "0.0"


def test_csv_of_no_rows_is_no_text() -> None:
    """The columns of no rows are unknown."""
    assert csv_text(table_of([])) == ""


def test_markdown_aligns_numbers_and_has_a_total() -> None:
    """A table of GitHub's Markdown, with its signs escaped."""
    table = Table((Column("a|b"), Column("Cost", Kind.MONEY, total=True)), [("__idle__", 1.5), ("x\ny", 2)])
    assert markdown(table).splitlines() == [
        "| a\\|b | Cost |",
        "| --- | ---: |",
        "| \\_\\_idle\\_\\_ | 1.50 |",
        "| x y | 2.00 |",
        "| **Total** | **3.50** |",
    ]


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.text(max_size=20))
def test_every_text_is_printable(text: str) -> None:
    """Every character of another program reaches a terminal in printable form, in text and in JSON."""
    assert printable(text).isprintable()
    assert json_text(text).isprintable()
    assert json.loads(json_text(text)) == text
    assert all(one.isprintable() for line in table_of([{"a": text}]).cells() for one in line)


def test_escape_sequences_are_shown() -> None:
    """Escapes, line feeds and marks of direction stand as their escapes."""
    assert printable("\x1b[2J\n##vso\u202e") == "\\x1b[2J\\n##vso\\u202e"
    assert printable("a\nb", keep="\n") == "a\nb"
