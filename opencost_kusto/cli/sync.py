"""`sync` and `replay`: cost into Kusto."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from opencost_kusto.ci.summary import page
from opencost_kusto.cli import streams
from opencost_kusto.cli.console import finish, narrator, teller
from opencost_kusto.cli.option_groups import ExplicitOptions
from opencost_kusto.cli.options import (
    AsJson,
    AskOptions,
    KustoOptions,
    LoadOptions,
    MarkOptions,
    SourceOptions,
    Step,
    Summary,
    WhenOptions,
    narrate,
    option,
    seconds,
)
from opencost_kusto.cli.termination import Process
from opencost_kusto.database.doctor import ready
from opencost_kusto.errors import UsageError
from opencost_kusto.load.policy import TIMEOUT, LoadPolicy
from opencost_kusto.pipeline.export import export
from opencost_kusto.pipeline.fleet import sync_all
from opencost_kusto.pipeline.ndjson import LineWriter
from opencost_kusto.pipeline.replay import replay
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.result import ARRIVED, Report
from opencost_kusto.schema.tables import ALLOCATION, DATASETS
from opencost_kusto.window import check_step, duration, resolution


def sync_command(
    source: SourceOptions,
    ask: AskOptions,
    mark: MarkOptions,
    kusto_options: KustoOptions,
    load: LoadOptions,
    when: WhenOptions,
    step: Step = None,
    output: Annotated[str | None, option("--output", "Folder, or - for stdout: rows as lines, no Kusto.")] = None,
    summary: Summary = None,
    as_json: AsJson = False,
    *,
    written: ExplicitOptions,
    process: Process,
) -> None:
    """Take a window of cost from OpenCost into Kusto, exactly once, and prove it."""
    if output is not None:
        _check_dry_run(output, ask.datasets(), written, as_json=as_json)
    elapsed = when.elapsed()
    interval = when.interval() if elapsed is None else elapsed.window
    if "settle" in written and when.since is None:
        raise UsageError("--settle goes with --since: the end of a window is not waited for.")
    cut = check_step(duration(step), resolution(when.opencost_resolution)) if step else None
    question = SyncRequest(interval, cut, ask.datasets(), ask.options(), ask.optional())
    run = mark.run()
    quiet_stdout = as_json or output == "-"
    with (
        page(summary) as told,
        source.opencosts() as opencosts,
        narrator(question.count * len(opencosts), quiet_stdout=quiet_stdout) as on_result,
    ):
        if output is not None:
            if len(opencosts) > 1:
                raise UsageError("--output takes the rows of one source; run it once for each.")
            with LineWriter(output, (DATASETS[name] for name in question.datasets)) as write:
                run = when.ready(run, interval, process.cancel)
                report = export(opencosts[0], question, streams.checked(write), run=run, on_result=on_result)
            told.add(report)
        else:
            with kusto_options.kusto() as kusto:
                ready(kusto, patient=load.spool is not None)
                run = when.ready(run, interval, process.cancel)
                report = sync_all(
                    opencosts,
                    kusto,
                    question,
                    run=run,
                    policy=load.policy(),
                    cancel=process.cancel,
                    on_result=on_result,
                )
                told.add(report, kusto if summary else None)
    if elapsed is not None:
        narrate("\n".join(elapsed.described(_cost(report))))
    finish(report, as_json, process, quiet_stdout=quiet_stdout)


def _cost(report: Report) -> float:
    """What the allocations of a run cost, as far as they landed or were written."""
    return sum(one.cost or 0.0 for one in report.results if one.table == ALLOCATION.name and one.outcome in ARRIVED)


def _check_dry_run(output: str, datasets: tuple[str, ...], written: ExplicitOptions, *, as_json: bool) -> None:
    """Refuse what a dry run would ignore, and what would get mixed up on stdout."""
    names = [field.name for group in (KustoOptions, LoadOptions) for field in fields(group)]
    if ignored := [f"--{name.replace('_', '-')}" for name in names if name in written]:
        said = ", ".join(ignored).replace("--wait", "--wait/--no-wait")
        raise UsageError(f"--output is a dry run without Kusto; leave out {said}.")
    if output == "-" and as_json:
        raise UsageError("--json and --output - both want stdout; name a folder with --output.")
    if output == "-" and len(datasets) > 1:
        raise UsageError("Rows of one dataset go to stdout: add --dataset allocation, or name a folder with --output.")


def replay_command(
    folder: Annotated[Path, typer.Argument(help="The folder that sync was given as --spool.")],
    kusto_options: KustoOptions,
    wait: Annotated[bool, option("--wait/--no-wait", "Wait until the rows are counted in their tables.")] = True,
    timeout: Annotated[float, option("--timeout", "Seconds to wait for the next batch to land.")] = TIMEOUT,
    as_json: AsJson = False,
    *,
    process: Process,
) -> None:
    """Send what a spool still holds, exactly once."""
    seconds("--timeout", timeout)
    with kusto_options.kusto() as kusto:
        tell, policy = teller(quiet_stdout=as_json), LoadPolicy(wait=wait, timeout=timeout)
        report = replay(folder, kusto, policy=policy, cancel=process.cancel, on_result=tell)
    finish(report, as_json, process, quiet_stdout=as_json)
