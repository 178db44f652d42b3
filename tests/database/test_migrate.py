"""Tables that people made by hand are renamed, and their rows land in ours, window by window."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opencost_kusto.database.bootstrap import bootstrap, differences
from opencost_kusto.database.migrate import Migrated, migrate
from opencost_kusto.emulator import KustoEmulator
from opencost_kusto.errors import KustoError, NotLandedError, ReasonCode
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.schema.tables import TABLES
from tests.support.kql_analyser import Analyser, Schema

ALLOCATION = """.create table OpenCostAllocation (
    Timestamp: datetime, CollectionTime: datetime, Source: string, AllocationName: string, WindowStart: string,
    WindowEnd: string, WindowMinutes: real, Namespace: string, Container: string, Pod: string, TotalCost: real,
    Properties: string)"""
METRICS = """.create table OpenCostMetrics (
    Timestamp: datetime, CollectionTime: datetime, Source: string, MetricName: string, MetricValue: real,
    Labels: string)"""
# Derived: two windows, the first of which was exported twice, an hour apart.
ROWS = """.set-or-append OpenCostAllocation <|
datatable(Timestamp: datetime, CollectionTime: datetime, Source: string, AllocationName: string, WindowStart: string,
    WindowEnd: string, WindowMinutes: real, Namespace: string, Container: string, Pod: string, TotalCost: real,
    Properties: string)[
    datetime(2026-11-23T11:05:00Z), datetime(2026-11-23T11:05:00Z), "aks", "a/p/c", "2026-11-23T10:00:00Z",
    "2026-11-23T11:00:00Z", 60.0, "a", "c", "p", 1.0, "{\\"cluster\\": \\"aks\\"}",
    datetime(2026-11-23T12:05:00Z), datetime(2026-11-23T12:05:00Z), "aks", "a/p/c", "2026-11-23T10:00:00Z",
    "2026-11-23T11:00:00Z", 60.0, "a", "c", "p", 1.5, "{\\"cluster\\": \\"aks\\"}",
    datetime(2026-11-23T12:05:00Z), datetime(2026-11-23T12:05:00Z), "aks", "b/p/c", "2026-11-23T10:00:00Z",
    "2026-11-23T11:00:00Z", 60.0, "b", "c", "p", 0.25, "",
    datetime(2026-11-23T12:05:00Z), datetime(2026-11-23T12:05:00Z), "aks", "a/p/c", "2026-11-23T11:00:00Z",
    "2026-11-23T12:00:00Z", 60.0, "a", "c", "p", 2.0, ""
]"""


@pytest.fixture
def emulator() -> Iterator[KustoEmulator]:
    """A database with tables that were made by hand."""
    with KustoEmulator(latency=0) as emulator, Kusto(emulator.url, "OpenCost", auth="none") as kusto:
        for command in (ALLOCATION, METRICS, ROWS):
            kusto.command(command)
        yield emulator


@pytest.fixture
def kusto(emulator: KustoEmulator) -> Iterator[Kusto]:
    """A client of it."""
    with Kusto(emulator.url, emulator.database, auth="none") as kusto:
        yield kusto


def test_bootstrap_alone_refuses_and_names_the_option(kusto: Kusto) -> None:
    """A column's type is never altered."""
    with pytest.raises(KustoError, match="--migrate") as refused:
        bootstrap(kusto)
    assert refused.value.code is ReasonCode.SCHEMA_DRIFT


def test_rows_are_carried_over_window_by_window(kusto: Kusto) -> None:
    """The newest row of each key, numbered, with the totals of its batch on the last; the old tables are kept."""
    lines: list[str] = []
    done = migrate(kusto, lines.append)
    assert done == [
        Migrated("OpenCostAllocation", "OpenCostAllocation_v0", 2, 3),
        Migrated("OpenCostMetrics", "OpenCostMetrics_v0", 0, 0),
    ]
    assert lines[0] == "OpenCostAllocation is renamed to OpenCostAllocation_v0"
    rows = kusto.query("OpenCostAllocation | order by WindowStart asc, RowNumber asc")
    assert [
        (row["Namespace"], row["TotalCost"], row["RowNumber"], row["BatchRows"], row["BatchCost"]) for row in rows
    ] == [
        ("a", 1.5, 1, None, None),
        ("b", 0.25, 2, 2, 1_750_000),
        ("a", 2.0, 1, 1, 2_000_000),
    ]
    first, second, third = rows
    assert first["BatchId"] == second["BatchId"] != third["BatchId"]
    assert (first["Cluster"], first["Aggregate"], first["Properties"]) == ("aks", "container", {"cluster": "aks"})
    assert {row["CollectionTime"].hour for row in rows} == {12}
    assert first["WindowStart"].hour == first["Timestamp"].hour == 10
    assert kusto.query("OpenCostAllocation_v0 | count")[0]["Count"] == 4
    assert list(differences(kusto)) == []


def test_what_a_migration_sends_is_clean(emulator: KustoEmulator, kusto: Kusto, analyser: Analyser) -> None:
    """Microsoft's analyser finds nothing wrong with its queries and commands."""
    tables = {table.name: [(column.name, column.type) for column in table.columns] for table in TABLES}
    old = {f"{name}_v0": columns for name, columns in tables.items()}
    migrate(kusto)
    marks = ("_v0", "OpenCostMigration", "summarize Rows = count() by BatchId")
    own = [one.csl for one in emulator.requests if any(mark in one.csl for mark in marks)]
    assert len(own) > 8
    for text in own:
        schema = Schema(tables=tables if text.startswith(".rename") else {**tables, **old})
        assert analyser.check(text, schema=schema) == [], text


def test_a_second_time_copies_nothing(emulator: KustoEmulator, kusto: Kusto) -> None:
    """A batch that landed is found by its id; a run that was interrupted resumes."""
    migrate(kusto)
    sent = len([request for request in emulator.requests if request.method == "PUT"])
    migrate(kusto)
    assert len([request for request in emulator.requests if request.method == "PUT"]) == sent
    assert kusto.query("OpenCostAllocation | count")[0]["Count"] == 3


def test_copies_that_do_not_land_are_an_error(emulator: KustoEmulator, kusto: Kusto) -> None:
    """The old rows are still there, and the message says that it may be run again."""
    emulator.pause()
    with pytest.raises(NotLandedError, match=r"2 of 2 batches of OpenCostAllocation_v0 are not in OpenCostAllocation"):
        migrate(kusto, timeout=0.1, sleep=lambda _: None)
    emulator.resume()
    assert migrate(kusto)[0].rows == 3


def test_a_database_of_ours_is_left_alone() -> None:
    """There is nothing to rename where every table has batches."""
    with KustoEmulator(latency=0) as fresh, Kusto(fresh.url, "OpenCost", auth="none") as kusto:
        bootstrap(kusto)
        assert migrate(kusto) == []
