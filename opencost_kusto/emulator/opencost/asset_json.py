"""Assets of /assets as the server's JSON: its keys in its order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from opencost_kusto.emulator.opencost.allocation import Allocation
from opencost_kusto.emulator.opencost.infrastructure_costs import DiskCost, LoadBalancerCost, NodeCost
from opencost_kusto.emulator.opencost.model import Cluster
from opencost_kusto.emulator.opencost.numbers import ZERO, bounds, plain, six, stamp
from opencost_kusto.emulator.opencost.sampling import Span
from opencost_kusto.emulator.opencost.versions import Version
from opencost_kusto.emulator.opencost.workload_costs import node_labels

Json = dict[str, Any]
_UNDEFINED: Final = "__undefined__"
_OS_DISK_USED: Final = 0.27


def _life(window: Span, start: float, end: float) -> Json:
    span = Span(start, end)
    return {"window": bounds(window), "start": stamp(start), "end": stamp(end), "minutes": six(span.minutes)}


def _properties(cluster: Cluster, category: str, name: str = "", provider_id: str = "") -> dict[str, str]:
    found = {
        "category": category,
        "provider": "Azure",
        "account": cluster.account,
        "service": "Kubernetes",
        "cluster": cluster.id,
        "name": name,
        "providerID": provider_id,
    }
    return {key: value for key, value in found.items() if value}


def asset_key(asset: Json) -> str:
    """The key under which /assets lists an asset."""
    held = asset["properties"]
    parts = [held.get(name) or _UNDEFINED for name in ("provider", "account", "project", "category", "cluster")]
    parts += [asset["type"], *(held.get(name) or _UNDEFINED for name in ("service", "providerID", "name"))]
    return "/".join(parts)


def node_asset(cluster: Cluster, cost: NodeCost, window: Span, members: Iterable[Allocation]) -> Json:
    """One Node of /assets; `members` are its container rows, of which its breakdown is made."""
    node, hours, rows = cost.node, Span(cost.start, cost.end).hours, list(members)
    total = cost.cpu + cost.ram + cost.gpu
    overhead = (node.cpu_overhead * cost.cpu + node.ram_overhead * cost.ram) / total if total else 0.0
    found: Json = {"type": "Node"}
    found["properties"] = _properties(cluster, "Compute", node.name, cluster.provider_id(node))
    found |= {"labels": node_labels(cluster, node), **_life(window, cost.start, cost.end)}
    found |= {"nodeType": node.instance_type, "pool": node.pool, "cpuCores": six(node.cpu), "ramBytes": six(node.ram)}
    found |= {"cpuCoreHours": six(node.cpu * hours), "ramByteHours": six(node.ram * hours)}
    found["GPUHours"] = six(node.gpu * hours)
    found["cpuBreakdown"] = _breakdown(rows, "cpu_used", node.cpu, hours)
    found["ramBreakdown"] = _breakdown(rows, "ram_used", node.ram, hours)
    found |= {"preemptible": six(node.spot), "discount": six(0), "cpuCost": six(cost.cpu)}
    found |= {"gpuCost": six(cost.gpu), "gpuCount": six(node.gpu), "ramCost": six(cost.ram), "adjustment": six(0)}
    found["overhead"] = {
        "CpuOverheadFraction": plain(node.cpu_overhead),
        "RamOverheadFraction": plain(node.ram_overhead),
        "OverheadCostFraction": plain(overhead),
    }
    return found | {"totalCost": six(total)}


def _breakdown(rows: list[Allocation], name: str, capacity: float, hours: float) -> Json:
    """Fractions of a node's capacity: what kube-system used, what the others used, and what nobody did."""
    system = user = 0.0
    for row in rows:
        part = getattr(row, name) * row.minutes / 60 / (capacity * hours) if hours else 0.0
        system, user = (system + part, user) if row.properties["namespace"] == "kube-system" else (system, user + part)
    user = min(user, 1 - system)
    return {"idle": plain(1 - system - user), "other": ZERO, "system": plain(system), "user": plain(user)}


def disk_asset(cluster: Cluster, cost: DiskCost, window: Span, version: Version) -> Json:
    """One Disk of /assets; use is known of mounted volumes and OS disks."""
    volume, hours = cost.volume, Span(cost.start, cost.end).hours
    found: Json = {"type": "Disk"}
    found["properties"] = _properties(cluster, "Storage", cost.name, _disk_id(cluster, cost, version))
    found |= {"labels": {}, **_life(window, cost.start, cost.end)}
    found |= {"byteHours": six(cost.size * hours), "bytes": six(cost.size)}
    is_known = volume is None or bool(volume.pods)
    used = cost.size * (volume.used if volume is not None else _OS_DISK_USED)
    found["byteHoursUsed"] = six(used * hours) if is_known else None
    found["byteUsageMax"] = six(used * 1.04) if is_known else None
    system = _OS_DISK_USED if volume is None else 0.0
    found["breakdown"] = {"idle": plain(1 - system), "other": ZERO, "system": plain(system), "user": ZERO}
    found |= {"adjustment": six(0), "totalCost": six(cost.cost)}
    found["storageClass"] = volume.storage_class if volume is not None else "__local__"
    found["volumeName"] = volume.name if volume is not None and volume.claim else ""
    found["claimName"] = volume.claim if volume is not None else ""
    if version.has_local_flag:
        found["local"] = six(volume is None)
    return found | {"claimNamespace": volume.namespace if volume is not None else ""}


def _disk_id(cluster: Cluster, cost: DiskCost, version: Version) -> str:
    if cost.node is None or not version.names_os_disks:
        return cost.name
    return f"azure://{cluster.providers}/disks/{cost.name}_osdisk".lower()


def load_balancer_asset(cluster: Cluster, cost: LoadBalancerCost, window: Span) -> Json:
    """One LoadBalancer of /assets."""
    name = f"{cost.balancer.namespace}/{cost.balancer.service}"
    found: Json = {"type": "LoadBalancer", "properties": _properties(cluster, "Network", name, cost.balancer.ip)}
    found |= {"labels": {}, **_life(window, cost.start, cost.end), "adjustment": six(0), "totalCost": six(cost.cost)}
    return found | {"private": cost.balancer.private, "ip": cost.balancer.ip}


def management_asset(cluster: Cluster, window: Span) -> Json:
    """The one ClusterManagement of /assets, which is free."""
    found: Json = {"type": "ClusterManagement", "properties": _properties(cluster, "Management"), "labels": {}}
    return found | _life(window, window.start, window.end) | {"totalCost": six(0)}
