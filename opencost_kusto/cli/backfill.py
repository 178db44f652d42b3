"""`backfill`: load the missing windows of a period once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Annotated

from opencost_kusto.cli.console import Console
from opencost_kusto.cli.help import REQUIRED
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.options import WINDOW, LoadOptions, RunOptions, option
from opencost_kusto.cli.reports import finish, print_shard
from opencost_kusto.cli.schedule_options import Lag, scheduled
from opencost_kusto.cli.source_options import DataOptions, SourceOptions
from opencost_kusto.cli.termination import Process
from opencost_kusto.cli.usage import read_option
from opencost_kusto.coverage.backfill import Survey, backfill, survey
from opencost_kusto.coverage.retention import check_step
from opencost_kusto.database.doctor import ready
from opencost_kusto.pipeline.clocks import timed
from opencost_kusto.result import BatchResult
from opencost_kusto.schedule.tick import Lookback
from opencost_kusto.schema.tables import DATASETS, DEFAULT_DATASETS
from opencost_kusto.times import utc_now
from opencost_kusto.window import between, duration, stamp

# Batches between two estimates, where there is no progress bar.
_ESTIMATED = 25


def backfill_command(
    source: SourceOptions,
    data: DataOptions,
    run_options: RunOptions,
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
    now = utc_now()
    period = between(from_, to, now=now)
    stepped = tuple(name for name in DEFAULT_DATASETS if DATASETS[name].cadence == "step")
    length = read_option("--step", lambda text: check_step(duration(text)), step)
    target = scheduled(length, data, data.datasets() if data.dataset else stepped, source)
    closed = Lookback(lag=read_option("--lag", duration, lag)).closed(now)
    run, policy, cancel = run_options.run(), load.policy(), process.cancel
    with source.opencosts() as opencosts, kusto_options.kusto(console.info) as kusto:
        print_shard(source.part, len(opencosts), console)
        ready(kusto)
        run = timed(run, kusto)
        surveyed = survey(
            opencosts, kusto, target, period, now=now, closed=closed, run=run, policy=policy, cancel=cancel
        )
        total = _print_survey(surveyed, console)
        due = Counter(batch.table.dataset for *_, gaps in surveyed.found for batch in gaps.due)
        with console.progress(due if len(surveyed.found) == 1 else {}) as on_result:
            if not console.terminal:
                on_result = estimated(on_result, surveyed.due, console.info)
            report = backfill(surveyed, kusto, run=run, cancel=cancel, on_result=on_result, policy=policy)
    if not report.results and console.format_ is None:
        console.out(f"Nothing is missing: all {total} are in Kusto, or empty.")
    finish(console, report)


def _print_survey(surveyed: Survey, console: Console) -> str:
    """Print what is to load; return what was looked at."""
    total = f"{surveyed.expected} batches from {stamp(surveyed.period.start)} to {stamp(surveyed.period.end)}"
    others = {"expired at this step": surveyed.gone, "lost": surveyed.lost}
    more = "".join(f", {count} {what}" for what, count in others.items() if count)
    console.info(f"{surveyed.due} to load{more}, of {total}.", "survey")
    return total


def estimated(
    on_result: Callable[[BatchResult], None],
    total: int,
    log: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
) -> Callable[[BatchResult], None]:
    """`on_result`, which also logs the batches done and the estimated time left, every few batches."""
    began, done = now(), [0]

    def counted(one: BatchResult) -> None:
        on_result(one)
        done[0] += 1
        if done[0] % _ESTIMATED == 0 and done[0] < total:
            left = (now() - began) / done[0] * (total - done[0])
            log(f"{done[0]} of {total} batches, about {_rounded(left)} left")

    return counted


def _rounded(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
