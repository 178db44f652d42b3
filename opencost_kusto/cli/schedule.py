"""`backfill` and `schedule`: load the missing windows of a period once, or of the last days at regular times."""

from __future__ import annotations

import random
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opencost_kusto.cancel import CancelToken
from opencost_kusto.ci.settle import clock
from opencost_kusto.cli.console import Console, Level
from opencost_kusto.cli.help import REQUIRED
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.options import OUTPUT, WINDOW, LoadOptions, MarkOptions, option
from opencost_kusto.cli.reports import finish, report_document, report_line, route_lines, tell_shard
from opencost_kusto.cli.source_options import AskOptions, SourceOptions
from opencost_kusto.cli.termination import Process
from opencost_kusto.cli.usage import read_option
from opencost_kusto.coverage.catch_up import MAX_WINDOWS
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.database.doctor import ready
from opencost_kusto.errors import OpenCostKustoError, UsageError
from opencost_kusto.redact import redacted
from opencost_kusto.result import BatchResult, unreported
from opencost_kusto.retry import observing
from opencost_kusto.schedule.loop import Schedule, TickResult
from opencost_kusto.schedule.tick import Lookback, tick
from opencost_kusto.schedule.trigger import Trigger
from opencost_kusto.schema.tables import DATASETS, DEFAULT_DATASETS
from opencost_kusto.window import between, duration, stamp

if TYPE_CHECKING:
    from opencost_kusto.schedule.health import Health

# A section of the help.
WHEN = "Schedule"
Lag = Annotated[str, option("--lag", "How long after its end a window is closed: measurements settle.", panel=WINDOW)]
# Batches between two estimates, where no progress bar shows one.
_ESTIMATED = 25


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

    def lookback(self) -> Lookback:
        """The period in which a run looks for missing windows; raises UsageError if it has no window."""
        step = read_option("--every", duration, self.every)
        back = read_option("--catch-up", duration, self.catch_up or ("14d" if step >= timedelta(days=1) else "48h"))
        lookback = Lookback(back, read_option("--lag", duration, self.lag), self.at_most)
        lookback.period(clock(), step)
        return lookback

    def delay(self, uniform: Callable[[float, float], float] = random.uniform) -> Callable[[], float]:
        """Seconds to wait before a run, drawn anew for each; raises UsageError for more than --every."""
        if self.jitter is None:
            return lambda: 0.0
        longest = read_option("--jitter", duration, self.jitter)
        if longest >= read_option("--every", duration, self.every):
            raise UsageError(f"--jitter {self.jitter} must be shorter than --every {self.every}.")
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


def scheduled(step: timedelta, ask: AskOptions, datasets: tuple[str, ...]) -> Target:
    """What is requested for each window; raises UsageError for options that do not fit scheduled windows."""
    if getattr(ask, "share_idle", False):
        raise UsageError(
            "--share-idle is not for schedule and backfill: rows with shared idle cost count only where no other "
            "window does. Use --include-idle; OpenCostChargeback shares idle cost in Kusto."
        )
    return Target(step, datasets, ask.options())


def schedule_command(
    source: SourceOptions,
    ask: AskOptions,
    mark: MarkOptions,
    kusto_options: KustoOptions,
    load: LoadOptions,
    when: TimesOptions,
    running: RunningOptions,
    *,
    process: Process,
    console: Console,
) -> None:
    """Load missing windows of the last days at each interval, until SIGTERM or Ctrl-C."""
    from opencost_kusto.schedule.health import Health

    if console.format_ is not None and not running.once:
        raise UsageError("--format is for --once, which has one report; use --log-format json for a schedule.")
    every = read_option("--every", duration, when.every)
    target, lookback = scheduled(every, ask, ask.datasets()), when.lookback()
    times, delay = Trigger(every, lookback.lag, when.cron), when.delay()
    # What is wrong with it is said before the first run.
    mark.run()
    health = Health(2 * times.longest_pause(clock()), clock=clock)
    stop = CancelToken()
    with source.opencosts() as opencosts, kusto_options.kusto(console.info) as kusto:
        tell_shard(source, opencosts, console)
        ready(kusto, patient=True)
        on_left = health.left if running.listen else None
        load_missing = partial(
            tick, opencosts, kusto, target, lookback, cancel=stop, policy=load.policy(), on_left=on_left
        )
        schedule = Schedule(
            lambda on_result: load_missing(run=mark.run(), on_result=on_result, on_covered=health.known_until),
            on_result=(console.result, health.count),
            on_end=(lambda one: _ended(console, one, once=running.once), health.ticked),
            grace=running.grace,
            stop=stop,
            delay=delay,
        )
        code = _run(schedule, times, health, running, process, console)
    if schedule.abandoned:
        console.warning("Terminated during a run; the next run loads the missing windows.", "terminated")
    raise typer.Exit(code)


def _run(
    schedule: Schedule, times: Trigger, health: Health, running: RunningOptions, process: Process, console: Console
) -> int:
    """Run once, or until a signal, with the health endpoint where one is wanted; the exit code."""
    from opencost_kusto.schedule.health import served

    with (
        process.signals_to(schedule.signal),
        served(health, running.listen) if running.listen else nullcontext() as url,
        observing(console.retry),
    ):
        if url:
            console.info(f"Health: {url}/healthz, /readyz and /metrics", "listening", url=url)
        return schedule.once() if running.once else schedule.run(times)


def _ended(console: Console, one: TickResult, *, once: bool) -> None:
    """Print how a run of the scheduler ended: its sum, or the error that came before there could be one."""
    facts: dict[str, Any] = {"exit_code": one.exit_code, "seconds": round(one.seconds, 3)}
    if one.report is None:
        if not isinstance(one.error, OpenCostKustoError):
            console.traceback(redacted("".join(traceback.format_exception(one.error))))
        text = f"The run failed: {redacted(one.error)}"
        console.event(Level.ERROR, text, "run", **facts)
        if console.document_due:
            console.document(unreported(one.exit_code, one.error))
        return
    counts, rows = one.report.counts, one.report.rows
    level = Level.ERROR if one.exit_code else Level.INFO
    console.event(level, report_line(one.report), "run", **facts, run_id=one.report.run_id, counts=counts, rows=rows)
    if once:
        console.show(report_document(one.report, one.exit_code))
        return
    for warning in one.report.warnings:
        console.warning(warning, "source")
    for line in route_lines(one.report) if console.verbose else ():
        console.info(line, "source")


def backfill_command(
    source: SourceOptions,
    ask: AskOptions,
    mark: MarkOptions,
    kusto_options: KustoOptions,
    load: LoadOptions,
    from_: Annotated[str, option("--from", "Where to begin: RFC 3339, a date, or Unix seconds.", panel=REQUIRED)],
    to: Annotated[str | None, option("--to", "Where to end; now when left out.", panel=WINDOW)] = None,
    step: Annotated[str, option("--step", "Length of the windows: 10m, 1h or 1d.", panel=WINDOW)] = "1h",
    lag: Lag = "10m",
    *,
    process: Process,
    console: Console,
) -> None:
    """Load the missing windows of a range, and nothing else; run it again to continue where it stopped."""
    from opencost_kusto.coverage.backfill import backfill, survey

    now = clock()
    span = between(from_, to, now=now)
    past = tuple(name for name in DEFAULT_DATASETS if DATASETS[name].cadence == "step")
    target = Target(read_option("--step", duration, step), ask.datasets() if ask.dataset else past, ask.options())
    closed = Lookback(lag=read_option("--lag", duration, lag)).closed(now)
    run = mark.run()
    with source.opencosts() as opencosts, kusto_options.kusto(console.info) as kusto:
        tell_shard(source, opencosts, console)
        ready(kusto)
        surveyed = survey(opencosts, kusto, target, span, now=now, closed=closed)
        whole = f"{surveyed.expected} batches from {stamp(surveyed.period.start)} to {stamp(surveyed.period.end)}"
        others = {"expired at this step": surveyed.gone, "lost": surveyed.lost}
        more = "".join(f", {count} {what}" for what, count in others.items() if count)
        console.info(f"{surveyed.due} to load{more}, of {whole}.", "survey")
        due = Counter(batch.table.dataset for _, gaps in surveyed.found for batch in gaps.due)
        with console.progress(due if len(surveyed.found) == 1 else {}) as on_result:
            tell = estimated(on_result, surveyed.due, console.info) if not console.terminal else on_result
            report = backfill(surveyed, kusto, run=run, cancel=process.cancel, on_result=tell, policy=load.policy())
    if not report.results and console.format_ is None:
        console.out(f"Nothing is missing: all {whole} are in Kusto, or empty.")
    finish(console, report)


def estimated(
    on_result: Callable[[BatchResult], None],
    total: int,
    say: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
) -> Callable[[BatchResult], None]:
    """`on_result`, and now and then a line with the batches that are done and the time that the others will take."""
    began, done = now(), [0]

    def counted(one: BatchResult) -> None:
        on_result(one)
        done[0] += 1
        if done[0] % _ESTIMATED == 0 and done[0] < total:
            left = (now() - began) / done[0] * (total - done[0])
            say(f"{done[0]} of {total} batches, about {_spoken(left)} left")

    return counted


def _spoken(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
