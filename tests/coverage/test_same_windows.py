"""Status, scheduler, coverage and costs use the same windows: on random tables, against plain sets of minutes."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import pytest

from opencost_kusto.batch import Batch, RequestOptions, Source
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.coverage.missing import find_all
from opencost_kusto.coverage.status import status
from opencost_kusto.emulator import KustoEmulator
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.window import Window
from tests.kql.database import Database, Rows

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 11, 23, tzinfo=UTC)
PERIOD = Window(START, START + 2 * DAY)
CALL = "datetime(2026-11-23), datetime(2026-11-25)"
HOURS = [Window(START + n * HOUR, START + (n + 1) * HOUR) for n in range(48)]
# How a window ended by the run log, and whether it is known to have no cost; the late ones prove nothing.
LOGGED = {"empty": True, "failed": False, "expired": False, "queued": False, "landed": False, "late": False}
DAMAGE, PARTIAL = "damaged", "partial"
Minutes = set[datetime]


def minutes(windows: Iterable[Window]) -> Minutes:
    """The minutes of windows that lie in the two days."""
    found = {one.start + n * MINUTE for one in windows for n in range(int(one.minutes))}
    return {one for one in found if PERIOD.start <= one < PERIOD.end}


def hours(found: Minutes) -> set[Window]:
    """The hours in which these minutes lie."""
    return {one for one in HOURS if not found.isdisjoint(minutes([one]))}


@dataclass
class Cluster:
    """Random windows of one dataset of one cluster: what the table holds, and what the run log alone says."""

    name: str
    dataset: str
    seed: int
    held: dict[Window, str] = field(default_factory=dict)
    logged: dict[Window, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dice = random.Random(f"{self.seed} {self.dataset}")
        dice = self.dice
        starts = [(60 * n, 60) for n in dice.sample(range(48), dice.choice([0, 10, 40, 46]))]
        starts += [(10 * n, 10) for n in dice.sample(range(288), dice.choice([0, 12, 60]))]
        starts += [(1440 * n, 1440) for n in range(-1, 2) if dice.random() < 0.3]
        starts += [(dice.randrange(2800), dice.randrange(1, 300)) for _ in range(dice.choice([0, 1, 4]))]
        starts += [(dice.randrange(-1500, 1000), 2000)] if dice.random() < 0.2 else []
        for start, length in starts:
            window = Window(START + start * MINUTE, START + (start + length) * MINUTE)
            if dice.random() < 0.25:
                self.logged[window] = dice.choice(list(LOGGED))
            else:
                self.held[window] = dice.choice([*["logged"] * 6, "unlogged", *self.odd])
        # No window that had a cost lies in one that had none.
        none = minutes(one for one, kind in self.logged.items() if LOGGED[kind])
        self.held = {one: kind for one, kind in self.held.items() if none.isdisjoint(minutes([one]))}

    @cached_property
    def odd(self) -> list[str]:
        """What else the batches of every second cluster are: damaged, or of some types of assets."""
        return [] if self.seed % 2 else [DAMAGE, *([PARTIAL] if self.dataset == "assets" else [])]

    def of(self, *kinds: str) -> Minutes:
        """The minutes of what the table holds of these kinds."""
        return minutes(window for window, kind in self.held.items() if kind in kinds)

    @property
    def settled(self) -> Minutes:
        """The minutes that landed, and those that are empty by the run log."""
        return self.of("logged", "unlogged") | minutes(one for one, kind in self.logged.items() if LOGGED[kind])

    @property
    def covered(self) -> Minutes:
        """The same, and those of damaged batches, whose rows count, too."""
        return self.settled | self.of(DAMAGE)

    def _batch(self, window: Window, options: RequestOptions) -> dict[str, Any]:
        table = DATASETS[self.dataset]
        bounds = {"WindowStart": window.start.isoformat(), "WindowEnd": window.end.isoformat()}
        return {
            "BatchId": Batch(table, self.name, window, options).id,
            "Source": self.name,
            "Cluster": self.name,
            **bounds,
        }

    def rows(self) -> Rows:
        """One row of each batch that the table holds, two of a damaged one."""
        found: Rows = []
        for window, kind in self.held.items():
            of_table = (
                {"Type": self.dice.choice(["Node", "Disk"]), "Name": "one"}
                if self.dataset == "assets"
                else {"Aggregate": "container", "IncludeIdle": False, "ShareIdle": False, "Namespace": "web"}
            )
            totals = {"RowNumber": 1, "BatchRows": 1, "BatchCost": 2_000_000, "TotalCost": 2.0}
            row = self._batch(window, self._options(kind)) | of_table | totals
            found += [row | {"CollectionTime": PERIOD.end.isoformat()}] * (2 if kind == DAMAGE else 1)
        return found

    def log(self) -> Rows:
        """The entries of the run log."""
        entries = {**self.logged, **{window: kind for window, kind in self.held.items() if kind != "unlogged"}}
        return [self._entry(window, kind) for window, kind in entries.items()]

    def _entry(self, window: Window, kind: str) -> dict[str, Any]:
        table, options = DATASETS[self.dataset], self._options(kind)
        outcome = "landed" if window in self.held else "empty" if kind == "late" else kind
        sent = window.end + (20 * DAY if kind == "late" else timedelta())
        facts = {"Dataset": self.dataset, "TableName": table.name, "Options": options.for_table(table)}
        entry = {"Outcome": outcome, "CollectionTime": sent.isoformat(), "Reason": kind}
        return self._batch(window, options) | facts | entry

    @staticmethod
    def _options(kind: str) -> RequestOptions:
        return RequestOptions(filter_types="disk") if kind == PARTIAL else RequestOptions()


CLUSTERS = [Cluster(f"c{seed:02}", dataset, seed) for seed in range(24) for dataset in ("allocation", "assets")]


@pytest.fixture(scope="module")
def kusto() -> Iterator[tuple[Kusto, Database]]:
    """All clusters in one database, and a client of it."""
    with KustoEmulator(latency=0) as emulator, Kusto(emulator.url, emulator.database, auth="none") as kusto:
        database = Database(emulator.engine).install()
        for one in CLUSTERS:
            database.insert(DATASETS[one.dataset].name, one.rows())
        database.insert("OpenCostSyncRuns", [entry for one in CLUSTERS for entry in one.log()])
        yield kusto, database


def test_coverage_and_costs_use_the_windows_of_the_minutes(kusto: tuple[Kusto, Database]) -> None:
    """By hour: covered minutes are those of the sets, and costs have rows where coverage says that rows are held."""
    _, database = kusto
    held: dict[tuple[str, str], set[Window]] = defaultdict(set)
    uncovered: dict[tuple[str, str, Window], float] = {}
    for row in database.rows(f"OpenCostCoverage({CALL})"):
        hour = Window(row["WindowStart"].replace(tzinfo=UTC), row["WindowEnd"].replace(tzinfo=UTC))
        uncovered[row["Cluster"], row["Dataset"], hour] = row["MissingMinutes"]
        if row["HeldMinutes"]:
            held[row["Cluster"], row["Dataset"]].add(hour)
    costs: dict[tuple[str, str], set[Window]] = defaultdict(set)
    for dataset, name in (("allocation", "OpenCostWorkloadCost"), ("assets", "OpenCostInfrastructureCost")):
        for row in database.rows(f"{name}({CALL}) | distinct Cluster, Hour = bin(Timestamp, 1h)"):
            start = row["Hour"].replace(tzinfo=UTC)
            costs[row["Cluster"], dataset].add(Window(start, start + HOUR))
    for one in CLUSTERS:
        key = one.name, one.dataset
        if one.held or one.logged:
            expected = {hour: len(minutes([hour]) - one.covered) for hour in HOURS}
            assert {hour: uncovered[*key, hour] for hour in HOURS} == expected, key
        assert held[key] <= costs[key] <= held[key] | hours(one.of(PARTIAL)), key


def test_status_reports_what_coverage_does_not_have(kusto: tuple[Kusto, Database]) -> None:
    """Between the first and the last aligned window that was logged, what is not covered is missing."""
    client, _ = kusto
    found = {(one.source, one.dataset): one for one in status(client, now=PERIOD.end, back=2 * DAY)}
    checked = 0
    for one in CLUSTERS:
        if (one.name, one.dataset) not in found:
            continue
        state = found[one.name, one.dataset]
        missing = minutes(state.missing)
        if missing:
            between = minutes([Window(min(missing), max(missing) + MINUTE)])
            assert between - one.covered == missing, one
        assert minutes(state.damaged) == one.of(DAMAGE), one
        checked += bool(missing)
    assert checked > 10


def test_the_scheduler_requests_what_coverage_does_not_have(kusto: tuple[Kusto, Database]) -> None:
    """Where all batches have the same options, the hours to load are those that OpenCostMissingWindows lists."""
    client, database = kusto
    listed: dict[tuple[str, str], set[Window]] = defaultdict(set)
    for row in database.rows(f"OpenCostMissingWindows({CALL})"):
        start = row["WindowStart"].replace(tzinfo=UTC)
        listed[row["Cluster"], row["Dataset"]].add(Window(start, start + HOUR))
    sources = [Source(name) for name in dict.fromkeys(one.name for one in CLUSTERS if one.seed % 2)]
    found = find_all(client, sources, Target(HOUR, ("allocation", "assets")), PERIOD, PERIOD.end)
    due = {(gaps.source.name, name): set[Window]() for gaps in found for name in ("allocation", "assets")}
    for gaps in found:
        for batch in (*gaps.due, *gaps.gone, *gaps.lost):
            due[gaps.source.name, batch.table.dataset].add(batch.window)
    for one in CLUSTERS:
        if one.seed % 2:
            key = one.name, one.dataset
            expected = listed[key] if one.held or one.logged else set(HOURS)
            assert due[key] == expected == hours(minutes(HOURS) - one.covered), key
