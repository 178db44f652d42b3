"""What every test can use, and how tests share the machine."""

from __future__ import annotations

import gc
import itertools
import os
from typing import Any

import pytest
from xdist.scheduler import WorkStealingScheduling

from tests.support.one_thread import one_thread

pytest_plugins = ["tests.support.fixtures_node"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Twice the cores: half of the tests wait for servers, processes and deadlines."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WorkStealingScheduling:
    """Nobody is idle while another has tests left."""
    return WorkStealingScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Node's processes start once, and no slow test is left for the end.

    Each worker begins with an equal share of the list, in its order, and is robbed from the end. What needs Node comes
    first, so that one worker has it all; slow tests are dealt to the beginnings of the shares.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = _shares(items, workers)


def pytest_configure() -> None:
    """Look for garbage seldom: what was imported and collected is large, and none of it is garbage."""
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def duckdb_in_one_thread() -> None:
    """DuckDB works in one thread: the workers are more than the cores, and its tables are small."""
    one_thread()


def _shares(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    node = [one for one in items if "node_packages" in getattr(one, "fixturenames", ())]
    slow = [one for one in items if one not in node and one.get_closest_marker("slow")]
    first = {id(one) for one in (*node, *slow)}
    rest = iter([one for one in items if id(one) not in first])
    found = list(node)
    for number in range(workers):
        found += slow[number::workers]
        found += itertools.islice(rest, max(0, len(items) * (number + 1) // workers - len(found)))
    return [*found, *rest]
