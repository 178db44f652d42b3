"""Idle nodes, chargeback and the unallocated rest, against plain Python over the recorded responses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest

from tests.kql import recorded
from tests.kql.database import Database, Requested
from tests.kql.test_cost import DAY, approximately, by
from tests.kql.test_once import BY_NAMESPACE, hour_of
from tests.support.recordings import recording

NAMESPACE_HOURS = json.loads(recording("1.112", "allocation_day_step1h_namespace.json"))["data"]


def idle_of_hour(workloads: Iterable[recorded.Record], assets: Iterable[recorded.Record]) -> dict[str, float]:
    """What each node cost in an hour less what workloads on it were charged for."""
    nodes = recorded.summed(
        (asset for asset in assets if asset["type"] == "Node"), lambda asset: asset["properties"]["name"]
    )
    charged = recorded.summed(workloads, recorded.node, recorded.compute)
    return {name: cost - charged.get(name, 0.0) for name, cost in nodes.items()}


def idle_by_node() -> dict[str, float]:
    """What each node had idle, hour by hour; no hour of the recorded day is overcommitted."""
    idle: Counter[str] = Counter()
    for workloads, assets in zip(recorded.allocation_hours(), recorded.asset_hours(), strict=True):
        of_hour = idle_of_hour(workloads, assets)
        assert min(of_hour.values()) > 0
        idle.update(of_hour)
    return dict(idle)


def test_idle_by_node(day: Database) -> None:
    """A node's idle cost is what it cost less what workloads on it were charged, and its parts add up to it."""
    rows = day.rows(f"OpenCostIdleByNode({DAY})")
    assert by(rows, "Node", value="IdleCost") == approximately(idle_by_node())
    for row in rows:
        parts = row["CpuIdleCost"] + row["RamIdleCost"] + row["GpuIdleCost"]
        assert row["IdleCost"] == pytest.approx(parts, abs=1e-4)
        assert row["IdlePercent"] == pytest.approx(100 * row["IdleCost"] / row["NodeCost"])
        assert row["NodeHours"] == 24
    assert {row["NodeType"] for row in rows if row["Spot"]} == {"Standard_D4s_v5"}


def test_idle_is_what_opencost_calls_idle(day: Database) -> None:
    """Of the hour that was also requested with idle, the nodes' idle is OpenCost's __idle__ row, to its rounding."""
    idle = json.loads(recording("1.112", "allocation_hour_idle.json"))["data"][0]["__idle__"]["totalCost"]
    bounds = "datetime(2026-11-23 10:00), datetime(2026-11-23 11:00)"
    found = day.one(f"OpenCostIdleByNode({bounds}) | summarize Idle = sum(IdleCost)")["Idle"]
    assert found == pytest.approx(idle, abs=0.0005)


@pytest.mark.parametrize("by_container", [0, 12])
def test_costs_without_a_node_do_not_change_idle(by_container: int, empty: Database) -> None:
    """Of hours by namespace, or half of them, the cluster is as idle as before, and no cost is charged twice."""
    for hour in range(24):
        empty.assets(recording("1.112", f"assets_hours/{hour:02}.json"))
        if hour < by_container:
            empty.allocation(hour_of("allocation_day_step1h.json", hour))
        else:
            empty.allocation(hour_of("allocation_day_step1h_namespace.json", hour), Requested(options=BY_NAMESPACE))
    rows = [row for hour in recorded.allocation_hours()[:by_container] for row in hour]
    rows += [row for hour in NAMESPACE_HOURS[by_container:] for row in hour.values()]
    nodes = recorded.total(asset for asset in recorded.assets() if asset["type"] == "Node")
    idle = nodes - sum(map(recorded.compute, rows))
    found = empty.rows(f"OpenCostIdleByNode({DAY})")
    assert sum(row["IdleCost"] for row in found) == pytest.approx(idle)
    assert all(0 < row["IdleCost"] < row["NodeCost"] for row in found)
    for row in found:
        assert row["IdleCost"] == pytest.approx(row["CpuIdleCost"] + row["RamIdleCost"] + row["GpuIdleCost"], abs=1e-4)
    charged = {row["Namespace"]: row for row in empty.rows(f'OpenCostChargeback({DAY}, "", "")')}
    assert sum(row["TotalCost"] for row in charged.values()) == pytest.approx(recorded.total(rows) + idle)
    expected: Counter[str] = Counter()
    for hour in range(24):
        by_name = hour >= by_container
        of_hour = [*(NAMESPACE_HOURS[hour].values() if by_name else recorded.allocation_hours()[hour])]
        expected.update(idle_of_namespaces(of_hour, recorded.asset_hours()[hour], "cluster" if by_name else "node"))
    assert {name: row["IdleCost"] for name, row in charged.items()} == pytest.approx(expected, abs=1e-6)
    focus = empty.one(
        f'OpenCostFocus({DAY}) | where ServiceCategory == "Compute" | summarize Cost = sum(EffectiveCost)'
    )
    assert focus["Cost"] == pytest.approx(nodes, abs=0.001)


def test_a_cluster_that_is_used_up_takes_costs_without_a_node(empty: Database) -> None:
    """Where workloads were charged for more than the nodes have, costs without a node are not lost."""
    dear = json.loads(hour_of("allocation_day_step1h.json", 9))
    for row in dear["data"][0].values():
        for field in ("cpuCost", "ramCost", "gpuCost"):
            row[field] += 5
    empty.allocation(json.dumps(dear).encode())
    empty.allocation(hour_of("allocation_day_step1h_namespace.json", 10), Requested(options=BY_NAMESPACE))
    for hour in (9, 10):
        empty.assets(recording("1.112", f"assets_hours/{hour:02}.json"))
    rows = [*dear["data"][0].values(), *NAMESPACE_HOURS[10].values()]
    nodes = recorded.total(row for hour in recorded.asset_hours()[9:11] for row in hour if row["type"] == "Node")
    found = empty.one(f"OpenCostIdleByNode({DAY}) | summarize Idle = sum(IdleCost - OvercommittedCost)")
    assert found["Idle"] == pytest.approx(nodes - sum(map(recorded.compute, rows)))


def idle_of_namespaces(
    workloads: Sequence[recorded.Record], assets: Sequence[recorded.Record], method: str
) -> dict[str, float]:
    """The idle cost that each namespace is charged for an hour, by one of the three methods."""
    use = recorded.summed(
        workloads,
        lambda row: (recorded.node(row) if method == "node" else "", recorded.namespace(row)),
        recorded.compute,
    )
    left = idle_of_hour(workloads if method == "node" else [], assets)
    if method != "node":
        left = {"": sum(left.values()) - sum(map(recorded.compute, workloads))}
    if method == "evenly":
        use = {place: 1.0 for place, used in use.items() if used > 0}
    idle = dict.fromkeys((recorded.namespace(row) for row in workloads), 0.0)
    for place, cost in left.items():
        of_place = {namespace: used for (where, namespace), used in use.items() if where == place}
        for namespace, used in of_place.items():
            idle[namespace] += cost * used / sum(of_place.values())
    return idle


def chargeback(shared: set[str], hours: range = range(24), method: str = "node") -> dict[str, list[float]]:
    """Direct, idle and shared cost of each namespace, computed the long way, hour by hour."""
    charged: dict[str, list[float]] = {}
    for hour in hours:
        workloads, assets = recorded.allocation_hours()[hour], recorded.asset_hours()[hour]
        direct = recorded.summed(workloads, recorded.namespace)
        idle = idle_of_namespaces(workloads, assets, method)
        own = {name: direct[name] + idle[name] for name in direct}
        payers = {name: cost for name, cost in own.items() if name not in shared and name != "__unmounted__"}
        pool = sum(own[name] for name in shared if name in own)
        for name in direct.keys() - shared:
            parts = direct[name], idle[name], pool * payers.get(name, 0.0) / sum(payers.values())
            charged[name] = [a + b for a, b in zip(charged.get(name, [0.0] * 3), parts, strict=True)]
    return charged


@pytest.mark.parametrize("shared", [{"kube-system"}, {"kube-system", "monitoring", "__unmounted__"}, {""}])
def test_chargeback(shared: set[str], day: Database) -> None:
    """Idle is charged to namespaces by their use of the node, shared namespaces to the others, and no cent is lost."""
    rows = day.rows(f'OpenCostChargeback({DAY}, "", "{", ".join(sorted(shared))}")')
    found = {row["Namespace"]: [row["DirectCost"], row["IdleCost"], row["SharedCost"]] for row in rows}
    expected = chargeback(shared)
    assert found.keys() == expected.keys()
    for name, parts in found.items():
        assert parts == pytest.approx(expected[name])
    complete = recorded.total(recorded.workloads()) + sum(idle_by_node().values())
    assert sum(row["TotalCost"] for row in rows) == pytest.approx(complete)


@pytest.mark.parametrize("method", ["cluster", "evenly"])
def test_idle_is_charged_by_the_method_that_was_chosen(method: str, day: Database) -> None:
    """By use of the entire cluster, or the same to each namespace with a workload; the result names the method."""
    rows = day.rows(f'OpenCostChargeback({DAY}, "", "", "{method}")')
    expected = chargeback(set(), method=method)
    assert by(rows, "Namespace", value="IdleCost") == approximately({name: row[1] for name, row in expected.items()})
    assert {row["Method"] for row in rows} == {method}


def test_a_months_chargeback_is_the_sum_of_its_days(day: Database) -> None:
    """Parts of a period, cut anywhere, add up to what the period charges."""
    cuts = ("2026-11-23", "2026-11-23 07:20", "2026-11-23 15:00", "2026-11-24")
    added: Counter[str] = Counter()
    for start, end in pairwise(cuts):
        added.update(by(day.rows(f"OpenCostChargeback(datetime({start}), datetime({end}))"), "Namespace"))
    assert by(day.rows(f"OpenCostChargeback({DAY})"), "Namespace") == approximately(dict(added))


def test_hours_missing_in_one_table_are_left_out_of_idle_and_reported(empty: Database) -> None:
    """Of four hours of workloads and two of assets idle is that of two; assets alone have no idle cost."""
    for hour in range(4):
        empty.allocation(hour_of("allocation_day_step1h.json", hour))
    for hour in (2, 3, 4):
        empty.assets(recording("1.112", f"assets_hours/{hour:02}.json"))
    idle = sum(
        sum(idle_of_hour(recorded.allocation_hours()[hour], recorded.asset_hours()[hour]).values()) for hour in (2, 3)
    )
    charged = empty.rows(f"OpenCostChargeback({DAY})")
    direct = sum(recorded.total(hour) for hour in recorded.allocation_hours()[:4])
    assert sum(row["TotalCost"] for row in charged) == pytest.approx(direct + idle)
    row = empty.one(f"OpenCostReconcile({DAY})")
    assert row["IdleCost"] == pytest.approx(idle)
    minutes = (row["MinutesWithoutAssets"], row["MinutesWithoutWorkloads"], row["MinutesWithSharedIdle"])
    assert minutes == (120, 60, 0)


def test_a_cluster_of_shared_namespaces_keeps_them(day: Database) -> None:
    """Where no namespace is left to share with, shared namespaces are charged themselves."""
    everything = ",".join(recorded.summed(recorded.workloads(), recorded.namespace))
    kept = by(day.rows(f'OpenCostChargeback({DAY}, "", "{everything}")'), "Namespace", value="DirectCost")
    assert kept == approximately(recorded.summed(recorded.workloads(), recorded.namespace))


def test_allocated_against_infrastructure(day: Database) -> None:
    """Nodes, disks, load balancers and network: what they cost, who was charged, what no pod mounts, and the rest."""
    rows = {row["Type"]: row for row in day.rows(f"OpenCostAllocatedAgainstInfrastructure({DAY})")}
    cost = recorded.summed(recorded.assets(), lambda asset: asset["type"])
    charged = {
        "Node": recorded.compute,
        "Disk": lambda row: row["pvCost"],
        "LoadBalancer": lambda row: row["loadBalancerCost"],
        "Network": lambda row: row["networkCost"],
    }
    assert rows.keys() == charged.keys()
    for kind, value in charged.items():
        by_mount = recorded.summed(
            recorded.workloads(), lambda row: row["properties"]["container"] == "__unmounted__", value
        )
        row = rows[kind]
        assert row["InfrastructureCost"] == pytest.approx(cost.get(kind, 0.0))
        assert row["AllocatedCost"] == pytest.approx(by_mount[False])
        assert row["UnmountedCost"] == pytest.approx(by_mount[True])
        assert row["UnallocatedCost"] == pytest.approx(cost.get(kind, 0.0) - by_mount[False] - by_mount[True])
    local = sum(asset["totalCost"] for asset in recorded.assets() if asset.get("storageClass") == "__local__")
    assert rows["Disk"]["UnallocatedCost"] == pytest.approx(local, abs=0.003)


@pytest.mark.parametrize("version", ["1.111", "1.112", "1.119"])
def test_every_recording_is_reconciled(version: str, empty: Database) -> None:
    """Infrastructure and traffic are charged, idle, management, unclaimed and a difference of local disks and 65/60."""
    body, found = (recording(version, name) for name in ("allocation_hour.json", "assets_hour.json"))
    empty.allocation(body)
    empty.assets(found)
    workloads = [*json.loads(body)["data"][0].values()]
    assets = [*json.loads(found)["data"].values()]
    row = empty.one(f"OpenCostReconcile({DAY})")
    kinds = recorded.summed(assets, lambda asset: asset["type"])
    mounted = recorded.summed(workloads, lambda one: one["properties"]["container"] != "__unmounted__")
    nodes = idle_of_hour(workloads, assets)
    assert row["InfrastructureCost"] == pytest.approx(sum(kinds.values()))
    assert row["ManagementCost"] == pytest.approx(kinds.get("ClusterManagement", 0.0))
    assert row["ChargedCost"] == pytest.approx(mounted[True])
    assert row["NetworkCost"] == pytest.approx(recorded.total(workloads, "networkCost"))
    assert row["UnclaimedCost"] == pytest.approx(mounted[False])
    assert row["IdleCost"] - row["OvercommittedCost"] == pytest.approx(sum(nodes.values()))
    local = sum(asset["totalCost"] for asset in assets if asset.get("storageClass") == "__local__")
    balancers = recorded.total(workloads, "loadBalancerCost") - kinds.get("LoadBalancer", 0.0)
    assert row["Difference"] == pytest.approx(local - balancers, abs=0.0005)
