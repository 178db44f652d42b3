"""`--require-coverage`: a window that begins before OpenCost has data is refused, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from opencost_kusto.emulator import BUILT_IN_STORE, OpenCostEmulator
from opencost_kusto.errors import EmptyError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.pipeline.coverage_check import check_start
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.window import Window

NOW = datetime(2026, 11, 24, 5, 46, 27, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def opencost() -> Iterator[OpenCost]:
    """A cluster with fourteen days behind it."""
    with OpenCostEmulator(clock=lambda: NOW) as emulator, OpenCost(emulator.url) as opencost:
        yield opencost


def test_a_window_within_the_data_passes(opencost: OpenCost) -> None:
    """Where workloads ran in the first five minutes of the window, it is loaded."""
    check_start(opencost, SyncRequest(Window(MIDNIGHT - DAY, MIDNIGHT), HOUR))
    check_start(opencost, SyncRequest(Window(MIDNIGHT - timedelta(minutes=5), MIDNIGHT)))


@pytest.mark.parametrize(
    ("start", "step", "message"),
    [
        (MIDNIGHT - 30 * DAY, 12 * HOUR, "There is none in the first step"),
        (MIDNIGHT - 14 * DAY - 2 * HOUR, None, "The first workload begins at 2026-11-10T00:05:00Z"),
    ],
)
def test_a_window_that_begins_before_the_data_is_refused(
    opencost: OpenCost, start: datetime, step: timedelta | None, message: str
) -> None:
    """Where OpenCost has nothing at the start, the error has the source, the time, and the first data."""
    with pytest.raises(EmptyError, match=message) as refused:
        check_start(opencost, SyncRequest(Window(start, MIDNIGHT - 14 * DAY + HOUR), step))
    assert "aks-shop-prod-weu: OpenCost has no workload at the start of the window, 2026-1" in str(refused.value)
    assert refused.value.exit_code == 8


def test_the_first_step_of_a_built_in_store_is_checked() -> None:
    """Of a day that the built-in store has as a day only, ten minutes have expired, and the day shows their cost."""
    server = OpenCostEmulator(version="1.119", clock=lambda: NOW, keeps=BUILT_IN_STORE)
    with server, OpenCost(server.url) as opencost:
        marks = opencost.capabilities().marks
        check_start(opencost, SyncRequest(Window(MIDNIGHT - 5 * DAY, MIDNIGHT), DAY), marks)
        with pytest.raises(EmptyError):
            check_start(opencost, SyncRequest(Window(MIDNIGHT - 20 * DAY, MIDNIGHT), DAY), marks)
