"""One window is taken in more than once: again, at the same moment, by two machines, by somebody else."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

import opencost_kusto
from opencost_kusto.pipeline.request import new_run
from opencost_kusto.result import Report
from opencost_kusto.schema.tables import ALLOCATION, SYNC_RUNS
from tests.faults.ending import Ending, fault
from tests.faults.lane import HOUR, ROWS, Lane, honest, of
from tests.faults.wire import is_message


@fault("The same window is taken in again", "already landed")
def test_the_same_window_twice(lane: Lane, ending: Ending) -> None:
    """The second time it is there already, and stays once."""
    assert of(lane.sync()).outcome == "landed"
    one = ending.of(lane.sync())
    assert (one.rows, one.reason) == (ROWS, None)
    lane.settle(ROWS)


def at_once(lane: Lane, **more: Any) -> list[Report]:
    """The reports of two syncs that begin at the same moment."""
    start = threading.Barrier(2)
    reports: list[Report] = []

    def run() -> None:
        start.wait()
        reports.append(lane.sync(**more))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 2
    return reports


@fault("Two syncs take in one window at the same moment", "landed", "already landed")
def test_two_syncs_at_the_same_moment(lane: Lane, ending: Ending) -> None:
    """Whichever message comes first lands, both see it land, and the rows are there once."""
    lane.kusto.latency = 0.3
    for report in at_once(lane):
        ending.of(report)
    lane.settle(ROWS)


@fault("Two machines take in one window at the same moment", "landed", "already landed")
def test_two_machines_at_the_same_moment(lane: Lane, ending: Ending) -> None:
    """Two processes that share nothing but the two services: in each round both are right, and the rows are once."""
    rounds = [HOUR.start + timedelta(hours=number) for number in range(3)]
    for hour in rounds:
        window = f"{hour:%Y-%m-%dT%H:%M:%SZ},{hour + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        asked = ["--window", window, "--aggregate", "namespace", "--dataset", "allocation", "--dataset", "assets"]
        where = ["--endpoint", lane.opencost.url, "--kusto-uri", lane.kusto.url, "--database", "OpenCost"]
        command = [sys.executable, "-m", "opencost_kusto", "sync", *where, "--auth", "none", "--json", *asked]
        machines = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
        for machine in machines:
            out, err = machine.communicate(timeout=60)
            document = json.loads(out)
            ending.process(machine.returncode, err.decode())
            data = [one for one in document["batches"] if one["table"] != SYNC_RUNS.name]
            ending.among({one["outcome"] for one in data})
            assert len(data) == 2
    lane.kusto.wait_idle()
    twice = f"{ALLOCATION.name} | summarize Rows = count() by AllocationName, WindowStart | where Rows > 1"
    assert lane.query(twice) == []
    (counted,) = lane.query(f"{ALLOCATION.name} | summarize Rows = count(), Windows = dcount(WindowStart)")
    assert counted["Windows"] == len(rounds)


@fault(
    "Somebody else has put the same rows there",
    "failed",
    exit_code=5,
    says="holds … rows of …, but … were sent: some are there twice. sync --replace puts the answer there once.",
)
def test_somebody_else_put_the_rows_there_twice(lane: Lane, ending: Ending) -> None:
    """More rows than were sent are an error of their own, and never success."""
    lane.kusto.pause()
    reports: list[Report] = []
    thread = threading.Thread(target=lambda: reports.append(lane.sync(timeout=10)))
    thread.start()
    while not any(is_message(request) for request in lane.kusto.requests):
        time.sleep(0.01)
    # The same blob announced without its tag, as a careless producer would.
    (message,) = (request for request in lane.kusto.requests if is_message(request))
    for _ in range(2):
        requests.post(lane.kusto.url + message.target, data=untagged(message.body), timeout=5).close()
    lane.kusto.resume()
    thread.join()
    ending.of(reports[0])


def untagged(body: bytes) -> bytes:
    """The message without what makes it land once."""
    found = re.search(rb"<MessageText>(.*?)</MessageText>", body)
    assert found
    message = json.loads(base64.b64decode(found[1]))
    message["AdditionalProperties"].pop("ingestIfNotExists")
    text = base64.b64encode(json.dumps(message).encode()).decode()
    return f"<QueueMessage><MessageText>{text}</MessageText></QueueMessage>".encode()


@pytest.mark.parametrize(
    "module",
    ["batch", "retry", "kusto/client", "load/ingest", "load/tracker"]
    + [f"pipeline/{name}" for name in ("ahead", "stage", "sync", "replay", "run_log")],
)
def test_nothing_is_timed_by_the_clock_on_the_wall(module: str) -> None:
    """A clock that jumps in the middle of a run ends no wait and names no batch: deadlines are counted, not dated."""
    source = (Path(opencost_kusto.__file__).parent / f"{module}.py").read_text(encoding="utf-8")
    assert not re.search(r"time\.time\(|datetime\.now|utcnow|date\.today", source)


@fault("The machine's clock is a day ahead, or a day behind", "already landed")
def test_the_clock_jumps_between_two_runs(lane: Lane, ending: Ending) -> None:
    """What a batch is called does not depend on when it was asked for: the other day's run finds it there."""
    now = new_run()
    assert of(lane.sync(run=now)).outcome == "landed"
    for days in (1, -1):
        run = new_run(f"jumped-{days}")
        jumped = type(run)(run.id, run.collection_time + timedelta(days=days), run.tool_version)
        report = lane.sync(run=jumped)
        honest(report)
        ending.of(report)
    lane.settle(ROWS)
