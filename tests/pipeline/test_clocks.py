"""Whose clock a run has: in the run log, and a warning where this machine's is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from opencost_kusto.batch import Run
from opencost_kusto.pipeline.clocks import clock_warnings
from tests.support.world import World


@pytest.mark.parametrize(("offset", "message"), [(timedelta(hours=-2), "ahead of"), (timedelta(hours=2), "behind")])
def test_a_clock_that_is_hours_off_is_a_warning(offset: timedelta, message: str) -> None:
    """Kusto's clock counts, the run log says so, and the run says how far off this machine's is."""
    with World() as world:
        world.kusto.clock = lambda: datetime.now(UTC) + offset
        report = world.sync()
        (entry,) = world.log()
    (warning,) = [one for one in report.warnings if "clock" in one]
    assert warning.startswith("This machine's clock is 7") or warning.startswith("This machine's clock is 6")
    assert f" s {message} Kusto's, whose time is used." in warning
    assert entry["Clock"] == "kusto"
    assert report.exit_code == 0


def test_clocks_that_agree_are_not_mentioned() -> None:
    """Up to a minute is no reason for a warning."""
    run = Run("r", datetime.now(UTC), "0")
    for seconds, warned in ((0, False), (60, False), (-60, False), (61, True), (-61, True)):
        skew = timedelta(seconds=seconds)
        assert bool(clock_warnings(Run(run.id, run.collection_time, "0", skew=skew))) is warned
