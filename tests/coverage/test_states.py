"""The state of a window as KQL says it, against the diagram in plain Python, on random tables and run logs."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opencost_kusto.batch import Batch
from opencost_kusto.coverage.state import WindowEntry, states_query
from opencost_kusto.coverage.totals import totals_query
from opencost_kusto.database import script
from opencost_kusto.emulator.kusto import commands
from opencost_kusto.errors import ReasonCode
from opencost_kusto.result import Outcome, batch_result
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, DATASETS
from opencost_kusto.window import Window
from opencost_kusto.window_state import WindowState
from tests.kql.database import Database, Rows

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST = datetime(2026, 11, 1, tzinfo=UTC)
WEEK = Window(FIRST, FIRST + 7 * DAY)
PERIOD = "datetime(2026-11-01), datetime(2026-11-08)"
NAMES = {"allocation": "OpenCostAllocation", "assets": "OpenCostAssets", "cloudcost": "OpenCostCloudCost"}
# How long after its start OpenCost's built-in store surely has a window, by dataset and the least length.
_STORE = {DAY: 14 * DAY, HOUR: 48 * HOUR, MINUTE: 350 * MINUTE}
KEPT = {"allocation": _STORE, "assets": _STORE, "cloudcost": {MINUTE: 14 * DAY}}
# Number, collection time in hours and totals of each row; each costs 2.
_Row = tuple[int | None, int, tuple[int, int] | None]


def numbered(*numbers: int, rows: int | None = None, cost: int | None = None) -> list[_Row]:
    """Rows with these numbers, of which the last says their totals; `rows` and `cost` are other totals."""
    totals = (rows or len(numbers), 2_000_000 * len(numbers) if cost is None else cost)
    return [*((number, 0, None) for number in numbers[:-1]), (numbers[-1], 0, totals)]


COMPLETE = numbered(1, 2, 3)
# One for each part of the proof that it alone finds wrong, and some that several do.
HELD: dict[str, list[_Row]] = {
    "nothing": [],
    "complete": COMPLETE,
    "a row missing": [COMPLETE[0], COMPLETE[2]],
    "a row twice": [COMPLETE[0], *COMPLETE],
    "least": numbered(0, 3, 4, 4, 5, 5, 7),
    "most": numbered(1, 3, 3, 4, 4, 5, 8),
    "sum": numbered(1, 1, 1, 4, 6, 6, 7),
    "squares": numbered(1, 1, 4, 4, 5),
    "two responses": [(1, 1, None), *COMPLETE[1:]],
    "no totals": [*COMPLETE[:2], (3, 0, None)],
    "totals of two rows": [COMPLETE[0], (2, 0, (3, 6_000_000)), COMPLETE[2]],
    "other rows": numbered(1, 2, 3, rows=4),
    "other cost": numbered(1, 2, 3, cost=7_000_000),
    "no numbers": [(None, 0, None)] * 3,
}


class Case:
    """One request: what the table holds of it, and its entries in the run log, the latest last."""

    def __init__(self, number: int, dice: random.Random) -> None:
        self.id, self.dataset = f"batch {number}", dice.choice(list(NAMES))
        self.length = dice.choice([10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, DAY])
        self.start = FIRST + dice.randrange(600) * 10 * MINUTE
        self.held = dice.choice(list(HELD)) if dice.random() < 0.4 else "nothing"
        kept = next(kept for least, kept in KEPT[self.dataset].items() if self.length >= least)
        self.entries: list[dict[str, Any]] = [
            {
                "Outcome": dice.choice(list(Outcome)).value,
                "ReasonCode": dice.choice([None, *(one.value for one in _CODES)]),
                "CollectionTime": self.start + kept + dice.choice([-MINUTE, timedelta(), 40 * DAY]),
                "Options": dice.choice([{}, {"filterTypes": []}, {"filterTypes": ["disk"]}]),
                "LoggedAt": FIRST + 100 * DAY + order * MINUTE,
            }
            for order in range(dice.choice([0, 1, 1, 1, 2, 3]))
        ]
        self.late = bool(self.entries) and self.entries[-1]["CollectionTime"] - self.start >= kept

    @property
    def shared(self) -> dict[str, Any]:
        """What all its rows and entries have."""
        end = self.start + self.length
        window = {"WindowStart": self.start.isoformat(), "WindowEnd": end.isoformat()}
        return {"BatchId": self.id, "Source": "prod", "Cluster": "prod", **window}

    def rows(self) -> Rows:
        """Its rows."""
        cost = "NetCost" if self.dataset == "cloudcost" else "TotalCost"
        return [
            {
                **self.shared,
                **{"RowNumber": number, "CollectionTime": (FIRST + hours * HOUR).isoformat(), cost: 2.0},
                **({"BatchRows": totals[0], "BatchCost": totals[1]} if totals else {}),
            }
            for number, hours, totals in HELD[self.held]
        ]

    def log(self) -> Rows:
        """Its entries, those before the last with a time of writing that is earlier."""
        fixed = {**self.shared, "Dataset": self.dataset, "TableName": NAMES[self.dataset]}
        return [
            {**fixed, **{name: one.isoformat() if isinstance(one, datetime) else one for name, one in entry.items()}}
            for entry in self.entries
        ]

    def expected(self) -> tuple[WindowState, bool] | None:
        """Its state by the diagram, and whether it is partial; None where nothing is recorded for it."""
        if not self.entries:
            if self.held == "nothing":
                return None
            return (WindowState.LANDED if self.held == "complete" else WindowState.DAMAGED), False
        last = self.entries[-1]
        partial = last["Options"].get("filterTypes") == ["disk"]
        if self.held != "nothing":
            return (WindowState.LANDED if self.held == "complete" else WindowState.DAMAGED), partial
        return self._by_log(last["Outcome"], last["ReasonCode"]), partial

    def _by_log(self, outcome: str, code: str | None) -> WindowState:
        if outcome in ("queued", "timed out"):
            return WindowState.QUEUED
        if outcome == "empty":
            return WindowState.INCONCLUSIVE if self.late and code != "confirmed empty" else WindowState.EMPTY
        if outcome == "expired":
            return WindowState.INCONCLUSIVE if code == "inconclusive" else WindowState.EXPIRED
        if outcome == "failed":
            return WindowState.EXPIRED if code == "expired" else WindowState.FAILED
        return WindowState.LOST if outcome == "lost" else WindowState.DUE


_CODES = (ReasonCode.EXPIRED, ReasonCode.INCONCLUSIVE, ReasonCode.CONFIRMED_EMPTY, ReasonCode.UNREACHABLE)


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """Tables and functions."""
    with Database() as database:
        yield database.install()


def fill(database: Database, cases: list[Case], dice: random.Random) -> None:
    """Put the rows and entries of some requests into empty tables, in any order."""
    database.clear()
    log = [entry for case in cases for entry in case.log()]
    dice.shuffle(log)
    database.insert("OpenCostSyncRuns", log)
    for dataset, name in NAMES.items():
        database.insert(name, [row for case in cases if case.dataset == dataset for row in case.rows()])


@pytest.mark.parametrize("seed", range(4))
def test_states_are_those_of_the_diagram(database: Database, seed: int) -> None:
    """Whatever the table holds and the run log says, in whatever order, each request has one row with its state.

    The shipped function is of the datasets that are requested by default, the query of those that it names.
    """
    dice = random.Random(seed)
    cases = [Case(number, dice) for number in range(400)]
    fill(database, cases, dice)
    found = database.rows(f"OpenCostWindowStates({PERIOD})")
    expected = {case.id: want for case in cases if (want := case.expected())}
    by_id = {case.id: case for case in cases}
    shipped = {id_: want for id_, want in expected.items() if DATASETS[by_id[id_].dataset].default}
    assert {row["BatchId"]: (row["State"], row["IsPartial"]) for row in found} == shipped
    assert len(found) == len(shipped) < len(expected)
    for row in found:
        case = by_id[row["BatchId"]]
        assert (row["Dataset"], row["TableName"], row["Source"]) == (case.dataset, NAMES[case.dataset], "prod")
        assert row["WindowEnd"] - row["WindowStart"] == case.length
    assert {state for state, _ in expected.values()} == set(WindowState)
    assert Counter(case.held for case in cases).keys() == HELD.keys()
    # What status and the scheduler send is the same text, without the function.
    for tables, sources in ((DATASETS.values(), None), ([ALLOCATION, ASSETS], ["prod", "another"])):
        sent = database.rows(states_query(sources, list(tables), WEEK))
        names = {table.name for table in tables}
        assert {row["BatchId"]: (row["State"], row["IsPartial"]) for row in sent} == {
            id_: want for id_, want in expected.items() if NAMES[by_id[id_].dataset] in names
        }
    assert database.rows(states_query(["another"], [ALLOCATION], WEEK)) == []


def test_results_of_a_run_and_their_entries_have_one_state(database: Database) -> None:
    """What a result says before it is in the run log is what KQL says of its entry, whatever the outcome."""
    results, entries = {}, []
    codes = [None, *_CODES]
    for table, length in itertools.product((ALLOCATION, ASSETS), (10 * MINUTE, HOUR, DAY)):
        kept = next(kept for least, kept in KEPT[table.dataset].items() if length >= least)
        for number, (outcome, code, age) in enumerate(
            itertools.product(Outcome, codes, (timedelta(), kept - MINUTE, kept))
        ):
            start = FIRST + number % 7 * DAY
            batch = Batch(table, f"source {number}", Window(start, start + length))
            result = batch_result(batch, outcome, code=code)
            results[batch.id] = WindowEntry.of(result, start + age).state
            shared = {"BatchId": batch.id, "Source": batch.source, "TableName": table.name, "Dataset": table.dataset}
            window = {"WindowStart": start.isoformat(), "WindowEnd": (start + length).isoformat()}
            logged = {"Outcome": outcome.value, "ReasonCode": code, "CollectionTime": (start + age).isoformat()}
            entries.append({**shared, **window, **logged})
    database.clear()
    database.insert("OpenCostSyncRuns", entries)
    found = database.rows(f"OpenCostLoggedWindows({PERIOD})")
    assert {row["BatchId"]: row["State"] for row in found} == results
    assert set(results.values()) == set(WindowState) - {WindowState.DAMAGED}


def test_options_are_those_of_the_run_log_else_of_the_rows(database: Database) -> None:
    """A batch whose entry was never written has the options that its rows say; an older entry has the defaults."""
    shared = {**Case(1, random.Random(1)).shared, "WindowStart": FIRST.isoformat()}
    requested = {"aggregate": "namespace", "includeIdle": True}
    database.clear()
    for number, name in enumerate(("rows", "log", "both")):
        rows = {**shared, "BatchId": name, "RowNumber": 1, "Aggregate": "pod", "IncludeIdle": False}
        entry = {
            **shared,
            "BatchId": name,
            "TableName": "OpenCostAllocation",
            "Options": requested,
            "Outcome": "failed",
        }
        database.insert("OpenCostAllocation", [rows] if number != 1 else [])
        database.insert("OpenCostSyncRuns", [entry] if number else [])
    found = {row["BatchId"]: row for row in database.rows(f'OpenCostWindowStates({PERIOD}, "prod")')}
    options = {id_: (row["Aggregate"], row["IncludeIdle"], row["AllClusters"]) for id_, row in found.items()}
    assert options == {"rows": ("pod", False, None), **dict.fromkeys(("log", "both"), ("namespace", True, False))}
    assert database.rows(f'OpenCostWindowStates({PERIOD}, "another")') == []


def test_totals_are_of_the_states(database: Database) -> None:
    """What landed, is empty or was sent counts; an empty response past retention, and what failed, do not."""
    outcomes = ("landed", "already landed", "empty", "late", "queued", "timed out", "failed", "expired", "lost")
    entries = []
    for hour, outcome in enumerate(outcomes):
        start = FIRST + hour * HOUR
        collected = start + (60 * HOUR if outcome == "late" else HOUR)
        bounds = {"WindowStart": start.isoformat(), "WindowEnd": (start + HOUR).isoformat()}
        logged = {
            "Outcome": "empty" if outcome == "late" else outcome,
            "Rows": 2**hour,
            "CollectionTime": collected.isoformat(),
        }
        of = {"BatchId": outcome, "Source": "prod", "Dataset": "allocation", "TableName": "OpenCostAllocation"}
        entries.append({**of, **bounds, **logged})
    database.clear()
    database.insert("OpenCostSyncRuns", entries)
    total = database.one(totals_query(FIRST + DAY, FIRST))
    naive = FIRST.replace(tzinfo=None)
    assert (total["Batches"], total["Rows"], total["DayRows"]) == (5, 55, 55)
    assert (total["First"], total["Until"], total["EmptyUntil"]) == (naive, naive + 2 * HOUR, naive + 3 * HOUR)


def test_the_query_carries_the_rule_with_it() -> None:
    """A database with tables alone runs what status and the scheduler send."""
    with Database() as database:
        for command in script.commands("tables"):
            commands.run(database.engine, command.text)
        cases = [Case(number, random.Random(number)) for number in range(20)]
        fill(database, cases, random.Random(0))
        found = database.rows(states_query(None, list(DATASETS.values()), WEEK))
        expected = {case.id: want[0] for case in cases if (want := case.expected())}
        assert {row["BatchId"]: row["State"] for row in found} == expected
