"""The queue loses its reply, delivers twice, refuses, or is not there."""

from __future__ import annotations

import pytest

from opencost_kusto.emulator import LOSE_REPLY, Reply, Request
from opencost_kusto.emulator.kusto.catalog import Failure
from opencost_kusto.kusto.client import Deadlines
from opencost_kusto.schema.tables import ALLOCATION
from tests.faults.ending import Ending, fault
from tests.faults.wire import always, is_count, is_identity, is_message, kusto_refusal, once, partial, storage_refusal
from tests.support.world import ROWS, World, result_of

SKIPPED = "Skipped_IngestByTagAlreadyExists"


@fault("The queue delivers a message twice", "landed")
def test_a_message_is_delivered_twice(world: World, ending: Ending) -> None:
    """Two messages of one blob make one extent, because of the tag."""
    twice: list[Request] = []

    def double(request: Request) -> None:
        if is_message(request):
            twice.append(request)
            world.kusto.respond(request)

    world.kusto.fault = double
    ending.landed(world, world.sync())
    assert twice


@pytest.mark.slow
@fault("The queue's reply is lost, and the SDK sends the message again", "landed")
def test_queue_reply_is_lost(world: World, ending: Ending) -> None:
    """The message arrives twice, and the rows once; the SDK's own pause of 15 s cannot be shortened."""
    world.kusto.fault = once(is_message, LOSE_REPLY)
    report = world.sync(deadlines=Deadlines(query=3, queue=30))
    assert len([request for request in world.kusto.requests if is_message(request)]) >= 2
    ending.landed(world, report)


@fault(
    "The queue's reply never comes, though the message arrives",
    "failed",
    exit_code=5,
    says="The queue message for … did not end within … s",
)
def test_queue_reply_is_lost_every_time(world: World, ending: Ending) -> None:
    """Without a reply the batch has failed, and a second run finds what landed, once."""
    world.kusto.fault = always(is_message, LOSE_REPLY)
    ending.result_of(world.sync(deadlines=Deadlines(query=3, resources=3, queue=1)))
    world.settle(ROWS)
    again = world.sync()
    assert (result_of(again).outcome, again.exit_code) == ("already landed", 0)
    world.settle(ROWS)


@fault(
    "The queue refuses the message",
    "failed",
    exit_code=5,
    says="Kusto's queue refused the queue message for …: This request is refused",
)
def test_queue_refuses(world: World, ending: Ending) -> None:
    """A blob that was uploaded and not queued is a failed batch."""
    world.kusto.fault = always(is_message, storage_refusal())
    ending.failed(world, world.sync(deadlines=Deadlines(queue=20)))
    world.settle(0)


@fault(
    "Kusto lists no queues", "failed", exit_code=5, says="lists no queues to announce blobs in, so nothing was sent."
)
def test_no_queues_listed(world: World, ending: Ending) -> None:
    """Nothing is uploaded where there is no queue for it; the SDK would report no error."""
    world.storage.queue_names.clear()
    ending.failed(world, world.sync())
    assert not world.storage.blobs


@fault(
    "Kusto refuses the identity token",
    "failed",
    exit_code=5,
    says="Kusto at … refused the command .get kusto identity token …: Principal is not authorized.",
)
def test_identity_token_refused(world: World, ending: Ending) -> None:
    """Without a token to put into the message, nothing is queued."""
    world.kusto.fault = always(is_identity, kusto_refusal(403, "Principal is not authorized.", permanent=True))
    ending.failed(world, world.sync())
    world.settle(0)


@fault("Kusto lists a message that was left out by its tag as a permanent failure", "landed")
def test_a_skipped_message_is_no_failure(world: World, ending: Ending) -> None:
    """A blob that is skipped since its tag is there is not refused: the batch is waited for, and lands.

    Microsoft's list of ingestion error codes has `Skipped_IngestByTagAlreadyExists` under "Other non errors".
    https://learn.microsoft.com/kusto/management/ingestion-failures
    """
    world.kusto.pause()
    listed: list[Request] = []

    def skip(request: Request) -> None:
        if request.csl.startswith(".show ingestion failures"):
            listed.append(request)
            # It responds first; the rows land before a later count.
            world.kusto.fault = lambda later: world.kusto.resume() if is_count(later) else None
        if is_message(request) and not world.kusto.engine.failures:
            world.kusto.engine.failures += [
                Failure(ALLOCATION.name, blob, "The tag is there.", SKIPPED, "{}", world.kusto.engine.clock())
                for blob in world.storage.blobs
            ]

    world.kusto.fault = skip
    ending.landed(world, world.sync(timeout=60))
    assert listed


@fault("A query fails inside its response (`OneApiErrors`), once", "landed")
@pytest.mark.parametrize(
    ("number", "permanent"),
    [(1, False), (2, False), (2, True)],
    ids=["before sending", "while waiting", "while waiting, permanent"],
)
def test_an_error_inside_a_response(world: World, number: int, permanent: bool, ending: Ending) -> None:
    """An error inside a response of status 200 never ends a queued batch; where it is transient, the query repeats.

    https://learn.microsoft.com/kusto/api/rest/response-http-v2
    """
    world.kusto.latency = 0.3
    counted: list[Request] = []

    def inside(request: Request) -> Reply | None:
        if not is_count(request):
            return None
        counted.append(request)
        return partial(world.kusto.respond(request), permanent=permanent) if len(counted) == number else None

    world.kusto.fault = inside
    ending.landed(world, world.sync(deadlines=Deadlines()))
    assert len(counted) > number
