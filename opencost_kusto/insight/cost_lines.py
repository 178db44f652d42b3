"""The lines of a cost report: the rows of the shipped functions, with their idle cost and an earlier cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC

from opencost_kusto.errors import UsageError
from opencost_kusto.insight.cost_request import CostRequest, Queries
from opencost_kusto.insight.dimensions import RUN, Dimension, Idle, idle_query, run_query, runs_query
from opencost_kusto.kusto.client import Row
from opencost_kusto.schema.columns import Json
from opencost_kusto.window import Window

IDLE_LINE = "__idle__"
# Runs of which `by=run` reads the cost, each with a query of its own, and how many are sent side by side.
_RUNS, _QUERIES = 1000, 8


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its names, its cost and its currency, "" where that is not set.

    `cost` is without `idle_cost`, which is None where it was not requested or has a line of its own. `previous_cost` is
    None where nothing is compared, or where nothing of the cluster has landed for the earlier window.
    """

    cluster: str
    names: tuple[str, ...]
    currency: str
    cost: float
    idle_cost: float | None = None
    previous_cost: float | None = None

    @property
    def total(self) -> float:
        """The cost including the idle cost."""
        return self.cost + (self.idle_cost or 0.0)


def cost_lines(kusto: Queries, request: CostRequest, by: Dimension) -> tuple[Window, list[Line]]:
    """The lines, the most expensive first or days in order, and their window: that of the request, or of its run.

    Raises UsageError for a run of which nothing has landed, and a window of too many runs; KustoError.
    """
    window = request.window
    if request.run:
        window, lines = _of_run(kusto, request.run, request.clusters, by.columns)
    elif by.name == RUN:
        lines = _by_run(kusto, request)
    else:
        lines = _of_window(kusto, request, by, window)
    if request.earlier:
        lines = _compared(lines, _of_window(kusto, request, by, request.earlier))
    elif request.baseline and request.run:
        lines = _compared(lines, _of_run(kusto, request.baseline, request.clusters, by.columns)[1])
    elif request.baseline:
        lines = _against(lines, _of_run(kusto, request.baseline, request.clusters, ())[1])

    def order(line: Line) -> tuple[Json, ...]:
        # Equal costs by name, so that two equal calls are equal text.
        rank = line.names if by.name == "day" else -round(line.total, 6)
        return (line.currency, rank, line.cluster, line.names)

    return window, sorted(lines, key=order)


def _of_window(kusto: Queries, request: CostRequest, by: Dimension, window: Window) -> list[Line]:
    lines = [_line(row, by.columns) for row in kusto.query(by.query(window, request.clusters))]
    if not request.idle:
        return lines
    beside = by.idle is Idle.BESIDE
    columns = by.columns if beside else ()
    idle = [_line(row, columns) for row in kusto.query(idle_query(window, request.clusters, columns))]
    if beside:
        return _with_idle(lines, idle)
    names = (IDLE_LINE, *[""] * (len(by.columns) - 1))
    return lines + [replace(one, names=names) for one in idle]


def _with_idle(lines: Sequence[Line], idle: Sequence[Line]) -> list[Line]:
    """The lines with their idle cost; nodes on which nothing ran have only idle cost."""
    costs = {(one.cluster, one.names): one for one in idle}
    found = []
    for line in lines:
        idle_line = costs.pop((line.cluster, line.names), None)
        found.append(replace(line, idle_cost=idle_line.cost if idle_line else 0.0))
    return found + [replace(one, cost=0.0, idle_cost=one.cost) for one in costs.values()]


def _of_run(kusto: Queries, run: str, clusters: Sequence[str], columns: tuple[str, ...]) -> tuple[Window, list[Line]]:
    """The cost of a run, and the time from the first to the last of its windows."""
    rows = kusto.query(run_query(run, clusters, columns))
    if not rows:
        raise UsageError(f"No cost of a run {run!r} has landed. List the runs with opencost-kusto cost --by run.")
    starts, ends = ([row[name].astimezone(UTC) for row in rows] for name in ("WindowStart", "WindowEnd"))
    return Window(min(starts), max(ends)), [_line(row, columns) for row in rows]


def _by_run(kusto: Queries, request: CostRequest) -> list[Line]:
    """The cost of each run of the window; raises UsageError for too many."""
    runs = [row["RunId"] for row in kusto.query(runs_query(request.window, request.clusters))]
    if len(runs) > _RUNS:
        raise UsageError(
            f"--by run reads each run with a query of its own, {_RUNS:,} at most; the window has {len(runs):,}. Choose "
            "a shorter --window."
        )
    queries = [run_query(run, request.clusters, ("RunId",)) for run in runs]
    with ThreadPoolExecutor(_QUERIES) as pool:
        return [_line(row, ("RunId",)) for rows in pool.map(kusto.query, queries) for row in rows]


def _line(row: Row, columns: Iterable[str]) -> Line:
    names = tuple(str(row[column] or "") for column in columns)
    return Line(row["Cluster"] or "", names, row["Currency"] or "", row["TotalCost"] or 0.0)


def _compared(lines: Sequence[Line], earlier: Sequence[Line]) -> list[Line]:
    """The lines with their earlier cost; a line that is only in the earlier window has a cost of 0."""
    before = {(line.cluster, line.names, line.currency): line for line in earlier}
    clusters = {line.cluster for line in earlier}
    found = []
    for line in lines:
        old = before.pop((line.cluster, line.names, line.currency), None)
        absent = 0.0 if line.cluster in clusters else None
        found.append(replace(line, previous_cost=old.total if old else absent))
    return found + [replace(old, cost=0.0, idle_cost=None, previous_cost=old.total) for old in before.values()]


def _against(lines: Sequence[Line], baseline: Sequence[Line]) -> list[Line]:
    """The runs with the cost of the baseline run in the same cluster."""
    costs = {(line.cluster, line.currency): line.total for line in baseline}
    return [replace(line, previous_cost=costs.get((line.cluster, line.currency))) for line in lines]
