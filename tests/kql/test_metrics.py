"""The functions over scrapes of /metrics, against plain Python over the recorded exposition."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta

import pytest

from opencost_kusto.batch import RequestOptions
from tests.kql import recorded
from tests.kql.database import COLLECTED, HOUR, SCRAPED, Database, Requested
from tests.support.recordings import recording

GIB = 2**30
MANAGEMENT = "kubecost_cluster_management_cost"


def prices(name: str, label: str = "node") -> dict[str, float]:
    """A price by node or by volume."""
    return {labels[label]: value for labels, value in recorded.metric(name)}


def expected_costs() -> dict[tuple[str, str, str, str], float]:
    """Hourly cost by type, namespace, pod and container."""
    costs: dict[tuple[str, str, str, str], float] = defaultdict(float)
    for kind, allocation, price, unit in (
        ("compute", "container_cpu_allocation", "node_cpu_hourly_cost", 1),
        ("memory", "container_memory_allocation_bytes", "node_ram_hourly_cost", GIB),
        ("gpu", "container_gpu_allocation", "node_gpu_hourly_cost", 1),
    ):
        for labels, value in recorded.metric(allocation):
            key = (kind, labels["namespace"], labels["pod"], labels["container"])
            costs[key] += value / unit * prices(price)[labels["node"]]
    volumes, mounted = prices("pv_hourly_cost", "persistentvolume"), set()
    for labels, value in recorded.metric("pod_pvc_allocation"):
        mounted.add(labels["persistentvolume"])
        costs["storage", labels["namespace"], labels["pod"], ""] += value / GIB * volumes[labels["persistentvolume"]]
    claims = {
        labels["volumename"]: labels["namespace"] for labels, _ in recorded.metric("kube_persistentvolumeclaim_info")
    }
    for labels, value in recorded.metric("kube_persistentvolume_capacity_bytes"):
        if (volume := labels["persistentvolume"]) not in mounted:
            costs["storage", claims.get(volume, "__unmounted__"), "", ""] += value / GIB * volumes[volume]
    for labels, value in recorded.metric("kubecost_load_balancer_cost"):
        costs["loadbalancer", labels["namespace"], "", ""] += value
    return dict(costs)


def test_analysis_is_allocation_times_the_price_of_the_node(day: Database) -> None:
    """Every cost fact of the scrape is its allocation times its price, memory and volumes by the GiB."""
    rows = day.rows(
        "OpenCostAnalysis | where CostType !in ('network', 'management')"
        " | summarize Cost = sum(CostValue) by CostType, Namespace, Pod, Container"
    )
    keys = ("CostType", "Namespace", "Pod", "Container")
    found = {tuple(row[key] or "" for key in keys): row["Cost"] for row in rows}
    assert found == pytest.approx(expected_costs())
    # What is on a node is charged at most the node's price, which is the sum of its parts.
    assert sum(cost for key, cost in found.items() if key[0] in ("compute", "memory", "gpu")) < sum(
        prices("node_total_hourly_cost").values()
    )


def test_analysis_has_every_type_of_cost_and_its_origin(day: Database) -> None:
    """Seven types, each fact with its metric, price and unit; traffic has a price and no cost; no currency is set."""
    rows = day.rows(
        "OpenCostAnalysis | summarize Facts = count(), Costs = countif(isnotnull(CostValue))"
        " by CostType, MetricName, Unit, Currency"
    )
    found = {(row["CostType"], row["MetricName"], row["Unit"]): (row["Facts"], row["Costs"]) for row in rows}
    assert found == {
        ("compute", "container_cpu_allocation", "core"): (59, 59),
        ("memory", "container_memory_allocation_bytes", "GiB"): (59, 59),
        ("gpu", "container_gpu_allocation", "gpu"): (59, 59),
        ("storage", "pod_pvc_allocation", "GiB"): (8 + 1, 8 + 1),
        ("storage", "kube_persistentvolume_capacity_bytes", "GiB"): (1, 1),
        ("loadbalancer", "kubecost_load_balancer_cost", "hour"): (2, 2),
        ("management", "kubecost_cluster_management_cost", "hour"): (1, 1),
        ("network", "kubecost_network_zone_egress_cost", "GiB"): (1, 0),
        ("network", "kubecost_network_region_egress_cost", "GiB"): (1, 0),
        ("network", "kubecost_network_internet_egress_cost", "GiB"): (1, 0),
    }
    assert {row["Currency"] for row in rows} == {None}


def test_analysis_keeps_a_container_whose_node_has_no_price(empty: Database) -> None:
    """OpenCost leaves out prices of 0; the cost is then unknown, and the fact is kept."""
    body = b"\n".join(
        line for line in recording("1.112", "metrics.txt").split(b"\n") if b"node_cpu_hourly_cost{" not in line
    )
    empty.metrics(body)
    found = empty.one(
        "OpenCostAnalysis | where CostType == 'compute'"
        " | summarize Facts = count(), Costs = countif(isnotnull(CostValue))"
    )
    assert found == {"Facts": 59, "Costs": 0}


def test_wide_has_the_metrics_of_a_row_as_columns(day: Database) -> None:
    """Each sample that fits the shape is in exactly one row and column, and what a row has not is null."""
    rows = day.rows("OpenCostMetricsWide")
    one = (
        "container_cpu_allocation",
        "container_memory_allocation_bytes",
        "container_gpu_allocation",
        "node_cpu_hourly_cost",
    )
    more = (
        "node_ram_hourly_cost",
        "node_total_hourly_cost",
        "node_gpu_count",
        "kube_node_status_capacity_cpu_cores",
        "kube_pod_container_status_running",
    )
    for name in (*one, *more):
        found = sorted(row[name] for row in rows if row[name] is not None)
        assert found == sorted(value for _, value in recorded.metric(name)), name
    for name in ("pod_pvc_allocation", "kubecost_load_balancer_cost"):
        found = sorted(row[name] for row in rows if row[name] is not None)
        assert sum(found) == sum(value for _, value in recorded.metric(name))
    assert all(row["container_memory_allocation"] == row["container_memory_allocation_bytes"] for row in rows)
    keys = [(row["Node"], row["Namespace"], row["Pod"], row["Container"]) for row in rows]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("minutes", [10, 30, 60])
def test_cost_times_hours_is_money_whatever_the_pace_of_scrapes(minutes: int, empty: Database) -> None:
    """Over two hours, and a gap of three, the sum of CostValue * Hours is what the containers cost in five."""
    body = recording("1.112", "metrics.txt")
    scrapes = [SCRAPED + timedelta(minutes=minutes * number) for number in range(120 // minutes + 1)]
    for scraped in (*scrapes, scrapes[-1] + 3 * HOUR):
        empty.metrics(body, scraped=scraped)
    bounds = "datetime(2026-11-24), datetime(2026-11-25)"
    found = empty.one(f"OpenCostCostRates({bounds}) | summarize Cost = sum(CostValue * Hours)")["Cost"]
    hourly = sum(expected_costs().values()) + sum(value for _, value in recorded.metric(MANAGEMENT))
    assert found == pytest.approx(5 * hourly)


def test_cost_times_hours_of_a_period_is_that_of_its_parts(empty: Database) -> None:
    """The last scrape of a part counts until the next one, in whatever part; only the last of all has no hours."""
    for hours in (0.0, 0.5, 3.0, 18.25, 19.0, 44.0):
        empty.metrics(recording("1.112", "metrics.txt"), scraped=SCRAPED + hours * HOUR)
    days = ["2026-11-24", "2026-11-25", "2026-11-26"]
    hourly = sum(expected_costs().values()) + sum(value for _, value in recorded.metric(MANAGEMENT))
    costs = []
    for start, end in ((0, 1), (1, 2), (0, 2)):
        bounds = f"datetime({days[start]}), datetime({days[end]})"
        costs.append(empty.one(f"OpenCostCostRates({bounds}) | summarize Cost = sum(CostValue * Hours)")["Cost"])
    # From the scrape at 19.0 to the one at 44.0 is more than a day, which counts as a gap.
    assert costs == pytest.approx([18.25 * hourly, 0.75 * hourly, 19.0 * hourly])


LATER = replace(Requested(), run="later", collected=COLLECTED + timedelta(hours=2))
OTHER_BATCH = replace(LATER, options=RequestOptions(all_metrics=True))


@pytest.mark.parametrize(
    ("requests", "complete"),
    [([LATER], True), ([LATER, LATER], False), ([Requested(), LATER], False), ([Requested(), OTHER_BATCH], False)],
    ids=["once", "sent twice", "two responses", "two batches"],
)
def test_each_sample_of_a_scrape_counts_once(requests: list[Requested], complete: bool, empty: Database) -> None:
    """Copies count once, and of several responses the last, whichever landed first; a complete one is read as it is."""
    body = recording("1.112", "metrics.txt")
    earlier = re.sub(rb"(?m)^(container_cpu_allocation\{.*\}) .*$", rb"\1 1000", body)
    for requested in reversed(requests):
        empty.metrics(body if requested.run == "later" else earlier, requested)
    found = empty.one("OpenCostAnalysis | summarize Facts = count(), Cost = sum(CostValue)")
    hourly = sum(expected_costs().values()) + sum(value for _, value in recorded.metric(MANAGEMENT))
    assert found == {"Facts": 3 * 59 + 8 + 1 + 1 + 2 + 1 + 3, "Cost": pytest.approx(hourly)}
    held = empty.rows("OpenCostHeldScrapes(datetime(2026-11-24), datetime(2026-11-25)) | project IsComplete")
    assert held == [{"IsComplete": complete}]


def test_price_changes_are_those_of_assets(empty: Database) -> None:
    """Of three hours in which the CPU of one node becomes dearer, that price alone has changed."""
    for hour, factor in enumerate((1.0, 1.25, 1.1)):
        body = json.loads(recording("1.112", f"assets_hours/{hour:02}.json"))
        for asset in body["data"].values():
            if asset["properties"]["name"] == "aks-apps-27182818-vmss000000" and asset["type"] == "Node":
                asset["totalCost"] += asset["cpuCost"] * (factor - 1)
                asset["cpuCost"] *= factor
                price = asset["cpuCost"] / asset["cpuCoreHours"] / factor
        empty.assets(json.dumps(body).encode())
    bounds = "datetime(2026-11-23), datetime(2026-11-24)"
    row = empty.one(f"OpenCostPriceChanges({bounds})")
    assert (row["Type"], row["Name"], row["Price"]) == ("Node", "aks-apps-27182818-vmss000000", "core-hour")
    found = (row["FirstPrice"], row["HighestPrice"], row["LastPrice"])
    assert found == pytest.approx((price, 1.25 * price, 1.1 * price), rel=1e-3)
    assert row["ChangePercent"] == pytest.approx(10, abs=0.1)
    assert row["LastSeen"] - row["FirstSeen"] == timedelta(hours=2)
    assert empty.rows("OpenCostPriceChanges(datetime(2026-11-23), datetime(2026-11-23 01:00))") == []


def test_price_changes_of_traffic_are_those_of_scrapes(empty: Database) -> None:
    """Traffic has no asset, so that its price is read from metrics."""
    body = recording("1.112", "metrics.txt")
    line = re.compile(rb"(?m)^(kubecost_network_internet_egress_cost(?:\{[^}]*\})?) \S+")
    for number, price in enumerate((b"0.12", b"0.15")):
        empty.metrics(line.sub(rb"\1 " + price, body), scraped=SCRAPED + timedelta(hours=number))
    row = empty.one("OpenCostPriceChanges(datetime(2026-11-24), datetime(2026-11-25))")
    assert (row["Type"], row["Name"]) == ("Network", "kubecost_network_internet_egress_cost")
    assert (row["FirstPrice"], row["LastPrice"]) == (0.12, 0.15)
