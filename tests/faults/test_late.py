"""A message is late: its rows land after the run that queued them has ended, and after another run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from opencost_kusto.emulator import LOSE_REPLY, Reply, Request
from opencost_kusto.errors import ReasonCode
from opencost_kusto.kusto.client import Deadlines
from tests.faults.ending import Ending, fault
from tests.faults.test_spool import untag
from tests.faults.wire import always, empty, is_message, shortened
from tests.support.world import ROWS, World, result_of


def timed_out(world: World) -> Callable[[], None]:
    """Let a run time out, and return what delivers its message."""
    world.kusto.pause()
    report = world.sync(timeout=0.3)
    assert (result_of(report).outcome, report.exit_code) == ("timed out", 6)
    (message,) = (request for request in world.kusto.requests if is_message(request))
    assert world.storage.receive() is not None
    world.kusto.resume()

    def deliver() -> None:
        world.kusto.respond(message)
        world.kusto.wait_idle()

    return deliver


@fault("A message of a run that timed out arrives after another run landed another response", "landed")
def test_a_late_message_finds_another_response(world: World, ending: Ending) -> None:
    """The batch has one blob and one tag, so a late response is left out, and no run after it has anything to say."""
    deliver = timed_out(world)
    world.opencost.responder = shortened
    ending.landed(world, world.sync(), ROWS - 1)
    deliver()
    again = result_of(world.sync())
    assert (again.outcome, again.notes) == ("already landed", [])
    world.settle(ROWS - 1)
    assert len(world.collected()) == 1


@fault(
    "A message of a run that timed out arrives while another run waits for another response",
    "already landed",
    says="another run landed a response that differs by -1 rows and … in cost",
)
def test_a_late_message_overtakes_another_response(world: World, ending: Ending) -> None:
    """Whichever lands first is complete, and the run whose response was left out reports it."""
    deliver = timed_out(world)
    world.opencost.responder = shortened

    def first(request: Request) -> None:
        if is_message(request):
            world.kusto.fault = None
            deliver()

    world.kusto.fault = first
    one = ending.result_of(world.sync())
    assert (one.rows, one.reason_code) == (ROWS, ReasonCode.CHANGED)
    world.settle(ROWS)
    assert len(world.collected()) == 1


@fault("A message of a run that timed out arrives after the next run has read the table", "landed")
def test_a_late_message_arrives_after_the_table_was_read(world: World, ending: Ending) -> None:
    """A tag whose rows are there is not one that outlived its rows, so the response is not sent under another tag."""
    deliver = timed_out(world)

    def late(path: str, _: object) -> Reply | None:
        if path == "/allocation":
            deliver()
        return None

    world.opencost.responder = late
    ending.landed(world, world.sync(), ROWS)
    world.settle(ROWS)
    assert len(world.collected()) == 1


@fault(
    "A message arrives after its tag was dropped, beside another response; then run again",
    "landed",
    says="replaces 15 rows and … in cost: 15 rows of two responses",
)
def test_a_late_message_without_a_tag_is_mended(world: World, ending: Ending) -> None:
    """Two responses beside each other are damage, which the next run replaces."""
    world.opencost.responder = shortened
    deliver = timed_out(world)
    world.opencost.responder = None
    assert result_of(world.sync()).outcome == "landed"
    untag(world)
    deliver()
    assert world.count() == 2 * ROWS - 1
    ending.result_of(world.sync())
    world.settle(ROWS)
    assert len(world.collected()) == 1


NOT_EMPTY = fault(
    "Rows that are still queued, and OpenCost no longer has data for the window",
    "failed",
    exit_code=4,
    says="A run sent rows of … that are not in OpenCostAllocation yet, and OpenCost has no data for the window any "
    "more. If a spool holds the batch, replay it; otherwise run again later.",
)


@NOT_EMPTY
def test_a_window_with_queued_rows_is_not_empty(world: World, ending: Ending) -> None:
    """A window is empty only if no run queued rows for it; once the rows land, they are already landed."""
    deliver = timed_out(world)
    world.opencost.responder = empty
    for _ in range(2):
        ending.failed(world, world.sync())
    deliver()
    report = world.sync()
    assert (result_of(report).outcome, report.exit_code) == ("already landed", 0)
    assert [row["Outcome"] for row in world.log()] == ["timed out", "failed", "failed", "already landed"]
    world.settle(ROWS)


@NOT_EMPTY
def test_a_window_whose_queue_did_not_reply_is_not_empty(world: World, ending: Ending) -> None:
    """A run that failed since the queue's reply was lost may have queued rows as well."""
    world.kusto.pause()
    world.kusto.fault = always(is_message, LOSE_REPLY)
    assert result_of(world.sync(deadlines=Deadlines(query=3, resources=3, queue=1))).outcome == "failed"
    world.kusto.fault = None
    world.opencost.responder = empty
    ending.failed(world, world.sync())
    world.drain()
    assert result_of(world.sync()).outcome == "already landed"
    world.settle(ROWS)


@pytest.mark.parametrize("responder", [None, shortened], ids=["", "another response"])
@fault("A run that did not wait (`--no-wait`), and the next one, before its rows land", "landed", "already landed")
def test_a_queued_batch_is_synced_again(
    world: World, responder: Callable[[str, object], Reply | None] | None, ending: Ending
) -> None:
    """Both messages are in the queue; one response lands, and only once."""
    world.kusto.pause()
    assert result_of(world.sync(wait=False)).outcome == "queued"
    world.opencost.responder = responder

    def resume(request: Request) -> None:
        if is_message(request):
            world.kusto.fault = None
            world.kusto.resume()

    world.kusto.fault = resume
    ending.result_of(world.sync())
    world.settle(ROWS)
    assert len(world.collected()) == 1
