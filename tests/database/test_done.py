"""A new database and three identities with the least rights: everything a user does, by documented rules alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from opencost_kusto.coverage.status import status
from opencost_kusto.database import assumptions, doctor
from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.database.finding import Status
from opencost_kusto.database.functions import call, functions
from opencost_kusto.insight.database import Kusto
from opencost_kusto.kusto.client import Deadlines
from opencost_kusto.kusto.rights import TASKS, Task
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.pipeline.sync import sync
from tests.faults.wire import shortened
from tests.support.world import HOUR, NAMESPACES, ROWS, World, result_of

BY_COMMAND = {command: task for task in TASKS for command in task.commands}
DATASETS = ("allocation", "assets", "metrics")
# A value for each parameter that has no default.
VALUES = {
    **{"startTime": "2026-11-23", "endTime": "2026-11-24", "dataset": "allocation", "label": "app"},
    **{"runId": "first", "baselineRunId": "second"},
}


class Identities:
    """A client for each identity, with the rights of its tasks and no others."""

    def __init__(self, world: World, stack: ExitStack) -> None:
        self.world = world
        self._stack = stack

    def __call__(self, name: str, *commands: str) -> Kusto:
        """A client with the least rights for some commands, granted by the lines that the guide has."""
        principal = f"aadapp=11111111-0000-4000-8000-00000000000a;{name}"
        tasks: list[Task] = [BY_COMMAND[command] for command in commands]
        lines = {line for task in tasks for line in task.grants("OpenCost", principal)}
        self.world.command(*sorted(lines))
        door = self._stack.enter_context(self.world.kusto.door(principal))
        deadlines = Deadlines(query=60)
        return self._stack.enter_context(Kusto(door.url, "OpenCost", auth="none", deadlines=deadlines))


@pytest.fixture(scope="module")
def identities() -> Iterator[Identities]:
    """A Kusto without tables, and an OpenCost with the recorded hour."""
    with World(tables=False) as world, ExitStack() as stack:
        yield Identities(world, stack)


@pytest.mark.slow
def test_a_new_database_from_bootstrap_to_every_function(identities: Identities) -> None:
    """Bootstrap twice, sync, sync again, replace, doctor, doctor --write, status, cost and every function."""
    world = identities.world
    person = identities("person", "bootstrap")
    assert bootstrap(person).refused == ()
    assert bootstrap(person).changed == 0

    pipeline = identities("pipeline", "sync", "sync --replace", "doctor --write")
    request = SyncRequest(HOUR, None, DATASETS, NAMESPACES)
    with world.source() as opencost:
        assert sync(opencost, pipeline, request, policy=LoadPolicy(timeout=60)).counts == {"landed": 3}
        # A scrape is of its minute.
        twice = sync(opencost, pipeline, request, policy=LoadPolicy(timeout=60))
    assert [result_of(twice, f"OpenCost{name}").outcome for name in ("Allocation", "Assets")] == ["already landed"] * 2
    world.opencost.responder = shortened
    with world.source() as opencost:
        again = sync(opencost, pipeline, request, policy=LoadPolicy(timeout=60, replace=True))
    world.opencost.responder = None
    assert again.exit_code == 0
    assert result_of(again).rows == world.count() < ROWS
    assert not world.staging

    found = [*doctor.examine(pipeline), *assumptions.examine(pipeline, sleep=lambda _: None)]
    assert [one for one in found if one.status is Status.FAILED] == []
    assert all("not authorized" not in one.message for one in found if one.hop == "assumption")

    reader = identities("reader", "status", "cost", "query")
    known = {one.dataset: one for one in status(reader, now=HOUR.end)}
    assert known.keys() == set(DATASETS)
    assert known["allocation"].until == HOUR.end
    assert known["allocation"].missing == []
    assert sum(line["TotalCost"] for line in reader.cost("namespace", HOUR)) == pytest.approx(again_cost(world))
    for function in functions():
        needed = {one.name: VALUES[one.name] for one in function.parameters if one.default is None}
        reader.query(call(function.name, needed))
    assert {row["Finding"] for row in reader.query("OpenCostProof() | distinct Finding")} == {"complete"}


def again_cost(world: World) -> float:
    """The cost of the rows that the table holds."""
    return float(world.query("OpenCostAllocation | summarize Cost = sum(TotalCost)")[0]["Cost"])
