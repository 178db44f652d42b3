"""What each shipped function is held against: two plain passes over the rows that it reads.

The first pass counts the rows of each batch, the second adds up columns after a lookup on the batch, as
`decisions.md` 14 agreed. There the second pass groups by namespace, of which the cluster has 40, and reads workloads
alone. That says little of a function whose lines are 600 nodes, 2,000 controllers, 30,000 pairs of hour and node or
10,000 containers, or which reads assets too: whoever wrote the pass by hand would group by the same keys and read the
same tables. So these are held against passes by their own keys, over all rows they read, with the columns they add up.
Such a pass has nothing else: no proof of complete batches, no window beside another, no idle, no prices, no names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_COSTS = ("TotalCost", "CpuCost", "RamCost", "GpuCost", "PvCost", "NetworkCost", "LoadBalancerCost")
_HOURS = ("CpuCoreHours", "RamByteHours", "GpuHours")
_COMPUTE = ("CpuCost", "RamCost", "GpuCost")
_OF_ASSETS = ("TotalCost", *_COMPUTE, "Minutes")
_CONTROLLERS = "Namespace, ControllerKind, Controller"
_DAY = "Day = startofday(WindowStart)"


def _passes(
    table: str, sums: Iterable[str] | Mapping[str, str], keys: str, *, many: bool = False, more: str = ""
) -> tuple[str, str]:
    """The two passes; the lines of the second are added up where there are too many for an answer, all columns."""
    named = sums if isinstance(sums, Mapping) else {name: name for name in sums}
    columns = ", ".join(f"{name}_ = sum({value} * Share)" for name, value in named.items())
    second = (
        f"{table} | lookup kind=inner (OpenCostSyncRuns | project BatchId, Share = 1.0) on BatchId"
        f" | summarize {columns}{more} by {keys}"
    )
    if many:
        second += f" | summarize {', '.join(f'sum({name}_)' for name in named)}"
        second += ", countif(isnotnull(Tags))" if "Tags" in more else ""
    return f"{table} | summarize Rows = count() by BatchId", second


def _hours(average: str) -> str:
    return f"({average} * Minutes / 60.0)"


def _wasted(cost: str, used: str, allocated: str) -> str:
    return f"({cost} * max_of(0.0, 1.0 - {_hours(used)} / {allocated}))"


_EFFICIENCY = {
    **{name: name for name in ("TotalCost", *_HOURS)},
    **{
        f"{name}{kind}": _hours(f"{name}{kind}Average")
        for name in ("CpuCore", "RamByte", "Gpu")
        for kind in ("Request", "Usage")
    },
    "CpuWaste": _wasted("CpuCost", "CpuCoreUsageAverage", "CpuCoreHours"),
    "RamWaste": _wasted("RamCost", "RamByteUsageAverage", "RamByteHours"),
    "GpuWaste": _wasted("GpuCost", "GpuUsageAverage", "GpuHours"),
}
_FOCUS = (*_COSTS, *_HOURS, "PvByteHours", "NetworkTransferBytes", "SharedCost", "ExternalCost")

PLAIN = _passes("OpenCostAllocation", (*_COSTS, *_HOURS), "Namespace")

_CONTROLLER_COSTS = _passes("OpenCostAllocation", (*_COSTS, *_HOURS), _CONTROLLERS)
_CONTROLLER_TOTALS = _passes("OpenCostAllocation", ("TotalCost",), _CONTROLLERS)
# A controller has a cost in each of two periods.
_CONTROLLER_PERIODS = _passes(
    "OpenCostAllocation", ("TotalCost",), f"{_CONTROLLERS}, IsLater = WindowStart >= datetime(2026-11-02)"
)
_ASSETS_BY_TYPE = _passes("OpenCostAssets", _OF_ASSETS, "Type")
_ASSETS_BY_HOUR = _passes("OpenCostAssets", _OF_ASSETS, "BatchId, Type, Name", many=True)
_IDLE = (*_passes("OpenCostAllocation", _COMPUTE, "BatchId, Node", many=True), *_ASSETS_BY_HOUR)
_PIECES = (*_passes("OpenCostAllocation", _COSTS, "BatchId, Node, Namespace", many=True), *_ASSETS_BY_HOUR)
_CONTAINERS = (
    *_passes(
        "OpenCostAllocation",
        _FOCUS,
        f"Node, Namespace, ControllerKind, Controller, Pod, Container, {_DAY}",
        many=True,
        more=", Tags = take_any(Labels)",
    ),
    *_passes("OpenCostAssets", (*_OF_ASSETS, *_HOURS, "ByteHours"), f"Type, Name, {_DAY}", many=True),
)
_LABELS = _passes("OpenCostAllocation", (*_COSTS, *_HOURS), "LabelsText = tostring(Labels)", many=True)
_NUMBERED = tuple(
    f"{table} | summarize Copies = count(), Cost = sum(TotalCost) by BatchId, RowNumber"
    " | summarize sum(Copies), sum(Cost), max(RowNumber) by BatchId"
    for table in ("OpenCostAllocation", "OpenCostAssets")
)
_SCRAPES = (
    "OpenCostMetrics | summarize Rows = count() by BatchId",
    "OpenCostMetrics | summarize Value = max(MetricValue)"
    " by Source, Timestamp, MetricName, LabelsText = tostring(Labels) | summarize sum(Value)",
)

OWN: dict[str, tuple[str, ...]] = {
    "OpenCostByNode": _passes("OpenCostAllocation", (*_COSTS, *_HOURS), "Node"),
    "OpenCostByController": _CONTROLLER_COSTS,
    "OpenCostOfRun": _passes("OpenCostAllocation", _COSTS, _CONTROLLERS),
    "OpenCostTopMovers": _CONTROLLER_PERIODS,
    # The run is compared with itself, so that each of the two has all rows.
    "OpenCostRunDiff": (*_CONTROLLER_TOTALS, *_CONTROLLER_TOTALS),
    "OpenCostEfficiency": _passes("OpenCostAllocation", _EFFICIENCY, f"{_CONTROLLERS}, Container"),
    "OpenCostAllocatedAgainstInfrastructure": (*PLAIN, *_ASSETS_BY_TYPE),
    "OpenCostCoverage": (*PLAIN, *_ASSETS_BY_TYPE),
    "OpenCostMissingWindows": (*PLAIN, *_ASSETS_BY_TYPE),
    "OpenCostIdleByNode": _IDLE,
    "OpenCostNodeUse": _IDLE,
    "OpenCostReconcile": _PIECES,
    "OpenCostChargeback": _PIECES,
    "OpenCostFocus": _CONTAINERS,
    "OpenCostFocus13": _CONTAINERS,
    "OpenCostByLabel": _LABELS,
    "OpenCostByTeam": _LABELS,
    "OpenCostProof": (PLAIN[0], _ASSETS_BY_TYPE[0], *_NUMBERED),
    "OpenCostCostRates": _SCRAPES,
    "OpenCostAnalysis": _SCRAPES,
}
"""Functions that have many lines or read more than workloads, and the passes that they are held against."""
