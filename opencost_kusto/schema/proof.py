"""KQL for the proof of a batch: the facts about its rows, and whether they are one complete response."""

from __future__ import annotations

from opencost_kusto.schema import micros

# The facts about the rows of a batch: how each is read from rows, and how those of parts of the rows are combined. Sum
# and squares are of the row numbers; only the last row has totals.
_FACTS = {
    "Rows": ("count()", "sum"),
    "Least": ("min(RowNumber)", "min"),
    "Most": ("max(RowNumber)", "max"),
    "Sum": ("sum(RowNumber)", "sum"),
    "Squares": ("sum(RowNumber * RowNumber)", "sum"),
    "First": ("min(CollectionTime)", "min"),
    "Last": ("max(CollectionTime)", "max"),
    "Micros": ("sum(Micros)", "sum"),
    "Ends": ("countif(isnotnull(BatchRows))", "sum"),
    "BatchRows": ("max(BatchRows)", "max"),
    "BatchCost": ("max(BatchCost)", "max"),
}
# The condition on the facts for a complete response: every number once, one collection time, and rows and cost as its
# one row with totals has them. Null or false for anything else; without a cost there is neither cost nor total.
COMPLETE = (
    "Least == 1 and Most == Rows and Sum == Rows * (Rows + 1) / 2"
    " and Squares == Rows * (Rows + 1) / 2 * (2 * Rows + 1) / 3"
    " and First == Last and Ends == 1 and BatchRows == Rows and coalesce(BatchCost, 0) == coalesce(Micros, 0)"
)


def facts(cost: str | None, *, cheap: bool = False) -> str:
    """The aggregates of `summarize` that prove a batch; `cost` is the column of costs, None where there is none.

    With `cheap`, a complete batch that costs more than 9e9 may not be seen to be one.
    """
    own = {"Micros": (micros.kql_sum(cost) if cheap else f"sum({micros.kql(cost)})") if cost else None}
    aggregates = {name: own.get(name, aggregate) for name, (aggregate, _) in _FACTS.items()}
    return ", ".join(f"{name} = {aggregate}" for name, aggregate in aggregates.items() if aggregate)


def merged() -> str:
    """The aggregates of `summarize` that make one of the facts of parts of a batch."""
    return ", ".join(f"{name} = {merge}({name})" for name, (_, merge) in _FACTS.items())
