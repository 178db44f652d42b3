"""The queue loses its reply, delivers twice, refuses, or is not there."""

from __future__ import annotations

import pytest

from opencost_kusto.emulator import LOSE_REPLY, Request
from opencost_kusto.kusto.client import Deadlines
from tests.faults.ending import Ending, fault
from tests.faults.lane import ROWS, Lane, of
from tests.faults.wire import always, is_identity, is_message, kusto_refusal, once, storage_refusal


@fault("The queue delivers a message twice", "landed")
def test_a_message_is_delivered_twice(lane: Lane, ending: Ending) -> None:
    """Two messages of one part make one extent: the tag sees to it."""
    twice: list[Request] = []

    def double(request: Request) -> None:
        if is_message(request):
            twice.append(request)
            lane.kusto.respond(request)

    lane.kusto.fault = double
    ending.landed(lane, lane.sync())
    assert twice


@pytest.mark.slow
@fault("The queue's reply is lost, and the SDK sends the message again", "landed")
def test_queue_reply_is_lost(lane: Lane, ending: Ending) -> None:
    """The message arrives twice, and the rows once; the SDK's own pause of 15 s cannot be shortened."""
    lane.kusto.fault = once(is_message, LOSE_REPLY)
    report = lane.sync(deadlines=Deadlines(query=3, queue=30))
    assert len([request for request in lane.kusto.requests if is_message(request)]) >= 2
    ending.landed(lane, report)


@fault(
    "The queue's reply never comes, though the message arrives",
    "failed",
    exit_code=5,
    says="The queue message for … did not end within … s",
)
def test_queue_reply_is_lost_every_time(lane: Lane, ending: Ending) -> None:
    """When no reply ever comes the batch has failed for us, and a second run finds what landed, once."""
    lane.kusto.fault = always(is_message, LOSE_REPLY)
    ending.of(lane.sync(deadlines=Deadlines(query=3, resources=3, queue=1)))
    lane.settle(ROWS)
    again = lane.sync()
    assert (of(again).outcome, again.exit_code) == ("already landed", 0)
    lane.settle(ROWS)


@fault(
    "The queue refuses the message",
    "failed",
    exit_code=5,
    says="Kusto's queue refused the queue message for …: This request is refused",
)
def test_queue_refuses(lane: Lane, ending: Ending) -> None:
    """A blob that was uploaded and not announced is a failed batch."""
    lane.kusto.fault = always(is_message, storage_refusal())
    ending.failed(lane, lane.sync(deadlines=Deadlines(queue=20)))
    lane.settle(0)


@fault(
    "Kusto lists no queues", "failed", exit_code=5, says="lists no queues to announce blobs in, so nothing was sent."
)
def test_no_queues_listed(lane: Lane, ending: Ending) -> None:
    """Nothing is uploaded when there is nowhere to announce it; the SDK would say nothing."""
    lane.storage.queue_names.clear()
    ending.failed(lane, lane.sync())
    assert not lane.storage.blobs


@fault(
    "Kusto refuses the identity token",
    "failed",
    exit_code=5,
    says="Kusto at … refused the command .get kusto identity token …: Principal is not authorized.",
)
def test_identity_token_refused(lane: Lane, ending: Ending) -> None:
    """Without a token to put into the message, nothing is queued."""
    lane.kusto.fault = always(is_identity, kusto_refusal(403, "Principal is not authorized.", permanent=True))
    ending.failed(lane, lane.sync())
    lane.settle(0)
