"""Money in millionths: whole numbers, so that a sum does not depend on the order of the rows.

OpenCost rounds costs to five decimals, /assets to six. Python and Kusto both round halves up.
"""

from __future__ import annotations

import math

PER_UNIT = 1_000_000
# The largest cost, and sum of costs, whose millionths fit a Kusto `long` (9.2e18).
LIMIT = 9e12


def from_cost(cost: float) -> int:
    """The millionths of a cost; raises OverflowError beyond ±9e12."""
    if not -LIMIT <= cost <= LIMIT:
        raise OverflowError(f"a cost of {cost:.15g} is more than Kusto can count, which is {LIMIT:g}")
    return math.floor(cost * PER_UNIT + 0.5)


def to_cost(micros: int) -> float:
    """The cost of so many millionths."""
    return micros / PER_UNIT


def within_limit(total: int) -> int:
    """The millionths themselves; raises OverflowError beyond ±9e12 in cost."""
    if abs(total) > LIMIT * PER_UNIT:
        raise OverflowError(f"a sum of {to_cost(total):.15g} is more than Kusto can count, which is {LIMIT:g}")
    return total


def kql(column: str) -> str:
    """The KQL expression for the millionths of a column of type `real`, as a `long`; null where the cost is null."""
    return f"tolong({_rounded(column)})"


def kql_sum(column: str) -> str:
    """The KQL aggregate for the sum of millionths, as a `long`: converted once, exact up to 9e9 in cost."""
    return f"tolong(sum({_rounded(column)}))"


def _rounded(column: str) -> str:
    """KQL for the floor of a cost in millionths and a half: -ceiling(-x) is the floor of x, also below zero.

    `bin` is the same, but examines the type of each value in the emulator, which takes ten times as long:
    https://learn.microsoft.com/kusto/query/ceiling-function
    """
    return f"-ceiling(-{column} * {PER_UNIT}.0 - 0.5)"
