"""KQL for the proof of a batch: what a table says of its rows, and whether they are one complete response."""

from __future__ import annotations

from opencost_kusto.schema import micros
from opencost_kusto.schema.columns import Table

# The condition on `facts` that holds of a complete response: every number once, one collection time, and rows and cost
# as the last row says. Null or false for anything else; a table without a cost has neither cost nor total.
WHOLE = (
    "Least == 1 and Most == Rows and Sum == Rows * (Rows + 1) / 2 and Squares == Rows * (Rows + 1) * (2 * Rows + 1) / 6"
    " and First == Last and Ends == 1 and BatchRows == Rows and coalesce(BatchCost, 0) == coalesce(Micros, 0)"
)


def facts(table: Table, *more: str) -> str:
    """The aggregates of `summarize` that prove a batch; totals, and `more`, are of the row with the highest number."""
    totals = ", ".join(("BatchRows", "BatchCost", *more))
    cost = f" Micros = sum({micros.kql(table.cost)})," if table.cost else ""
    return (
        "Rows = count(), Least = min(RowNumber), Most = max(RowNumber), Sum = sum(RowNumber),"
        " Squares = sum(RowNumber * RowNumber), First = min(CollectionTime), Last = max(CollectionTime),"
        f"{cost} Ends = countif(isnotnull(BatchRows)), arg_max(RowNumber, {totals})"
    )
