"""The KQL that `query` sends: a shipped function with a user's values, or a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from opencost_kusto.database.functions import Function, call, functions, named
from opencost_kusto.errors import UsageError
from opencost_kusto.insight.cost_request import window_of
from opencost_kusto.insight.dimensions import bounds
from opencost_kusto.insight.tiles import values as dashboard_values
from opencost_kusto.rendering import Column, Document, Table
from opencost_kusto.times import readable
from opencost_kusto.window import Window, stamp

WINDOW = "7d"


@dataclass(frozen=True, slots=True)
class Query:
    """KQL, and the lines that describe it."""

    text: str
    head: tuple[str, ...] = ()


def function_query(
    name: str, window: Window | str | None, cluster: str | None, values: Mapping[str, str], now: datetime
) -> Query:
    """A call of a shipped function; a window becomes its startTime and endTime, by default the last seven days.

    Raises UsageError for a function that does not exist or has no such parameter, and a value that is given twice.
    """
    function = named(name)
    takes = {parameter.name: parameter for parameter in function.parameters}
    given = dict(values)
    if cluster is not None:
        _set(given, function, "--cluster", {"cluster": cluster})
    needs_window = "startTime" in takes and takes["startTime"].default is None
    if window is None and needs_window and not given.keys() & {"startTime", "endTime"}:
        window = WINDOW
    head = [f"{function.name}: {function.doc}"]
    if window is not None:
        period = window_of(window, now)
        _set(given, function, "--window", bounds(period))
        head.append(_period(period))
    return Query(call(function.name, given), tuple(head))


def kql_query(text: str, window: Window | str | None, cluster: str | None, now: datetime) -> Query:
    """A user's query, with the names that the dashboard's queries use: `_startTime`, `_endTime` and `_cluster`.

    Raises UsageError for no text, and for a management command.
    """
    text = text.strip()
    if not text or text.startswith("."):
        why = "it is empty" if not text else "it is a management command, and query only reads"
        raise UsageError(f"--kql is not a query: {why}.")
    period = window_of(window or WINDOW, now)
    lets = "\n".join(f"let {name} = {value};" for name, value in dashboard_values(period, cluster or "").items())
    return Query(f"{lets}\n{text}", (_period(period),) if "_startTime" in text else ())


def functions_document() -> Document:
    """The shipped functions: a line for each."""
    rows = [(one.name, ", ".join(map(str, one.parameters)), one.doc) for one in functions()]
    table = Table((Column("Function"), Column("Parameters"), Column("Description")), rows)
    lines = [line for name, parameters, doc in rows for line in (f"{name}({parameters})", f"    {doc}")]
    return Document(table.documents(), (), lines, table)


def _set(given: dict[str, str], function: Function, option: str, values: Mapping[str, str]) -> None:
    """Add the values of an option; raises UsageError for a parameter that does not exist, or is set already."""
    for name, value in values.items():
        if name not in {parameter.name for parameter in function.parameters}:
            raise UsageError(f"{function.name} has no parameter {name}; leave out {option}.")
        if name in given:
            raise UsageError(f"{option} and --param {name} are one; leave out either.")
        given[name] = value


def _period(window: Window) -> str:
    return f"Period: {stamp(window.start)} to {stamp(window.end)} ({readable(window.length)})"
