"""The engine is busy, down, or late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from opencost_kusto.emulator import Request
from opencost_kusto.kusto.client import Deadlines
from tests.faults.ending import Ending, fault
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
from tests.support.world import ROWS, World, result_of


@pytest.mark.parametrize("hop", [is_resources, is_identity, is_count], ids=["resources", "identity", "count"])
@fault("Kusto is throttling, once", "landed")
def test_throttled_then_fine(world: World, hop: Callable[[Request], bool], ending: Ending) -> None:
    """A throttled request is sent again."""
    world.kusto.fault = once(hop, THROTTLED)
    ending.landed(world, world.sync(deadlines=Deadlines()))


@fault("Kusto is throttling to the end", "failed", exit_code=5, says="Kusto at … throttled the query …")
def test_throttled_to_the_end(world: World, ending: Ending) -> None:
    """A Kusto that stays busy is a failed batch."""
    world.kusto.fault = always(lambda request: bool(request.csl), THROTTLED)
    ending.failed(world, world.sync())
    world.settle(0)


def queued(world: World) -> bool:
    """Whether anything was queued."""
    return any(is_message(request) for request in world.kusto.requests)


@fault("The engine goes down during the wait for rows, and comes back", "landed")
def test_engine_is_down_for_a_part_of_the_wait(world: World, ending: Ending) -> None:
    """Counts that fail while rows land are repeated until the deadline."""
    world.kusto.pause()
    world.kusto.fault = lambda request: DOWN if is_query(request) and queued(world) else None

    def recover() -> None:
        while not queued(world):
            time.sleep(0.01)
        time.sleep(1)
        world.kusto.fault = None
        world.kusto.resume()

    helper = threading.Thread(target=recover)
    helper.start()
    report = world.sync(timeout=30)
    helper.join()
    ending.landed(world, report)


@fault(
    "The engine goes down during the wait for rows, and stays down",
    "timed out",
    exit_code=6,
    says="not landed within … s of the last landing, and the reason cannot be read: Kusto at … failed at the query …",
)
def test_engine_stays_down_during_the_wait(world: World, ending: Ending) -> None:
    """Rows that cannot be counted are not reported landed, though they are."""
    world.kusto.fault = lambda request: DOWN if is_query(request) and queued(world) else None
    ending.result_of(world.sync(deadlines=Deadlines(query=1), timeout=1))
    world.settle(ROWS)


@fault("Kusto is down from the start", "failed", exit_code=5, says="Kusto at … failed at the query …")
def test_kusto_is_down_from_the_start(world: World, ending: Ending) -> None:
    """OpenCost gets no request, and the exit code says that Kusto failed."""
    world.kusto.fault = always(lambda _: True, DOWN)
    ending.result_of(world.sync(deadlines=Deadlines(query=1, resources=1)))
    assert "/allocation" not in [request.path for request in world.opencost.requests]
    world.settle(0)


@fault("Rows land late", "landed")
def test_rows_land_late(world: World, ending: Ending) -> None:
    """Waiting lasts until the rows are there."""
    world.kusto.latency = 1.5
    ending.landed(world, world.sync())


@fault(
    "Rows do not land in time",
    "timed out",
    exit_code=6,
    says="not landed within … s of the last landing: Kusto lists no failure: the blob is still queued, or the "
    "ingestion service refused it (rights, limits). Run again later.",
)
def test_rows_never_land(world: World, ending: Ending) -> None:
    """A batch that stays in the queue is timed out, and says what Kusto lists; a later run finds what landed late."""
    world.kusto.pause()
    ending.failed(world, world.sync(timeout=0.5))
    world.settle(ROWS)
    assert result_of(world.sync()).outcome == "already landed"
    world.settle(ROWS)


@fault("Rows do not land, and the run does not wait (`--no-wait`)", "queued")
def test_a_batch_without_a_wait_is_queued(world: World, ending: Ending) -> None:
    """Without a wait a batch is queued, and no more is reported."""
    world.kusto.pause()
    report = world.sync(wait=False)
    ending.result_of(report)
    assert world.count() == 0
    assert {one.outcome for one in report.results} == {"queued"}
    world.settle(ROWS)


@fault(
    "The right to query is withdrawn during the wait for rows",
    "timed out",
    exit_code=6,
    says="not landed within … s of the last landing, and the reason cannot be read: Kusto at … refused the query …: "
    "Principal is not authorized. It needs Database Viewer; an administrator of the database runs: …",
)
def test_the_right_to_query_is_withdrawn(world: World, ending: Ending) -> None:
    """A queued batch may still land, so only the deadline ends it, and a later run finds it."""
    refused = kusto_refusal(403, "Principal is not authorized.", permanent=True)
    world.kusto.fault = lambda request: (
        refused if is_query(request) and any(is_message(one) for one in world.kusto.requests) else None
    )
    ending.result_of(world.sync(timeout=1, deadlines=Deadlines()))
    world.settle(ROWS)
    assert result_of(world.sync()).outcome == "already landed"
