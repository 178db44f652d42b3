"""Merging, idle cost and accumulated sets, checked on recorded container rows against recorded merged ones."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from opencost_kusto.emulator.opencost import aggregation, fleet
from opencost_kusto.emulator.opencost.aggregation import IdleCost
from opencost_kusto.emulator.opencost.allocation import Allocation, LoadBalancerShare, Peaks, VolumeShare
from opencost_kusto.emulator.opencost.allocation_json import allocation_set
from opencost_kusto.emulator.opencost.fleet import NAMES
from opencost_kusto.emulator.opencost.infrastructure_costs import NodeCost, idle_costs
from opencost_kusto.emulator.opencost.numbers import encode
from opencost_kusto.emulator.opencost.sampling import Span
from opencost_kusto.emulator.opencost.versions import version
from tests.emulator.opencost.conftest import NOW, Requested
from tests.support.recordings import recording

AGGREGATES = {
    "allocation_hour_agg_namespace.json": "namespace",
    "allocation_hour_agg_pod.json": "pod",
    "allocation_hour_agg_node.json": "node",
    "allocation_hour_agg_cluster.json": "cluster",
    "allocation_hour_agg_container.json": "container",
    "allocation_hour_agg_controller.json": "controller",
    "allocation_hour_agg_controllerkind.json": "controllerKind",
    "allocation_hour_agg_label_app.json": "label:app",
    "allocation_hour_agg_label_missing.json": "label:nosuchlabel",
    "allocation_hour_agg_label_motto.json": "label:motto",
    "allocation_hour_agg_foo.json": "foo",
    "allocation_hour_agg_ns_foo.json": "namespace,foo",
}
# The window of the true server's GPU use is not the row's, and these come and go between two of its responses.
_UNSTEADY = ("gpu", "providerID", "ip", "private", "totalEfficiency", "services")


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _read(row: dict[str, Any]) -> Allocation:
    """A recorded row as the emulator has it while it computes."""
    window = Span(_moment(row["window"]["start"]), _moment(row["window"]["end"]))
    found = Allocation(row["properties"], window, _moment(row["start"]), _moment(row["end"]))
    gpu = row.get("gpuAllocation") or {}
    for name, key in {
        **{"cpu_requested": "cpuCoreRequestAverage", "cpu_used": "cpuCoreUsageAverage", "cpu_hours": "cpuCoreHours"},
        **{"ram_requested": "ramByteRequestAverage", "ram_used": "ramByteUsageAverage", "ram_hours": "ramByteHours"},
        **{"cpu_cost": "cpuCost", "ram_cost": "ramCost", "gpu_cost": "gpuCost", "gpu_hours": "gpuHours"},
        **{"sent": "networkTransferBytes", "received": "networkReceiveBytes", "network_cost": "networkCost"},
        **{"zone_cost": "networkCrossZoneCost", "region_cost": "networkCrossRegionCost"},
        **{"internet_cost": "networkInternetCost", "load_balancer_cost": "loadBalancerCost"},
    }.items():
        setattr(found, name, row[key])
    found.gpu_requested = row.get("gpuRequestAverage", gpu.get("gpuRequestAverage", 0))
    found.gpu_used = row.get("gpuUsageAverage", gpu.get("gpuUsageAverage")) or 0
    found.volumes = {
        name: VolumeShare(share["byteHours"], share["cost"], share["providerID"])
        for name, share in (row["pvs"] or {}).items()
    }
    found.load_balancers = {
        name: LoadBalancerShare(share["service"], share["cost"], share["private"], share["ip"], share["hours"])
        for name, share in (row["lbAllocations"] or {}).items()
    }
    found.peaks = Peaks() if "rawAllocationOnly" in row else None
    found.is_container = "rawAllocationOnly" in row
    return found


def _containers(of: str) -> list[Allocation]:
    rows = json.loads(recording(of, "allocation_hour.json"))["data"][0]
    return [_read(row) for row in rows.values()]


def _assert_alike(ours: Any, theirs: Any, path: str = "") -> None:
    """Equal but for the rounding of the container rows that were merged."""
    name = path.rpartition("/")[2]
    if name.startswith(_UNSTEADY):
        return
    if isinstance(theirs, dict):
        assert isinstance(ours, dict), path
        assert [key for key in ours if key not in _UNSTEADY] == [key for key in theirs if key not in _UNSTEADY], path
        for key, value in theirs.items():
            _assert_alike(ours.get(key), value, f"{path}/{key}")
    elif isinstance(theirs, (int, float)) and not isinstance(theirs, bool):
        # Up to 61 rows, each half a digit off.
        assert ours == pytest.approx(theirs, rel=2e-3, abs=4e-4), path
    elif name not in {"cpuCoreUsageMax", "ramByteUsageMax"}:
        assert ours == theirs, path


@pytest.mark.parametrize("of", ["1.112", "1.119"])
@pytest.mark.parametrize("name", AGGREGATES)
def test_container_rows_merge_as_recorded(of: str, name: str) -> None:
    """Names, key order, sums, averages, properties, volumes and load balancers of every recorded aggregate."""
    expected = json.loads(recording(of, name))["data"][0]
    found = aggregation.aggregated(_containers(of), aggregation.keys(AGGREGATES[name]))
    ours = json.loads(encode(allocation_set(found, version(of))))
    for rows in (ours, expected):
        for row in rows.values():
            row.pop("rawAllocationOnly", None)
            row.pop("gpuAllocation", None)
    _assert_alike(ours, expected)


@pytest.mark.parametrize("of", ["1.112", "1.119"])
def test_labels_in_common_as_recorded(of: str) -> None:
    """With includeAggregatedMetadata a namespace keeps the labels and annotations that all its containers have."""
    expected = json.loads(recording(of, "allocation_hour_metadata_namespace.json"))["data"][0]
    found = aggregation.aggregated(_containers(of), aggregation.keys("namespace"), metadata=True)
    for name, row in expected.items():
        assert {**found[name].properties, "services": None} == {**row["properties"], "services": None}, name


@pytest.mark.parametrize("of", ["1.112", "1.119"])
def test_idle_is_shared_as_recorded(of: str) -> None:
    """The recorded idle cost, spread over the recorded container rows, gives the recorded shared rows."""
    idle = json.loads(recording(of, "allocation_hour_idle.json"))["data"][0]["__idle__"]
    expected = json.loads(recording(of, "allocation_hour_idle_share.json"))["data"][0]
    cost = IdleCost("", 0, 0, idle["cpuCost"], idle["gpuCost"], idle["ramCost"])
    shared = aggregation.share_idle(_containers(of), [cost], by_node=False)
    ours = allocation_set(aggregation.aggregated(shared, aggregation.keys("")), version(of))
    assert list(ours) == list(expected)
    for name, row in json.loads(encode(ours)).items():
        for key in ("cpuCost", "ramCost", "gpuCost", "totalCost"):
            assert row[key] == pytest.approx(expected[name][key], abs=5e-5), (name, key)


@pytest.mark.parametrize("of", ["1.111", "1.112", "1.119"])
@pytest.mark.parametrize(
    "by",
    [
        *("cluster", "node", "container", "controller", "controllerKind", "namespace", "pod", "service", "deployment"),
        *("daemonset", "statefulset", "job", "department", "environment", "owner", "product", "team", "all", "foo"),
        *("label:app", "label:team", "label:app.kubernetes.io/name", "annotation:owner", "cluster,namespace"),
        *("namespace,controllerKind,label:app", "namespace,pod,container", "NAMESPACE", " namespace , foo "),
    ],
)
def test_every_aggregate_is_the_sum_of_the_containers(of: str, by: str) -> None:
    """Whatever the grouping, its rows cost what the container rows cost, but for a rounding of each."""
    opencost = Requested(of)
    [containers] = opencost.sets("23T09:00", "23T10:00")
    [grouped] = opencost.sets("23T09:00", "23T10:00", aggregate=by)
    for key in ("totalCost", "cpuCost", "ramCost", "gpuCost", "pvCost", "networkCost", "loadBalancerCost"):
        total = sum(row[key] for row in containers.values())
        rounding = (len(containers) + len(grouped)) * 5e-6
        assert sum(row[key] for row in grouped.values()) == pytest.approx(total, abs=rounding), key
    assert len(grouped) < len(containers) or by == "namespace,pod,container"


def test_a_service_is_the_first_of_a_pods(opencost: Requested) -> None:
    """By service: the first of two, `__unmounted__` for volumes and `__unallocated__` for pods without one."""
    [rows] = opencost.sets("23T10:00", "23T11:00", aggregate="service")
    assert {"ingress-nginx-controller", "__unmounted__", "__unallocated__", "web"} <= set(rows)
    assert "ingress-nginx-controller-admission" not in rows


@pytest.mark.parametrize("of", ["1.111", "1.112", "1.119"])
def test_accumulated_sets(of: str) -> None:
    """24 sets as one: the sum of their costs, labels gone, two empty keys; `accumulateBy=day` is the same."""
    opencost = Requested(of)
    hours = opencost.sets("23T00:00", "24T00:00", step="1h", aggregate="namespace")
    [total] = opencost.sets("23T00:00", "24T00:00", step="1h", aggregate="namespace", accumulate="true")
    by_day = opencost.sets("22T00:00", "24T00:00", step="1h", aggregate="namespace", accumulateBy="day")
    assert len(hours) == 24
    assert by_day[1] == total
    for name, row in total.items():
        parts = [one[name]["totalCost"] for one in hours if name in one]
        assert row["totalCost"] == pytest.approx(sum(parts), abs=2e-4), name
        assert (row["proportionalAssetResourceCosts"], row["sharedCostBreakdown"]) == ({}, {})
        assert "rawAllocationOnly" not in row
    [ignored] = opencost.sets("23T00:00", "24T00:00", aggregate="namespace", accumulate="day")
    assert "sharedCostBreakdown" not in ignored["shop"]


@pytest.mark.parametrize("parameters", ["accumulateBy=quarter&step=1h", "accumulateBy=week&step=1h"])
def test_sets_that_cannot_be_accumulated(opencost: Requested, parameters: str) -> None:
    """An unknown word, and weeks of hours, are 500."""
    window = "window=2026-11-22T00:00:00Z,2026-11-24T00:00:00Z"
    assert opencost.reply(f"/allocation?{window}&{parameters}").status == 500


def test_a_window_longer_than_a_day_keeps_labels(opencost: Requested) -> None:
    """Two days are computed day by day and joined: labels and peaks remain, and so do the two empty keys."""
    [rows] = opencost.sets("22T00:00", "24T00:00")
    row = next(row for name, row in rows.items() if name.endswith("/redis-0/redis"))
    assert row["properties"]["labels"]["app"] == "redis"
    assert row["rawAllocationOnly"]["cpuCoreUsageMax"] > 0
    assert row["sharedCostBreakdown"] == {}
    assert row["minutes"] == 2880


def test_what_is_charged_is_the_greater_of_request_and_use(opencost: Requested) -> None:
    """Within a clock hour, in which use does not move, cores and bytes are the greater of request and use."""
    [rows] = opencost.sets("23T12:00", "23T13:00")
    more = 0
    for row in (row for row in rows.values() if "rawAllocationOnly" in row):
        for charged, requested, used in (
            ("cpuCores", "cpuCoreRequestAverage", "cpuCoreUsageAverage"),
            ("ramBytes", "ramByteRequestAverage", "ramByteUsageAverage"),
        ):
            assert row[charged] == pytest.approx(max(row[requested], row[used]), abs=2e-5, rel=1e-9)
            more += row[used] > row[requested] > 0
    assert more > 3


@pytest.mark.parametrize("cluster", NAMES)
@pytest.mark.parametrize("day", [16, 18, 21])
def test_volumes_cost_the_same_in_rows_and_assets(cluster: str, day: int) -> None:
    """However its users share a volume, come and go, rows and assets have the same cost of volumes."""
    opencost = Requested(cluster=cluster)
    [rows] = opencost.sets(f"{day}T00:00", f"{day + 1}T00:00")
    assets = opencost.assets(f"{day}T00:00", f"{day + 1}T00:00").values()
    volumes = [one["totalCost"] for one in assets if one.get("storageClass", "__local__") != "__local__"]
    assert sum(row["pvCost"] for row in rows.values()) == pytest.approx(sum(volumes), abs=len(rows) * 5e-6)


@pytest.mark.parametrize(("of", "idle"), [("1.111", -0.5), ("1.112", -0.5), ("1.119", 0.0)])
def test_an_overcommitted_node(of: str, idle: float) -> None:
    """Idle cost below zero is kept up to 1.112 and is zero in 1.119."""
    node = fleet.cluster(NAMES[0], NOW).nodes[0]
    row = Allocation({"node": node.name}, Span(0, 3600), 0, 3600, cpu_cost=1.5, ram_cost=0.1)
    [cost] = idle_costs([NodeCost(node, 0, 3600, 1.0, 0.3, 0.0)], [row], version(of))
    assert (cost.cpu, cost.ram, cost.gpu) == pytest.approx((idle, 0.2, 0.0))
