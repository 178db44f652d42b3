"""Costs are counted in whole millionths, and Python and KQL count them alike."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.schema import micros

COSTS = [
    (0.0, 0),
    (1.07208, 1_072_080),
    (-1.07208, -1_072_080),
    (0.0000004, 0),
    (0.0000005, 1),
    (-0.0000005, 0),
    (0.0000125, 13),
    (-0.0000125, -12),
    (0.1 + 0.2, 300_000),
    (9e12, 9_000_000_000_000_000_000),
    (-9e12, -9_000_000_000_000_000_000),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine that runs KQL."""
    made = Engine("OpenCost")
    yield made
    made.close()


@pytest.mark.parametrize(("cost", "expected"), COSTS)
def test_python_rounds_to_the_millionth_halves_up(cost: float, expected: int) -> None:
    """A cost is rounded to the nearest millionth, and a half is rounded up, also below zero."""
    assert micros.from_cost(cost) == expected
    assert micros.to_cost(expected) == pytest.approx(cost, abs=6e-7)


@pytest.mark.parametrize(("cost", "expected"), COSTS)
def test_kql_rounds_the_same_way(engine: Engine, cost: float, expected: int) -> None:
    """The expression for a column gives the same whole number.

    `ceiling` rounds up: https://learn.microsoft.com/kusto/query/ceiling-function
    """
    row = f"datatable(Cost: real)[{Decimal(cost):f}]"
    for text in (f"project Micros = {micros.kql('Cost')}", f"summarize Micros = {micros.kql_sum('Cost')}"):
        reply = engine.query(f"{row} | {text}")
        assert reply.rows == [(expected,)]
        assert [column.kql for column in reply.columns] == ["long"]


def test_null_costs_count_as_nothing_in_kql(engine: Engine) -> None:
    """A null cost stays null, and a sum leaves it out."""
    rows = engine.query(f"datatable(Cost: real)[0.5, real(null)] | summarize sum({micros.kql('Cost')})").rows
    assert rows == [(500_000,)]


@pytest.mark.parametrize("cost", [9.000000000001e12, -9.000000000001e12, 1e305, float("inf"), float("nan")])
def test_a_cost_beyond_a_kusto_long_is_refused(cost: float) -> None:
    """A cost whose millionths do not fit a `long` with room to spare is an error, never a wrong number."""
    with pytest.raises(OverflowError, match="more than Kusto can count"):
        micros.from_cost(cost)


def test_a_sum_beyond_a_kusto_long_is_refused() -> None:
    """The same limit holds for a sum, and the limit itself is within it."""
    most = micros.from_cost(9e12)
    assert [micros.within_limit(each) for each in (most, 0, -most)] == [most, 0, -most]
    for beyond in (most + 1, -most - 1):
        with pytest.raises(OverflowError, match="more than Kusto can count"):
            micros.within_limit(beyond)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.decimals(-1000, 1000, places=6), max_size=30))
def test_a_sum_of_costs_with_six_decimals_is_exact(costs: list[Decimal]) -> None:
    """OpenCost's decimals add up to the same millionths as exact arithmetic, in any order."""
    assert sum(micros.from_cost(float(cost)) for cost in costs) == int(sum(costs) * 1_000_000)
