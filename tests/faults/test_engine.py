"""The engine is busy, down, or late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from opencost_kusto.emulator import Request
from opencost_kusto.kusto.client import Deadlines
from tests.faults.ending import Ending, fault
from tests.faults.lane import ROWS, Lane, of
from tests.faults.wire import (
    DOWN,
    THROTTLED,
    always,
    is_count,
    is_identity,
    is_message,
    is_query,
    is_resources,
    kusto_refusal,
    once,
)


@pytest.mark.parametrize("hop", [is_resources, is_identity, is_count], ids=["resources", "identity", "count"])
@fault("Kusto is throttling, once", "landed")
def test_throttled_then_fine(lane: Lane, hop: Callable[[Request], bool], ending: Ending) -> None:
    """A busy Kusto is asked again."""
    lane.kusto.fault = once(hop, THROTTLED)
    ending.landed(lane, lane.sync(deadlines=Deadlines()))


@fault(
    "Kusto is throttling to the end",
    "failed",
    exit_code=5,
    says="Kusto at … throttled the …: The request was throttled by the server",
)
def test_throttled_to_the_end(lane: Lane, ending: Ending) -> None:
    """A Kusto that stays busy is a failed batch."""
    lane.kusto.fault = always(lambda request: bool(request.csl), THROTTLED)
    ending.failed(lane, lane.sync())
    lane.settle(0)


def queued(lane: Lane) -> bool:
    """Whether anything was announced."""
    return any(is_message(request) for request in lane.kusto.requests)


@fault("The engine goes down while rows are waited for, and comes back", "landed")
def test_engine_goes_down_during_the_wait_and_comes_back(lane: Lane, ending: Ending) -> None:
    """Questions that fail while rows land are asked again until the deadline."""
    lane.kusto.pause()
    lane.kusto.fault = lambda request: DOWN if is_query(request) and queued(lane) else None

    def recover() -> None:
        while not queued(lane):
            time.sleep(0.01)
        time.sleep(1)
        lane.kusto.fault = None
        lane.kusto.resume()

    helper = threading.Thread(target=recover)
    helper.start()
    report = lane.sync(timeout=30)
    helper.join()
    ending.landed(lane, report)


@fault(
    "The engine goes down while rows are waited for, and stays down",
    "timed out",
    exit_code=6,
    says="not seen to land within … s: Kusto at … failed at the query …",
)
def test_engine_stays_down_during_the_wait(lane: Lane, ending: Ending) -> None:
    """Rows that cannot be counted are not reported landed, though they are."""
    lane.kusto.fault = lambda request: DOWN if is_query(request) and queued(lane) else None
    ending.of(lane.sync(deadlines=Deadlines(query=1), timeout=1))
    lane.settle(ROWS)


@fault("Kusto is down from the start", "failed", exit_code=5, says="Kusto at … failed at the query …")
def test_kusto_is_down_from_the_start(lane: Lane, ending: Ending) -> None:
    """OpenCost is not asked in vain, and the exit code says whose fault it is."""
    lane.kusto.fault = always(lambda _: True, DOWN)
    ending.of(lane.sync(deadlines=Deadlines(query=1, resources=1)))
    assert "/allocation" not in [request.path for request in lane.opencost.requests]
    lane.settle(0)


@fault("Rows land late", "landed")
def test_rows_land_late(lane: Lane, ending: Ending) -> None:
    """Waiting lasts until the rows are there."""
    lane.kusto.latency = 1.5
    ending.landed(lane, lane.sync())


@fault(
    "Rows do not land in time",
    "timed out",
    exit_code=6,
    says="not landed within … s: 0 of … rows are there; Kusto knows of no failure: the blob waits in the queue, or "
    "never arrived. Run again later.",
)
def test_rows_never_land(lane: Lane, ending: Ending) -> None:
    """A batch that stays in the queue is timed out, and says what Kusto knows; a later run finds what came late."""
    lane.kusto.pause()
    ending.failed(lane, lane.sync(timeout=0.5))
    lane.settle(ROWS)
    assert of(lane.sync()).outcome == "already landed"
    lane.settle(ROWS)


@fault("Rows do not land, and nobody waits for them (`--no-wait`)", "queued")
def test_nobody_waits(lane: Lane, ending: Ending) -> None:
    """Without waiting a batch is queued, which is all that is claimed."""
    lane.kusto.pause()
    report = lane.sync(wait=False)
    ending.of(report)
    assert lane.count() == 0
    assert {one.outcome for one in report.outcomes} == {"queued"}
    lane.settle(ROWS)


@fault(
    "Nobody may ask the engine: the right to read is missing",
    "failed",
    exit_code=5,
    says="Kusto at … refused the query …Principal is not authorized",
)
def test_the_engine_may_not_be_asked(lane: Lane, ending: Ending) -> None:
    """What the engine refuses for good it will refuse again, so nobody waits for the deadline."""
    refused = kusto_refusal(403, "Principal is not authorized.", permanent=True)
    lane.kusto.fault = lambda request: (
        refused if is_query(request) and any(is_message(one) for one in lane.kusto.requests) else None
    )
    began = time.monotonic()
    ending.of(lane.sync(timeout=60, deadlines=Deadlines()))
    assert time.monotonic() - began < 20
    lane.settle(ROWS)
