"""What every fault test can use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.ending import Ending
from tests.faults.wire import shortened
from tests.support.world import World, result_of


@pytest.fixture
def world() -> Iterator[World]:
    """Both emulators with the tables, without a fault."""
    with World() as world:
        yield world


@pytest.fixture
def changed(world: World) -> World:
    """The hour has landed, and OpenCost's response has changed since: one namespace less."""
    assert result_of(world.sync()).outcome == "landed"
    world.opencost.responder = shortened
    return world


@pytest.fixture
def ending(request: pytest.FixtureRequest) -> Iterator[Ending]:
    """The ending that the test declared, which it must then assert."""
    marker = request.node.get_closest_marker("fault")
    assert marker is not None, "the test shows an ending that it does not declare"
    ending = Ending(*marker.args)
    yield ending
    assert ending.seen == {"outcome", "exit code"}, "the test declares an ending that it does not assert"
