"""One window is loaded more than once: again, at the same moment, by two machines, by another program."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import opencost_kusto
from opencost_kusto.emulator import Behaviour
from opencost_kusto.pipeline.request import new_run
from opencost_kusto.result import Report
from opencost_kusto.schema.tables import ALLOCATION
from tests.faults.ending import Ending, fault
from tests.support.world import HOUR, ROWS, World, check_consistent, result_of


@fault("The same window is synced again", "already landed")
def test_the_same_window_twice(world: World, ending: Ending) -> None:
    """The second time it has already landed, and is in the table once."""
    assert result_of(world.sync()).outcome == "landed"
    one = ending.result_of(world.sync())
    assert (one.rows, one.reason) == (ROWS, None)
    world.settle(ROWS)


@fault("The same window is synced again without tags", "already landed")
def test_the_same_window_twice_without_tags(world: World, ending: Ending) -> None:
    """Blobs carry no tag, so that Kusto ingests them together; counting keeps the window from being sent again."""
    assert result_of(world.sync(tags=False)).outcome == "landed"
    assert {one.tags for one in world.kusto.engine.tables[ALLOCATION.name].extents.values()} == {()}
    ending.result_of(world.sync(tags=False))
    world.settle(ROWS)


@fault("A message without a tag is delivered twice; then run again", "already landed")
def test_a_message_without_a_tag_twice(world: World, ending: Ending) -> None:
    """Both copies land, counting finds them, and the response replaces them; the next run finds a late one."""
    world.kusto.behaviour = Behaviour(repeated=1.0)
    world.sync(tags=False)
    world.kusto.wait_idle()
    world.kusto.behaviour = Behaviour()
    world.sync(tags=False)
    world.settle(ROWS)
    ending.result_of(world.sync(tags=False))


def at_once(world: World, **more: Any) -> list[Report]:
    """The reports of two syncs that begin at the same moment."""
    start = threading.Barrier(2)
    reports: list[Report] = []

    def run() -> None:
        start.wait()
        reports.append(world.sync(**more))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 2
    return reports


@fault("Two syncs load one window at the same moment", "landed", "already landed")
def test_two_syncs_at_the_same_moment(world: World, ending: Ending) -> None:
    """Whichever message is first lands, both runs report it landed, and the rows are in the table once."""
    world.kusto.latency = 0.3
    for report in at_once(world):
        ending.result_of(report)
    world.settle(ROWS)


@fault("Two machines load one window at the same moment", "landed", "already landed")
def test_two_machines_at_the_same_moment(world: World, ending: Ending) -> None:
    """Two processes that share nothing but the two services: in each round both are right, and the rows are once."""
    rounds = [HOUR.start + timedelta(hours=number) for number in range(3)]
    for hour in rounds:
        window = f"{hour:%Y-%m-%dT%H:%M:%SZ},{hour + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        requested = ["--window", window, "--aggregate", "namespace", "--dataset", "allocation", "--dataset", "assets"]
        where = ["--endpoint", world.opencost.url, "--kusto-uri", world.kusto.url, "--database", "OpenCost"]
        command = [sys.executable, "-m", "opencost_kusto", "sync", *where, "--auth", "none", "-o", "json", *requested]
        machines = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
        for machine in machines:
            out, err = machine.communicate(timeout=60)
            document = json.loads(out)
            ending.process(machine.returncode, err.decode())
            ending.among({one["outcome"] for one in document["batches"]})
            assert len(document["batches"]) == 2
    world.kusto.wait_idle()
    twice = f"{ALLOCATION.name} | summarize Rows = count() by AllocationName, WindowStart | where Rows > 1"
    assert world.query(twice) == []
    (counted,) = world.query(f"{ALLOCATION.name} | summarize Rows = count(), Windows = dcount(WindowStart)")
    assert counted["Windows"] == len(rounds)


@pytest.mark.parametrize(
    "module",
    ["batch", "retry", "kusto/client"]
    + [f"load/{name}" for name in ("holdings", "ingest", "loader", "run_log", "tracker")]
    + [f"pipeline/{name}" for name in ("pool", "staging", "loading", "fleet", "stage", "sync", "replay")],
)
def test_nothing_is_timed_by_the_clock_on_the_wall(module: str) -> None:
    """A clock that jumps during a run ends no wait and names no batch: deadlines are monotonic."""
    source = (Path(opencost_kusto.__file__).parent / f"{module}.py").read_text(encoding="utf-8")
    assert not re.search(r"time\.time\(|datetime\.now|utcnow|date\.today|utc_now", source)


@fault("The machine's clock is a day ahead, or a day behind", "already landed")
def test_the_clock_jumps_between_two_runs(world: World, ending: Ending) -> None:
    """A batch's id does not depend on the time of its request: a run of another day finds it landed."""
    now = new_run()
    assert result_of(world.sync(run=now)).outcome == "landed"
    for days in (1, -1):
        run = new_run(f"jumped-{days}")
        jumped = type(run)(run.id, run.collection_time + timedelta(days=days), run.tool_version)
        report = world.sync(run=jumped)
        check_consistent(report)
        ending.result_of(report)
    world.settle(ROWS)
