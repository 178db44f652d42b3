"""The costs that a request selects: sets of /allocation, and the assets of a window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from opencost_kusto.emulator.opencost import aggregation, filters, windows
from opencost_kusto.emulator.opencost.aggregation import IdleCost, Rows
from opencost_kusto.emulator.opencost.allocation import IDLE, Allocation
from opencost_kusto.emulator.opencost.asset_json import (
    asset_key,
    disk_asset,
    load_balancer_asset,
    management_asset,
    node_asset,
)
from opencost_kusto.emulator.opencost.infrastructure_costs import (
    disk_costs,
    idle_costs,
    load_balancer_costs,
    node_costs,
)
from opencost_kusto.emulator.opencost.model import DAY, Cluster
from opencost_kusto.emulator.opencost.sampling import Sampling, Span
from opencost_kusto.emulator.opencost.versions import Version
from opencost_kusto.emulator.opencost.workload_costs import container_rows

_TRUE: Final = {"1", "t", "T", "true", "TRUE", "True"}
# How the moment a set starts is written, so that sets of one group are written alike.
_GROUPS: Final = {"all": "", "hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "week": "%Y-%U", "month": "%Y-%m"}


class QueryError(ValueError):
    """A parameter the server refuses; the text is the server's."""


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of /allocation as the server reads them; others are ignored."""

    window: Span
    step: float
    keys: tuple[aggregation.Key, ...]
    accumulate: str = ""
    include_idle: bool = False
    share_idle: bool = False
    idle_by_node: bool = False
    metadata: bool = False
    keeps: filters.Filter | None = None

    @property
    def sets(self) -> Iterable[Span]:
        """The windows of its sets; the last one is not cut at the window's end."""
        start = self.window.start
        while start < self.window.end:
            yield Span(start, start + self.step)
            start += self.step


def read(parameters: Mapping[str, str], window: Span, version: Version) -> Query:
    """The query of a request. Raises filters.FilterError and QueryError."""

    def holds(name: str) -> bool:
        return parameters.get(name, "") in _TRUE

    step = windows.step(parameters.get("step", ""), window)
    text = parameters.get("filter", "") if version.filters_allocation else ""
    return Query(
        window,
        step,
        tuple(aggregation.keys(parameters.get("aggregate", ""))),
        _accumulate(parameters, step),
        holds("includeIdle"),
        holds("shareIdle") and version.shares_idle,
        holds("idleByNode"),
        holds("includeAggregatedMetadata"),
        filters.parse(text, filters.ALLOCATION_FIELDS) if text else None,
    )


def _accumulate(parameters: Mapping[str, str], step: float) -> str:
    by = parameters.get("accumulateBy", "")
    if by and by not in _GROUPS:
        raise QueryError("unexpected error, invalid accumulateByType")
    if by in {"week", "month"} and step != DAY:
        raise QueryError(f"window duration must equal 24 hours to accumulate by {by}")
    return by or ("all" if parameters.get("accumulate", "") in _TRUE else "")


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of one cluster as one version sees them at a moment; `has` says whether it has a window at all."""

    cluster: Cluster
    version: Version
    sampling: Sampling
    has: Callable[[Span], bool] = lambda _: True

    def sets(self, query: Query) -> list[Rows]:
        """The rows of each set."""
        found = [self._set(query, window) for window in query.sets]
        if query.keeps is not None:
            found = [one for one in found if one]
        if not query.accumulate:
            return found
        groups: dict[str, list[Rows]] = {}
        for window, rows in zip(query.sets, found, strict=False):
            start = datetime.fromtimestamp(window.start, UTC)
            groups.setdefault(start.strftime(_GROUPS[query.accumulate]), []).append(rows)
        return [aggregation.accumulated(group) for group in groups.values()]

    def _set(self, query: Query, window: Span) -> Rows:
        rows, idle = self._containers(window, with_idle=query.include_idle) if self.has(window) else ([], [])
        if not rows:
            return {}
        if query.keeps is not None:
            rows = [row for row in rows if query.keeps(row.properties)]
            idle = [one for one in idle if query.keeps({"cluster": self.cluster.id, "node": one.node})]
        shares = query.share_idle and bool(idle)
        if shares:
            rows = aggregation.share_idle(rows, idle, by_node=query.idle_by_node)
        found = aggregation.aggregated(rows, query.keys, metadata=query.metadata)
        if idle and not shares:
            providers = {node.name: self.cluster.provider_id(node) for node in self.cluster.nodes}
            found[IDLE] = aggregation.idle_row(idle, self.cluster.id, window, providers)
        return found

    def _containers(self, window: Span, *, with_idle: bool) -> tuple[list[Allocation], list[IdleCost]]:
        """Container rows and idle cost; windows longer than a day are computed day by day."""
        parts: list[list[Allocation]] = []
        idle: list[IdleCost] = []
        start = window.start
        while start < window.end:
            part = Span(start, min(start + DAY, window.end))
            parts.append(container_rows(self.cluster, self.version, self.sampling, part))
            if with_idle:
                nodes = node_costs(self.cluster, self.sampling, part)
                idle += idle_costs(nodes, parts[-1], self.version)
            start = part.end
        return (parts[0] if len(parts) == 1 else aggregation.joined(parts, window)), idle

    def assets(self, window: Span, keeps: filters.Filter | None) -> dict[str, dict[str, Any]]:
        """Every asset of a window by its key, sorted."""
        found = {asset_key(asset): asset for asset in self._assets(window)} if self.has(window) else {}
        if keeps is not None:
            found = {key: asset for key, asset in found.items() if keeps(_matched(asset))}
        return {key: found[key] for key in sorted(found)}

    def _assets(self, window: Span) -> Iterable[dict[str, Any]]:
        cluster, version = self.cluster, self.version
        nodes = node_costs(cluster, self.sampling, window)
        rows = container_rows(cluster, version, self.sampling, window) if nodes else []
        for node in nodes:
            members = [row for row in rows if row.properties.get("node") == node.node.name]
            yield node_asset(cluster, node, window, members)
        for disk in disk_costs(cluster, self.sampling, window):
            yield disk_asset(cluster, disk, window, version)
        for balancer in load_balancer_costs(cluster, version, self.sampling, window):
            yield load_balancer_asset(cluster, balancer, window)
        if version.has_management_asset and nodes:
            yield management_asset(cluster, window)


def _matched(asset: Mapping[str, Any]) -> dict[str, Any]:
    """What a filter sees of an asset: its type in lower case."""
    return {**asset["properties"], "assetType": str(asset["type"]).lower(), "labels": asset["labels"]}
