"""The queries people already run, on the recorded day, against plain Python over the recorded responses."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import pytest

from opencost_kusto.database import script
from tests.kql import recorded
from tests.kql.database import Database
from tests.kql.test_shipped import of_that_day


def result(day: Database, name: str) -> list[dict[str, Any]]:
    """The result of a shipped query on the recorded day."""
    return day.rows(of_that_day((script.root() / "queries" / f"{name}.kql").read_text()))


def hour(row: dict[str, Any]) -> str:
    """A row's time as OpenCost writes it."""
    return str(row["Timestamp"].strftime("%Y-%m-%dT%H:%M:%SZ"))


def test_allocation_by_namespace(day: Database) -> None:
    """Each hour's cost of each namespace."""
    found = {(hour(row), row["Namespace"]): row["TotalCost"] for row in result(day, "allocation_by_namespace")}
    key = recorded.summed(recorded.workloads(), lambda row: (row["window"]["start"], recorded.namespace(row)))
    assert found == pytest.approx(key)


def test_assets_by_type(day: Database) -> None:
    """What nodes, disks and load balancers cost, the most expensive first."""
    rows = result(day, "assets_by_type")
    assert {row["Type"]: row["TotalCost"] for row in rows} == pytest.approx(
        recorded.summed(recorded.assets(), lambda asset: asset["type"])
    )
    assert [row["Type"] for row in rows] == ["Node", "Disk", "LoadBalancer"]


def test_workload_and_infrastructure(day: Database) -> None:
    """Both sums of each hour, side by side."""
    rows = result(day, "workload_and_infrastructure")
    work = recorded.summed(recorded.workloads(), lambda row: row["window"]["start"])
    infra = recorded.summed(recorded.assets(), lambda row: row["window"]["start"])
    assert {hour(row): row["WorkloadCost"] for row in rows} == pytest.approx(work)
    assert {hour(row): row["InfraCost"] for row in rows} == pytest.approx(infra)
    assert all(row["TotalCost"] == pytest.approx(row["WorkloadCost"] + row["InfraCost"]) for row in rows)


def test_efficiency_by_container(day: Database) -> None:
    """The mean efficiency of the containers of one name."""
    rows = result(day, "efficiency_by_container")
    for column, field in (("AvgCpuEff", "cpuEfficiency"), ("AvgRamEff", "ramEfficiency")):
        values: dict[str, list[float]] = {}
        for row in recorded.workloads():
            values.setdefault(row["properties"]["container"], []).append(row[field])
        expected = {name: fmean(found) for name, found in values.items()}
        assert {row["Container"]: row[column] for row in rows} == pytest.approx(expected)


def test_metrics_over_time(day: Database) -> None:
    """The mean of every metric of the scrape."""
    values: dict[str, list[float]] = {}
    for name, _, value in recorded.samples():
        if not name.startswith(("go_", "process_", "promhttp_")):
            values.setdefault(name, []).append(value)
    found = {row["MetricName"]: row["avg_MetricValue"] for row in result(day, "metrics_over_time")}
    assert {name: found[name] for name in values} == pytest.approx({name: fmean(each) for name, each in values.items()})


def test_resource_use_by_node(day: Database) -> None:
    """The mean CPU allocation of the containers on each node."""
    values: dict[str, list[float]] = {}
    for labels, value in recorded.metric("container_cpu_allocation"):
        values.setdefault(labels["node"], []).append(value)
    found = {row["Node"]: row["avg_MetricValue"] for row in result(day, "resource_use_by_node")}
    assert found == pytest.approx({name: fmean(each) for name, each in values.items()})


def test_compute_cost_by_namespace_and_daily_trend(day: Database) -> None:
    """Cores times price by namespace; and the sum of all facts of the one scrape."""
    price = {labels["node"]: value for labels, value in recorded.metric("node_cpu_hourly_cost")}
    expected: dict[str, float] = {}
    for labels, value in recorded.metric("container_cpu_allocation"):
        expected[labels["namespace"]] = expected.get(labels["namespace"], 0.0) + value * price[labels["node"]]
    assert {row["Namespace"]: row["TotalCost"] for row in result(day, "compute_cost_by_namespace")} == pytest.approx(
        expected
    )
    (trend,) = result(day, "daily_cost_trend")
    assert trend["DailyCost"] == pytest.approx(day.one("OpenCostAnalysis | summarize Cost = sum(CostValue)")["Cost"])
    assert trend["Timestamp"].strftime("%F") == "2026-11-24"


def test_cpu_against_memory(day: Database) -> None:
    """A point for each container: its CPU and its memory."""
    cpu = {(labels["pod"], labels["container"]): value for labels, value in recorded.metric("container_cpu_allocation")}
    ram = {
        (labels["pod"], labels["container"]): value
        for labels, value in recorded.metric("container_memory_allocation_bytes")
    }
    rows = result(day, "cpu_against_memory")
    found = sorted(
        (row["container_cpu_allocation"], row["container_memory_allocation"])
        for row in rows
        if row["container_cpu_allocation"] is not None
    )
    assert found == sorted((cpu[key], ram[key]) for key in cpu)
