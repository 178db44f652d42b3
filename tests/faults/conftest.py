"""What every fault test can ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.ending import Ending
from tests.faults.lane import Lane, of
from tests.faults.wire import shortened


@pytest.fixture
def lane() -> Iterator[Lane]:
    """Both stand-ins with our tables, whole."""
    with Lane() as lane:
        lane.create()
        yield lane


@pytest.fixture
def changed(lane: Lane) -> Lane:
    """The hour has landed, and OpenCost has changed its answer since: one namespace less."""
    assert of(lane.sync()).outcome == "landed"
    lane.opencost.answers = shortened
    return lane


@pytest.fixture
def ending(request: pytest.FixtureRequest) -> Iterator[Ending]:
    """The ending the test has declared, which it must then assert."""
    marker = request.node.get_closest_marker("fault")
    assert marker is not None, "the test shows an ending that it does not declare"
    ending = Ending(*marker.args)
    yield ending
    assert ending.seen == {"outcome", "exit code"}, "the test declares an ending that it does not assert"
