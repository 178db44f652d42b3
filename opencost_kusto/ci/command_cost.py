"""Run a command, and load and read the cost of the window in which it ran."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from opencost_kusto.batch import Run
from opencost_kusto.cancel import CancelToken
from opencost_kusto.ci.command import CommandResult, executed, run_and_time
from opencost_kusto.ci.settle import settled
from opencost_kusto.ci.summary import Page, page
from opencost_kusto.database.doctor import ready
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.holdings import holdings
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.coverage_check import check_starts
from opencost_kusto.pipeline.fleet import common_marks, sync_all
from opencost_kusto.pipeline.identity import Identity
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.times import utc_now

# Takes a request; returns a context with a function that is called with each result.
Progress = Callable[[SyncRequest], AbstractContextManager[Callable[[BatchResult], None]]]


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of a command and of its window: a report and its page, or an error."""

    command: CommandResult
    page: Page
    report: Report | None = None
    error: OpenCostKustoError | None = None


@dataclass(frozen=True, slots=True)
class CommandCost:
    """Loads the window in which a command runs, and reads its cost.

    The window of `request` is replaced by that of the command, on marks every `resolution`, or those of OpenCost.
    With `require_coverage`, nothing is loaded where OpenCost has no data at the start of the window. `now`, `sleep` and
    `execute` can be replaced in tests.
    """

    opencosts: Callable[[], AbstractContextManager[Sequence[OpenCost]]]
    kusto: Callable[[], AbstractContextManager[Kusto]]
    request: SyncRequest
    run: Run
    settle: timedelta
    policy: LoadPolicy = field(default_factory=LoadPolicy)
    summary: Path | None = None
    log: Callable[[str], None] = lambda _: None
    progress: Progress = lambda _: nullcontext(lambda _: None)
    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep
    execute: Callable[[Sequence[str]], int] = executed
    cancel: CancelToken = field(default_factory=CancelToken)
    resolution: timedelta | None = None
    require_coverage: bool = False

    def of(self, command: Sequence[str]) -> Measured:
        """Run the command, wait until its costs are measured, and load them.

        Raises what `sync` raises: before the command runs where OpenCost or Kusto cannot be reached, after it only
        where the command succeeded.
        """
        done: CommandResult | None = None
        content = Page()
        try:
            with page(self.summary) as content, self.opencosts() as opencosts, self.kusto() as kusto:
                self._reach(opencosts, kusto)
                marks = self.resolution or common_marks(opencosts)
                done = run_and_time(command, now=self.now, execute=self.execute, resolution=marks)
                report = self._load(done, opencosts, kusto)
                content.add(report, kusto)
        except OpenCostKustoError as error:
            if done is None or not done.exit_code:
                raise
            return Measured(done, content, error=error)
        return Measured(done, content, report)

    def _reach(self, opencosts: Sequence[OpenCost], kusto: Kusto) -> None:
        """Send OpenCost and Kusto a small request, so that a long command does not run without a result."""
        sources = [opencost.reach() for opencost in opencosts]
        ready(kusto, patient=self.policy.spool is not None)
        for source in sources:
            Identity(kusto, source, self.run, self.policy.adopt).hold_if_read()
        for name in self.request.datasets:
            holdings(kusto, DATASETS[name], [""])

    def _load(self, done: CommandResult, opencosts: Sequence[OpenCost], kusto: Kusto) -> Report:
        request = replace(self.request, window=done.elapsed.window)
        run = settled(self.run, request.window, self.settle, now=self.now, sleep=self.sleep, on_result=self.log)
        if self.require_coverage:
            check_starts(opencosts, request, self.resolution)
        with self.progress(request) as on_result:
            return sync_all(
                opencosts, kusto, request, run=run, policy=self.policy, cancel=self.cancel, on_result=on_result
            )
