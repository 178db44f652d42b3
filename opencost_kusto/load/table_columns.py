"""The columns that a table has in Kusto: those of every release, in their order."""

from __future__ import annotations

from opencost_kusto.kusto.client import Kusto
from opencost_kusto.schema.columns import Table


def columns_command(table: Table) -> str:
    """The command that shows a table's columns, in their order, as `name:type` pairs."""
    return f".show table {table.name} cslschema | project Schema"


def live_schema(kusto: Kusto, table: Table) -> str:
    """A table's columns as Kusto declares them: `['Name']:type,...`. Raises KustoError."""
    return str(kusto.command(columns_command(table))[0]["Schema"])


def live_columns(kusto: Kusto, table: Table) -> dict[str, str]:
    """The type of each column of a table, in the order of its columns. Raises KustoError."""
    pairs = (pair.rpartition(":") for pair in live_schema(kusto, table).split(","))
    return {name.strip("[]'\""): kind for name, _, kind in pairs}
