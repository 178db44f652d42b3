"""`schedule`: load the missing windows of the last days at regular times."""

from __future__ import annotations

import traceback
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from opencost_kusto.cancel import CancelToken
from opencost_kusto.cli.console import Console, Level
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.option_groups import ExplicitOptions
from opencost_kusto.cli.options import LoadOptions, RunOptions
from opencost_kusto.cli.reports import print_shard, report_document, report_line, route_lines
from opencost_kusto.cli.schedule_options import RunningOptions, TimesOptions, scheduled
from opencost_kusto.cli.source_options import DataOptions, SourceOptions
from opencost_kusto.cli.termination import Process
from opencost_kusto.database.doctor import ready
from opencost_kusto.errors import OpenCostKustoError, UsageError
from opencost_kusto.redact import redacted
from opencost_kusto.result import unreported
from opencost_kusto.retry import observing
from opencost_kusto.schedule.loop import Schedule, TickResult
from opencost_kusto.schedule.tick import tick
from opencost_kusto.schedule.trigger import Trigger
from opencost_kusto.times import utc_now

if TYPE_CHECKING:
    from opencost_kusto.schedule.health import Health


def schedule_command(
    source: SourceOptions,
    data: DataOptions,
    run_options: RunOptions,
    kusto_options: KustoOptions,
    load: LoadOptions,
    when: TimesOptions,
    running: RunningOptions,
    *,
    explicit: ExplicitOptions,
    process: Process,
    console: Console,
) -> None:
    """Load missing windows of the last days at each interval, until SIGTERM or Ctrl-C."""
    from opencost_kusto.schedule.health import Health

    _check(console, running, run_options, explicit)
    target, lookback = scheduled(when.step, data, data.datasets(), source), when.lookback()
    times, delay = Trigger(when.step, lookback.lag, when.cron), when.delay()
    health = Health(2 * times.longest_pause(utc_now()), clock=utc_now)
    stop = CancelToken()
    with source.opencosts() as opencosts, kusto_options.kusto(console.info) as kusto:
        print_shard(source.part, len(opencosts), console)
        ready(kusto, patient=True)
        load_missing = partial(tick, opencosts, kusto, target, lookback, cancel=stop, policy=load.policy())
        left = health.left if running.listen else None
        watched = partial(load_missing, on_covered=health.covered_until, on_left=left)
        schedule = Schedule(
            lambda on_result: watched(run=run_options.run(), on_result=on_result),
            on_result=(console.result, health.count),
            on_end=(lambda one: _ended(console, one, once=running.once), health.ticked),
            grace=running.grace,
            stop=stop,
            delay=delay,
        )
        code = _run(schedule, times, health, running, process, console)
    raise typer.Exit(code)


def _check(console: Console, running: RunningOptions, run_options: RunOptions, explicit: ExplicitOptions) -> None:
    """Report what is wrong with options before the first run."""
    run_options.run()
    if running.once:
        return
    if "format_" in explicit:
        raise UsageError("--format is for --once, which has one report; use --log-format json for a schedule.")
    # The format of other commands, by the environment or the file.
    console.format_, console.document_due = None, False


def _run(
    schedule: Schedule, times: Trigger, health: Health, running: RunningOptions, process: Process, console: Console
) -> int:
    """Run once, or until a signal, with the health endpoint if it is configured; the exit code."""
    from opencost_kusto.schedule.health import served

    with (
        process.signals_to(schedule.signal),
        served(health, running.listen) if running.listen else nullcontext() as url,
        observing(console.retry),
    ):
        if url:
            console.info(f"Health: {url}/healthz, /readyz and /metrics", "listening", url=url)
        code = schedule.once() if running.once else schedule.run(times)
    if schedule.abandoned:
        console.warning("Terminated during a run; the next run loads the missing windows.", "terminated")
    return code


def _ended(console: Console, one: TickResult, *, once: bool) -> None:
    """Print the outcome of a run of the scheduler: its sum, or the error that left no report."""
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
