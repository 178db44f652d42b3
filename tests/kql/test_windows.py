"""Whatever windows are loaded, each minute of a cluster counts once: KQL against a brute force by the minute."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.kql.by_minute import Costs, Held, costs_by_hour
from tests.kql.database import COLLECTED, DAY, Database

NAMESPACES = ("web", "jobs", "data")
AGGREGATES = ("container", "namespace", "controller", "cluster,node,namespace,pod,container", "label:namespace")
CASES = 120
PERIODS = (range(2880), range(1440), range(5 * 60, 6 * 60), range(317, 1445))
QUESTIONS = ("", "namespace")


def at(minute: int) -> str:
    """A minute of the two days as Kusto reads it."""
    return (DAY + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ")


def between(minutes: range) -> str:
    """A period as two arguments."""
    return f"datetime({at(minutes.start)}), datetime({at(minutes.stop)})"


def random_windows(chance: random.Random) -> Iterator[Held]:
    """Windows of two days: hours, tens and days with holes, runs across hours, odd lengths, some of them twice."""
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
        window = Held(start, minutes, burst(chance), aggregate, shared=chance.random() < 0.05)
        if minutes in (10, 60) and chance.random() < 0.05:
            yield replace(window, costs=Counter(), aggregate="container", shared=False, empty=True)
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
            own = {"Source": source, "Aggregate": window.aggregate, "IncludeIdle": False, "ShareIdle": window.shared}
            # A batch has a row at least, so one without cost has one of 0.
            costs: dict[str, float] = {**window.costs} or {"web": 0.0}
            batch = [
                {
                    **shared,
                    **own,
                    "RowNumber": number,
                    "AllocationName": namespace,
                    "Namespace": namespace,
                    "TotalCost": cost,
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
    database: Database, minutes: range, question: str = "", cluster: str = ""
) -> dict[str, dict[Any, float]]:
    """The cost of a period by cluster, then by hour and namespace."""
    call = f'OpenCostWorkloadCost({between(minutes)}, "{cluster}", "", "{question}")'
    found: dict[str, dict[Any, float]] = {}
    for row in database.rows(
        f"{call} | summarize Cost = sum(TotalCost) by Cluster, Hour = bin(Timestamp, 1h), Namespace"
    ):
        hour = int((row["Hour"] - DAY.replace(tzinfo=None)) / timedelta(hours=1))
        found.setdefault(row["Cluster"], {})[hour, row["Namespace"]] = row["Cost"]
    return found


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("minutes", PERIODS, ids=str)
def test_costs_are_those_of_the_minutes(
    minutes: range, question: str, loaded: Database, cases: dict[str, list[Held]]
) -> None:
    """Random sets of windows cost by hour and namespace what their minutes cost, whatever else is loaded."""
    found = by_cluster(loaded, minutes, question)
    for cluster, windows in cases.items():
        expected = costs_by_hour(windows, question, minutes)
        got = found.get(cluster, {})
        for key in expected.keys() | got.keys():
            assert got.get(key, 0.0) == pytest.approx(expected.get(key, 0.0), abs=1e-6), (cluster, key)


def exact(windows: list[Held], costs: list[float]) -> list[Held]:
    """The same windows with what the minutes really cost, as an OpenCost whose windows agree answers them."""
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
