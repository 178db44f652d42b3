"""OpenCost dies, refuses, forgets, or changes its mind."""

from __future__ import annotations

import json

import pytest

from opencost_kusto.emulator import Reply, json_reply, text_reply
from opencost_kusto.errors import ReasonCode
from opencost_kusto.schema.tables import ALLOCATION, ASSETS
from tests.faults.ending import Ending, fault
from tests.faults.wire import dying, once
from tests.support.recordings import recording
from tests.support.world import ROWS, World, result_of


@fault(
    "OpenCost dies in the middle of every response to one of two requests",
    "failed",
    exit_code=7,
    says="OpenCost broke off its response: …",
)
def test_opencost_dies_in_its_response(world: World, ending: Ending) -> None:
    """Half a response is never loaded, and the other batch lands nevertheless."""
    body = recording("1.112", "allocation_hour_agg_namespace.json")
    world.opencost.responder = lambda path, _: Reply(200, {}, dying(body)) if path == "/allocation" else None
    report = world.sync("allocation", "assets")
    assert ending.result_of(report).exit_code == 4
    assert result_of(report, ASSETS.name).outcome == "landed"
    assert world.count(ASSETS.name) == result_of(report, ASSETS.name).rows
    world.settle(0)


@fault("OpenCost dies in the middle of its response, once", "landed")
def test_opencost_dies_once(world: World, ending: Ending) -> None:
    """A response that broke off is requested again, and lands complete and once."""
    body = recording("1.112", "allocation_hour_agg_namespace.json")
    world.opencost.fault = once(lambda request: request.path == "/allocation", Reply(200, {}, dying(body)))
    ending.landed(world, world.sync())


DOWN = json_reply(recording("1.112", "down_allocation.json"), status=500)
NOT_FOUND = text_reply("404 page not found\n", status=404)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(
            DOWN,
            id="500",
            marks=fault(
                "OpenCost responds with 500",
                "failed",
                exit_code=3,
                says="OpenCost responded to … with 500: error computing allocations…",
            ),
        ),
        pytest.param(
            NOT_FOUND,
            id="404",
            marks=fault(
                "OpenCost responds with 404",
                "failed",
                exit_code=3,
                says="… is not there (404): is this an OpenCost, with its API enabled?",
            ),
        ),
        pytest.param(
            json_reply(b""),
            id="empty",
            marks=fault(
                "OpenCost's response has no body", "failed", exit_code=4, says="OpenCost responded with an empty body"
            ),
        ),
        pytest.param(
            json_reply(b'{"code":200,"data":[{"a":'),
            id="truncated",
            marks=fault(
                "OpenCost sends half a response as if it were complete",
                "failed",
                exit_code=4,
                says="OpenCost's response broke off after … bytes",
            ),
        ),
    ],
)
def test_opencost_refuses(world: World, reply: Reply, ending: Ending) -> None:
    """A dataset that cannot be read fails with its own code, and nothing lands."""
    world.opencost.responder = lambda path, _: reply if path == "/allocation" else None
    assert ending.result_of(world.sync()).exit_code == ending.declared.exit_code
    world.settle(0)


@fault("OpenCost has no data for the window", "empty")
def test_opencost_has_no_data(world: World, ending: Ending) -> None:
    """A window without data is an empty batch, and no error."""
    world.opencost.responder = lambda path, _: (
        json_reply(b'{"code":200,"data":[{}]}') if path == "/allocation" else None
    )
    assert ending.result_of(world.sync()).rows == 0
    world.settle(0)


@fault(
    "OpenCost responds differently the second time",
    "already landed",
    says="OpenCost's response has changed since: … rows and … in cost. sync --replace replaces the rows that landed.",
)
def test_opencost_responds_differently_the_second_time(world: World, ending: Ending) -> None:
    """Rows that landed stay, and the report says by how much the new response differs."""
    assert result_of(world.sync()).outcome == "landed"
    # Derived from the recorded hour: one namespace less.
    response = json.loads(recording("1.112", "allocation_hour_agg_namespace.json"))
    name, gone = response["data"][0].popitem()
    assert name
    body = json.dumps(response, separators=(",", ":")).encode()
    world.opencost.responder = lambda path, _: json_reply(body) if path == "/allocation" else None
    one = ending.result_of(world.sync())
    assert f"changed since: -1 rows and {-gone['totalCost']:+.3f}" in one.notes[0]
    assert one.reason_code == ReasonCode.CHANGED
    world.settle(ROWS)


@fault(
    "OpenCost no longer has data for a window that landed",
    "already landed",
    says="OpenCost has no data for the window any more; the rows that landed are kept",
)
def test_opencost_no_longer_has_the_window(world: World, ending: Ending) -> None:
    """Rows that landed are kept when a later response has none."""
    assert result_of(world.sync()).outcome == "landed"
    world.opencost.responder = lambda path, _: (
        json_reply(b'{"code":200,"data":[{}]}') if path == "/allocation" else None
    )
    ending.result_of(world.sync())
    world.settle(ROWS)


@fault(
    "OpenCost is down when a window that landed is synced again",
    "already landed",
    says="OpenCost could not be read, so it is unknown whether its response has changed: …",
)
def test_opencost_is_down_for_a_window_that_has_landed(world: World, ending: Ending) -> None:
    """Rows that landed are already landed, whether OpenCost responds or not."""
    assert result_of(world.sync()).outcome == "landed"
    world.opencost.responder = lambda path, _: DOWN if path == "/allocation" else None
    ending.result_of(world.sync())
    world.settle(ROWS)
    assert world.count(ALLOCATION.name) == ROWS
