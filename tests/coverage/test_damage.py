"""Damage is named by `status`, and repaired by a run of the scheduler and by a backfill, whatever kind it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from opencost_kusto.batch import Run
from opencost_kusto.coverage.backfill import backfill, survey
from opencost_kusto.coverage.status import DatasetStatus, status
from opencost_kusto.result import Report
from opencost_kusto.schedule.tick import Lookback, tick
from opencost_kusto.window import Window
from tests.faults.damage import DAMAGE
from tests.histories.commands import Skipping
from tests.support.store_world import CLUSTER, HOUR, StoreWorld, target_of
from tests.support.world import ROWS

NOW = datetime(2026, 12, 10, 9, 15, tzinfo=UTC)
EIGHT = Window(NOW.replace(hour=8, minute=0), NOW.replace(hour=9, minute=0))


def ticked(here: StoreWorld, name: str) -> Report:
    """The report of a run of the scheduler that looks two hours back."""
    run = Run(name, NOW, "1.0")
    return tick([here.opencost_client], here.kusto_client, target_of(), Lookback(2 * HOUR), run=run, cancel=Skipping())


def backfilled(here: StoreWorld, name: str) -> Report:
    """The report of a backfill of that hour."""
    run = Run(name, NOW, "1.0")
    surveyed = survey([here.opencost_client], here.kusto_client, target_of(), EIGHT, now=NOW, closed=NOW)
    return backfill(surveyed, here.kusto_client, run=run, cancel=Skipping())


def state(here: StoreWorld) -> DatasetStatus:
    """What `status` says of allocation."""
    (one,) = (one for one in status(here.kusto_client, now=NOW, back=3 * HOUR) if one.dataset == "allocation")
    return one


@pytest.fixture(scope="module")
def here() -> Iterator[StoreWorld]:
    """A world in which the hour has landed."""
    with StoreWorld(NOW) as one:
        assert ticked(one, "first").counts == {"landed": 1}
        yield one


@pytest.mark.parametrize(
    ("kind", "repair"),
    [
        ("rows missing", ticked),
        ("all rows doubled", backfilled),
        ("two responses mixed", ticked),
        ("costs lost", backfilled),
        ("another mapping", ticked),
    ],
)
def test_damage_is_named_and_repaired(here: StoreWorld, kind: str, repair: Callable[[StoreWorld, str], Report]) -> None:
    """It is neither a gap nor a success; the repair replaces all of it, and nothing is left to report."""
    for command in DAMAGE[kind][0]:
        here.kusto_client.command(command)
    before = state(here)
    assert (before.source, before.damaged, before.missing) == (CLUSTER, [EIGHT], [])
    report = repair(here, kind)
    assert (report.counts, report.exit_code) == ({"landed": 1}, 0)
    assert DAMAGE[kind][1] in report.results[0].notes[0]
    after = state(here)
    assert (after.damaged, after.missing, after.failures, after.until) == ([], [], [], EIGHT.end)
    assert here.windows() == {EIGHT: ROWS}
