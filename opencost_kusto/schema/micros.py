"""Money in millionths: whole numbers, so that a sum does not depend on the order of the rows.

OpenCost rounds costs to five decimals, /assets to six. Python and Kusto both round halves up.
"""

from __future__ import annotations

import math

_PER_UNIT = 1_000_000
# The largest cost, and sum of costs, whose millionths fit a Kusto `long` (9.2e18).
LIMIT = 9e12


def from_cost(cost: float) -> int:
    """The millionths of a cost; raises OverflowError beyond ±9e12."""
    if not -LIMIT <= cost <= LIMIT:
        raise OverflowError(f"a cost of {cost:.15g} is more than Kusto can count, which is {LIMIT:g}")
    return math.floor(cost * _PER_UNIT + 0.5)


def to_cost(micros: int) -> float:
    """The cost of so many millionths."""
    return micros / _PER_UNIT


def within_limit(total: int) -> int:
    """The millionths themselves; raises OverflowError beyond ±9e12 in cost."""
    if abs(total) > LIMIT * _PER_UNIT:
        raise OverflowError(f"a sum of {to_cost(total):.15g} is more than Kusto can count, which is {LIMIT:g}")
    return total


def kql(column: str) -> str:
    """The KQL expression for the millionths of a column of type `real`, as a `long`; null where the cost is null.

    `bin` rounds down, also below zero: https://learn.microsoft.com/kusto/query/bin-function
    """
    return f"tolong(bin({column} * {_PER_UNIT}.0 + 0.5, 1))"
