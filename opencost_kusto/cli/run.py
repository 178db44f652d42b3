"""`run`: a command, and what it cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from opencost_kusto.batch import Run
from opencost_kusto.cancel import CancelToken
from opencost_kusto.ci.command import CommandResult, executed, run_and_time
from opencost_kusto.ci.elapsed import Elapsed
from opencost_kusto.ci.settle import SETTLE, clock, settle_time, settled
from opencost_kusto.ci.summary import Page, page
from opencost_kusto.cli import printing
from opencost_kusto.cli.console import narrator
from opencost_kusto.cli.options import (
    AskOptions,
    KustoOptions,
    LoadOptions,
    MarkOptions,
    Resolution,
    Settle,
    SourceOptions,
    Step,
    Summary,
    narrate,
)
from opencost_kusto.cli.termination import Process
from opencost_kusto.database.doctor import ready
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.holdings import holdings
from opencost_kusto.pipeline.fleet import sync_all
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.redact import redacted
from opencost_kusto.result import Report
from opencost_kusto.schema import micros
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.window import RESOLUTION, Window, check_step, covering, duration, resolution, stamp


def run_command(
    command: Annotated[list[str], typer.Argument(help="The command and its own options, after --.")],
    source: SourceOptions,
    ask: AskOptions,
    mark: MarkOptions,
    kusto_options: KustoOptions,
    load: LoadOptions,
    step: Step = None,
    settle: Settle = SETTLE,
    opencost_resolution: Resolution = "5m",
    summary: Summary = None,
    *,
    process: Process,
) -> None:
    """Run a command, then sync the window in which it ran and print what that cost; its exit code comes first."""
    # Whatever is wrong is said now, not when the command has run: the window alone comes later.
    marks = resolution(opencost_resolution)
    cut = check_step(duration(step), marks) if step else None
    asked = SyncRequest(covering(clock(), clock(), marks), cut, ask.datasets(), ask.options(), ask.optional())
    account = Account(
        source,
        kusto_options,
        load,
        asked,
        mark.run(),
        settle_time(settle),
        summary,
        sleep=process.cancel.sleep,
        execute=lambda words: executed(words, process.signals_to),
        stop=process.cancel,
        resolution=marks,
    )
    if code := account.of(command):
        raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class Account:
    """What is asked about a command, and of whom. Time, waiting and running are what tests replace."""

    source: SourceOptions
    kusto_options: KustoOptions
    load: LoadOptions
    asked: SyncRequest
    run: Run
    settle: timedelta
    summary: Path | None = None
    now: Callable[[], datetime] = clock
    sleep: Callable[[float], None] = time.sleep
    execute: Callable[[Sequence[str]], int] = executed
    stop: CancelToken = field(default_factory=CancelToken)
    resolution: timedelta = RESOLUTION

    def of(self, command: Sequence[str]) -> int:
        """Run the command and tell what it cost; its exit code, or when that is 0 the sync's.

        Everything told goes to stderr, since stdout is the command's. Raises what `sync` raises, and before the command
        runs where OpenCost or Kusto cannot be asked; once it has failed, its exit code comes first.
        """
        done: CommandResult | None = None
        try:
            with page(self.summary) as told, self.source.opencosts() as opencosts, self.kusto_options.kusto() as kusto:
                self._reach(opencosts, kusto)
                done = run_and_time(command, now=self.now, execute=self.execute, resolution=self.resolution)
                report = self._synced(done.elapsed.window, opencosts, kusto)
                told.add(report, kusto)
        except OpenCostKustoError as error:
            if done is None or not done.exit_code:
                raise
            narrate(f"opencost-kusto: {redacted(error)}")
            return done.exit_code
        narrate(printing.report_line(report))
        narrate("\n".join(_told(told, done.elapsed)))
        return done.exit_code or report.exit_code

    def _reach(self, opencosts: Sequence[OpenCost], kusto: Kusto) -> None:
        """Ask both ends something small, so that a long command does not run in vain."""
        for opencost in opencosts:
            opencost.reach()
        ready(kusto, patient=self.load.spool is not None)
        for name in self.asked.datasets:
            holdings(kusto, DATASETS[name], [""])

    def _synced(self, window: Window, opencosts: Sequence[OpenCost], kusto: Kusto) -> Report:
        question = replace(self.asked, window=window)
        run = settled(self.run, window, self.settle, now=self.now, sleep=self.sleep, on_result=narrate)
        with narrator(question.count * len(opencosts), quiet_stdout=True) as on_result:
            return sync_all(
                opencosts,
                kusto,
                question,
                run=run,
                policy=self.load.policy(),
                cancel=self.stop,
                on_result=on_result,
            )


def _told(told: Page, elapsed: Elapsed) -> Iterator[str]:
    """What everything cost in the window, and each namespace, as Kusto has just answered, and the share by time."""
    window = elapsed.window
    if not told.costs:
        yield told.unknown if told.costs is None else "No allocation was counted in Kusto."
        return
    total = micros.to_cost(sum(one.micros for one in told.costs))
    yield f"From {stamp(window.start)} to {stamp(window.end)} everything cost {total:.5f}:"
    several = len({one.cluster for one in told.costs}) > 1
    yield from printing.bars(
        {
            f"{one.cluster}/{one.namespace}" if several else one.namespace: micros.to_cost(one.micros)
            for one in told.costs
        }
    )
    yield from elapsed.described(total)
