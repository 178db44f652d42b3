"""`query`: the rows of a shipped function, or of any KQL."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from opencost_kusto.cli.console import Console
from opencost_kusto.cli.cost import Top
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.option_groups import ExplicitOptions
from opencost_kusto.cli.options import key_values, option
from opencost_kusto.cli.usage import read_option
from opencost_kusto.database.functions import named
from opencost_kusto.errors import UsageError
from opencost_kusto.insight.cost_request import window_of
from opencost_kusto.insight.query import Query, function_query, functions_document, kql_query
from opencost_kusto.rendering import Document, table_of
from opencost_kusto.window import Window


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """The query, and the values of its parameters."""

    PANEL = "Query"
    kql: Annotated[str | None, option("--kql", "Any query instead of a function; - reads it from stdin.")] = None
    window: Annotated[
        str | None, option("--window", "startTime and endTime: 7d (the default), yesterday, START,END, …")
    ] = None
    cluster: Annotated[
        list[str] | None, option("--cluster", "This cluster alone; repeatable, one after the other.")
    ] = None
    param: Annotated[list[str] | None, option("--param", "k=v for another parameter of the function; repeatable.")] = (
        None
    )

    def period(self, now: datetime) -> Window | None:
        """The window, if one is named; raises UsageError."""
        return read_option("--window", lambda one: window_of(one, now), self.window) if self.window else None

    def queries(self, name: str | None, explicit: ExplicitOptions, now: datetime) -> dict[str | None, Query]:
        """The query by cluster; without --cluster, one query of all.

        Raises UsageError for none, or two, and for values that it cannot take.
        """
        text = sys.stdin.read() if self.kql == "-" else self.kql
        clusters: list[str | None] = [*(self.cluster or [])] or [None]
        found = {one: self._query(name, text, one, explicit, now) for one in clusters}
        # Clusters named in the environment are ignored by a function that takes none.
        return found if len({one.text for one in found.values()}) > 1 else {None: found[clusters[0]]}

    def _query(
        self, name: str | None, text: str | None, cluster: str | None, explicit: ExplicitOptions, now: datetime
    ) -> Query:
        if (name is None) == (text is None):
            raise UsageError("Name one function, as in opencost-kusto query ByNamespace, or write --kql. See --list.")
        if text is not None:
            if self.param:
                raise UsageError("--param is for a function; write the values into --kql.")
            return kql_query(text, self.period(now), cluster, now)
        values = key_values(self.param or [], "--param")
        takes = {parameter.name for parameter in named(name or "").parameters} - values.keys()
        # A variable is for other functions too, so one that this function does not take is ignored.
        window = self.period(now) if "startTime" in takes or "window" in explicit else None
        cluster = cluster if "cluster" in takes or "cluster" in explicit else None
        return function_query(name or "", window, cluster, values, now)


def query_command(
    kusto_options: KustoOptions,
    options: QueryOptions,
    name: Annotated[str | None, typer.Argument(help="A shipped function, such as ByNamespace; see --list.")] = None,
    top: Top = None,
    show: Annotated[bool, typer.Option("--list", help="List the functions.", rich_help_panel="Query")] = False,
    *,
    explicit: ExplicitOptions,
    console: Console,
) -> None:
    """Run a shipped function, or any KQL, and print its rows."""
    if show:
        console.show(functions_document())
        return
    queries = options.queries(name, explicit, datetime.now(UTC))
    query = next(iter(queries.values()))
    with kusto_options.kusto(console.info) as kusto:
        # Rows of several clusters have a column with their cluster.
        of = {one: {"Cluster": one} if len(queries) > 1 else {} for one in queries}
        table = table_of([of[one] | row for one, each in queries.items() for row in kusto.query(each.text)])
    count = len(table.rows) if top is None else top
    first = table.first(count)
    lines = [] if table.rows else ["No rows."]
    console.show(Document(first.documents(), [table.top(count).compact()], lines, first, query.head))
