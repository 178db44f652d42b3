"""Freshness, gaps and outcomes: what landed, what did not, and why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from opencost_kusto.batch import RequestOptions
from tests.kql.conftest import load_day
from tests.kql.database import CLUSTER, COLLECTED, DAY, HOUR, SCRAPED, Database, Requested
from tests.support.recordings import recording


def outcome(dataset: str, hour: int, kind: str, **facts: Any) -> dict[str, Any]:
    """A record of the run log."""
    start = DAY + hour * HOUR
    window = {"window_start": start.isoformat(), "window_end": (start + HOUR).isoformat(), "window_minutes": 60.0}
    return {"batch_id": f"{dataset}/{hour}", "dataset": dataset, "outcome": kind, **window, **facts}


@pytest.fixture
def gaps(empty: Database) -> Database:
    """The first three hours and 05Z of allocation, the first of assets, and a run log with the reasons of the gaps."""
    for hour in (0, 1, 2, 5):
        body = recording("1.112", "allocation_hour.json")
        empty.allocation(body.replace(b"T10:00", b"T%02d:00" % hour).replace(b"T11:00", b"T%02d:00" % (hour + 1)))
    empty.assets(recording("1.112", "assets_hours/00.json"))
    landed = [outcome("allocation", hour, "landed", rows=61, cost=1.0) for hour in (0, 1, 2)]
    assets = [
        outcome("assets", 0, "landed", rows=19, cost=1.3),
        outcome("assets", 1, "failed", reason="OpenCost timed out"),
    ]
    empty.runs([*landed, outcome("allocation", 3, "failed", reason="Prometheus is down"), *assets])
    again = [outcome("allocation", 3, "empty", rows=0), outcome("metrics", 3, "timed out")]
    empty.runs(again, Requested(run="again", collected=COLLECTED + HOUR))
    empty.runs([outcome("allocation", 0, "queued", rows=9)], Requested("quiet", run="other"))
    return empty


def test_freshness_has_the_last_window_and_the_last_outcome(gaps: Database) -> None:
    """By cluster and dataset: the end of the last window in the table, and the last outcome in the run log."""
    rows = {(row["Cluster"], row["Dataset"]): row for row in gaps.rows("OpenCostFreshness()")}
    assert rows.keys() == {(CLUSTER, "allocation"), (CLUSTER, "assets"), (CLUSTER, "metrics"), ("quiet", "allocation")}
    allocation, never = rows[CLUSTER, "allocation"], rows["quiet", "allocation"]
    naive = DAY.replace(tzinfo=None)
    assert allocation["LandedUntil"] == naive + timedelta(hours=6)
    assert (allocation["LastRunId"], allocation["LastOutcome"], allocation["LastReason"]) == ("again", "empty", None)
    assert rows[CLUSTER, "assets"]["LandedUntil"] == naive + timedelta(hours=1)
    assert never["LandedUntil"] is None
    assert never["HoursOld"] is None
    assert never["LastOutcome"] == "queued"
    assert len(gaps.rows('OpenCostFreshness("quiet")')) == 1


def test_freshness_counts_hours_up_to_now(day: Database) -> None:
    """The age of a dataset is the time from the end of its last window, or its last scrape, to the query."""
    rows = {row["Dataset"]: row for row in day.rows("OpenCostFreshness() | extend Now = now()")}
    assert rows["metrics"]["LandedUntil"] == SCRAPED.replace(tzinfo=None)
    for row in rows.values():
        age: timedelta = row["Now"] - row["LandedUntil"]
        assert row["HoursOld"] == pytest.approx(age / HOUR, abs=0.01)


def test_missing_windows_are_neither_held_nor_empty(gaps: Database) -> None:
    """A failure has its reason, a window never requested has none, and one recorded as empty is covered."""
    rows = gaps.rows(f'OpenCostMissingWindows(datetime(2026-11-23), datetime(2026-11-23 06:00), "{CLUSTER}")')
    found = [(row["Dataset"], row["WindowStart"].hour, row["LastOutcome"], row["LastReason"]) for row in rows]
    assert found == [
        ("allocation", 4, None, None),
        ("assets", 1, "failed", "OpenCost timed out"),
        *(("assets", hour, None, None) for hour in (2, 3, 4, 5)),
    ]
    assert {row["MissingMinutes"] for row in rows} == {60.0}
    covered = gaps.rows(f'OpenCostCoverage(datetime(2026-11-23), datetime(2026-11-23 06:00), "{CLUSTER}", 3h)')
    assert [(row["Dataset"], row["HeldMinutes"], row["EmptyMinutes"], row["MissingMinutes"]) for row in covered] == [
        ("allocation", 180.0, 0.0, 0.0),
        ("allocation", 60.0, 60.0, 60.0),
        ("assets", 60.0, 0.0, 120.0),
        ("assets", 0.0, 0.0, 180.0),
    ]


def test_some_types_of_assets_cover_no_hour(empty: Database) -> None:
    """Disks alone leave the hour missing, and no run requested the others; assets without a run log entry count."""
    disks = Requested(options=RequestOptions(filter_types=("disk",)))
    empty.assets(recording("1.112", "assets_hour.json"), disks)
    empty.assets(recording("1.112", "assets_hours/09.json"))
    (batch,) = empty.rows("OpenCostAssets | where WindowStart == datetime(2026-11-23 10:00) | distinct BatchId")
    changed = {"batch_id": batch["BatchId"], "options": {"filterTypes": ["disk"]}}
    empty.runs(
        [outcome("assets", 10, "landed") | changed, outcome("allocation", 9, "landed", options={"shareIdle": False})]
    )
    rows = empty.rows("OpenCostMissingWindows(datetime(2026-11-23 09:00), datetime(2026-11-23 11:00))")
    found = [
        (row["Dataset"], row["WindowStart"].hour, row["LastOutcome"]) for row in rows if row["Dataset"] == "assets"
    ]
    assert found == [("assets", 10, None)]


def test_a_day_as_one_set_covers_its_hours_and_half_an_hour_does_not(empty: Database) -> None:
    """Coverage is by the minute, whatever the length of windows; of a cluster that never landed all are missing."""
    empty.allocation(recording("1.112", "allocation_day.json"))
    empty.assets(recording("1.112", "assets_hour.json").replace(b"T11:00", b"T10:30"))
    empty.runs([outcome("assets", 0, "landed")], Requested("quiet"))
    rows = empty.rows("OpenCostMissingWindows(datetime(2026-11-23 10:00), datetime(2026-11-23 12:00))")
    found = [(row["Cluster"], row["Dataset"], row["WindowStart"].hour, row["MissingMinutes"]) for row in rows]
    quiet = [("quiet", "assets", hour, 60.0) for hour in (10, 11)]
    assert found == [(CLUSTER, "assets", 10, 30.0), (CLUSTER, "assets", 11, 60.0), *quiet]


def test_minutes_that_two_windows_cover_are_covered_once(empty: Database) -> None:
    """Two halves make an hour; twice the same half, of windows that overlap, does not."""
    for start, end in ((b"T09:00", b"T10:30"), (b"T10:00", b"T10:30"), (b"T11:00", b"T11:30"), (b"T11:30", b"T12:00")):
        body = recording("1.112", "allocation_hour.json").replace(b"T11:00", b"END").replace(b"T10:00", start)
        empty.allocation(body.replace(b"END", end))
    rows = empty.rows("OpenCostMissingWindows(datetime(2026-11-23 09:00), datetime(2026-11-23 12:00))")
    found = [(row["WindowStart"].hour, row["MissingMinutes"]) for row in rows if row["Dataset"] == "allocation"]
    assert found == [(10, 30.0)]


def test_hours_that_are_not_over_are_not_missing(empty: Database) -> None:
    """Of times that cut hours, only the hours that lie entirely between them are counted."""
    empty.runs([outcome("assets", 0, "landed")])
    rows = empty.rows("OpenCostMissingWindows(datetime(2026-11-23 09:00:01), datetime(2026-11-23 11:59))")
    assert [(row["Dataset"], row["WindowStart"].hour) for row in rows] == [("assets", 10)]
    assert empty.rows("OpenCostMissingWindows(datetime(2026-11-23 09:10), datetime(2026-11-23 10:50))") == []


def test_the_recorded_day_has_nothing_missing(day: Database) -> None:
    """Of a day whose hours all landed no hour is missing; of the hour before it, all is."""
    assert day.rows("OpenCostMissingWindows(datetime(2026-11-23), datetime(2026-11-24))") == []
    assert len(day.rows("OpenCostMissingWindows(datetime(2026-11-22 23:00), datetime(2026-11-24))")) == 2


def test_batches_by_outcome(gaps: Database) -> None:
    """How many batches over a time ended how, with rows and cost; a batch counts once, by its last outcome."""
    gaps.runs([outcome("allocation", 0, "landed", rows=61, cost=1.0)])
    rows = gaps.rows(f'OpenCostBatches(datetime(2026-11-23), datetime(2026-11-24), "{CLUSTER}")')
    found = {(row["Dataset"], row["Outcome"]): (row["Batches"], row["Rows"], row["Cost"]) for row in rows}
    assert found["allocation", "landed"] == (3, 183, 3.0)
    assert found.keys() == {
        ("allocation", "empty"),
        ("allocation", "landed"),
        ("assets", "failed"),
        ("assets", "landed"),
        ("metrics", "timed out"),
    }
    assert gaps.rows("OpenCostBatches(datetime(2026-11-24), datetime(2026-11-25))") == []
    assert len(gaps.rows("OpenCostBatches(datetime(2026-11-23 03:30), datetime(2026-11-23 03:31))")) == 2


def test_a_day_that_is_loaded_has_no_reason_to_worry(empty: Database) -> None:
    """Loading the day twice leaves freshness and gaps as they are."""
    load_day(load_day(empty))
    assert len(empty.rows("OpenCostFreshness()")) == 3
    assert empty.rows("OpenCostMissingWindows(datetime(2026-11-23), datetime(2026-11-24))") == []
