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
from tests.kql.database import CLUSTER, COLLECTED, HOUR, Asked, Database
from tests.support.recordings import recording

DAY = "datetime(2026-11-23), datetime(2026-11-24)"
BY_NAMESPACE = RequestOptions(aggregate="namespace")
WITH_IDLE = RequestOptions(aggregate="namespace", include_idle=True)


def hour_of(body: str, hour: int) -> bytes:
    """One set of a recorded day by steps, as an answer of its own."""
    return json.dumps({"data": [json.loads(recording("1.112", body))["data"][hour]]}).encode()


def workloads(database: Database, bounds: str = DAY) -> list[Any]:
    """Rows and cost of OpenCostWorkloadCost."""
    found = database.one(f"OpenCostWorkloadCost({bounds}) | summarize Rows = count(), Cost = sum(TotalCost)")
    return [found["Rows"], found["Cost"]]


def infrastructure(database: Database, bounds: str = DAY) -> float:
    """Cost of OpenCostInfrastructureCost."""
    return float(database.one(f"OpenCostInfrastructureCost({bounds}) | summarize Cost = sum(TotalCost)")["Cost"])


def test_the_recorded_day_is_whole(day: Database) -> None:
    """1,478 rows of workloads and 456 of assets are in the tables, and the ground functions return them all."""
    assert workloads(day) == [1478, pytest.approx(recorded.total(recorded.workloads()))]
    assert recorded.total(recorded.workloads()) == pytest.approx(26.44, abs=0.001)
    assert infrastructure(day) == pytest.approx(recorded.total(recorded.assets()))
    assert recorded.total(recorded.assets()) == pytest.approx(32.33, abs=0.002)


def test_nothing_that_is_loaded_beside_the_hours_by_container_is_added_up(empty: Database) -> None:
    """Hours by namespace, with idle, with idle shared out, the day as one set and a second answer change nothing."""
    load_day(empty)
    rows, cost = workloads(empty)
    body = recording("1.112", "allocation_day_step1h_namespace.json")
    empty.allocation(body, Asked(options=BY_NAMESPACE))
    empty.allocation(recording("1.112", "allocation_day_step1h_idle_namespace.json"), Asked(options=WITH_IDLE))
    empty.allocation(recording("1.112", "allocation_hour_idle.json"), Asked(options=RequestOptions(include_idle=True)))
    shared = RequestOptions(include_idle=True, share_idle=True)
    empty.allocation(recording("1.112", "allocation_hour_idle_share.json"), Asked(options=shared))
    empty.allocation(
        recording("1.112", "allocation_hour_agg_full.json"),
        Asked(options=RequestOptions(aggregate="cluster,node,namespace,pod,container")),
    )
    empty.allocation(recording("1.112", "allocation_day.json"))
    empty.allocation(recording("1.112", "allocation_day_namespace.json"), Asked(options=BY_NAMESPACE))
    empty.allocation(recording("1.112", "allocation_2days_namespace.json"), Asked(options=BY_NAMESPACE))
    later = Asked(run="again", collected=COLLECTED + HOUR)
    empty.allocation(recording("1.112", "allocation_day_step1h.json"), later)
    assert empty.one("OpenCostAllocation | summarize Cost = sum(TotalCost)")["Cost"] > 5 * cost
    assert workloads(empty) == [rows, pytest.approx(cost)]


def test_assets_loaded_by_day_or_by_type_are_not_added_up(empty: Database) -> None:
    """The day as one set, an hour of disks only and a second answer change nothing."""
    load_day(empty)
    cost = infrastructure(empty)
    empty.assets(recording("1.112", "assets_day.json"))
    empty.assets(
        recording("1.112", "assets_filter_disk_lower.json"), Asked(options=RequestOptions(filter_types=("disk",)))
    )
    empty.assets(recording("1.112", "assets_hour.json"), Asked(collected=COLLECTED + HOUR))
    assert infrastructure(empty) == pytest.approx(cost)


def test_an_hour_of_some_types_does_not_hide_a_day_of_all(empty: Database) -> None:
    """Where an hour has disks only, nodes and load balancers of that hour come from the day."""
    empty.assets(recording("1.112", "assets_day.json"))
    empty.assets(
        recording("1.112", "assets_filter_disk_lower.json"), Asked(options=RequestOptions(filter_types=("disk",)))
    )
    day = list(json.loads(recording("1.112", "assets_day.json"))["data"].values())
    disks = json.loads(recording("1.112", "assets_filter_disk_lower.json"))["data"].values()
    by_type = recorded.summed(day, lambda asset: asset["type"])
    expected = by_type["Node"] + by_type["LoadBalancer"] + by_type["Disk"] * 23 / 24 + recorded.total(disks)
    assert infrastructure(empty) == pytest.approx(expected)


def test_a_day_counts_for_the_hours_that_did_not_land_on_their_own(empty: Database) -> None:
    """Of a day and three of its hours, the hours count whole and the day for the other 21."""
    empty.allocation(recording("1.112", "allocation_day.json"))
    for hour in (3, 10, 22):
        empty.allocation(hour_of("allocation_day_step1h.json", hour))
    day = json.loads(recording("1.112", "allocation_day.json"))["data"][0].values()
    hours = sum(recorded.total(recorded.allocation_hours()[hour]) for hour in (3, 10, 22))
    assert workloads(empty)[1] == pytest.approx(hours + recorded.total(day) * 21 / 24)
    shares = empty.rows(f'OpenCostWindowShares("allocation", {DAY}) | order by WindowMinutes asc')
    assert [share["Share"] for share in shares] == [1.0, 1.0, 1.0, pytest.approx(21 / 24)]


def test_rows_by_container_are_preferred_to_finer_windows_by_namespace(empty: Database) -> None:
    """A day by container is better than its hours by namespace, which know no pods; without it they count."""
    empty.allocation(recording("1.112", "allocation_day_step1h_namespace.json"), Asked(options=BY_NAMESPACE))
    by_namespace = sum(
        recorded.total(hour.values())
        for hour in json.loads(recording("1.112", "allocation_day_step1h_namespace.json"))["data"]
    )
    assert workloads(empty) == [24 * 8, pytest.approx(by_namespace)]
    empty.allocation(recording("1.112", "allocation_day.json"))
    day = json.loads(recording("1.112", "allocation_day.json"))["data"][0].values()
    assert workloads(empty) == [87, pytest.approx(recorded.total(day))]


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


def test_idle_rows_are_never_workloads(empty: Database) -> None:
    """Hours that landed only with idle give the same workloads as without."""
    empty.allocation(recording("1.112", "allocation_hour_idle_namespace.json"), Asked(options=WITH_IDLE))
    rows = json.loads(recording("1.112", "allocation_hour_idle_namespace.json"))["data"][0]
    assert "__idle__" in rows
    assert workloads(empty)[1] == pytest.approx(recorded.total(rows.values()) - rows["__idle__"]["totalCost"])


def test_hours_with_idle_shared_out_take_no_minutes_from_others(empty: Database) -> None:
    """A batch whose rows carry shared idle does not count, so the day it lies in counts whole."""
    shared = RequestOptions(include_idle=True, share_idle=True)
    empty.allocation(recording("1.112", "allocation_hour_idle_share.json"), Asked(options=shared))
    assert workloads(empty)[0] == 0
    empty.allocation(recording("1.112", "allocation_day.json"))
    day = json.loads(recording("1.112", "allocation_day.json"))["data"][0].values()
    assert workloads(empty) == [87, pytest.approx(recorded.total(day))]


def test_clusters_do_not_take_each_others_minutes(empty: Database) -> None:
    """Two clusters over the same time count both, and a cluster's name selects its own."""
    for name in (CLUSTER, "other"):
        empty.allocation(
            recording("1.112", "allocation_hour.json").replace(CLUSTER.encode(), name.encode()), Asked(name)
        )
        empty.assets(recording("1.112", "assets_hour.json").replace(CLUSTER.encode(), name.encode()), Asked(name))
    cost = recorded.total(recorded.allocation_hours()[10])
    assert workloads(empty)[1] == pytest.approx(2 * cost)
    assert workloads(empty, f'{DAY}, "other"')[1] == pytest.approx(cost)
    assert workloads(empty, f'{DAY}, "nobody"')[0] == 0
    assert infrastructure(empty, f'{DAY}, "other"') == pytest.approx(infrastructure(empty) / 2)


def test_guards_keep_the_row_that_was_collected_last(empty: Database) -> None:
    """Of two answers under one key, each guard keeps the later, even when it landed first."""
    second = replace(Asked(), run="second", collected=COLLECTED + timedelta(hours=2))
    outcome = {"batch_id": "b", "outcome": "landed", "window_start": "2026-11-23T00:00:00Z"}
    for asked in (second, Asked(), Asked()):
        empty.allocation(recording("1.112", "allocation_hour.json"), asked)
        empty.assets(recording("1.112", "assets_hour.json"), asked)
        empty.metrics(recording("1.112", "metrics.txt"), asked)
        empty.runs([outcome], asked)
    for table in ("OpenCostAllocation", "OpenCostAssets", "OpenCostMetrics"):
        count = empty.one(f"{table} | count")["Count"] // 3
        found = empty.rows(f"{table}Latest | summarize Rows = count() by RunId")
        assert found == [{"RunId": "second", "Rows": count}]
    # The run is part of a ledger row's key.
    runs = empty.rows("OpenCostSyncRunsLatest | project RunId | order by RunId asc")
    assert [row["RunId"] for row in runs] == ["nightly", "second"]
