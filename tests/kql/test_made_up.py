"""Round numbers that anybody can check by hand: a cluster for each situation, all in one database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from opencost_kusto.batch import RequestOptions
from tests.kql.database import COLLECTED, DAY, HOUR, Database, Requested

PERIOD = "datetime(2026-11-23), datetime(2026-11-24)"
# The functions whose lines are money of a cluster.
REPORTS = (
    *("ByCluster", "ByNamespace", "ByNode", "ByController", "ByTeam", "HourlyCost", "DailyCost", "TopMovers"),
    *("Chargeback", "Efficiency", "IdleByNode", "Reconcile", "AllocatedAgainstInfrastructure"),
)
NOBODY = {"namespace": "", "pod": "", "container": ""}
UNMOUNTED = dict.fromkeys(("namespace", "pod", "container"), "__unmounted__")


def at(hour: float) -> str:
    """An hour of the day as OpenCost writes it."""
    return (DAY + hour * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")


class MadeUp:
    """One cluster with windows of round costs."""

    def __init__(self, database: Database, cluster: str) -> None:
        self.database = database
        self.cluster = cluster

    def allocation(
        self, start: float, end: float, *, options: RequestOptions | None = None, later: bool = False, **costs: Any
    ) -> None:
        """Land a window of workloads: by namespace what its CPU cost, or fields of the record."""
        rows = {name: self._workload(name, start, end, cost) for name, cost in costs.items()}
        collected = COLLECTED + HOUR if later else COLLECTED
        requested = Requested(self.cluster, collected=collected, options=options or RequestOptions())
        self.database.allocation(json.dumps({"data": [rows]}).encode(), requested)

    def assets(self, start: float, end: float, **costs: Any) -> None:
        """Land a window of assets: nodes by their cost, others by their fields."""
        bounds = {"start": at(start), "end": at(end)}
        found = {}
        for name, cost in costs.items():
            node = {"type": "Node", "totalCost": cost, "cpuCost": cost, "ramCost": 0.0, "gpuCost": 0.0}
            fields = cost if isinstance(cost, dict) else node
            where = {"properties": {"cluster": self.cluster, "name": name}, "minutes": (end - start) * 60}
            found[name] = {**where, "window": bounds, **bounds, **fields}
        self.database.assets(json.dumps({"data": found}).encode(), Requested(self.cluster))

    def _workload(self, name: str, start: float, end: float, cost: Any) -> dict[str, Any]:
        fields = cost if isinstance(cost, dict) else {"cpuCost": cost, "totalCost": cost}
        bounds = {"start": at(start), "end": at(end)}
        own = {"namespace": name, "pod": f"{name}-0", "container": "main", "node": "n1"}
        where = {"cluster": self.cluster, **own, **fields.get("properties", {})}
        zero = {"cpuCost": 0.0, "ramCost": 0.0, "gpuCost": 0.0, "minutes": (end - start) * 60}
        return {"name": name, "window": bounds, **bounds, **zero, **fields, "properties": where}


def overlapping(database: Database) -> None:
    """A run's window beside an hour, a day beside its hours, two responses, two aggregates of one window."""
    run: dict[str, Any] = {"bench": 8.5, "web": 0.5}
    another: dict[str, Any] = {"web": 0.5}
    for name, start, costs in (
        ("run", 10 + 40 / 60, run),
        ("another", 10.5, another),
    ):
        beside = MadeUp(database, name)
        beside.allocation(10, 11, bench=8.5, web=1.5)
        beside.allocation(start, start + 20 / 60, **costs)
    for name, hours in (("day-22", [*range(20), 22, 23]), ("day-2", [20, 21])):
        day = MadeUp(database, name)
        day.allocation(0, 24, web=24.0, bench=24.0)
        for hour in hours:
            bench: dict[str, Any] = {"bench": 12.0} if hour in (20, 21) else {}
            day.allocation(hour, hour + 1, web=1.0, **bench)
    renamed = MadeUp(database, "renamed")
    renamed.allocation(0, 1, a=1.0, b=2.0)
    renamed.allocation(0, 1, later=True, a=1.0, c=2.0)
    coarser = MadeUp(database, "coarser")
    coarser.allocation(0, 1, options=RequestOptions(aggregate="namespace"), web=3.0)
    hashed = {"cpuCost": 3.0, "totalCost": 3.0, "properties": NOBODY}
    coarser.allocation(0, 1, options=RequestOptions(aggregate="label:pod-template-hash"), abc=hashed)
    controllers = MadeUp(database, "controllers")
    controllers.allocation(0, 1, options=RequestOptions(aggregate="namespace,controller"), web=3.0)
    controllers.allocation(0, 1, options=RequestOptions(aggregate="label:app,label:team,label:tier"), abc=hashed)


def netted(database: Database) -> None:
    """Workloads on nodes: with assets of some hours only, bursty, overcommitted, free, with idle shared out."""
    for name, hours in (("four-hours", 4), ("two-hours", 2)):
        both = MadeUp(database, name)
        for hour in range(4):
            both.allocation(hour, hour + 1, web=6.0, jobs=2.0)
        for hour in range(hours):
            both.assets(hour, hour + 1, n1=10.0)
    unused = MadeUp(database, "unused-hours")
    unused.allocation(0, 2, web=6.0)
    for hour in range(4):
        unused.assets(hour, hour + 1, n1=10.0)
    shared = MadeUp(database, "shared")
    shared.allocation(0, 1, options=RequestOptions(include_idle=True, share_idle=True), web=6.0, jobs=4.0)
    shared.assets(0, 1, n1=12.0)
    bursty = MadeUp(database, "bursty")
    bursty.allocation(0, 1, web=2.0)
    bursty.allocation(1, 2, web=2.0, burst=6.0)
    for hour in (0, 1):
        bursty.assets(hour, hour + 1, n1=10.0)
    moved = MadeUp(database, "moved")
    moved.allocation(0, 24, web=1.0, jobs=24.0)
    for hour in range(23):
        moved.allocation(hour, hour + 1, web=0.1, jobs=1.0)
    over = MadeUp(database, "overcommitted")
    over.allocation(0, 1, web=4.0, burst=16.0)
    over.assets(0, 1, n1=10.0)
    free = MadeUp(database, "free")
    free.allocation(0, 1, web=0.1)
    free.assets(0, 1, n1=0.0)
    cents = MadeUp(database, "every-cent")
    more = {"totalCost": 10.5, "pvCost": 1.0, "loadBalancerCost": 3.0, "networkCost": 0.5}
    lost = {"loadBalancerCost": 0.75, "totalCost": 0.75, "properties": {**UNMOUNTED, "node": ""}}
    cents.allocation(0, 1, web={"cpuCost": 6.0, **more}, lost=lost)
    others = {"disk": ("Disk", 2.0), "lb": ("LoadBalancer", 3.0), "fee": ("ClusterManagement", 1.0)}
    cents.assets(0, 1, n1=10.0, **{name: {"type": kind, "totalCost": cost} for name, (kind, cost) in others.items()})
    disks = MadeUp(database, "disks-only")
    disks.allocation(0, 1, web={"cpuCost": 6.0, "pvCost": 1.0, "totalCost": 7.0})
    disks.assets(0, 1, disk={"type": "Disk", "totalCost": 2.0})
    gpu = MadeUp(database, "gpu")
    gpu.allocation(0, 1, train={"gpuCost": 10.0, "gpuHours": 1.0, "gpuUsageAverage": 0.5, "totalCost": 10.0})


@pytest.fixture(scope="module")
def made_up() -> Iterator[Database]:
    """Every situation, and a run log with the currency of two clusters, of one of them an earlier one too."""
    with Database() as database:
        overlapping(database.install())
        netted(database)
        known = (("four-hours", "EUR", COLLECTED), ("bursty", "USD", COLLECTED), ("bursty", "GBP", COLLECTED - HOUR))
        for cluster, currency, collected in known:
            row = {"Cluster": cluster, "Currency": currency, "CollectionTime": collected.isoformat()}
            database.insert("OpenCostSyncRuns", [{**row, "BatchId": f"metrics of {cluster}", "Dataset": "metrics"}])
        yield database


def by_cluster(rows: list[dict[str, Any]], key: str, value: str) -> dict[str, dict[Any, float]]:
    """A value by cluster and key."""
    found: dict[str, dict[Any, float]] = {}
    for row in rows:
        found.setdefault(row["Cluster"], {})[row[key]] = row[value]
    return found


@pytest.mark.parametrize(
    ("function", "key"),
    [("OpenCostByNamespace", "Namespace"), ("OpenCostByController", "Namespace"), ("OpenCostByNode", "Node")],
)
def test_no_window_moves_the_cost_of_a_scheduled_one(function: str, key: str, made_up: Database) -> None:
    """A run beside its hour, hours beside their day, a second response and a second aggregate change no cost."""
    rows = made_up.rows(f"{function}({PERIOD})")
    found, compute = by_cluster(rows, key, "TotalCost"), by_cluster(rows, key, "CpuCost")
    for cluster, costs in {
        "run": {"bench": 8.5, "web": 1.5},
        "another": {"bench": 8.5, "web": 1.5},
        "day-22": {"bench": 24.0, "web": 24.0},
        "day-2": {"bench": 24.0, "web": 24.0},
        "renamed": {"a": 1.0, "c": 2.0},
        # By controller neither of its aggregates answers, and the one that counts has no namespace.
        "coarser": {"__unallocated__" if function == "OpenCostByController" else "web": 3.0},
        "controllers": {"web": 3.0},
        "shared": {"web": 6.0, "jobs": 4.0},
    }.items():
        expected = {"n1": sum(costs.values())} if key == "Node" else costs
        assert found[cluster] == pytest.approx(expected), cluster
        assert compute[cluster] == pytest.approx(expected), cluster


def test_hours_that_were_lost_have_what_the_day_leaves(made_up: Database) -> None:
    """Of a day of 48.00 and 22 of its hours of 22.00 each lost hour has 13.00, and the same from the other two."""
    rows = made_up.rows(f"OpenCostHourlyCost({PERIOD}) | summarize Cost = sum(TotalCost) by Cluster, Hour = Timestamp")
    found = by_cluster(rows, "Hour", "Cost")
    expected = {DAY.replace(tzinfo=None) + hour * HOUR: 13.0 if hour in (20, 21) else 1.0 for hour in range(24)}
    assert found["day-22"] == pytest.approx(expected)
    assert found["day-2"] == pytest.approx(expected)


def test_chargeback_is_by_hour_and_takes_no_discount_from_anybody(made_up: Database) -> None:
    """Idle counts where both tables have the hour, a burst pays for its own hour, overcommitment is its own line."""
    rows = made_up.rows(f"OpenCostChargeback({PERIOD})")
    found = by_cluster(rows, "Namespace", "TotalCost")
    assert found["four-hours"] == pytest.approx({"web": 30.0, "jobs": 10.0})
    assert found["two-hours"] == pytest.approx({"web": 24.0 + 3.0, "jobs": 8.0 + 1.0})
    assert found["shared"] == pytest.approx({"web": 6.0, "jobs": 4.0})
    assert found["moved"] == pytest.approx({"web": 2.3, "jobs": 24.0, "__remainder__": -1.3})
    assert found["bursty"] == pytest.approx({"web": 10.0 + 2.5, "burst": 7.5})
    assert found["overcommitted"] == pytest.approx({"web": 4.0, "burst": 16.0, "__overcommitted__": -10.0})
    currencies = {(row["Cluster"], row["Currency"]) for row in rows}
    assert {("four-hours", "EUR"), ("bursty", "USD"), ("two-hours", None)} <= currencies
    assert ("bursty", "GBP") not in currencies


@pytest.mark.parametrize("name", REPORTS)
def test_every_line_has_the_currency_of_its_cluster(name: str, made_up: Database) -> None:
    """Functions that name clusters give the currency that the run log had last; null stays null."""
    rows = made_up.rows(f"OpenCost{name}({PERIOD})")
    assert {"four-hours", "bursty", "two-hours"} <= {row["Cluster"] for row in rows}
    for row in rows:
        assert row["Currency"] == {"four-hours": "EUR", "bursty": "USD"}.get(row["Cluster"]), row


def test_infrastructure_is_reconciled_with_what_was_charged(made_up: Database) -> None:
    """Every cent has its column; a load balancer that OpenCost charged twice counts once."""
    found = {row["Cluster"]: row for row in made_up.rows(f"OpenCostReconcile({PERIOD})")}
    row = found["every-cent"]
    assert (row["InfrastructureCost"], row["NetworkCost"], row["ChargedCost"]) == pytest.approx((16.0, 0.5, 10.5))
    parts = (row["IdleCost"], row["ManagementCost"], row["UnclaimedCost"], row["Difference"])
    assert parts == pytest.approx((4.0, 1.0, 0.0, 1.0))
    names = ("MinutesWithoutAssets", "MinutesWithoutWorkloads", "MinutesWithSharedIdle")
    assert [found["two-hours"][name] for name in names] == [120, 0, 0]
    assert [found["shared"][name] for name in names] == [0, 0, 60]
    assert (found["overcommitted"]["OvercommittedCost"], found["overcommitted"]["Difference"]) == pytest.approx((10, 0))


def test_infrastructure_is_compared_in_the_minutes_that_both_tables_have(made_up: Database) -> None:
    """Workloads of hours without assets are no discount of nodes; disks are compared where only they have assets."""
    costs = ("InfrastructureCost", "AllocatedCost", "UnallocatedCost")
    names = (*costs, "MinutesWithoutAssets", "MinutesWithoutWorkloads")
    found = made_up.rows(f"OpenCostAllocatedAgainstInfrastructure({PERIOD})")
    nodes = {row["Cluster"]: [row[name] for name in names] for row in found if row["Type"] == "Node"}
    assert nodes["four-hours"] == pytest.approx([40.0, 32.0, 8.0, 0, 0])
    assert nodes["two-hours"] == pytest.approx([20.0, 32.0, 4.0, 120, 0])
    assert nodes["unused-hours"] == pytest.approx([40.0, 6.0, 14.0, 0, 120])
    assert nodes["shared"] == pytest.approx([12.0, 10.0, 2.0, 0, 0])
    (disk,) = (row for row in found if (row["Cluster"], row["Type"]) == ("disks-only", "Disk"))
    assert (disk["UnallocatedCost"], disk["MinutesWithoutAssets"]) == (pytest.approx(1.0), 60)
    assert {row["Currency"] for row in found if row["Cluster"] == "four-hours"} == {"EUR"}


def test_nodes_count_in_the_minutes_that_workloads_have(made_up: Database) -> None:
    """Hours of nodes without workloads, or with idle shared out, are left out; each cluster has its own node n1."""
    rows = {row["Cluster"]: row for row in made_up.rows(f"OpenCostIdleByNode({PERIOD})")}
    names = ("NodeHours", "NodeCost", "AllocatedCost", "IdleCost")
    assert [rows["unused-hours"][name] for name in names] == pytest.approx([2.0, 20.0, 6.0, 14.0])
    assert [rows["four-hours"][name] for name in names] == pytest.approx([4.0, 40.0, 32.0, 8.0])
    assert "shared" not in rows


def test_a_node_without_a_price_has_no_idle_percent(made_up: Database) -> None:
    """A percentage of nothing is null; what was charged on the node is beyond its cost."""
    row = made_up.one(f'OpenCostIdleByNode({PERIOD}, "free")')
    assert (row["IdleCost"], row["IdlePercent"], row["OvercommittedCost"]) == (0.0, None, pytest.approx(0.1))


def test_an_idle_gpu_is_wasted(made_up: Database) -> None:
    """Half of a GPU that was used by half is wasted."""
    row = made_up.one(f'OpenCostEfficiency({PERIOD}, "gpu")')
    assert (row["GpuWaste"], row["WastedCost"]) == pytest.approx((5.0, 5.0))


def test_gpu_efficiency_is_of_the_hours_whose_use_is_reported(empty: Database) -> None:
    """Of two hours, one of them reported half used, the efficiency is a half; where no use is reported it is null."""
    cluster, gpu = (
        MadeUp(empty, "gpus"),
        {"gpuCost": 10.0, "gpuHours": 1.0, "gpuRequestAverage": 1.0, "totalCost": 10.0},
    )
    cluster.allocation(0, 1, train=gpu, unknown=gpu)
    cluster.allocation(1, 2, train={**gpu, "gpuUsageAverage": 0.5})
    found = {row["Namespace"]: row["GpuEfficiency"] for row in empty.rows(f"OpenCostEfficiency({PERIOD})")}
    assert found == {"train": pytest.approx(0.5), "unknown": None}


@pytest.mark.parametrize(
    ("method", "done", "web"), [("Cluster", "cluster", 11.25), ("EVENLY", "evenly", 9.5), ("nodes", "node", 7.5)]
)
def test_chargeback_names_the_method_that_it_used(method: str, done: str, web: float, empty: Database) -> None:
    """Case does not matter, and any other text is the default; the result never names a method that was not used."""
    cluster = MadeUp(empty, "methods")
    cluster.allocation(0, 1, web=6.0, jobs=2.0)
    cluster.assets(0, 1, n1=10.0, n2=5.0)
    row = empty.one(f'OpenCostChargeback({PERIOD}, "", "", "{method}") | where Namespace == "web"')
    assert (row["Method"], row["TotalCost"]) == (done, pytest.approx(web))


def test_a_month_has_its_pace_and_its_predecessor(empty: Database) -> None:
    """Cost so far, of the same hours of the month before, of that full month, and at the pace so far by the end."""
    cluster = MadeUp(empty, "months")
    for day, cost in ((-31, 2.0), (-20, 5.0), (0, 3.0)):
        cluster.allocation(24 * day, 24 * day + 1, web=cost)
    first = DAY.replace(day=1)
    as_of = DAY + timedelta(days=1)
    row = empty.one(f'OpenCostMonthToDate("", datetime({as_of:%F}))')
    assert row["Timestamp"] == first.replace(tzinfo=None)
    # October has the day 31 days before, the 23rd; the one 20 days before is the 3rd of this month.
    assert (row["MonthToDate"], row["SameDaysLastMonth"], row["LastMonth"]) == pytest.approx((8.0, 2.0, 2.0))
    assert (row["Change"], row["ChangePercent"]) == pytest.approx((6.0, 300.0))
    assert row["Forecast"] == pytest.approx(8.0 * 30 / 23)
