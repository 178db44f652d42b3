"""Whatever windows are loaded, each minute of a cluster counts once: KQL against a brute force by the minute."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from tests.kql.by_minute import Costs, Held, costs_by_hour, costs_by_minute
from tests.kql.database import COLLECTED, DAY, Database

NAMESPACES = ("web", "jobs", "data")
AGGREGATES = ("container", "namespace", "controller", "cluster,node,namespace,pod,container", "label:namespace")
CASES = 120
PERIODS = (range(2880), range(1440), range(5 * 60, 6 * 60), range(317, 1445))
GROUPINGS = ("", "namespace")


def at(minute: int) -> str:
    """A minute of the two days as Kusto reads it."""
    return (DAY + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ")


def between(minutes: range) -> str:
    """A period as two arguments."""
    return f"datetime({at(minutes.start)}), datetime({at(minutes.stop)})"


def random_windows(chance: random.Random) -> Iterator[Held]:
    """Windows of two days: hours, tens and days with gaps, runs across hours, odd lengths, some of them twice."""
    hours = chance.sample(range(48), chance.choice((0, 3, 20, 44, 48)))
    tens = [hour * 6 + ten for hour in chance.sample(range(48), chance.choice((0, 2, 5))) for ten in range(6)]
    if chance.random() < 0.5:
        tens = chance.sample(tens, len(tens) * 2 // 3)
    bounds = [(60 * hour, 60) for hour in hours] + [(10 * ten, 10) for ten in tens]
    bounds += [(1440 * day, 1440) for day in range(2) if chance.random() < 0.6]
    bounds += [(30 * chance.randrange(96), 30) for _ in range(chance.choice((0, 0, 3)))]
    bounds += [(chance.randrange(2800), chance.randrange(1, 300)) for _ in range(chance.choice((0, 1, 4)))]
    bounds += [(chance.randrange(-2000, 1000), chance.choice((1500, 2880)))] if chance.random() < 0.2 else []
    common = chance.choice(AGGREGATES[:2])
    for start, minutes in bounds:
        aggregate = common if chance.random() < 0.8 else chance.choice(AGGREGATES)
        idle, shared = chance.random() < 0.1, chance.random() < 0.05
        window = Held(start, minutes, burst(chance), aggregate, shared=shared, idle=idle)
        if minutes in (10, 60) and chance.random() < 0.05:
            yield replace(window, costs=Counter(), aggregate="container", shared=False, idle=False, empty=True)
            continue
        yield window
        if chance.random() < 0.1:
            yield replace(window, aggregate=chance.choice(AGGREGATES), costs=burst(chance), shared=False)
        if chance.random() < 0.1:
            yield replace(window, own=False, costs=burst(chance))


def burst(chance: random.Random) -> Counter[str]:
    """What a window cost by namespace: mostly little, seldom much."""
    return Counter({name: round(chance.expovariate(1.0) ** 3, 5) for name in NAMESPACES if chance.random() < 0.8})


def distinct(windows: Iterator[Held]) -> list[Held]:
    """Windows without those that one database could not distinguish."""
    return list({(one.start, one.minutes, one.aggregate, one.shared, one.own): one for one in windows}.values())


def land(database: Database, clusters: dict[str, list[Held]]) -> None:
    """Put the windows of each cluster into the tables: rows numbered, the totals on the last; empty ones are logged."""
    rows: list[dict[str, Any]] = []
    log: list[dict[str, Any]] = []
    for cluster, windows in clusters.items():
        for window in windows:
            source = cluster if window.own else "another"
            name = f"{source}/{cluster}/{window.start}+{window.minutes}/{window.aggregate}/{window.shared}"
            bounds = {"WindowStart": at(window.start), "WindowEnd": at(window.end)}
            shared = {"Cluster": cluster, "BatchId": name, "CollectionTime": COLLECTED.isoformat(), **bounds}
            if window.empty:
                log.append({**shared, "Dataset": "allocation", "Outcome": "empty"})
                continue
            idle = {"IncludeIdle": window.idle, "ShareIdle": window.shared}
            own = {"Source": source, "Aggregate": window.aggregate, **idle}
            # A batch has a row at least, so one without cost has one of 0.
            costs: dict[str, float] = {**window.costs} or {"web": 0.0}
            if window.idle:
                costs["__idle__"] = 1000.0
            batch = [
                {
                    **shared,
                    **own,
                    "RowNumber": number,
                    "AllocationName": namespace,
                    "Namespace": namespace,
                    "TotalCost": cost,
                    "CpuCost": cost,
                    "RamCost": 0.0,
                    "GpuCost": 0.0,
                }
                for number, (namespace, cost) in enumerate(costs.items(), 1)
            ]
            batch[-1] |= {"BatchRows": len(batch), "BatchCost": sum(round(cost * 1e6) for cost in costs.values())}
            rows += batch
    database.insert("OpenCostAllocation", rows)
    database.insert("OpenCostSyncRuns", log)


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Held]]:
    """Random sets of windows, one a cluster."""
    return {f"c{seed}": distinct(random_windows(random.Random(seed))) for seed in range(CASES)}


@pytest.fixture(scope="module")
def loaded(cases: dict[str, list[Held]]) -> Iterator[Database]:
    """All cases in one database."""
    with Database() as database:
        land(database.install(), cases)
        yield database


def by_cluster(
    database: Database, minutes: range, group_by: str = "", cluster: str = ""
) -> dict[str, dict[Any, float]]:
    """The cost of a period by cluster, then by hour and namespace."""
    call = f'OpenCostWorkloadCost({between(minutes)}, "{cluster}", "", "{group_by}")'
    found: dict[str, dict[Any, float]] = {}
    for row in database.rows(
        f"{call} | summarize Cost = sum(TotalCost) by Cluster, Hour = bin(Timestamp, 1h), Namespace"
    ):
        hour = int((row["Hour"] - DAY.replace(tzinfo=None)) / timedelta(hours=1))
        found.setdefault(row["Cluster"], {})[hour, row["Namespace"]] = row["Cost"]
    return found


@pytest.mark.parametrize("group_by", GROUPINGS)
@pytest.mark.parametrize("minutes", PERIODS, ids=str)
def test_costs_are_those_of_the_minutes(
    minutes: range, group_by: str, loaded: Database, cases: dict[str, list[Held]]
) -> None:
    """Random sets of windows cost by hour and namespace what their minutes cost, whatever else is loaded."""
    found = by_cluster(loaded, minutes, group_by)
    for cluster, windows in cases.items():
        expected = costs_by_hour(windows, group_by, minutes)
        got = found.get(cluster, {})
        for key in expected.keys() | got.keys():
            assert got.get(key, 0.0) == pytest.approx(expected.get(key, 0.0), abs=1e-6), (cluster, key)


def exact(windows: list[Held], costs: list[float]) -> list[Held]:
    """The same windows with the true cost of their minutes, as an OpenCost with consistent windows returns them."""
    return [
        replace(one, costs=Costs({"web": math.fsum(costs[one.start : one.end])}), shared=False)
        for one in windows
        if one.start >= 0 and one.end <= len(costs) and not one.empty
    ]


def test_no_other_window_moves_the_cost_of_a_scheduled_window(empty: Database) -> None:
    """Where windows agree with each other, a day and an hour cost what they did, whatever is loaded beside them."""
    clusters, costs = {}, {}
    for seed in range(60):
        chance = random.Random(1000 + seed)
        name = f"t{seed}"
        # Little in most minutes, a burst in some, so that nothing is even.
        costs[name] = [chance.random() * (100.0 if chance.random() < 0.01 else 0.01) for _ in range(2880)]
        own = distinct(random_windows(chance))
        scheduled = [Held(0, 1440), Held(300, 60)]
        beside = [one for one in own if (one.start, one.minutes) not in ((0, 1440), (300, 60))]
        clusters[name] = exact([*scheduled, *beside], costs[name])
    land(empty, clusters)
    for minutes in (range(1440), range(300, 360)):
        found = by_cluster(empty, minutes, "namespace")
        for name, by_hour in found.items():
            assert sum(by_hour.values()) == pytest.approx(sum(costs[name][minutes.start : minutes.stop])), name
        assert found.keys() == clusters.keys()


TYPES = ("Node", "Disk", "LoadBalancer")


@dataclass(frozen=True)
class Assets:
    """One batch of assets: its window, and what it cost by type.

    `filtered` is whether some types were requested, as the run log says; `logged` is whether it has an entry.
    """

    window: Held
    filtered: bool = False
    logged: bool = True


def random_assets(chance: random.Random) -> Iterator[Assets]:
    """Windows as those of workloads, of all types of assets or of some, with entries in the run log or without."""
    for window in {(one.start, one.minutes, one.own): one for one in random_windows(chance)}.values():
        types: tuple[str, ...] = TYPES
        logged = chance.random() < 0.8
        filtered = not window.empty and logged and chance.random() < 0.2
        if filtered or not logged:
            types = tuple(chance.sample(TYPES, chance.choice((1, 2, 3))))
        costs = Costs(
            {name: 0.00001 + round(chance.expovariate(1.0) ** 3, 5) for name in types if chance.random() < 0.9}
        )
        costs = costs or Costs({types[0]: 0.5})
        plain = replace(window, aggregate="container", shared=False, idle=False)
        yield Assets(replace(plain, costs=Costs() if window.empty else costs), filtered, logged or window.empty)


def of_type(batches: list[Assets], name: str) -> list[Held]:
    """The windows that count for a type: those with rows of it, and those recorded as having all types.

    A type that no batch has rows of is none of the cluster.
    """
    windows: list[Held] = []
    if not any(name in one.window.costs for one in batches):
        return windows
    for one in batches:
        if cost := one.window.costs.get(name):
            windows.append(replace(one.window, costs=Costs({name: cost})))
        elif one.logged and not one.filtered:
            windows.append(replace(one.window, costs=Costs(), empty=True))
    return windows


def land_assets(database: Database, clusters: dict[str, list[Assets]]) -> None:
    """Put the batches of each cluster into the tables, and into the run log."""
    rows: list[dict[str, Any]] = []
    log: list[dict[str, Any]] = []
    for cluster, batches in clusters.items():
        for one in batches:
            source = cluster if one.window.own else "another"
            bounds = {"WindowStart": at(one.window.start), "WindowEnd": at(one.window.end)}
            name = f"assets/{source}/{cluster}/{one.window.start}+{one.window.minutes}"
            shared = {"Cluster": cluster, "BatchId": name, "CollectionTime": COLLECTED.isoformat(), **bounds}
            if one.logged:
                options = {"filterTypes": ["some"]} if one.filtered else {}
                outcome = "empty" if one.window.empty else "landed"
                log.append({**shared, "Dataset": "assets", "Outcome": outcome, "Options": options})
            batch = [
                {**shared, "Source": source, "RowNumber": number, "Type": kind, "Name": kind, "TotalCost": cost}
                for number, (kind, cost) in enumerate(one.window.costs.items(), 1)
            ]
            if batch:
                millionths = sum(round(cost * 1e6) for cost in one.window.costs.values())
                batch[-1] |= {"BatchRows": len(batch), "BatchCost": millionths}
            rows += batch
    database.insert("OpenCostAssets", rows)
    database.insert("OpenCostSyncRuns", log)


def test_assets_cost_what_their_minutes_cost(empty: Database) -> None:
    """Random sets of batches, of all types or some, cost by hour and type what the minutes of that type cost."""
    cases = {f"a{seed}": list(random_assets(random.Random(5000 + seed))) for seed in range(CASES)}
    land_assets(empty, cases)
    for minutes in (PERIODS[0], PERIODS[3]):
        call = f"OpenCostInfrastructureCost({between(minutes)})"
        found: dict[str, dict[Any, float]] = {}
        for row in empty.rows(f"{call} | summarize Cost = sum(TotalCost) by Cluster, Hour = bin(Timestamp, 1h), Type"):
            hour = int((row["Hour"] - DAY.replace(tzinfo=None)) / timedelta(hours=1))
            found.setdefault(row["Cluster"], {})[hour, row["Type"]] = row["Cost"]
        for cluster, batches in cases.items():
            got = found.get(cluster, {})
            expected: dict[Any, float] = {}
            for name in TYPES:
                expected |= costs_by_hour(of_type(batches, name), "", minutes)
            for key in expected.keys() | got.keys():
                assert got.get(key, 0.0) == pytest.approx(expected.get(key, 0.0), abs=1e-6), (cluster, key)


def test_idle_is_that_of_the_minutes_both_tables_have(empty: Database) -> None:
    """Nodes less workloads in the minutes that both have; the minutes that one has are counted, by cluster."""
    workloads, assets = {}, {}
    for seed in range(40):
        chance = random.Random(9000 + seed)
        workloads[f"i{seed}"] = [one for one in distinct(random_windows(chance)) if not one.shared]
        assets[f"i{seed}"] = list(random_assets(chance))
    land(empty, workloads)
    land_assets(empty, assets)
    minutes = PERIODS[3]
    found = {row["Cluster"]: row for row in empty.rows(f"OpenCostReconcile({between(minutes)})")}
    for cluster, windows in workloads.items():
        work = {minute: costs.total() for minute, costs in costs_by_minute(windows, "namespace,node", minutes)}
        nodes = {
            minute: costs.total() for minute, costs in costs_by_minute(of_type(assets[cluster], "Node"), "", minutes)
        }
        row: dict[str, Any] = found.get(cluster) or Counter()
        # Where assets are known to be none there is no node to be idle.
        idle = sum(nodes[minute] - work[minute] for minute in nodes.keys() & work.keys() if nodes[minute])
        assert row["IdleCost"] - row["OvercommittedCost"] == pytest.approx(idle, abs=1e-6), cluster
        assert row["MinutesWithoutAssets"] == len(work.keys() - nodes.keys()), cluster
        assert row["MinutesWithoutWorkloads"] == len(nodes.keys() - work.keys()), cluster
