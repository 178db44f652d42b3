"""What cost can be split by, and the shipped function that answers it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from enum import Enum

from opencost_kusto.database.functions import call
from opencost_kusto.errors import UsageError
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import ALLOCATION, ASSETS
from opencost_kusto.window import Window, stamp

LABEL = "label"


class Idle(Enum):
    """Where idle cost stands: beside the cost of each line, in a line of its own for each cluster, or nowhere."""

    BESIDE, LINE, NONE = range(3)


@dataclass(frozen=True, slots=True)
class Dimension:
    """One way to split cost.

    `columns` name a line, beside its cluster. `function` is the shipped function, called with the window, the cluster
    and what is `given`; `then` is KQL that makes the columns of its rows. `dataset` is the one whose gaps matter.
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

    def query(self, window: Window, cluster: str) -> str:
        """KQL for a row for each line: Cluster, the columns, TotalCost and Currency."""
        values = {**bounds(window), "cluster": cluster, **dict(self.given)}
        columns = ", ".join(("Cluster", *self.columns))
        return (
            f"{call(self.function, values)}{self.then}"
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
    """The dimension that a user names: `namespace`, `label:app`. Raises UsageError for what is none."""
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


def idle_query(window: Window, cluster: str, columns: tuple[str, ...]) -> str:
    """KQL for the idle cost of each cluster, or by columns of its nodes, as TotalCost."""
    by = ", ".join(("Cluster", *columns))
    return (
        f"{call('OpenCostIdleByNode', {'cluster': cluster, **bounds(window)})}"
        f" | summarize TotalCost = sum(IdleCost) by {by}"
        " | lookup kind=leftouter OpenCostCurrencies on Cluster"
    )


def run_query(run: str, cluster: str, columns: tuple[str, ...]) -> str:
    """KQL for the cost of the windows of one run, by some of the columns of controllers."""
    by = ", ".join(("Cluster", *columns))
    return (
        f"{call('OpenCostOfRun', {'runId': run, 'cluster': cluster})}"
        f" | extend RunId = {literal(run)}"
        f" | summarize TotalCost = sum(TotalCost), WindowStart = min(WindowStart), WindowEnd = max(WindowEnd) by {by}"
        " | lookup kind=leftouter OpenCostCurrencies on Cluster"
    )


def runs_query(window: Window, cluster: str, most: int) -> str:
    """KQL for the runs whose windows of allocations overlap the window, the newest first."""
    where = f" | where Cluster == {literal(cluster)}" if cluster else ""
    return (
        f"OpenCostSyncRuns | where WindowStart < datetime({stamp(window.end)})"
        f" and WindowEnd > datetime({stamp(window.start)}) and Dataset == {literal(ALLOCATION.dataset)}{where}"
        f" | summarize LastRun = max(CollectionTime) by RunId | top {most} by LastRun desc"
    )


def bounds(window: Window) -> dict[str, str]:
    """The window as the parameters of a shipped function."""
    return {"startTime": stamp(window.start), "endTime": stamp(window.end)}
