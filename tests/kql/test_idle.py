"""Idle nodes, chargeback and the unallocated rest, against plain Python over the recorded answers."""

from __future__ import annotations

import json

import pytest

from tests.kql import recorded
from tests.kql.conftest import load_day
from tests.kql.database import Asked, Database
from tests.kql.test_cost import DAY, approximately, by
from tests.kql.test_once import BY_NAMESPACE, hour_of
from tests.support.recordings import recording

NAMESPACE_HOURS = json.loads(recording("1.112", "allocation_day_step1h_namespace.json"))["data"]


def idle_by_node() -> dict[str, float]:
    """What each node cost less what workloads on it were charged for."""
    nodes = recorded.summed(
        (asset for asset in recorded.assets() if asset["type"] == "Node"), lambda asset: asset["properties"]["name"]
    )
    charged = recorded.summed(recorded.workloads(), recorded.node, recorded.compute)
    return {name: cost - charged[name] for name, cost in nodes.items()}


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
    """Of the hour that was also asked with idle, the nodes' idle is OpenCost's __idle__ row, to its rounding."""
    idle = json.loads(recording("1.112", "allocation_hour_idle.json"))["data"][0]["__idle__"]["totalCost"]
    bounds = "datetime(2026-11-23 10:00), datetime(2026-11-23 11:00)"
    found = day.one(f"OpenCostIdleByNode({bounds}) | summarize Idle = sum(IdleCost)")["Idle"]
    assert found == pytest.approx(idle, abs=0.0005)


@pytest.mark.parametrize("by_container", [0, 12])
def test_costs_without_a_node_leave_idle_what_it_is(by_container: int, empty: Database) -> None:
    """Of hours by namespace, or half of them, the cluster is as idle as it was, and nobody is charged twice."""
    for hour in range(24):
        empty.assets(recording("1.112", f"assets_hours/{hour:02}.json"))
        if hour < by_container:
            empty.allocation(hour_of("allocation_day_step1h.json", hour))
        else:
            empty.allocation(hour_of("allocation_day_step1h_namespace.json", hour), Asked(options=BY_NAMESPACE))
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
    use = recorded.summed(rows, recorded.namespace, recorded.compute)
    for name, row in charged.items():
        assert row["IdleCost"] == pytest.approx(idle * use[name] / sum(use.values()))
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
    empty.allocation(hour_of("allocation_day_step1h_namespace.json", 10), Asked(options=BY_NAMESPACE))
    for hour in (9, 10):
        empty.assets(recording("1.112", f"assets_hours/{hour:02}.json"))
    rows = [*dear["data"][0].values(), *NAMESPACE_HOURS[10].values()]
    nodes = recorded.total(row for hour in recorded.asset_hours()[9:11] for row in hour if row["type"] == "Node")
    found = empty.one(f"OpenCostIdleByNode({DAY}) | summarize Idle = sum(IdleCost)")
    assert found["Idle"] == pytest.approx(nodes - sum(map(recorded.compute, rows)))


def chargeback(shared: set[str]) -> dict[str, tuple[float, float, float]]:
    """Direct, idle and shared cost of each namespace, computed the long way."""
    direct = recorded.summed(recorded.workloads(), recorded.namespace)
    use = recorded.summed(
        recorded.workloads(), lambda row: (recorded.node(row), recorded.namespace(row)), recorded.compute
    )
    idle = dict.fromkeys(direct, 0.0)
    for node, cost in idle_by_node().items():
        of_node = {namespace: used for (where, namespace), used in use.items() if where == node}
        for namespace, used in of_node.items():
            idle[namespace] += cost * used / sum(of_node.values())
    own = {name: direct[name] + idle[name] for name in direct}
    payers = {name: cost for name, cost in own.items() if name not in shared and name != "__unmounted__"}
    pool = sum(own[name] for name in shared if name in own)
    share = {name: pool * cost / sum(payers.values()) for name, cost in payers.items()}
    return {name: (direct[name], idle[name], share.get(name, 0.0)) for name in direct if name not in shared}


@pytest.mark.parametrize("shared", [{"kube-system"}, {"kube-system", "monitoring", "__unmounted__"}, {""}])
def test_chargeback(shared: set[str], day: Database) -> None:
    """Idle goes to namespaces by their use of the node, shared namespaces to the others, and no cent is lost."""
    rows = day.rows(f'OpenCostChargeback({DAY}, "", "{", ".join(sorted(shared))}")')
    found = {row["Namespace"]: (row["DirectCost"], row["IdleCost"], row["SharedCost"]) for row in rows}
    expected = chargeback(shared)
    assert found.keys() == expected.keys()
    for name, parts in found.items():
        assert parts == pytest.approx(expected[name])
    whole = recorded.total(recorded.workloads()) + sum(idle_by_node().values())
    assert sum(row["TotalCost"] for row in rows) == pytest.approx(whole)


def test_chargeback_leaves_what_nobody_can_be_charged_for_on_its_own_line(empty: Database) -> None:
    """A node without workloads stays as __idle__, and a cluster of shared namespaces only keeps them."""
    for hour in range(2):
        empty.assets(recording("1.112", f"assets_hours/{hour:02}.json"))
    nodes = sum(asset["totalCost"] for hour in recorded.asset_hours()[:2] for asset in hour if asset["type"] == "Node")
    rows = empty.rows(f"OpenCostChargeback({DAY})")
    assert by(rows, "Namespace") == {"__idle__": pytest.approx(nodes)}
    load_day(empty)
    everything = ",".join(recorded.summed(recorded.workloads(), recorded.namespace))
    kept = by(empty.rows(f'OpenCostChargeback({DAY}, "", "{everything}")'), "Namespace", value="DirectCost")
    assert kept == approximately(recorded.summed(recorded.workloads(), recorded.namespace))


def test_allocated_against_infrastructure(day: Database) -> None:
    """Nodes, disks, load balancers and network: what they cost, who was charged, what nobody mounts, and the rest."""
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
