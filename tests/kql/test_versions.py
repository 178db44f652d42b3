"""Functions on the recorded hours of three OpenCost versions, and on ugly ones, against plain Python."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.kql import recorded
from tests.kql.database import CLUSTER, COLLECTED, HOUR, Database, Requested
from tests.kql.test_cost import DAY, approximately, by
from tests.support.recordings import recording

VERSIONS = ("1.111", "1.112", "1.119")
Change = Callable[[recorded.Record], None]


def as_it_is(_: recorded.Record) -> None:
    """The recorded row."""


def gpus(row: recorded.Record) -> None:
    """Every container has a GPU, which it used by a quarter."""
    row |= {"gpuHours": 1.0, "gpuCost": 2.0, "totalCost": row["totalCost"] + 2.0}
    # Newer versions have it inside.
    row |= {"gpuUsageAverage": 0.25} if "gpuUsageAverage" in row else {"gpuAllocation": {"gpuUsageAverage": 0.25}}


def negative(row: recorded.Record) -> None:
    """A credit, a container that used more than it was charged for, and one without a request."""
    row |= {"cpuCost": -row["cpuCost"], "ramByteUsageAverage": 2 * row["ramByteUsageAverage"] + 1}
    row |= {"cpuCoreRequestAverage": 0.0, "totalCost": row["totalCost"] + 2 * row["cpuCost"]}


def rows_of(version: str, change: Change = as_it_is) -> list[recorded.Record]:
    """The recorded hour of a version, each row changed."""
    rows = list(json.loads(recording(version, "allocation_hour.json"))["data"][0].values())
    for row in rows:
        change(row)
    return rows


def landed(rows: Sequence[recorded.Record]) -> bytes:
    """Rows as a response of OpenCost."""
    return json.dumps({"data": [{str(at): row for at, row in enumerate(rows)}]}).encode()


@pytest.mark.parametrize("change", [as_it_is, gpus, negative])
@pytest.mark.parametrize("version", VERSIONS)
def test_efficiency(version: str, change: Change, empty: Database) -> None:
    """Wasted cost and the use of CPU per request, by container."""
    rows = rows_of(version, change)
    empty.allocation(landed(rows))

    def key(row: recorded.Record) -> tuple[str, ...]:
        return (*recorded.controller(row), row["properties"]["container"])

    found = empty.rows(f"OpenCostEfficiency({DAY})")
    keys = ("Namespace", "Controller", "Container")
    assert by(found, *keys, value="WastedCost") == approximately(recorded.summed(rows, key, recorded.wasted))
    requested, used = (
        recorded.summed(rows, key, lambda row, field=field: row[field] * row["minutes"] / 60)  # type: ignore[misc]
        for field in ("cpuCoreRequestAverage", "cpuCoreUsageAverage")
    )
    expected = {name: used[name] / requested[name] if requested[name] else None for name in used}
    assert by(found, *keys, value="CpuEfficiency") == pytest.approx(expected)


@pytest.mark.parametrize("change", [as_it_is, gpus, negative])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_against_a_baseline(version: str, change: Change, empty: Database) -> None:
    """Cost, baseline, change and percent by controller; missing in one run is 0, and nothing is a percentage of 0."""
    baseline, rows = rows_of("1.112"), rows_of(version, change)[10:]
    for row in rows:
        row["window"] = {"start": "2026-11-23T12:00:00Z", "end": "2026-11-23T13:00:00Z"}
    empty.allocation(landed(baseline), Requested(run="before"))
    empty.allocation(landed(rows), Requested(run="after"))
    cost, previous = (Counter(recorded.summed(some, recorded.controller)) for some in (rows, baseline))
    found = empty.rows('OpenCostRunDiff("after", "before")')
    got = {(row["Namespace"], row["Controller"]): row for row in found}
    assert len(got) == len(found)
    assert got.keys() == cost.keys() | previous.keys()
    for name, row in got.items():
        assert (row["Cost"], row["BaselineCost"]) == pytest.approx((cost[name], previous[name])), name
        assert row["Change"] == pytest.approx(cost[name] - previous[name])
        percent = 100 * (cost[name] - previous[name]) / previous[name] if previous[name] > 0 else None
        assert row["ChangePercent"] == pytest.approx(percent)
    changes = [abs(row["Change"]) for row in found]
    assert changes == sorted(changes, reverse=True)


def test_a_cluster_of_one_run_only_has_no_change(empty: Database) -> None:
    """What one run did not read is null and not 0: a cluster without rows in it, and a run that does not exist."""
    empty.allocation(landed(rows_of("1.112")), Requested(run="before"))
    rows = rows_of("1.112")
    for row in rows:
        row["window"] = {"start": "2026-11-23T12:00:00Z", "end": "2026-11-23T13:00:00Z"}
    for cluster in (CLUSTER, "another"):
        empty.allocation(landed(rows), Requested(cluster, run="after"))
    found = empty.rows('OpenCostRunDiff("before", "after")')
    assert {row["Cost"] for row in found if row["Cluster"] == "another"} == {None}
    assert {row["Change"] for row in found if row["Cluster"] == "another"} == {None}
    nothing = empty.rows('OpenCostRunDiff("after", "misspelt")')
    assert {(row["BaselineCost"], row["Change"], row["ChangePercent"]) for row in nothing} == {(None, None, None)}
    costs = [row["Cost"] for row in nothing]
    assert costs == sorted(costs, reverse=True)


def prices(assets: Sequence[recorded.Record]) -> dict[tuple[str, str], float]:
    """What nodes cost by core-hour and GiB-hour, after their discount."""
    found = {}
    for asset in assets:
        if asset["type"] == "Node":
            paid, name = 1 - asset["discount"], asset["properties"]["name"]
            found[name, "core-hour"] = asset["cpuCost"] * paid / asset["cpuCoreHours"]
            found[name, "GiB-hour"] = asset["ramCost"] * paid / (asset["ramByteHours"] / 2**30)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_price_changes_are_those_of_assets(version: str, empty: Database) -> None:
    """CPU that doubled from an hour to the next is listed for each node; memory and other assets did not change."""
    body = recording(version, "assets_hour.json")
    first = list(json.loads(body)["data"].values())
    later: dict[str, Any] = json.loads(body.replace(b"2026-11-23T11:00", b"2026-11-23T12:00").replace(b"T10:", b"T11:"))
    for asset in later["data"].values():
        if asset["type"] == "Node":
            asset["cpuCost"] *= 2
    empty.assets(body)
    empty.assets(json.dumps(later).encode())
    rows = empty.rows(f"OpenCostPriceChanges({DAY})")
    before, after = prices(first), prices(list(later["data"].values()))
    expected = {name: before[name] for name in before if after[name] > 1.5 * before[name]}
    assert by(rows, "Name", "Price", value="FirstPrice") == pytest.approx(expected)
    assert by(rows, "Name", "Price", value="LastPrice") == pytest.approx({name: after[name] for name in expected})
    assert {round(row["ChangePercent"]) for row in rows} == {100}


@pytest.mark.parametrize("change", [as_it_is, gpus, negative])
@pytest.mark.parametrize("version", VERSIONS)
def test_idle_percent(version: str, change: Change, empty: Database) -> None:
    """Idle cost by the cost of each node, never below 0, and no percentage of a node that costs nothing."""
    rows = rows_of(version, change)
    assets: dict[str, recorded.Record] = json.loads(recording(version, "assets_hour.json"))["data"]
    nodes = [asset for asset in assets.values() if asset["type"] == "Node"]
    nodes[0] |= {"cpuCost": 0.0, "ramCost": 0.0, "gpuCost": 0.0, "totalCost": 0.0}
    empty.allocation(landed(rows))
    empty.assets(json.dumps({"data": assets}).encode())
    used = Counter(recorded.summed(rows, recorded.node, recorded.compute))
    cost = {node["properties"]["name"]: node["totalCost"] for node in nodes}
    idle = {name: max(paid - used[name], 0.0) for name, paid in cost.items()}
    found = empty.rows(f"OpenCostIdleByNode({DAY})")
    assert by(found, "Node", value="IdleCost") == pytest.approx(idle)
    expected = {name: 100 * idle[name] / paid if paid > 0 else None for name, paid in cost.items()}
    assert by(found, "Node", value="IdlePercent") == pytest.approx(expected)
    assert None in expected.values()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_month_so_far(version: str, empty: Database) -> None:
    """Cost of the month, of the same days of the last one and of all of it, the change, and the forecast."""
    hours = {"2026-11-02T05": rows_of(version), "2026-10-02T05": rows_of("1.112", negative)[10:]}
    hours["2026-10-20T05"] = rows_of(version, gpus)
    for start, rows in hours.items():
        for row in rows:
            row["window"] = {"start": f"{start}:00:00Z", "end": f"{start[:-1]}6:00:00Z"}
        empty.allocation(landed(rows))
    so_far, same_days, later = (Counter(recorded.summed(rows, recorded.namespace)) for rows in hours.values())
    found = empty.rows('OpenCostMonthToDate("", datetime(2026-11-03))')
    got = {row["Namespace"]: row for row in found}
    assert len(got) == len(found)
    assert got.keys() == so_far.keys() | same_days.keys() | later.keys()
    for name, row in got.items():
        assert row["MonthToDate"] == pytest.approx(so_far[name])
        assert row["SameDaysLastMonth"] == pytest.approx(same_days[name])
        assert row["LastMonth"] == pytest.approx(same_days[name] + later[name])
        assert row["Forecast"] == pytest.approx(so_far[name] * 720 / 48)
        assert row["Change"] == pytest.approx(so_far[name] - same_days[name])
        percent = 100 * (so_far[name] - same_days[name]) / same_days[name] if same_days[name] > 0 else None
        assert row["ChangePercent"] == pytest.approx(percent)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_batch_that_was_replaced_counts_once(version: str, empty: Database) -> None:
    """Rows and cost are those of the last attempt, and attempts are counted."""
    times = {"window_start": "2026-11-23T10:00:00Z", "window_end": "2026-11-23T11:00:00Z"}
    rows = rows_of(version)
    for number, kept in enumerate((rows[5:], rows[2:], rows)):
        ended: dict[str, Any] = {"batch_id": "b", "outcome": "landed", "source": "c", "dataset": "allocation", **times}
        ended |= {"rows": len(kept), "cost": recorded.total(kept)}
        empty.runs([ended], Requested(run=f"run-{number}", collected=COLLECTED + number * HOUR))
    row = empty.one(f"OpenCostBatches({DAY})")
    assert (row["Batches"], row["Attempts"], row["Rows"]) == (1, 3, len(rows))
    assert row["Cost"] == pytest.approx(recorded.total(rows))
