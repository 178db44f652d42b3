"""`backfill` and `schedule`: everything that Kusto lacks, of a range once, or of the last days again and again."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer

from opencost_kusto.cancel import CancelToken
from opencost_kusto.ci.settle import clock
from opencost_kusto.cli import printing
from opencost_kusto.cli.console import finish, narrator, teller
from opencost_kusto.cli.options import (
    AsJson,
    AskOptions,
    KustoOptions,
    LoadOptions,
    MarkOptions,
    SourceOptions,
    option,
)
from opencost_kusto.cli.termination import Process
from opencost_kusto.coverage.catch_up import MAX_WINDOWS
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.database.doctor import ready
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.redact import redacted
from opencost_kusto.result import BatchResult, unreported
from opencost_kusto.schedule.loop import Schedule, TickResult
from opencost_kusto.schedule.tick import Lookback, tick
from opencost_kusto.schedule.trigger import Trigger
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.window import between, duration, stamp

Lag = Annotated[str, option("--lag", "How long after its end a window is closed: measurements settle.")]
# Batches between two estimates, where no progress bar shows one.
_ESTIMATED = 25


@dataclass(frozen=True, slots=True)
class TimesOptions:
    """When to tick, and how far back a tick looks."""

    every: Annotated[str, option("--every", "How often, and how long each window is: 10m, 1h or 1d.")] = "1h"
    cron: Annotated[
        str | None, option("--cron", "When, as a crontab line in UTC, instead of every --every; windows stay as long.")
    ] = None
    lag: Lag = "10m"
    catch_up: Annotated[
        str | None, option("--catch-up", "How far back to look for what is missing: 48h, or 14d where --every is 1d.")
    ] = None
    at_most: Annotated[int, option("--at-most", "Windows a tick brings at most.", min=1)] = MAX_WINDOWS

    def horizon(self) -> Lookback:
        """How far back a tick looks; raises UsageError when no window would lie in it."""
        step = duration(self.every)
        back = duration(self.catch_up or ("14d" if step >= timedelta(days=1) else "48h"))
        horizon = Lookback(back, duration(self.lag), self.at_most)
        horizon.period(clock(), step)
        return horizon


def schedule_command(
    source: SourceOptions,
    ask: AskOptions,
    mark: MarkOptions,
    kusto_options: KustoOptions,
    load: LoadOptions,
    when: TimesOptions,
    once: Annotated[bool, option("--once", "Tick once and end with its exit code.")] = False,
    grace: Annotated[float, option("--grace", "Seconds a tick may still take when told to end.")] = 25.0,
    listen: Annotated[
        str | None, option("--listen", "Answer /healthz, /readyz and /metrics on host:port, or :port.")
    ] = None,
    as_json: AsJson = False,
    *,
    process: Process,
) -> None:
    """Bring what is missing of the last days, again and again, until told to end."""
    from opencost_kusto.schedule.health import Health, served

    every = duration(when.every)
    want, horizon = Target(every, ask.datasets(), ask.options()), when.horizon()
    times = Trigger(every, horizon.lag, when.cron)
    # What is wrong with it is said before the first tick.
    mark.run()
    health = Health(2 * times.longest_pause(clock()), clock=clock)
    know, stop = health.known_until, CancelToken()
    with source.opencosts() as opencosts, kusto_options.kusto() as kusto:
        ready(kusto, patient=True)
        schedule = Schedule(
            lambda on_result: tick(
                opencosts,
                kusto,
                want,
                horizon,
                run=mark.run(),
                on_result=on_result,
                on_covered=know,
                cancel=stop,
                policy=load.policy(),
            ),
            on_result=(teller(quiet_stdout=as_json), health.count),
            on_end=(lambda one: _ended(one, as_json), health.ticked),
            grace=grace,
            stop=stop,
        )
        with process.signals_to(schedule.signal), served(health, listen) if listen else nullcontext() as url:
            if url:
                print(f"Health: {url}/healthz, /readyz and /metrics", file=sys.stderr, flush=True)
            code = schedule.once() if once else schedule.run(times)
    if schedule.abandoned:
        said = "Terminated during a run; the next run loads the missing windows."
        print(f"opencost-kusto: {said}", file=sys.stderr)
    raise typer.Exit(code)


def _ended(one: TickResult, as_json: bool) -> None:
    """Print how a tick ended: its sum, or what went wrong; with JSON a document on one line."""
    if one.error is not None:
        ours = isinstance(one.error, OpenCostKustoError)
        why = str(one.error) if ours else "".join(traceback.format_exception(one.error))
        print(f"opencost-kusto: the tick failed: {redacted(why)}", file=sys.stderr, flush=True)
    if one.report is None:
        if as_json:
            print(json.dumps(unreported(one.exit_code, one.error)), flush=True)
        return
    if as_json:
        print(json.dumps(one.report.document(), default=str, ensure_ascii=False), flush=True)
    print(printing.report_line(one.report), file=sys.stderr if as_json else sys.stdout, flush=True)


def backfill_command(
    source: SourceOptions,
    ask: AskOptions,
    mark: MarkOptions,
    kusto_options: KustoOptions,
    load: LoadOptions,
    from_: Annotated[str, option("--from", "Where to begin: RFC 3339, a date, or Unix seconds.")],
    to: Annotated[str | None, option("--to", "Where to end; now when left out.")] = None,
    step: Annotated[str, option("--step", "Length of the windows: 10m, 1h or 1d.")] = "1h",
    lag: Lag = "10m",
    as_json: AsJson = False,
    *,
    process: Process,
) -> None:
    """Bring what Kusto lacks of a range, and nothing else; run it again to go on where it was."""
    from opencost_kusto.coverage.backfill import backfill, survey

    now = clock()
    span = between(from_, to, now=now)
    past = tuple(name for name, table in DATASETS.items() if table.cadence == "step")
    want = Target(duration(step), ask.datasets() if ask.dataset else past, ask.options())
    closed = Lookback(lag=duration(lag)).closed(now)
    run = mark.run()
    with source.opencosts() as opencosts, kusto_options.kusto() as kusto:
        surveyed = survey(opencosts, kusto, want, span, now=now, closed=closed)
        whole = f"{surveyed.expected} batches from {stamp(surveyed.period.start)} to {stamp(surveyed.period.end)}"
        more = {"expired at this step": surveyed.gone, "lost": surveyed.lost}
        told = "".join(f", {count} {what}" for what, count in more.items() if count)
        print(f"{surveyed.due} to bring{told}, of {whole}.", file=sys.stderr)
        with narrator(surveyed.due, quiet_stdout=as_json) as on_result:
            tell = estimated(on_result, surveyed.due)
            report = backfill(surveyed, kusto, run=run, policy=load.policy(), cancel=process.cancel, on_result=tell)
    if not report.results:
        print(f"Nothing is missing: all {whole} are in Kusto, or empty.", file=sys.stderr if as_json else sys.stdout)
    finish(report, as_json, process, quiet_stdout=as_json)


def estimated(
    on_result: Callable[[BatchResult], None], total: int, now: Callable[[], float] = time.monotonic
) -> Callable[[BatchResult], None]:
    """`tell`, and now and then on stderr how many batches are done and how long the others will take at that pace."""
    began, done = now(), [0]

    def told(one: BatchResult) -> None:
        on_result(one)
        done[0] += 1
        if done[0] % _ESTIMATED == 0 and done[0] < total:
            left = (now() - began) / done[0] * (total - done[0])
            print(f"{done[0]} of {total} batches, about {_spoken(left)} left", file=sys.stderr, flush=True)

    return told


def _spoken(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
