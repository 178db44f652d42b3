"""The alerts of the guide in KQL, run as they are written there, over states of the tables."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.kql.database import CLUSTER, COLLECTED, DAY, HOUR, Database, Requested
from tests.kql.test_freshness import outcome
from tests.support.documents import GUIDES
from tests.support.recordings import recording

QUERIES = dict(re.findall(r"^(\w+): [^`]*```kusto\n(.*?)```", GUIDES["operations"], re.DOTALL | re.MULTILINE))


def run(database: Database, name: str, at: datetime) -> list[dict[str, Any]]:
    """The rows of an alert at a moment."""
    text = QUERIES[name]
    assert text.startswith("let at = now();"), name
    return database.rows(text.replace("now()", f"datetime({at:%Y-%m-%d %H:%M})", 1))


@pytest.fixture
def hours(empty: Database) -> Database:
    """Four hours of allocation and of assets, with their entries in the run log."""
    for hour in range(4):
        body = recording("1.112", "allocation_hour.json")
        empty.allocation(body.replace(b"T10:00", b"T%02d:00" % hour).replace(b"T11:00", b"T%02d:00" % (hour + 1)))
        empty.assets(recording("1.112", f"assets_hours/{hour:02}.json"))
    empty.runs([outcome(dataset, hour, "landed", rows=9) for dataset in ("allocation", "assets") for hour in range(4)])
    return empty


def test_the_guide_has_an_alert_for_each_trouble() -> None:
    """Late, missing, failed and damaged."""
    assert list(QUERIES) == ["Late", "Missing", "Failed", "Damaged"]


def test_a_state_without_trouble_returns_no_row(hours: Database) -> None:
    """At five o'clock, every window that had ended at three has landed."""
    for name in ("Late", "Failed", "Damaged"):
        assert run(hours, name, DAY + 5 * HOUR) == [], name
    missing = run(hours, "Missing", DAY + 48 * HOUR)
    assert {row["First"] for row in missing} == {(DAY + 4 * HOUR).replace(tzinfo=None)}


@pytest.mark.parametrize(("minutes", "windows"), [(-1, []), (0, [1, 1])])
def test_missing_leaves_out_what_may_be_on_its_way(hours: Database, minutes: int, windows: list[int]) -> None:
    """The hour after the last one is missing two hours after its end; those before the first request are not."""
    rows = run(hours, "Missing", DAY + 7 * HOUR + minutes * HOUR / 60)
    assert [row["Windows"] for row in rows] == windows


def test_missing_counts_all_hours_of_a_cluster_without_entries(hours: Database) -> None:
    """Rows that were loaded without a run log entry do not say when loading began."""
    hours.engine.drop(hours.engine.table("OpenCostSyncRuns"))
    hours.install()
    rows = run(hours, "Missing", DAY + 7 * HOUR)
    assert {row["First"] for row in rows} == {(DAY - 41 * HOUR).replace(tzinfo=None)}


def test_late_names_what_stopped(hours: Database) -> None:
    """Six hours and more after the last window."""
    rows = run(hours, "Late", DAY + 10 * HOUR + timedelta(minutes=1))
    assert {(row["Cluster"], row["Dataset"]) for row in rows} == {(CLUSTER, "allocation"), (CLUSTER, "assets")}


def test_failed_counts_what_did_not_succeed_later(hours: Database) -> None:
    """A failure that a later run mended is none; one that lies hours back is not of now."""
    failed = [outcome("allocation", hour, "failed", reason="Prometheus is down") for hour in (4, 5)]
    hours.runs(failed, Requested(run="down", collected=COLLECTED + HOUR))
    hours.runs(
        [outcome("allocation", 4, "landed", rows=9)], Requested(run="up", collected=COLLECTED + HOUR + HOUR / 60)
    )
    (row,) = run(hours, "Failed", COLLECTED + HOUR + HOUR / 30)
    assert (row["Dataset"], row["Outcome"], row["Batches"], row["Reason"]) == (
        "allocation",
        "failed",
        1,
        "Prometheus is down",
    )
    assert run(hours, "Failed", COLLECTED + 4 * HOUR) == []


def test_damaged_names_the_batch_and_what_is_wrong(hours: Database) -> None:
    """One hour twice, as another tool could have loaded it."""
    hours.allocation(
        recording("1.112", "allocation_hour.json").replace(b"T10:00", b"T00:00").replace(b"T11:00", b"T01:00")
    )
    (row,) = run(hours, "Damaged", DAY + 5 * HOUR)
    assert (row["Cluster"], row["Dataset"]) == (CLUSTER, "allocation")
    assert "rows too many" in row["Finding"]
