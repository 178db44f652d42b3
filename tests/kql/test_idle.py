"""Idle nodes, chargeback and the unallocated rest, against plain Python over the recorded answers."""

from __future__ import annotations

import json

import pytest

from tests.kql import recorded
from tests.kql.conftest import load_day
from tests.kql.database import Database
from tests.kql.test_cost import DAY, approximately, by
from tests.recordings import recording


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
