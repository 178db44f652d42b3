"""What every test can ask for, and how tests share the machine."""

from __future__ import annotations

import os
from typing import Any

import pytest
from xdist.scheduler import WorkStealingScheduling

pytest_plugins = ["tests.support.fixtures_node"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Twice the cores: half of the tests wait for servers, processes and deadlines."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WorkStealingScheduling:
    """Nobody is idle while another has tests left."""
    return WorkStealingScheduling(config, log)
