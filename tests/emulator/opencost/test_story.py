"""The fourteen days have what the guides and pictures show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from opencost_kusto.emulator.opencost import fleet
from opencost_kusto.emulator.opencost.fleet import NAMES
from tests.emulator.opencost.conftest import NOW, Requested

SHOP, RESEARCH = NAMES
# The last fourteen full days before the moment, a Tuesday.
DAYS = [datetime(2026, 11, 10, tzinfo=UTC) + timedelta(days=day) for day in range(14)]


def _by_namespace(cluster: str, day: datetime) -> dict[str, float]:
    [rows] = Requested(cluster=cluster).sets(
        f"{day:%dT%H:%M}", f"{day + timedelta(days=1):%dT%H:%M}", aggregate="namespace", includeIdle="true"
    )
    return {name: row["totalCost"] for name, row in rows.items()}


@pytest.mark.parametrize("cluster", NAMES)
def test_fourteen_days_have_cost(cluster: str) -> None:
    """Each of the last fourteen days, and nothing before them."""
    for day in DAYS:
        costs = _by_namespace(cluster, day)
        assert sum(costs.values()) > 14
        assert costs["__idle__"] > 0
    assert Requested(cluster=cluster).sets("09T00:00", "10T00:00") == [{}]


def test_a_deploy_doubles_web() -> None:
    """Five days ago `web` went from three pods to six, and one more node joined."""
    costs = {}
    for day, nodes in ((16, 4), (20, 5)):
        [rows] = Requested().sets(f"{day}T00:00", f"{day + 1}T00:00", aggregate="controller")
        costs[day] = rows["deployment:web"]["cpuCost"] + rows["deployment:web"]["ramCost"]
        assets = Requested().assets(f"{day}T00:00", f"{day + 1}T00:00").values()
        assert len([one for one in assets if one["type"] == "Node"]) == nodes
    assert costs[20] > 1.9 * costs[16]


def test_a_report_runs_at_night(opencost: Requested) -> None:
    """The report is there at two in the night and not at two in the afternoon."""
    for hour, runs in ((2, True), (14, False)):
        [rows] = opencost.sets(f"23T{hour:02}:00", f"23T{hour + 1:02}:00", aggregate="controller")
        assert ("job:nightly-report" in rows) == runs


def test_weekends_are_quieter() -> None:
    """Saturday and Sunday cost less than Friday, in the shop and in the notebooks."""
    friday, saturday, sunday = (_by_namespace(SHOP, DAYS[day]) for day in (10, 11, 12))
    assert max(saturday["shop"], sunday["shop"]) < 0.9 * friday["shop"]
    assert max(saturday["ingress-nginx"], sunday["ingress-nginx"]) < 0.8 * friday["ingress-nginx"]
    assert "notebooks" in _by_namespace(RESEARCH, DAYS[10])
    assert "notebooks" not in _by_namespace(RESEARCH, DAYS[11])


def test_a_training_takes_a_few_days() -> None:
    """From the seventh to the fourth day before, on a GPU node that is there for it alone."""
    costs = [_by_namespace(RESEARCH, day).get("training", 0.0) for day in DAYS]
    assert [cost > 5 for cost in costs] == [False] * 7 + [True] * 4 + [False] * 3
    gpu = [one for one in Requested(cluster=RESEARCH).assets("18T00:00", "19T00:00").values() if one.get("gpuCount")]
    assert len(gpu) == 1
    assert not [
        one for one in Requested(cluster=RESEARCH).assets("23T00:00", "24T00:00").values() if one.get("gpuCount")
    ]


def test_a_spot_node_leaves(opencost: Requested) -> None:
    """Three days ago one spot node ended in the afternoon, and another began; their pods moved with them."""
    spots = [one for one in opencost.assets("21T16:00", "21T18:00").values() if one.get("preemptible")]
    assert [(one["start"][11:16], one["end"][11:16]) for one in spots] == [("16:00", "16:40"), ("17:05", "18:00")]
    [rows] = opencost.sets("21T16:00", "21T18:00", filter="")
    assert len([name for name in rows if "/etl-worker-" in name]) == 4


def test_a_volume_is_left_behind() -> None:
    """Six days ago a StatefulSet was deleted; its terabyte is paid for since, in the row of unmounted claims."""
    for day, unmounted in ((17, False), (19, True)):
        [rows] = Requested().sets(f"{day}T00:00", f"{day + 1}T00:00", aggregate="namespace,pod")
        assert ("data/data-unmounted-pvcs" in rows) == unmounted
        assert ("data/analytics-0" in rows) != unmounted
        name = "data/data-unmounted-pvcs" if unmounted else "data/analytics-0"
        assert rows[name]["pvCost"] == pytest.approx(1024 * 0.000164 * 24, abs=1e-4)


def test_one_hour_is_missing(opencost: Requested) -> None:
    """Two days ago, from three to four in the night, one cluster has no data and the other has."""
    hours = opencost.sets("22T00:00", "23T00:00", step="1h", aggregate="cluster")
    assert [at for at, one in enumerate(hours) if not one] == [3]
    assert all(Requested(cluster=RESEARCH).sets("22T00:00", "23T00:00", step="1h", aggregate="cluster"))


@pytest.mark.parametrize("cluster", NAMES)
def test_no_node_is_overcommitted(cluster: str) -> None:
    """At no hour are the containers of a node charged for more than the node has, so idle cost is never negative."""
    opencost = Requested(cluster=cluster)
    for day in DAYS:
        bounds = f"{day:%dT%H:%M}", f"{day + timedelta(days=1):%dT%H:%M}"
        for rows in opencost.sets(*bounds, step="1h", includeIdle="true", aggregate="cluster"):
            assert all(row["cpuCost"] >= 0 and row["ramCost"] >= 0 for row in rows.values())


def test_the_story_is_relative_to_the_day() -> None:
    """A cluster made a year later has the same days behind it, and every node's life fits its pods'."""
    later = fleet.cluster(SHOP, NOW + timedelta(days=365))
    assert later.life.start == fleet.cluster(SHOP, NOW).life.start + 365 * 86400
    for workload in later.workloads:
        for pod in workload.pods:
            assert pod.node.life.start <= pod.life.start
            assert pod.life.end <= pod.node.life.end
