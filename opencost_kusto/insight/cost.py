"""The cost of a window by a dimension, with what a reader needs to judge the amounts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from opencost_kusto.errors import UsageError
from opencost_kusto.insight.cost_lines import Line, cost_lines
from opencost_kusto.insight.cost_request import CostRequest, Queries, checked
from opencost_kusto.insight.dimensions import RUN, Dimension, bounds, of_clusters, run_gaps_query
from opencost_kusto.kusto.client import Row
from opencost_kusto.schema.tables import ALLOCATION, ASSETS
from opencost_kusto.window import Window

# Clusters that an error lists.
_LISTED = 10
# From this length on, missing time is counted in full hours, and in full days.
_BY_HOUR, _BY_DAY = timedelta(hours=6), timedelta(days=62)


@dataclass(frozen=True, slots=True)
class Gap:
    """Minutes of a window that neither landed nor are recorded as empty, between the two bounds.

    Of a run, those that it requested and did not load.
    """

    cluster: str
    dataset: str
    minutes: float
    first: datetime
    last: datetime
    run: str = ""


@dataclass(frozen=True, slots=True)
class CostReport:
    """Lines, the most expensive first, and what a reader needs to judge them.

    `window` is the one that was requested, or that of the run. `landed_until` is by cluster, None where nothing landed.
    `gaps` are of the window, `earlier_gaps` of the one it is compared with.
    """

    request: CostRequest
    dimension: Dimension
    window: Window
    lines: list[Line]
    landed_until: dict[str, datetime | None]
    gaps: list[Gap]
    earlier_gaps: list[Gap]

    @property
    def totals(self) -> dict[str, float]:
        """The cost of all lines by currency, "" where it is not set; empty for runs, whose windows may overlap."""
        sums: dict[str, float] = {}
        for line in self.lines if self.dimension.name != RUN else ():
            sums[line.currency] = sums.get(line.currency, 0.0) + line.total
        return dict(sorted(sums.items()))

    def share(self, line: Line) -> float | None:
        """The part of a line in the total of its currency, None where there is none."""
        total = self.totals.get(line.currency, 0.0)
        return line.total / total if total > 0 else None


def cost_report(kusto: Queries, request: CostRequest) -> CostReport:
    """Query the cost that is requested.

    Raises UsageError for an unknown dimension, for options that cannot be combined, and for a cluster or run that the
    database does not have; KustoError.
    """
    by = checked(request)
    landed = _landed_until(kusto, by.dataset)
    if request.clusters and landed:
        for name in request.clusters:
            if name not in landed:
                raise UsageError(_unknown_cluster(name, landed))
        landed = {name: landed[name] for name in request.clusters}
    window, lines = cost_lines(kusto, request, by)
    of_runs = bool(request.run) or by.name == RUN
    gaps = _run_gaps(kusto, window, request) if of_runs else _gaps(kusto, window, request, by)
    earlier_gaps = _gaps(kusto, request.earlier, request, by) if request.earlier else []
    return CostReport(request, by, window, lines, landed, gaps, earlier_gaps)


def _landed_until(kusto: Queries, dataset: str) -> dict[str, datetime | None]:
    """The time up to which each cluster has landed."""
    rows = kusto.query(f"OpenCostFreshness() | where Dataset == '{dataset}' | project Cluster, LandedUntil")
    return {row["Cluster"]: row["LandedUntil"] for row in rows if row["Cluster"]}


def _gaps(kusto: Queries, window: Window, request: CostRequest, by: Dimension) -> list[Gap]:
    """The missing time of a window, by cluster and dataset, in full steps."""
    datasets = [ALLOCATION.dataset, ASSETS.dataset] if request.idle else [by.dataset]
    step = "1d" if window.length >= _BY_DAY else "1h" if window.length >= _BY_HOUR else "10m"
    values = {**bounds(window), "step": step}
    names = ", ".join(f"'{name}'" for name in datasets)
    rows = kusto.query(
        f"{of_clusters('OpenCostMissingWindows', values, request.clusters)} | where Dataset in ({names})"
        " | summarize Minutes = sum(MissingMinutes), First = min(WindowStart), Last = max(WindowEnd)"
        " by Cluster, Dataset | order by Cluster asc, Dataset asc"
    )
    return list(map(_gap, rows))


def _run_gaps(kusto: Queries, window: Window, request: CostRequest) -> list[Gap]:
    """The windows that a run, or each run of a window, requested and did not load, even if another run did."""
    rows = kusto.query(run_gaps_query(request.run, window, request.clusters))
    return [_gap(row, row["RunId"]) for row in rows]


def _gap(row: Row, run: str = "") -> Gap:
    return Gap(row["Cluster"] or "", row["Dataset"], row["Minutes"], row["First"], row["Last"], run)


def _unknown_cluster(name: str, existing: Iterable[str]) -> str:
    names = sorted(existing)
    near = difflib.get_close_matches(name, names, 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    listed = ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")
    return f"--cluster {name!r}: the database has no cost of it. It has {listed}.{hint}"
