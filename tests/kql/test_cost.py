"""The cost functions on the recorded day, against plain Python over the recorded responses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opencost_kusto.batch import RequestOptions
from opencost_kusto.database import script
from opencost_kusto.emulator.kusto import commands
from tests.kql import recorded
from tests.kql.conftest import load_day
from tests.kql.database import COLLECTED, HOUR, Database, Requested
from tests.support.kql_analyser import Analyser, Schema
from tests.support.recordings import recording

DAY = "datetime(2026-11-23), datetime(2026-11-24)"


def by(rows: list[dict[str, Any]], *keys: str, value: str = "TotalCost") -> dict[Any, float]:
    """A result as a mapping from its key columns to a value; a duplicate key is an error."""
    found = {tuple(row[key] for key in keys): row[value] for row in rows}
    assert len(found) == len(rows)
    return {key[0] if len(keys) == 1 else key: value for key, value in found.items()}


def approximately(expected: dict[Any, float]) -> Any:
    """Equal to what floating-point sums in any order can differ by."""
    return pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_cost_by_namespace(day: Database) -> None:
    """Each namespace's cost is the sum of its containers', with volumes that no pod mounts on a line of their own."""
    rows = day.rows(f"OpenCostByNamespace({DAY})")
    assert by(rows, "Namespace") == approximately(recorded.summed(recorded.workloads(), recorded.namespace))
    assert by(rows, "Namespace")["__unmounted__"] == pytest.approx(0.252)
    for column, field in {
        "CpuCost": "cpuCost",
        "PvCost": "pvCost",
        "NetworkCost": "networkCost",
        "RamByteHours": "ramByteHours",
    }.items():
        expected = recorded.summed(recorded.workloads(), recorded.namespace, field)
        assert by(rows, "Namespace", value=column) == approximately(expected)
    assert [row["TotalCost"] for row in rows] == sorted((row["TotalCost"] for row in rows), reverse=True)


def test_cost_by_namespace_is_that_of_opencost(day: Database) -> None:
    """OpenCost's own response by namespace for the same hours is the same, to its rounding of rows."""
    sets = json.loads(recording("1.112", "allocation_day_step1h_namespace.json"))["data"]
    theirs = recorded.summed((row for members in sets for row in members.values()), lambda row: row["name"])
    assert by(day.rows(f"OpenCostByNamespace({DAY})"), "Namespace") == pytest.approx(theirs, abs=0.005)


def test_cost_by_controller(day: Database) -> None:
    """Pods without a controller are __unallocated__ and volumes no pod mounts __unmounted__, in their namespace."""
    found = by(day.rows(f"OpenCostByController({DAY})"), "Namespace", "Controller")
    assert found == approximately(recorded.summed(recorded.workloads(), recorded.controller))
    assert {("shop", "__unallocated__"), ("ml", "__unmounted__")} <= found.keys()


def test_cost_by_node(day: Database) -> None:
    """Cost without a node is __unmounted__, and with the nodes it adds up to the total."""
    expected = recorded.summed(recorded.workloads(), lambda row: recorded.node(row) or "__unmounted__")
    assert by(day.rows(f"OpenCostByNode({DAY})"), "Node") == approximately(expected)


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("team", ("team",)),
        ("app.kubernetes.io/name", ("app_kubernetes_io_name",)),
        ("motto", ("motto",)),
        ("cost_center, team", ("cost_center", "team")),
        ("nosuchlabel", ("nosuchlabel",)),
        ('te"am', ("te_am",)),
    ],
)
def test_cost_by_label(label: str, names: tuple[str, ...], day: Database) -> None:
    """Any label, in either spelling, or the first of several; workloads without are __unallocated__."""
    literal = label.replace('"', '\\"')
    found = by(day.rows(f'OpenCostByLabel({DAY}, "{literal}")'), "Value")
    assert found == approximately(recorded.summed(recorded.workloads(), recorded.label(*names)))


def test_cost_by_team(day: Database) -> None:
    """By default the team label decides, then an owner or a cost centre; another label may be named."""
    expected = recorded.summed(recorded.workloads(), recorded.label("team", "owner", "cost_center"))
    assert by(day.rows(f"OpenCostByTeam({DAY})"), "Team") == approximately(expected)
    expected = recorded.summed(recorded.workloads(), recorded.label("cost_center"))
    assert by(day.rows(f'OpenCostByTeam({DAY}, "", "cost_center")'), "Team") == approximately(expected)


def test_daily_and_hourly_cost(day: Database) -> None:
    """The day's and the hours' costs are those of the windows that begin in them."""
    found = by(day.rows(f"OpenCostDailyCost({DAY})"), "Namespace")
    assert found == approximately(recorded.summed(recorded.workloads(), recorded.namespace))
    rows = day.rows(f"OpenCostHourlyCost({DAY})")
    found = {(row["Timestamp"].strftime("%Y-%m-%dT%H:%M:%SZ"), row["Namespace"]): row["TotalCost"] for row in rows}
    expected = recorded.summed(recorded.workloads(), lambda row: (row["window"]["start"], recorded.namespace(row)))
    assert found == approximately(expected)


def test_efficiency_and_the_money_wasted(day: Database) -> None:
    """Waste is what was charged for CPU, memory and GPUs beyond use, and volumes that no pod mounts."""

    def key(row: recorded.Record) -> tuple[str, str, str]:
        return (*recorded.controller(row), row["properties"]["container"])

    rows = day.rows(f"OpenCostEfficiency({DAY})")
    keys = ("Namespace", "Controller", "Container")
    assert by(rows, *keys, value="WastedCost") == approximately(
        recorded.summed(recorded.workloads(), key, recorded.wasted)
    )
    used = recorded.summed(recorded.workloads(), key, lambda row: row["cpuCoreUsageAverage"] * row["minutes"] / 60)
    requested = recorded.summed(
        recorded.workloads(), key, lambda row: row["cpuCoreRequestAverage"] * row["minutes"] / 60
    )
    expected = {name: used[name] / requested[name] if requested[name] else None for name in used}
    assert by(rows, *keys, value="CpuEfficiency") == pytest.approx(expected)
    assert None in expected.values()


def test_the_command_that_keeps_a_day_keeps_it_once(empty: Database, analyser: Analyser, schema: Schema) -> None:
    """The command in the comment of the daily function's file is valid, and run twice it stores the day once."""
    text = (script.root() / "functions" / "OpenCostDailyCost.kql").read_text(encoding="utf-8")
    command = "\n".join(line[2:].strip() for line in text.splitlines() if line.startswith("//   "))
    assert analyser.check(command, schema=schema) == []
    load_day(empty)
    try:
        for _ in range(2):
            commands.run(empty.engine, command)
        kept = by(empty.rows("OpenCostDaily"), "Namespace")
    finally:
        commands.run(empty.engine, ".drop table OpenCostDaily ifexists")
    assert kept == approximately(recorded.summed(recorded.workloads(), recorded.namespace))


def test_cost_of_a_run_is_of_its_rows_and_of_what_had_landed(empty: Database) -> None:
    """A run's cost is that of the batches it wrote and of those its run log calls already landed; of no other."""
    load_day(empty)
    test = Requested(run="test-123", collected=COLLECTED + HOUR)
    empty.allocation(
        recording("1.112", "allocation_window_1min.json"),
        Requested(run="test-123", options=RequestOptions(aggregate="namespace")),
    )
    batch = empty.one("OpenCostAllocation | where WindowStart == datetime(2026-11-23 03:00) | distinct BatchId")[
        "BatchId"
    ]
    bounds = {"window_start": "2026-11-23T03:00:00Z", "window_end": "2026-11-23T04:00:00Z"}
    empty.runs([{"batch_id": batch, "outcome": "already landed", **bounds}], test)
    own = json.loads(recording("1.112", "allocation_window_1min.json"))["data"][0].values()
    expected = recorded.total(own) + recorded.total(recorded.allocation_hours()[3])
    rows = empty.rows('OpenCostOfRun("test-123")')
    assert sum(row["TotalCost"] for row in rows) == pytest.approx(expected)
    assert min(row["WindowStart"] for row in rows).hour == 3
    assert empty.rows('OpenCostOfRun("nobody")') == []
    two = 'OpenCostOfRun("nightly", "", datetime(2026-11-23 10:00), datetime(2026-11-23 12:00))'
    hours = (row for hour in recorded.allocation_hours()[10:12] for row in hour)
    assert by(empty.rows(f"{two} | summarize TotalCost = sum(TotalCost) by Namespace"), "Namespace") == approximately(
        recorded.summed(hours, recorded.namespace)
    )
    nightly = empty.one('OpenCostOfRun("nightly") | summarize Cost = sum(TotalCost)')["Cost"]
    assert nightly == pytest.approx(recorded.total(recorded.workloads()))
