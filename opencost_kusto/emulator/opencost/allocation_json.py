"""Rows of /allocation and /allocation/summary as the server's JSON: its keys in its order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opencost_kusto.emulator.opencost.allocation import Allocation, Peaks
from opencost_kusto.emulator.opencost.numbers import ZERO, bounds, plain, rounded, stamp
from opencost_kusto.emulator.opencost.sampling import Span
from opencost_kusto.emulator.opencost.versions import Version

Json = dict[str, Any]


def allocation_set(rows: Mapping[str, Allocation], version: Version) -> dict[str, Json]:
    """One set of /allocation."""
    return {name: allocation_row(name, rows[name], version) for name in sorted(rows)}


def allocation_row(name: str, row: Allocation, version: Version) -> Json:
    """One row of /allocation."""
    found: Json = {"name": name, "properties": row.properties, "window": bounds(row.window)}
    found |= {"start": stamp(row.start), "end": stamp(row.end), "minutes": rounded(row.minutes)}
    found |= _cpu(row, version) | _gpu(row, version) | _network(row) | _volumes(row) | _ram(row, version)
    found |= {"externalCost": ZERO, "sharedCost": ZERO, "totalCost": rounded(row.total)}
    found["totalEfficiency"] = rounded(efficiency(row))
    if row.peaks is not None:
        found["rawAllocationOnly"] = _peaks(row.peaks, version)
    if row.is_accumulated:
        found["proportionalAssetResourceCosts"] = {}
    found["lbAllocations"] = _load_balancers(row)
    if row.is_accumulated:
        found["sharedCostBreakdown"] = {}
    if version.has_gpu_allocation:
        found["gpuAllocation"] = _gpu_allocation(row)
    return found


def _rate(amount: float, row: Allocation) -> float:
    return amount / (row.minutes / 60) if row.minutes else 0.0


def _share(used: float, requested: float, cost: float) -> float:
    """An efficiency: use by request, 1 when something is used and nothing requested."""
    if requested:
        return used / requested
    return 1.0 if used and cost else 0.0


def efficiency(row: Allocation) -> float:
    """The efficiencies of cores, memory and GPUs, weighted by cost."""
    cost = row.cpu_cost + row.ram_cost + row.gpu_cost
    cpu = _share(row.cpu_used, row.cpu_requested, row.cpu_cost) * row.cpu_cost
    ram = _share(row.ram_used, row.ram_requested, row.ram_cost) * row.ram_cost
    gpu = _share(row.gpu_used, row.gpu_requested, row.gpu_cost) * row.gpu_cost
    return (cpu + ram + gpu) / cost if cost else 0.0


def _cpu(row: Allocation, version: Version) -> Json:
    found: Json = {"cpuCores": rounded(_rate(row.cpu_hours, row))}
    found["cpuCoreRequestAverage"] = rounded(row.cpu_requested)
    if version.has_gpu_allocation:
        found["cpuCoreLimitAverage"] = ZERO
    found |= {"cpuCoreUsageAverage": rounded(row.cpu_used), "cpuCoreHours": rounded(row.cpu_hours)}
    found |= {"cpuCost": rounded(row.cpu_cost), "cpuCostAdjustment": ZERO}
    if version.has_idle_parts:
        found["cpuCostIdle"] = ZERO
    return found | {"cpuEfficiency": rounded(_share(row.cpu_used, row.cpu_requested, row.cpu_cost))}


def _gpu(row: Allocation, version: Version) -> Json:
    found: Json = {"gpuCount": rounded(_rate(row.gpu_hours, row))}
    if not version.has_gpu_allocation:
        found |= {"gpuRequestAverage": rounded(row.gpu_requested), "gpuUsageAverage": rounded(row.gpu_used)}
    found |= {"gpuHours": rounded(row.gpu_hours), "gpuCost": rounded(row.gpu_cost), "gpuCostAdjustment": ZERO}
    if version.has_idle_parts:
        found["gpuCostIdle"] = ZERO
    return found | {"gpuEfficiency": rounded(_share(row.gpu_used, row.gpu_requested, row.gpu_cost))}


def _network(row: Allocation) -> Json:
    return {
        "networkTransferBytes": rounded(row.sent),
        "networkReceiveBytes": rounded(row.received),
        "networkCost": rounded(row.network_cost),
        "networkCrossZoneCost": rounded(row.zone_cost),
        "networkCrossRegionCost": rounded(row.region_cost),
        "networkInternetCost": rounded(row.internet_cost),
        "networkCostAdjustment": ZERO,
        "loadBalancerCost": rounded(row.load_balancer_cost),
        "loadBalancerCostAdjustment": ZERO,
    }


def _volumes(row: Allocation) -> Json:
    byte_hours = sum(share.byte_hours for share in row.volumes.values())
    shares = {
        name: {
            "byteHours": plain(share.byte_hours),
            "cost": plain(share.cost),
            "providerID": share.provider_id,
            "adjustment": ZERO,
        }
        for name, share in sorted(row.volumes.items())
    }
    return {
        "pvBytes": rounded(_rate(byte_hours, row)),
        "pvByteHours": rounded(byte_hours),
        "pvCost": rounded(row.volume_cost),
        "pvs": shares or None,
        "pvCostAdjustment": ZERO,
    }


def _ram(row: Allocation, version: Version) -> Json:
    found: Json = {"ramBytes": rounded(_rate(row.ram_hours, row))}
    found["ramByteRequestAverage"] = rounded(row.ram_requested)
    if version.has_gpu_allocation:
        found["ramByteLimitAverage"] = ZERO
    found |= {"ramByteUsageAverage": rounded(row.ram_used), "ramByteHours": rounded(row.ram_hours)}
    found |= {"ramCost": rounded(row.ram_cost), "ramCostAdjustment": ZERO}
    if version.has_idle_parts:
        found["ramCostIdle"] = ZERO
    return found | {"ramEfficiency": rounded(_share(row.ram_used, row.ram_requested, row.ram_cost))}


def _peaks(peaks: Peaks, version: Version) -> Json:
    found: Json = {"cpuCoreUsageMax": plain(peaks.cpu), "ramByteUsageMax": plain(peaks.ram)}
    if version.has_gpu_allocation:
        found["gpuUsageMax"] = None if peaks.gpu is None else plain(peaks.gpu)
    return found


def _gpu_allocation(row: Allocation) -> Json | None:
    if not row.is_container:
        return None
    has_gpu = row.gpu_requested > 0
    return {
        "isGPUShared": False if has_gpu and row.peaks is not None else None,
        "gpuUsageAverage": plain(row.gpu_used) if has_gpu else None,
        "gpuRequestAverage": plain(row.gpu_requested),
    }


def _load_balancers(row: Allocation) -> Json | None:
    return {
        name: {
            "service": share.service,
            "cost": plain(share.cost),
            "private": share.private,
            "ip": share.ip,
            "hours": plain(share.hours),
            "adjustment": ZERO,
        }
        for name, share in sorted(row.load_balancers.items())
    } or None


def summary_set(rows: Mapping[str, Allocation], window: Span, version: Version) -> Json:
    """One set of /allocation/summary: fewer keys, and nothing rounded."""
    return {"allocations": {name: _summary(name, rows[name], version) for name in sorted(rows)}} | {
        "window": bounds(window)
    }


def _summary(name: str, row: Allocation, version: Version) -> Json:
    found: Json = {"name": name, "start": stamp(row.start), "end": stamp(row.end)}
    found["cpuCoreRequestAverage"] = plain(row.cpu_requested)
    if version.has_gpu_allocation:
        found["cpuCoreLimitAverage"] = ZERO
    found |= {"cpuCoreUsageAverage": plain(row.cpu_used), "cpuCost": plain(row.cpu_cost)}
    has_no_gpu = version.has_gpu_allocation and not row.gpu_requested
    gpu: Json = {"gpuRequestAverage": plain(row.gpu_requested)}
    gpu |= {"gpuUsageAverage": None if has_no_gpu else plain(row.gpu_used), "gpuCost": plain(row.gpu_cost)}
    if not row.is_container and version.has_gpu_allocation:
        gpu["gpuRequestAverage"] = None
    found |= ({"cpuCostIdle": ZERO} if version.has_idle_parts else {}) | gpu
    found |= {"gpuCostIdle": ZERO} if version.has_idle_parts else {}
    found |= {"networkCost": plain(row.network_cost), "loadBalancerCost": plain(row.load_balancer_cost)}
    found |= {"pvCost": plain(row.volume_cost), "ramByteRequestAverage": plain(row.ram_requested)}
    if version.has_gpu_allocation:
        found["ramByteLimitAverage"] = ZERO
    found |= {"ramByteUsageAverage": plain(row.ram_used), "ramCost": plain(row.ram_cost)}
    found |= {"ramCostIdle": ZERO} if version.has_idle_parts else {}
    return found | {"sharedCost": ZERO, "externalCost": ZERO, "efficiency": plain(efficiency(row))}
