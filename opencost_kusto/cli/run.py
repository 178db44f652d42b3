"""`run`: a command, and what it cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from opencost_kusto.ci.command import executed
from opencost_kusto.ci.command_cost import CommandCost, Measured
from opencost_kusto.ci.empty import empty_reason
from opencost_kusto.ci.settle import SETTLE, settle_time
from opencost_kusto.ci.summary import by_currency, cost_table
from opencost_kusto.cli.console import Console
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.options import FailOnEmpty, LoadOptions, RunOptions, Summary
from opencost_kusto.cli.reports import plan, report_document
from opencost_kusto.cli.source_options import DataOptions, SourceOptions
from opencost_kusto.cli.termination import Process
from opencost_kusto.cli.window_options import RequireCoverage, Resolution, Settle, Step, marks_of, step_of
from opencost_kusto.errors import EmptyError
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.redact import redacted
from opencost_kusto.rendering import Document
from opencost_kusto.times import utc_now
from opencost_kusto.window import covering, stamp


def run_command(
    command: Annotated[list[str], typer.Argument(help="The command and its own options, after --.")],
    source: SourceOptions,
    data: DataOptions,
    run_options: RunOptions,
    kusto_options: KustoOptions,
    load: LoadOptions,
    step: Step = None,
    settle: Settle = SETTLE,
    opencost_resolution: Resolution = None,
    require_coverage: RequireCoverage = False,
    summary: Summary = None,
    fail_on_empty: FailOnEmpty = None,
    *,
    process: Process,
    console: Console,
) -> None:
    """Run a command, then load the window in which it ran and print what it cost; its exit code comes first."""
    # Options are checked before the command runs; only the window is not known yet.
    marks = marks_of(opencost_resolution)
    request = _request(data, step, marks)
    cost = CommandCost(
        source.opencosts,
        lambda: kusto_options.kusto(console.info),
        request,
        run_options.run(),
        settle_time(settle),
        load.policy(),
        summary,
        console.info,
        lambda request: console.progress(plan(request)),
        sleep=process.cancel.sleep,
        execute=lambda args: executed(args, process.signals_to),
        cancel=process.cancel,
        resolution=None if opencost_resolution is None else marks,
        require_coverage=require_coverage,
    )
    if code := show_cost(console, cost.of(command), fail_on_empty=fail_on_empty is not False):
        raise typer.Exit(code)


def _request(data: DataOptions, step: Step, marks: timedelta) -> SyncRequest:
    now = utc_now()
    return SyncRequest(
        covering(now, now, marks), step_of(step, marks), data.datasets(), data.options(), data.optional()
    )


def show_cost(console: Console, measured: Measured, *, fail_on_empty: bool = True) -> int:
    """Print on stderr what the command cost, since stdout is its own; its exit code, or when that is 0 the report's."""
    done, report = measured.command, measured.report
    if report is None:
        console.error(redacted(measured.error), done.exit_code)
        return done.exit_code
    empty = empty_reason(report, done.elapsed.window, utc_now()) if fail_on_empty and not report.exit_code else None
    code = done.exit_code or (EmptyError.exit_code if empty else report.exit_code)
    console.show_on_stderr(report_document(report, code, empty))
    console.show_on_stderr(_costs(measured))
    if empty:
        console.error(empty, code)
    return code


def _costs(measured: Measured) -> Document:
    """The cost of the window by namespace, as Kusto has it."""
    costs, window = measured.page.costs, measured.command.elapsed.window
    facts = {"from": stamp(window.start), "to": stamp(window.end)}
    if not costs:
        line = measured.page.unknown if costs is None else "No allocation was counted in Kusto."
        return Document(facts, lines=[line])
    table = cost_table(costs)
    totals = by_currency(costs)
    sums = " and ".join(f"{cost:,.5f} {currency}".strip() for currency, cost in totals.items())
    line = f"From {facts['from']} to {facts['to']} everything cost {sums}."
    return Document(
        {**facts, "costs": totals, "namespaces": table.documents()},
        [table],
        [line, *measured.command.elapsed.described(totals)],
    )
