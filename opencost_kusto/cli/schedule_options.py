"""Options of a schedule: when it runs, which windows it requests, and for how long."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from opencost_kusto.cli.clusters import chosen, own
from opencost_kusto.cli.options import OUTPUT, WINDOW, option
from opencost_kusto.cli.source_options import DataOptions, SourceOptions
from opencost_kusto.cli.usage import at, read_option
from opencost_kusto.coverage.catch_up import MAX_WINDOWS
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.coverage.retention import check_step
from opencost_kusto.errors import UsageError
from opencost_kusto.names import flag, place_of
from opencost_kusto.schedule.tick import Lookback
from opencost_kusto.times import utc_now
from opencost_kusto.window import duration

# A section of the help.
WHEN = "Schedule"
Lag = Annotated[str, option("--lag", "How long after its end a window is closed: measurements settle.", panel=WINDOW)]


@dataclass(frozen=True, slots=True)
class TimesOptions:
    """When to run, and the period in which a run looks for missing windows."""

    PANEL = WHEN
    every: Annotated[str, option("--every", "How often, and how long each window is: 10m, 1h or 1d.")] = "1h"
    cron: Annotated[
        str | None, option("--cron", "When, as a crontab line in UTC, instead of every --every; windows stay as long.")
    ] = None
    lag: Lag = "10m"
    jitter: Annotated[
        str | None,
        option("--jitter", "Wait a random time before each run, at most this long: many pods share a Kusto."),
    ] = None
    catch_up: Annotated[
        str | None, option("--catch-up", "How far back to look for what is missing: 48h, or 14d where --every is 1d.")
    ] = None
    at_most: Annotated[int, option("--at-most", "Windows that one run loads at most.", min=1)] = MAX_WINDOWS

    @property
    def step(self) -> timedelta:
        """The length of the windows; raises UsageError if it does not divide a day."""
        return read_option("--every", lambda text: check_step(duration(text)), self.every)

    def lookback(self) -> Lookback:
        """The period in which a run looks for missing windows; raises UsageError if it has no window."""
        step = self.step
        back = read_option("--catch-up", duration, self.catch_up or ("14d" if step >= timedelta(days=1) else "48h"))
        lookback = Lookback(back, read_option("--lag", duration, self.lag), self.at_most)
        with at(place_of("--catch-up")):
            lookback.period(utc_now(), step)
        return lookback

    def delay(self, uniform: Callable[[float, float], float] = random.uniform) -> Callable[[], float]:
        """Seconds to wait before a run, random for each; raises UsageError for more than --every."""
        if self.jitter is None:
            return lambda: 0.0
        longest = read_option("--jitter", duration, self.jitter)
        if longest >= self.step:
            raise UsageError(f"{flag('--jitter')} {self.jitter} must be shorter than --every {self.every}.")
        return lambda: uniform(0.0, longest.total_seconds())


@dataclass(frozen=True, slots=True)
class RunningOptions:
    """How long a schedule runs, and what it serves."""

    PANEL = WHEN
    once: Annotated[bool, option("--once", "Run once and end with its exit code.")] = False
    grace: Annotated[float, option("--grace", "Seconds that a run may take after SIGTERM or SIGINT.")] = 25.0
    listen: Annotated[
        str | None, option("--listen", "Serve /healthz, /readyz and /metrics on host:port, or :port.", panel=OUTPUT)
    ] = None


def scheduled(step: timedelta, data: DataOptions, datasets: tuple[str, ...], source: SourceOptions) -> Target:
    """What is requested for each window; raises UsageError for options that do not fit scheduled windows."""
    of_clusters = [own(source, one.entry).get("share_idle") for one in chosen(source)]
    shared = [f"{one.place}, share_idle" for one in of_clusters if one is not None and one.value]
    if getattr(data, "share_idle", False):
        shared.insert(0, flag("--share-idle"))
    if shared:
        raise UsageError(
            f"{shared[0]} is not for schedule and backfill: rows with shared idle cost count only where no other "
            "window does. Use --include-idle; OpenCostChargeback shares idle cost in Kusto."
        )
    return Target(step, datasets, data.options())
