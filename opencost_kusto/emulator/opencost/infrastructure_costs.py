"""What nodes, disks and load balancers cost in a window, computed from the model as /assets computes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from opencost_kusto.emulator.opencost.aggregation import IdleCost
from opencost_kusto.emulator.opencost.allocation import Allocation
from opencost_kusto.emulator.opencost.model import GIB, Cluster, LoadBalancer, Node, Volume
from opencost_kusto.emulator.opencost.sampling import RESOLUTION, Sampling, Seen, Span
from opencost_kusto.emulator.opencost.versions import Version


class NodeCost(NamedTuple):
    """A node in a window."""

    node: Node
    start: float
    end: float
    cpu: float
    ram: float
    gpu: float


class DiskCost(NamedTuple):
    """A volume, or the OS disk of `node`, in a window."""

    name: str
    node: Node | None
    volume: Volume | None
    start: float
    end: float
    size: float
    cost: float


class LoadBalancerCost(NamedTuple):
    """A load balancer in a window."""

    balancer: LoadBalancer
    start: float
    end: float
    cost: float


# Bytes of the recorded OS disks.
_OS_DISK = 133003395072


def node_costs(cluster: Cluster, sampling: Sampling, window: Span) -> list[NodeCost]:
    """Each node of a window.

    A node with raw samples but none at a mark has no hours to be multiplied by: the server leaves the prices of one
    core, one GiB and one GPU as its costs, which is many times too much for a minute.
    """
    found = []
    for node in cluster.nodes:
        prices = cluster.prices
        cpu, ram = (prices.spot_cpu, prices.spot_ram) if node.spot else (prices.cpu, prices.ram)
        gpu = prices.gpu if node.gpu else 0.0
        seen = sampling.seen(node.life, window)
        if seen is not None:
            hours = seen.hours
            costs = (cpu * node.cpu * hours, ram * node.ram / GIB * hours, gpu * node.gpu * hours)
            found.append(NodeCost(node, seen.start, seen.end, *costs))
        elif sampling.scraped(node.life, window) is not None and node.life.start < sampling.now:
            found.append(NodeCost(node, window.start, window.end, cpu, ram, gpu))
    return found


def disk_costs(cluster: Cluster, sampling: Sampling, window: Span) -> Iterator[DiskCost]:
    """Each OS disk and volume of a window; an OS disk runs to the window's end, even when that is in the future."""
    for node in cluster.nodes:
        seen = sampling.seen(node.life, window)
        if seen is not None:
            cost = _OS_DISK / GIB * cluster.prices.local_storage * seen.samples * RESOLUTION / 3600
            yield DiskCost(node.name, node, None, window.start, window.end, _OS_DISK, cost)
    for volume in cluster.volumes:
        seen = sampling.seen(volume.life, window)
        if seen is not None:
            cost = volume.size * cluster.prices.storage * seen.hours
            yield DiskCost(volume.name, None, volume, seen.start, seen.end, volume.size * GIB, cost)


def load_balancer_costs(
    cluster: Cluster, version: Version, sampling: Sampling, window: Span
) -> Iterator[LoadBalancerCost]:
    """Each load balancer of a window; older versions price a whole resolution for each sample, newer ones hours."""
    for balancer in cluster.load_balancers:
        seen = sampling.seen(balancer.life, window)
        if seen is not None:
            cost = cluster.prices.load_balancer * _charged_hours(version, seen)
            yield LoadBalancerCost(balancer, seen.start, seen.end, cost)


def _charged_hours(version: Version, seen: Seen) -> float:
    return seen.hours if version.assets_count_hours else seen.samples * RESOLUTION / 3600


def idle_costs(nodes: Sequence[NodeCost], rows: Sequence[Allocation], version: Version) -> list[IdleCost]:
    """For each node its cost less what its containers are charged for."""
    found = []
    for cost in nodes:
        members = [row for row in rows if row.properties.get("node") == cost.node.name]
        cpu = cost.cpu - sum(row.cpu_cost for row in members)
        gpu = cost.gpu - sum(row.gpu_cost for row in members)
        ram = cost.ram - sum(row.ram_cost for row in members)
        if version.idle_is_clamped:
            cpu, gpu, ram = max(cpu, 0.0), max(gpu, 0.0), max(ram, 0.0)
        found.append(IdleCost(cost.node.name, cost.start, cost.end, cpu, gpu, ram))
    return found
