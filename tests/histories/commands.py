"""Run one command of a history, as its command line would, on a clock that skips most of each wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from pathlib import Path

from opencost_kusto.batch import Run
from opencost_kusto.cancel import CancelToken
from opencost_kusto.ci.command_cost import CommandCost
from opencost_kusto.coverage.backfill import backfill, survey
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.replay import replay
from opencost_kusto.pipeline.request import SyncRequest, new_run
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.schedule.tick import Lookback, tick
from opencost_kusto.window import Window
from tests.histories.steps import Backfill, Command, CommandRun, Replay, Sync, Tick
from tests.support.world import NAMESPACES, World

NOW = datetime(2026, 11, 23, 14, 20, tzinfo=UTC)
"""The time by OpenCost's clock, and by Kusto's when a history begins."""
HOUR = timedelta(hours=1)
CLUSTER = "aks-shop-prod-weu"
_ALLOWED = Deadlines(query=30, resources=30, upload=30, queue=5)
# Seconds of the run's own clock in which a batch must land.
_TIMEOUT = 15.0
_LONGEST_WAIT = 0.03
_TARGET = Target(HOUR, ("allocation",), NAMESPACES)
_LOOKBACK = Lookback(catch_up=3 * HOUR, lag=timedelta(minutes=10))


class Skipping(CancelToken):
    """A token whose waits are short by the machine's clock; it cancels the run at the check of that number."""

    def __init__(self, cancel_at: int | None = None) -> None:
        super().__init__()
        self._cancel_at = cancel_at
        self._checks = 0
        self._skipped = 0.0

    def clock(self) -> float:
        """The machine's clock, and what was skipped."""
        return time.monotonic() + self._skipped

    def check(self) -> None:
        """Raise Cancelled from the chosen check on."""
        self._checks += 1
        if self._cancel_at is not None and self._checks >= self._cancel_at:
            self.cancel()
        super().check()

    def sleep(self, seconds: float | None = None) -> None:
        """Wait for a part of the time."""
        wait = min(seconds or 0.0, _LONGEST_WAIT)
        self._skipped += max(0.0, (seconds or 0.0) - wait)
        super().sleep(wait)


def run_command(
    step: Command,
    world: World,
    spool: Path,
    token: CancelToken,
    on_result: Callable[[BatchResult], None],
    *,
    tags: bool = True,
) -> Report:
    """The report of a command; raises what it raises."""
    policy = LoadPolicy(timeout=_TIMEOUT, tags=tags)
    with world.client(_ALLOWED) as kusto, world.source(CLUSTER) as opencost:
        if isinstance(step, Replay):
            return replay(spool, kusto, policy=policy, cancel=token, on_result=on_result)
        if isinstance(step, CommandRun):
            policy = replace(policy, spool=spool if step.spool else None)
            return _measured(step.hour, opencost, kusto, policy, token, on_result)
        run = _run_of(step.skew)
        match step:
            case Sync(hours, replace=replaces, wait=wait, spool=spooled):
                policy = replace(policy, replace=replaces, wait=wait, spool=spool if spooled else None)
                request = SyncRequest(window_of(hours), HOUR, ("allocation",), NAMESPACES)
                return sync(opencost, kusto, request, run=run, policy=policy, cancel=token, on_result=on_result)
            case Tick():
                more = {"run": run, "policy": policy, "cancel": token, "on_result": on_result}
                return tick([opencost], kusto, _TARGET, _LOOKBACK, **more)  # type: ignore[arg-type]
            case Backfill(hours):
                now = run.collection_time
                surveyed = survey([opencost], kusto, _TARGET, window_of(hours), now=now, closed=now)
                return backfill(surveyed, kusto, run=run, policy=policy, cancel=token, on_result=on_result)


def _measured(
    hour: int,
    opencost: OpenCost,
    kusto: Kusto,
    policy: LoadPolicy,
    token: CancelToken,
    on_result: Callable[[BatchResult], None],
) -> Report:
    """The report of `run` of a command that took an hour, and was waited for until now."""
    window = window_of((hour, hour + 1))
    moments = chain([window.start, window.end], repeat(NOW))
    cost = CommandCost(
        lambda: nullcontext([opencost]),
        lambda: nullcontext(kusto),
        SyncRequest(window, None, ("allocation",), NAMESPACES),
        _run_of(0),
        timedelta(),
        policy,
        progress=lambda _: nullcontext(on_result),
        now=lambda: next(moments),
        sleep=token.sleep,
        execute=lambda _: 0,
        cancel=token,
    )
    report = cost.of(["true"]).report
    assert report is not None
    return report


def _run_of(skew: int) -> Run:
    """A run of a machine whose clock is wrong by that many hours."""
    return replace(new_run(), collection_time=NOW + skew * HOUR, clock="machine")


def window_of(hours: tuple[int, int]) -> Window:
    """Some hours of the day."""
    day = NOW.replace(hour=0, minute=0)
    return Window(day + hours[0] * HOUR, day + hours[1] * HOUR)
