"""The clock of a run: Kusto's, so that machines with wrong clocks agree; else OpenCost's, else this machine's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from opencost_kusto.batch import Run
from opencost_kusto.errors import KustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto

# A clock further off than this is reported.
_CLOSE = timedelta(minutes=1)


def timed(run: Run, kusto: Kusto) -> Run:
    """The run by Kusto's clock; unchanged if Kusto cannot be read."""
    if run.clock != "machine":
        return run
    try:
        now = kusto.now()
    except KustoError:
        return run
    return replace(run, collection_time=now, clock="kusto", skew=datetime.now(UTC) - now)


def clock_warnings(run: Run) -> list[str]:
    """A sentence where this machine's clock is more than a minute off Kusto's."""
    if abs(run.skew) <= _CLOSE:
        return []
    off, where = abs(run.skew).total_seconds(), "ahead of" if run.skew > timedelta() else "behind"
    return [f"This machine's clock is {off:.0f} s {where} Kusto's, whose time is used. Synchronize it (NTP)."]


def timed_by_opencost(run: Run, opencosts: Iterable[OpenCost]) -> Run:
    """The run by the clock of the first OpenCost that has responded, where Kusto's could not be read."""
    server_time = next((moment for one in opencosts if (moment := one.server_time()) is not None), None)
    if run.clock != "machine" or server_time is None:
        return run
    return replace(run, collection_time=server_time, clock="opencost")
