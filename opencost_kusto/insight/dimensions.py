"""The dimensions by which cost can be split, and their shipped functions."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from opencost_kusto.database.functions import call
from opencost_kusto.errors import UsageError
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import ALLOCATION, ASSETS
from opencost_kusto.window import Window, stamp

LABEL = "label"


class Idle(Enum):
    """Where idle cost is shown: in each line, in a separate line for each cluster, or nowhere."""

    BESIDE, LINE, NONE = range(3)


@dataclass(frozen=True, slots=True)
class Dimension:
    """One way to split cost.

    `columns` name a line, in addition to its cluster. `function` is the shipped function, called with the window, the
    clusters and the values `given`; `then` is KQL that makes the columns. `dataset` is the one whose gaps are reported.
    """

    name: str
    columns: tuple[str, ...]
    function: str
    then: str = ""
    idle: Idle = Idle.LINE
    dataset: str = ALLOCATION.dataset
    given: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return ":".join((self.name, *(value for _, value in self.given if self.name == LABEL)))

    def query(self, window: Window, clusters: Sequence[str]) -> str:
        """KQL for a row for each line: Cluster, the columns, TotalCost and Currency."""
        columns = ", ".join(("Cluster", *self.columns))
        return (
            f"{of_clusters(self.function, {**bounds(window), **dict(self.given)}, clusters)}{self.then}"
            f" | summarize TotalCost = sum(TotalCost) by {columns}"
            " | lookup kind=leftouter OpenCostCurrencies on Cluster"
        )


RUN = "run"
_DAY = " | extend Day = format_datetime(Timestamp, 'yyyy-MM-dd')"
# Longer than any window: the function then does not cut it into hours.
_ONE_STEP = (("step", "36500d"),)
_DIMENSIONS = {
    each.name: each
    for each in (
        Dimension("namespace", ("Namespace",), "OpenCostByNamespace"),
        Dimension("cluster", (), "OpenCostByCluster", idle=Idle.BESIDE),
        Dimension("controller", ("Namespace", "ControllerKind", "Controller"), "OpenCostByController"),
        Dimension("node", ("Node",), "OpenCostByNode", idle=Idle.BESIDE),
        Dimension(LABEL, ("Value",), "OpenCostByLabel"),
        Dimension("team", ("Team",), "OpenCostByTeam"),
        Dimension("day", ("Day",), "OpenCostDailyCost", _DAY, Idle.NONE),
        Dimension("type", ("Type",), "OpenCostInfrastructureCost", "", Idle.NONE, ASSETS.dataset, _ONE_STEP),
        Dimension(RUN, ("RunId",), "OpenCostOfRun", idle=Idle.NONE),
    )
}
NAMES = ", ".join(f"{name}:NAME" if name == LABEL else name for name in _DIMENSIONS)


def dimension(text: str) -> Dimension:
    """The dimension that a user names: `namespace`, `label:app`. Raises UsageError for any other text."""
    name, separator, label = text.strip().partition(":")
    found = _DIMENSIONS.get(name.lower())
    if found is None:
        near = difflib.get_close_matches(name.lower(), _DIMENSIONS, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"--by {text!r} is not possible; write one of {NAMES}.{hint}")
    if (found.name == LABEL) != bool(label.strip()) or (separator and found.name != LABEL):
        raise UsageError(f"--by {text!r} is not possible: write label:NAME for a label, and {NAMES} without a colon.")
    if not separator:
        return found
    return replace(found, given=((LABEL, label.strip()),))


def of_clusters(function: str, values: dict[str, str], clusters: Sequence[str]) -> str:
    """KQL that calls a function for some clusters, or for all where none is named.

    Its parameter takes one name; of several, the rows are kept from those of all clusters.
    """
    if len(clusters) == 1:
        return call(function, {**values, "cluster": clusters[0]})
    return call(function, values) + _of(clusters)


def _of(clusters: Sequence[str]) -> str:
    """KQL that keeps the rows of some clusters, or of all where none is named."""
    return f" | where Cluster in ({', '.join(map(literal, clusters))})" if clusters else ""


def idle_query(window: Window, clusters: Sequence[str], columns: tuple[str, ...]) -> str:
    """KQL for the idle cost of each cluster, or by columns of its nodes, as TotalCost."""
    by = ", ".join(("Cluster", *columns))
    return (
        f"{of_clusters('OpenCostIdleByNode', bounds(window), clusters)}"
        f" | summarize TotalCost = sum(IdleCost) by {by}"
        " | lookup kind=leftouter OpenCostCurrencies on Cluster"
    )


def run_query(run: str, clusters: Sequence[str], columns: tuple[str, ...]) -> str:
    """KQL for the cost of the windows of one run, by some of the columns of controllers."""
    by = ", ".join(("Cluster", *columns))
    return (
        f"{of_clusters('OpenCostOfRun', {'runId': run}, clusters)}"
        f" | extend RunId = {literal(run)}"
        f" | summarize TotalCost = sum(TotalCost), WindowStart = min(WindowStart), WindowEnd = max(WindowEnd) by {by}"
        " | lookup kind=leftouter OpenCostCurrencies on Cluster"
    )


def runs_query(window: Window, clusters: Sequence[str]) -> str:
    """KQL for the runs whose windows of allocations overlap the window, the newest first."""
    return (
        f"OpenCostSyncRuns | where {_in_log(window)}{_of(clusters)}"
        " | summarize LastRun = max(CollectionTime) by RunId | order by LastRun desc, RunId asc | project RunId"
    )


def run_gaps_query(run: str, window: Window, clusters: Sequence[str]) -> str:
    """KQL for what a run requested of allocations and did not load; without a run, each run of the window.

    A batch of which the run log has no end counts as landed where the table has rows of the run.
    """
    where = f"Dataset == {literal(ALLOCATION.dataset)} and RunId == {literal(run)}" if run else _in_log(window)
    return (
        f"let batches = materialize(OpenCostSyncRuns | where {where}{_of(clusters)}"
        " | summarize arg_max(LoggedAt, Outcome, WindowStart, WindowEnd) by RunId, Cluster, BatchId"
        ' | where isnotempty(BatchId) and Outcome !in ("landed", "already landed", "empty")); batches'
        f" | join kind=leftanti ({ALLOCATION.name} | where BatchId in ((batches | where"
        ' Outcome in ("queued", "timed out") | project BatchId)) | distinct RunId, BatchId) on RunId, BatchId'
        " | summarize Minutes = sum((WindowEnd - WindowStart) / 1m), First = min(WindowStart), Last = max(WindowEnd)"
        f" by RunId, Cluster | extend Dataset = {literal(ALLOCATION.dataset)} | order by RunId asc, Cluster asc"
    )


def _in_log(window: Window) -> str:
    return (
        f"WindowStart < datetime({stamp(window.end)}) and WindowEnd > datetime({stamp(window.start)})"
        f" and Dataset == {literal(ALLOCATION.dataset)}"
    )


def bounds(window: Window) -> dict[str, str]:
    """The window as the parameters of a shipped function."""
    return {"startTime": stamp(window.start), "endTime": stamp(window.end)}
