"""The container rows of /allocation for one window, computed from the model as the server computes them.

What runs is priced by what it is charged for (the greater of request and use) times the hours its samples show;
volumes and load balancers are shared out over the containers that use them at the time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from opencost_kusto.emulator.opencost.allocation import (
    UNMOUNTED,
    Allocation,
    LoadBalancerShare,
    Peaks,
    Properties,
    VolumeShare,
)
from opencost_kusto.emulator.opencost.model import GIB, Cluster, Container, Namespace, Node, Pod, Volume, Workload
from opencost_kusto.emulator.opencost.sampling import RESOLUTION, Sampling, Seen, Span
from opencost_kusto.emulator.opencost.usage import busyness, usage
from opencost_kusto.emulator.opencost.versions import Version

_DISTANCES: Final = ("zone", "region", "internet")


class _Running(NamedTuple):
    """One container that a window shows."""

    workload: Workload
    pod: Pod
    container: Container
    seen: Seen
    row: Allocation


def container_rows(cluster: Cluster, version: Version, sampling: Sampling, window: Span) -> list[Allocation]:
    """The rows of a window of at most a day; none when there is no data."""
    if sampling.scraped(cluster.life, window) is None:
        return []
    running = list(_running(cluster, version, sampling, window))
    _charge_load_balancers(cluster, sampling, window, running)
    unmounted = _charge_volumes(cluster, sampling, window, running)
    return [one.row for one in running] + unmounted


def node_labels(cluster: Cluster, node: Node) -> dict[str, str]:
    """The labels of a node, named as Prometheus names them."""
    zone = f"{cluster.region}-{node.zone}"
    labels = {
        "agentpool": node.pool,
        "beta_kubernetes_io_arch": "amd64",
        "beta_kubernetes_io_instance_type": node.instance_type,
        "beta_kubernetes_io_os": "linux",
        "failure_domain_beta_kubernetes_io_region": cluster.region,
        "failure_domain_beta_kubernetes_io_zone": zone,
        "kubernetes_azure_com_agentpool": node.pool,
        "kubernetes_azure_com_cluster": cluster.resource_group,
        "kubernetes_azure_com_mode": "system" if node.pool == "system" else "user",
        "kubernetes_azure_com_os_sku": "Ubuntu",
        "kubernetes_azure_com_role": "agent",
        "kubernetes_io_arch": "amd64",
        "kubernetes_io_hostname": node.name,
        "kubernetes_io_os": "linux",
        "node_kubernetes_io_instance_type": node.instance_type,
        "providerID": cluster.provider_id(node),
        "storageprofile": "managed",
        "storagetier": "Premium_LRS",
        "topology_disk_csi_azure_com_zone": zone,
        "topology_kubernetes_io_region": cluster.region,
        "topology_kubernetes_io_zone": zone,
    }
    if node.spot:
        labels["kubernetes_azure_com_scalesetpriority"] = "spot"
    if node.gpu:
        labels["accelerator"] = labels["kubernetes_azure_com_accelerator"] = "nvidia"
    return dict(sorted(labels.items()))


_LONG_LABELS: Final = (
    *("kubernetes_azure_com_agentpool", "node_kubernetes_io_instance_type"),
    *("topology_kubernetes_io_region", "topology_kubernetes_io_zone"),
)


def _running(cluster: Cluster, version: Version, sampling: Sampling, window: Span) -> Iterator[_Running]:
    namespaces = {namespace.name: namespace for namespace in cluster.namespaces}
    labels = {node.name: node_labels(cluster, node) for node in cluster.nodes}
    if not version.merges_node_labels:
        labels = {name: {key: held[key] for key in _LONG_LABELS} for name, held in labels.items()}
    for workload in cluster.workloads:
        for pod in workload.pods_between(window.start, min(window.end, sampling.now)):
            seen = sampling.seen(pod.life, window)
            if seen is None:
                continue
            node = labels[pod.node.name]
            shared = _properties(cluster, version, namespaces[workload.namespace], workload, pod, node)
            for container in workload.containers:
                row = _row(cluster, sampling, window, workload, pod, container, seen)
                row.properties = {**shared, "container": container.name}
                yield _Running(workload, pod, container, seen, row)


def _properties(
    cluster: Cluster, version: Version, namespace: Namespace, workload: Workload, pod: Pod, node: dict[str, str]
) -> Properties:
    """The properties that the containers of a pod have in common; what is empty is left out."""
    kind = workload.kind if workload.kind != "replicaset" or version.names_bare_replicasets else ""
    properties: Properties = {
        "cluster": cluster.id,
        "node": pod.node.name,
        # The containers differ in this one, which keeps its place.
        "container": pod.name,
        "controller": workload.name if kind else "",
        "controllerKind": kind,
        "namespace": workload.namespace,
        "pod": pod.name,
        "services": list(workload.services),
        "providerID": cluster.provider_id(pod.node),
        "labels": dict(sorted({**node, **namespace.labels, **workload.labels_of(pod)}.items())),
        "annotations": dict(sorted({**namespace.annotations, **workload.annotations}.items())),
        "namespaceLabels": dict(sorted(namespace.labels.items())),
        "namespaceAnnotations": dict(sorted(namespace.annotations.items())),
    }
    return {name: value for name, value in properties.items() if value}


def _row(
    cluster: Cluster, sampling: Sampling, window: Span, workload: Workload, pod: Pod, container: Container, seen: Seen
) -> Allocation:
    """What one container is charged for its cores, memory, GPUs and traffic."""
    prices, node, hours = cluster.prices, pod.node, seen.hours
    start = max(window.start, pod.life.start, cluster.life.start)
    end = max(min(window.end, pod.life.end, sampling.now), start)
    used = usage(container, workload.rhythm, f"{pod.name}/{container.name}", start, end)
    row = Allocation({}, window, seen.start, seen.end)
    row.cpu_requested, row.cpu_used, row.cpu_hours = container.cpu, used.cpu, used.cpu_charged * hours
    row.ram_requested, row.ram_used, row.ram_hours = container.ram * 1024**2, used.ram, used.ram_charged * hours
    row.gpu_requested, row.gpu_used, row.gpu_hours = container.gpu, used.gpu, container.gpu * hours
    row.cpu_cost = row.cpu_hours * (prices.spot_cpu if node.spot else prices.cpu)
    row.ram_cost = row.ram_hours / GIB * (prices.spot_ram if node.spot else prices.ram)
    row.gpu_cost = row.gpu_hours * prices.gpu
    row.peaks = Peaks(used.cpu_peak, used.ram_peak, used.gpu * 1.3 if container.gpu else None)
    # The increase of a counter needs two samples.
    if end - start >= 120:
        _charge_traffic(cluster, workload, pod, row, start, end)
    return row


def _charge_traffic(cluster: Cluster, workload: Workload, pod: Pod, row: Allocation, start: float, end: float) -> None:
    """Bytes and egress of a pod, split evenly over its containers."""
    traffic, prices = workload.traffic, cluster.prices
    hours = (end - start) / 3600 * busyness(workload.rhythm, start, end) / len(workload.containers)
    own = 0.8 + zlib.crc32(pod.name.encode()) % 401 / 1000
    row.sent, row.received = traffic.sent * hours * own, traffic.received * hours * own
    gib = row.sent / GIB
    row.zone_cost = gib * traffic.zone * prices.zone
    row.region_cost = gib * traffic.region * prices.region
    row.internet_cost = gib * traffic.internet * prices.internet
    row.network_cost = row.zone_cost + row.region_cost + row.internet_cost


def _charge_load_balancers(cluster: Cluster, sampling: Sampling, window: Span, running: Sequence[_Running]) -> None:
    """Share each load balancer out by time; it is priced for a whole resolution at each of its samples."""
    for balancer in cluster.load_balancers:
        seen = sampling.seen(balancer.life, window)
        users = [
            one
            for one in running
            if one.workload.namespace == balancer.namespace and balancer.service in one.workload.services
        ]
        if seen is None or not users:
            continue
        cost = cluster.prices.load_balancer * seen.samples * RESOLUTION / 3600
        hours = [max(min(one.row.end, seen.end) - max(one.row.start, seen.start), 0) / 3600 for one in users]
        for one, part in zip(users, hours, strict=True):
            if part:
                name = f"{balancer.namespace}/{balancer.service}"
                share = LoadBalancerShare(name, cost * part / sum(hours), balancer.private, balancer.ip, part)
                one.row.load_balancers[f"{cluster.id}/{name}"] = share
                one.row.load_balancer_cost += share.cost


def _charge_volumes(
    cluster: Cluster, sampling: Sampling, window: Span, running: Sequence[_Running]
) -> list[Allocation]:
    """Share each volume out over the containers that mount it; the rest is in the rows of unmounted volumes."""
    unmounted: dict[str, Allocation] = {}
    for volume in cluster.volumes:
        seen = sampling.seen(volume.life, window)
        if seen is None:
            # Between two marks no claim is known, so every volume is one that nobody claims, for no time.
            if sampling.scraped(volume.life, window) is not None:
                _add_volume(_unmounted_row(cluster, "", window, unmounted), cluster, volume, 0.0, "")
            continue
        users = [
            one
            for one in running
            if volume.pods and one.workload.namespace == volume.namespace and one.pod.name.startswith(volume.pods)
        ]
        shares, left = _shares(seen, [one.seen for one in users])
        for one, hours in zip(users, shares, strict=True):
            if hours:
                _add_volume(one.row, cluster, volume, hours, f"{cluster.providers}/disks/{volume.name}")
        if left:
            _add_volume(_unmounted_row(cluster, volume.namespace, window, unmounted), cluster, volume, left, "")
    return list(unmounted.values())


def _shares(volume: Seen, users: Sequence[Seen]) -> tuple[list[float], float]:
    """The hours of a volume that each of its users is charged for, evenly at each moment, and those without users."""
    bounds = {volume.start, volume.end, *(bound for one in users for bound in (one.start, one.end))}
    marks = sorted(bound for bound in bounds if volume.start <= bound <= volume.end)
    shares, left = [0.0] * len(users), 0.0
    for start, end in pairwise(marks):
        present = [at for at, one in enumerate(users) if one.start <= start and one.end >= end]
        hours = (end - start) / 3600
        for at in present:
            shares[at] += hours / len(present)
        left += 0.0 if present else hours
    return shares, left


def _add_volume(row: Allocation, cluster: Cluster, volume: Volume, hours: float, provider_id: str) -> None:
    key = f"cluster={cluster.id}:name={volume.name}"
    row.volumes[key] = VolumeShare(volume.size * GIB * hours, volume.size * cluster.prices.storage * hours, provider_id)


def _unmounted_row(cluster: Cluster, namespace: str, window: Span, rows: dict[str, Allocation]) -> Allocation:
    """The row of volumes that no pod mounts: of a namespace, or of the cluster when nobody claims them."""
    if namespace not in rows:
        properties: Properties = {
            "cluster": cluster.id,
            "container": UNMOUNTED,
            "namespace": namespace or UNMOUNTED,
            "pod": f"{namespace}-unmounted-pvcs" if namespace else UNMOUNTED,
        }
        rows[namespace] = Allocation(properties, window, window.start, window.end, is_container=False)
    return rows[namespace]
