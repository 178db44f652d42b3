"""OpenCost dies, refuses, forgets, or changes its mind."""

from __future__ import annotations

import json

import pytest

from opencost_kusto.emulator import Reply, json_reply, text_reply
from opencost_kusto.schema.tables import ALLOCATION, ASSETS
from tests.faults.ending import Ending, fault
from tests.faults.lane import ROWS, Lane, of
from tests.faults.wire import dying, once
from tests.support.recordings import recording


@fault(
    "OpenCost dies in the middle of every answer to one of two questions",
    "failed",
    exit_code=7,
    says="OpenCost broke off its response: …",
)
def test_opencost_dies_in_its_answer(lane: Lane, ending: Ending) -> None:
    """Half an answer is never loaded, and the other batch lands all the same."""
    body = recording("1.112", "allocation_hour_agg_namespace.json")
    lane.opencost.answers = lambda path, _: Reply(200, {}, dying(body)) if path == "/allocation" else None
    report = lane.sync("allocation", "assets")
    assert ending.of(report).exit_code == 4
    assert of(report, ASSETS.name).outcome == "landed"
    assert lane.count(ASSETS.name) == of(report, ASSETS.name).rows
    lane.settle(0)


@fault("OpenCost dies in the middle of its answer, once", "landed")
def test_opencost_dies_once(lane: Lane, ending: Ending) -> None:
    """An answer that broke off is asked for again, and lands whole and once."""
    body = recording("1.112", "allocation_hour_agg_namespace.json")
    lane.opencost.fault = once(lambda request: request.path == "/allocation", Reply(200, {}, dying(body)))
    ending.landed(lane, lane.sync())


DOWN = json_reply(recording("1.112", "down_allocation.json"), status=500)
NOT_FOUND = text_reply("404 page not found\n", status=404)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(
            DOWN,
            id="500",
            marks=fault(
                "OpenCost answers 500",
                "failed",
                exit_code=3,
                says="OpenCost responded to … with 500: error computing allocations…",
            ),
        ),
        pytest.param(
            NOT_FOUND,
            id="404",
            marks=fault(
                "OpenCost answers 404",
                "failed",
                exit_code=3,
                says="… is not there (404): is this an OpenCost, with its API enabled?",
            ),
        ),
        pytest.param(
            json_reply(b""),
            id="empty",
            marks=fault(
                "OpenCost answers nothing", "failed", exit_code=4, says="OpenCost responded with an empty body"
            ),
        ),
        pytest.param(
            json_reply(b'{"code":200,"data":[{"a":'),
            id="truncated",
            marks=fault(
                "OpenCost sends half an answer as if it were whole",
                "failed",
                exit_code=4,
                says="OpenCost's response broke off after … bytes",
            ),
        ),
    ],
)
def test_opencost_refuses(lane: Lane, reply: Reply, ending: Ending) -> None:
    """A dataset that cannot be had fails by its own code, and nothing lands."""
    lane.opencost.answers = lambda path, _: reply if path == "/allocation" else None
    assert ending.of(lane.sync()).exit_code == ending.declared.exit_code
    lane.settle(0)


@fault("OpenCost has no data for the window", "empty")
def test_opencost_has_no_data(lane: Lane, ending: Ending) -> None:
    """A window without data is an empty batch, and no error."""
    lane.opencost.answers = lambda path, _: json_reply(b'{"code":200,"data":[{}]}') if path == "/allocation" else None
    assert ending.of(lane.sync()).rows == 0
    lane.settle(0)


@fault(
    "OpenCost answers differently the second time",
    "already landed",
    says="OpenCost's answer has changed since: … rows and … in cost. sync --replace puts the new answer in its place.",
)
def test_opencost_answers_differently_the_second_time(lane: Lane, ending: Ending) -> None:
    """What is there stays, and the report says by how much the new answer differs."""
    assert of(lane.sync()).outcome == "landed"
    # Derived from the recorded hour: one namespace less.
    answer = json.loads(recording("1.112", "allocation_hour_agg_namespace.json"))
    name, gone = answer["data"][0].popitem()
    assert name
    body = json.dumps(answer, separators=(",", ":")).encode()
    lane.opencost.answers = lambda path, _: json_reply(body) if path == "/allocation" else None
    one = ending.of(lane.sync())
    assert f"changed since: -1 rows and {-gone['totalCost']:+.3f}" in (one.reason or "")
    lane.settle(ROWS)


@fault(
    "OpenCost has forgotten a window that has landed",
    "already landed",
    says="OpenCost has no data for the window any more; the rows that landed stay",
)
def test_opencost_has_forgotten(lane: Lane, ending: Ending) -> None:
    """Rows that landed are not undone by an answer that has none."""
    assert of(lane.sync()).outcome == "landed"
    lane.opencost.answers = lambda path, _: json_reply(b'{"code":200,"data":[{}]}') if path == "/allocation" else None
    ending.of(lane.sync())
    lane.settle(ROWS)


@fault(
    "OpenCost is down when a window that has landed is asked for again",
    "already landed",
    says="OpenCost could not be asked whether its answer has changed: …",
)
def test_opencost_is_down_for_a_window_that_has_landed(lane: Lane, ending: Ending) -> None:
    """What has landed is there, whether OpenCost answers or not."""
    assert of(lane.sync()).outcome == "landed"
    lane.opencost.answers = lambda path, _: DOWN if path == "/allocation" else None
    ending.of(lane.sync())
    lane.settle(ROWS)
    assert lane.count(ALLOCATION.name) == ROWS
