"""Each minute of a cluster counts once, whatever else the tables hold about it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from opencost_kusto.batch import RequestOptions
from tests.kql import recorded
from tests.kql.conftest import load_day
from tests.kql.database import CLUSTER, COLLECTED, HOUR, Database, Requested
from tests.support.recordings import recording

DAY = "datetime(2026-11-23), datetime(2026-11-24)"
BY_NAMESPACE = RequestOptions(aggregate="namespace")
WITH_IDLE = RequestOptions(aggregate="namespace", include_idle=True)


def hour_of(body: str, hour: int) -> bytes:
    """One set of a recorded day by steps, as a response of its own."""
    return json.dumps({"data": [json.loads(recording("1.112", body))["data"][hour]]}).encode()


def workloads(database: Database, bounds: str = DAY) -> list[Any]:
    """Rows and cost of OpenCostWorkloadCost."""
    found = database.one(f"OpenCostWorkloadCost({bounds}) | summarize Rows = count(), Cost = sum(TotalCost)")
    return [found["Rows"], found["Cost"]]


def infrastructure(database: Database, bounds: str = DAY) -> float:
    """Cost of OpenCostInfrastructureCost."""
    return float(database.one(f"OpenCostInfrastructureCost({bounds}) | summarize Cost = sum(TotalCost)")["Cost"])


def test_the_recorded_day_is_complete(day: Database) -> None:
    """1,478 rows of workloads and 456 of assets are in the tables, and the base functions return them all."""
    assert workloads(day) == [1478, pytest.approx(recorded.total(recorded.workloads()))]
    assert recorded.total(recorded.workloads()) == pytest.approx(26.44, abs=0.001)
    assert infrastructure(day) == pytest.approx(recorded.total(recorded.assets()))
    assert recorded.total(recorded.assets()) == pytest.approx(32.33, abs=0.002)


def test_other_windows_beside_the_hours_by_container_are_not_added(empty: Database) -> None:
    """Hours by namespace, with idle, with idle shared, the day as one set and a second response change nothing."""
    load_day(empty)
    rows, cost = workloads(empty)
    body = recording("1.112", "allocation_day_step1h_namespace.json")
    empty.allocation(body, Requested(options=BY_NAMESPACE))
    empty.allocation(recording("1.112", "allocation_day_step1h_idle_namespace.json"), Requested(options=WITH_IDLE))
    empty.allocation(
        recording("1.112", "allocation_hour_idle.json"), Requested(options=RequestOptions(include_idle=True))
    )
    shared = RequestOptions(include_idle=True, share_idle=True)
    empty.allocation(recording("1.112", "allocation_hour_idle_share.json"), Requested(options=shared))
    empty.allocation(
        recording("1.112", "allocation_hour_agg_full.json"),
        Requested(options=RequestOptions(aggregate="cluster,node,namespace,pod,container")),
    )
    empty.allocation(recording("1.112", "allocation_day.json"))
    empty.allocation(recording("1.112", "allocation_day_namespace.json"), Requested(options=BY_NAMESPACE))
    empty.allocation(recording("1.112", "allocation_2days_namespace.json"), Requested(options=BY_NAMESPACE))
    later = Requested(run="again", collected=COLLECTED + HOUR)
    empty.allocation(recording("1.112", "allocation_day_step1h.json"), later)
    assert empty.one("OpenCostAllocation | summarize Cost = sum(TotalCost)")["Cost"] > 5 * cost
    assert workloads(empty) == [rows, pytest.approx(cost)]


def test_assets_loaded_by_day_or_by_type_are_not_added(empty: Database) -> None:
    """The day as one set, an hour of disks only and a second response change nothing."""
    load_day(empty)
    cost = infrastructure(empty)
    empty.assets(recording("1.112", "assets_day.json"))
    empty.assets(
        recording("1.112", "assets_filter_disk_lower.json"), Requested(options=RequestOptions(filter_types=("disk",)))
    )
    empty.assets(recording("1.112", "assets_hour.json"), Requested(collected=COLLECTED + HOUR))
    assert infrastructure(empty) == pytest.approx(cost)


def test_an_hour_of_some_types_does_not_hide_a_day_of_all(empty: Database) -> None:
    """Where an hour has disks only, its nodes and load balancers are those of the day, whose cost is unchanged."""
    empty.assets(recording("1.112", "assets_day.json"))
    empty.assets(
        recording("1.112", "assets_filter_disk_lower.json"), Requested(options=RequestOptions(filter_types=("disk",)))
    )
    day = list(json.loads(recording("1.112", "assets_day.json"))["data"].values())
    by_type = recorded.summed(day, lambda asset: asset["type"])
    assert infrastructure(empty) == pytest.approx(sum(by_type.values()))
    disks = json.loads(recording("1.112", "assets_filter_disk_lower.json"))["data"].values()
    hour = "datetime(2026-11-23 10:00), datetime(2026-11-23 11:00)"
    expected = recorded.total(disks) + (by_type["Node"] + by_type["LoadBalancer"]) / 24
    assert infrastructure(empty, hour) == pytest.approx(expected)


def test_a_day_counts_for_the_hours_that_did_not_land(empty: Database) -> None:
    """Of a day and three of its hours, the hours count in full, and the others have the remainder of the day."""
    empty.allocation(recording("1.112", "allocation_day.json"))
    for hour in (3, 10, 22):
        empty.allocation(hour_of("allocation_day_step1h.json", hour))
    day = recorded.total(json.loads(recording("1.112", "allocation_day.json"))["data"][0].values())
    hours = {hour: recorded.total(recorded.allocation_hours()[hour]) for hour in (3, 10, 22)}
    assert workloads(empty)[1] == pytest.approx(day)
    found = empty.rows(f"OpenCostHourlyCost({DAY}) | summarize Cost = sum(TotalCost) by Timestamp")
    left = (day - sum(hours.values())) / 21
    assert {row["Timestamp"].hour: row["Cost"] for row in found} == pytest.approx(
        {hour: hours.get(hour, left) for hour in range(24)}
    )


def test_windows_with_the_requested_aggregate_count_first(empty: Database) -> None:
    """Hours by namespace tile a day by container where costs are grouped by namespace, and not where by pod."""
    empty.allocation(recording("1.112", "allocation_day_step1h_namespace.json"), Requested(options=BY_NAMESPACE))
    by_namespace = sum(
        recorded.total(hour.values())
        for hour in json.loads(recording("1.112", "allocation_day_step1h_namespace.json"))["data"]
    )
    about_pods = f'{DAY}, "", "", "pod"'
    assert workloads(empty) == [24 * 8, pytest.approx(by_namespace)]
    assert workloads(empty, about_pods) == [24 * 8, pytest.approx(by_namespace)]
    empty.allocation(recording("1.112", "allocation_day.json"))
    day = json.loads(recording("1.112", "allocation_day.json"))["data"][0].values()
    assert workloads(empty) == [24 * 8, pytest.approx(by_namespace)]
    assert workloads(empty, f"{about_pods}, 1d") == [87, pytest.approx(recorded.total(day))]


def test_windows_that_overlap_unaligned_count_each_minute_once(empty: Database) -> None:
    """Of an hour and another that begins 40 minutes into it, the later counts for its last 40 minutes."""
    hour = json.loads(hour_of("allocation_day_step1h.json", 10))
    for row in hour["data"][0].values():
        row["window"] = {"start": "2026-11-23T10:40:00Z", "end": "2026-11-23T11:40:00Z"}
    empty.allocation(hour_of("allocation_day_step1h.json", 10))
    empty.allocation(json.dumps(hour).encode())
    cost = recorded.total(recorded.allocation_hours()[10])
    assert workloads(empty)[1] == pytest.approx(cost * (1 + 40 / 60))


def test_bounds_cut_windows_by_the_minute(day: Database) -> None:
    """From 01:30 to 03:00, half of one hour and all of the next count, and nothing begins before the bounds."""
    bounds = "datetime(2026-11-23 01:30:17), datetime(2026-11-23 03:00:42)"
    expected = recorded.total(recorded.allocation_hours()[1]) / 2 + recorded.total(recorded.allocation_hours()[2])
    assert workloads(day, bounds)[1] == pytest.approx(expected)
    earliest = day.one(f"OpenCostWorkloadCost({bounds}) | summarize First = min(Timestamp)")["First"]
    assert earliest.strftime("%H:%M:%S") == "01:30:17"


@pytest.mark.parametrize(
    "function", ["OpenCostByNamespace", "OpenCostByController", "OpenCostEfficiency", "OpenCostIdleByNode"]
)
def test_a_third_of_an_hour_has_a_third_of_every_amount(function: str, day: Database) -> None:
    """Each column that is an amount counts by the part of the window that is in the period, as the total does."""
    hour, third = ("datetime(2026-11-23 03:00), datetime(2026-11-23 " + end for end in ("04:00)", "03:20)"))
    names = ("Cluster", "Namespace", "ControllerKind", "Controller", "Container", "Node")
    found, parts = (
        {tuple(row.get(name) for name in names): row for row in day.rows(f"{function}({bounds})")}
        for bounds in (hour, third)
    )
    assert found
    assert parts.keys() == found.keys()
    for key, row in found.items():
        amounts = {name: value for name, value in row.items() if isinstance(value, float)}
        for name, value in amounts.items():
            part = 1 if name.endswith(("Efficiency", "Percent")) else 3
            assert parts[key][name] == pytest.approx(value / part, rel=1e-9, abs=1e-9), (key, name)


def test_idle_rows_are_never_workloads(empty: Database) -> None:
    """Hours that landed only with idle give the same workloads as without."""
    empty.allocation(recording("1.112", "allocation_hour_idle_namespace.json"), Requested(options=WITH_IDLE))
    rows = json.loads(recording("1.112", "allocation_hour_idle_namespace.json"))["data"][0]
    assert "__idle__" in rows
    assert workloads(empty)[1] == pytest.approx(recorded.total(rows.values()) - rows["__idle__"]["totalCost"])


def test_hours_with_idle_shared_out_count_where_nothing_else_does(empty: Database) -> None:
    """A batch whose rows carry shared idle counts until another window covers its minutes."""
    shared = RequestOptions(include_idle=True, share_idle=True)
    empty.allocation(recording("1.112", "allocation_hour_idle_share.json"), Requested(options=shared))
    hour = json.loads(recording("1.112", "allocation_hour_idle_share.json"))["data"][0].values()
    assert workloads(empty) == [61, pytest.approx(recorded.total(hour))]
    empty.allocation(recording("1.112", "allocation_day.json"))
    day = json.loads(recording("1.112", "allocation_day.json"))["data"][0].values()
    assert workloads(empty, f'{DAY}, "", "", "", 1d') == [87, pytest.approx(recorded.total(day))]


def test_clusters_do_not_take_each_others_minutes(empty: Database) -> None:
    """Two clusters over the same time count both, and a cluster's name selects its own."""
    for name in (CLUSTER, "other"):
        empty.allocation(
            recording("1.112", "allocation_hour.json").replace(CLUSTER.encode(), name.encode()), Requested(name)
        )
        empty.assets(recording("1.112", "assets_hour.json").replace(CLUSTER.encode(), name.encode()), Requested(name))
    cost = recorded.total(recorded.allocation_hours()[10])
    assert workloads(empty)[1] == pytest.approx(2 * cost)
    assert workloads(empty, f'{DAY}, "other"')[1] == pytest.approx(cost)
    assert workloads(empty, f'{DAY}, "nobody"')[0] == 0
    assert infrastructure(empty, f'{DAY}, "other"') == pytest.approx(infrastructure(empty) / 2)


def test_the_last_response_of_a_batch_counts_alone(empty: Database) -> None:
    """Of two responses under one batch the later counts, even when it landed first; copies of it count once."""
    later = replace(Requested(), run="later", collected=COLLECTED + timedelta(hours=2))
    renamed = recording("1.112", "allocation_hour.json").replace(b"/ml/trainer", b"/ml/tutor")
    for body, requested in (
        (renamed, later),
        (recording("1.112", "allocation_hour.json"), Requested()),
        (renamed, later),
    ):
        empty.allocation(body, requested)
        empty.assets(recording("1.112", "assets_hour.json"), requested)
        empty.metrics(recording("1.112", "metrics.txt"), requested)
    assert workloads(empty)[1] == pytest.approx(recorded.total(recorded.allocation_hours()[10]))
    assert infrastructure(empty) == pytest.approx(recorded.total(recorded.asset_hours()[10]))
    sums = empty.rows(f'OpenCostSums("", {DAY}) | summarize Cost = sum(TotalCost) by Dataset')
    assert {row["Dataset"]: row["Cost"] for row in sums} == pytest.approx(
        {"allocation": workloads(empty)[1], "assets": infrastructure(empty)}
    )
    assert {row["RunId"] for row in empty.rows(f"OpenCostWorkloadCost({DAY}) | distinct RunId")} == {"later"}
    count = empty.one("OpenCostMetrics | count")["Count"] // 3
    found = empty.rows("OpenCostMetricsLatest | summarize Rows = count() by RunId")
    assert found == [{"RunId": "later", "Rows": count}]
    held = empty.rows(f'OpenCostHeldBatches("", {DAY}) | distinct IsComplete')
    assert held == [{"IsComplete": False}]
