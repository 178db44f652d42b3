"""OpenCostTopMovers on the recorded day and on random windows: each period costs what it costs by itself."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from opencost_kusto.emulator.kusto.catalog import KustoRefusal
from tests.kql import recorded
from tests.kql.by_minute import Held, costs_by_minute
from tests.kql.database import CLUSTER, COLLECTED, DAY, Database
from tests.kql.test_cost import approximately, by
from tests.kql.test_windows import distinct, land, random_windows
from tests.support.recordings import recording

RECORDED = "datetime(2026-11-23), datetime(2026-11-24)"
CASES = 40
KEYS = ("Cluster", "Namespace", "ControllerKind", "Controller")
# Minutes from the start of the first day; the windows are of two days.
LATER = (317, 1445)


@pytest.mark.parametrize(
    ("call", "now", "before"),
    [
        ("OpenCostTopMovers(datetime(2026-11-23 18:00), datetime(2026-11-24))", (18, 24), (12, 18)),
        (
            'OpenCostTopMovers(datetime(2026-11-23 18:00), datetime(2026-11-24), "",'
            " datetime(2026-11-23), datetime(2026-11-23 06:00))",
            (18, 24),
            (0, 6),
        ),
    ],
)
def test_top_movers(call: str, now: tuple[int, int], before: tuple[int, int], day: Database) -> None:
    """Costs of two periods by controller, by default the preceding one, the largest change first."""
    hours = recorded.allocation_hours()
    cost, previous = (
        recorded.summed((row for hour in hours[slice(*period)] for row in hour), recorded.controller)
        for period in (now, before)
    )
    rows = day.rows(call)
    assert by(rows, "Namespace", "Controller", value="Cost") == approximately(cost)
    assert by(rows, "Namespace", "Controller", value="PreviousCost") == approximately(previous)
    changes = [abs(row["Change"]) for row in rows]
    assert changes == sorted(changes, reverse=True)
    assert rows[0]["ChangePercent"] == pytest.approx(100 * rows[0]["Change"] / rows[0]["PreviousCost"])


def test_top_movers_need_both_periods(day: Database) -> None:
    """Before the recorded day nothing was loaded, so its cost is unknown and not 0; the most expensive is first."""
    rows = day.rows(f"OpenCostTopMovers({RECORDED})")
    assert {(row["PreviousCost"], row["Change"], row["ChangePercent"]) for row in rows} == {(None, None, None)}
    costs = by(rows, "Namespace", "Controller", value="Cost")
    assert costs == approximately(recorded.summed(recorded.workloads(), recorded.controller))
    assert list(costs.values()) == sorted(costs.values(), reverse=True)
    later = day.rows("OpenCostTopMovers(datetime(2026-11-24), datetime(2026-11-25))")
    assert {(row["Cost"], row["Change"]) for row in later} == {(None, None)}
    assert len(later) == len(rows)


def test_top_movers_include_what_was_added_and_removed(empty: Database) -> None:
    """A controller that exists in one period only has cost 0 in the other, and no percentage from nothing."""
    body = recording("1.112", "allocation_day_step1h.json")
    empty.allocation(body.replace(b'"controller":"trainer"', b'"controller":"tutor"', 12))
    rows = {
        row["Controller"]: row
        for row in empty.rows("OpenCostTopMovers(datetime(2026-11-23 12:00), datetime(2026-11-24))")
    }
    assert rows["tutor"]["Cost"] == 0
    assert rows["trainer"]["PreviousCost"] == 0
    assert rows["trainer"]["ChangePercent"] is None


def time(minute: float) -> str:
    """A time so many minutes after the start of the first day, as KQL."""
    return f"datetime({(DAY + timedelta(minutes=minute)):%Y-%m-%dT%H:%M:%SZ})"


def between(period: tuple[float, float]) -> str:
    """A period as two arguments."""
    return ", ".join(map(time, period))


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Held]]:
    """Random sets of windows, one a cluster; many lie on both sides of a bound."""
    return {f"m{seed}": distinct(random_windows(random.Random(3000 + seed))) for seed in range(CASES)}


@pytest.fixture(scope="module")
def loaded(cases: dict[str, list[Held]]) -> Iterator[Database]:
    """All cases in one database."""
    with Database() as database:
        land(database.install(), cases)
        yield database


def by_controller(database: Database, period: tuple[float, float]) -> dict[Any, float]:
    """The cost of a period as OpenCostByController returns it."""
    return by(database.rows(f"OpenCostByController({between(period)})"), *KEYS)


@pytest.mark.parametrize(
    ("later", "earlier", "given"),
    [
        pytest.param((860, 1403), (317, 860), False, id="adjacent inside hours"),
        pytest.param((860.7, 1403.2), (318.2, 860.7), False, id="adjacent inside minutes"),
        pytest.param(LATER, (200, 317), True, id="adjacent of another length"),
        pytest.param(LATER, (3, 95), True, id="gap on one day"),
        pytest.param((2400, 2707), (61, 360), True, id="gap over midnight"),
        pytest.param(LATER, (100, 701), True, id="overlapping"),
        pytest.param(LATER, (1445, 1700), True, id="afterwards"),
        pytest.param(LATER, (500, 317), True, id="reversed"),
        pytest.param((600, 600), (500, 600), True, id="nothing after"),
        pytest.param(LATER, (-90000, -80000), True, id="before all"),
    ],
)
def test_a_period_costs_what_it_costs_by_itself(
    later: tuple[float, float], earlier: tuple[float, float], given: bool, loaded: Database
) -> None:
    """Each period has the cost of OpenCostByController over it, null where that has no row of the cluster."""
    call = f'OpenCostTopMovers({between(later)}, ""' + (f", {between(earlier)})" if given else ")")
    rows = loaded.rows(call)
    costs, previous = by_controller(loaded, later), by_controller(loaded, earlier)
    for value, expected in (("Cost", costs), ("PreviousCost", previous)):
        clusters = {key[0] for key in expected}
        found = by(rows, *KEYS, value=value)
        assert found.keys() == costs.keys() | previous.keys()
        assert {key for key in found if found[key] is None} == {key for key in found if key[0] not in clusters}
        known = {key: cost for key, cost in found.items() if cost is not None}
        assert known == approximately({key: expected.get(key, 0.0) for key in known})


def test_both_periods_cost_what_their_minutes_cost(loaded: Database, cases: dict[str, list[Held]]) -> None:
    """Two periods that meet inside an hour cost by namespace what their minutes cost, in plain Python."""
    rows = loaded.rows(f"OpenCostTopMovers({between((860, 1403))})")
    for value, minutes in (("Cost", range(860, 1403)), ("PreviousCost", range(317, 860))):
        found = by(rows, "Cluster", "Namespace", value=value)
        for cluster, windows in cases.items():
            expected: Counter[str] = Counter()
            for _, costs in costs_by_minute(windows, "namespace,controller", minutes):
                expected.update(costs)
            got = {namespace: cost for (name, namespace), cost in found.items() if name == cluster}
            for namespace in expected.keys() | got.keys():
                assert (got.get(namespace) or 0.0) == pytest.approx(expected[namespace], abs=1e-6), (cluster, namespace)


def test_what_lies_between_the_periods_is_not_read(empty: Database) -> None:
    """A row that fails every query that reads it does not fail a comparison with the year before."""
    bounds = {"WindowStart": "2026-06-01T10:00:00Z", "WindowEnd": "2026-06-01T11:00:00Z"}
    shared = {"Cluster": CLUSTER, "Source": CLUSTER, "BatchId": "between", "CollectionTime": COLLECTED.isoformat()}
    # Its square is more than a long has.
    empty.insert("OpenCostAllocation", [{**shared, **bounds, "RowNumber": 2**40}])
    year = -60 * 24 * 365
    with pytest.raises(KustoRefusal):
        empty.rows(f"OpenCostTopMovers({between((0, -year))})")
    assert empty.rows(f'OpenCostTopMovers({between((0, 1440))}, "", {between((year, year + 1440))})') == []
