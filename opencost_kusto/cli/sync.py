"""`sync` and `replay`: cost into Kusto."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from opencost_kusto.batch import Run, Source
from opencost_kusto.ci.elapsed import Elapsed
from opencost_kusto.ci.empty import empty_reason
from opencost_kusto.ci.summary import page
from opencost_kusto.cli.console import Console
from opencost_kusto.cli.file_options import DRY_RUN, FileOptions
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.option_groups import ExplicitOptions
from opencost_kusto.cli.options import LOADING, FailOnEmpty, LoadOptions, RunOptions, Summary, Tags, option, seconds
from opencost_kusto.cli.reports import finish, plan, print_shard, report_line, route_lines
from opencost_kusto.cli.source_options import DataOptions, SourceOptions
from opencost_kusto.cli.streams import checked
from opencost_kusto.cli.termination import Process
from opencost_kusto.cli.window_options import Step, WhenOptions, marks_of, step_of
from opencost_kusto.database.doctor import ready
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.policy import TIMEOUT, LoadPolicy
from opencost_kusto.pipeline.export import export
from opencost_kusto.pipeline.fleet import marks_of_each, sync_all
from opencost_kusto.pipeline.replay import check_is_spool, replay
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.result import ARRIVED, BatchResult, Report
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.times import utc_now
from opencost_kusto.window import Window

# Loads a request for a run, and calls a function with each result.
Target = Callable[[SyncRequest, Run, Callable[[BatchResult], None]], Report]


def sync_command(
    source: SourceOptions,
    data: DataOptions,
    run_options: RunOptions,
    kusto_options: KustoOptions,
    load: LoadOptions,
    when: WhenOptions,
    files: FileOptions,
    step: Step = None,
    summary: Summary = None,
    fail_on_empty: FailOnEmpty = None,
    *,
    explicit: ExplicitOptions,
    process: Process,
    console: Console,
) -> None:
    """Load a window of cost from OpenCost into Kusto exactly once, and prove it."""
    # Options are checked before the marks are read from OpenCost.
    request = _request(data, files, when, step, explicit, console)
    run = run_options.run()
    with (
        page(summary) as content,
        source.opencosts() as opencosts,
        _target(files, request.datasets, opencosts, kusto_options, load, process, console) as (target, kusto),
    ):
        print_shard(source.part, len(opencosts), console)
        request, elapsed = on_marks(request, when, opencosts, console.info)
        run = when.ready(run, request, opencosts, process.cancel, console.info)
        with console.progress(plan(request)) as on_result:
            report = target(request, run, on_result)
        content.add(report, kusto if summary else None)
    for line in elapsed.described(_costs(report)) if elapsed else ():
        console.info(line)
    expected = when.since is not None if fail_on_empty is None else fail_on_empty
    empty = empty_reason(report, request.window, utc_now()) if expected else None
    (_finish_rows if files.stdout else finish)(console, report, empty)


def _request(
    data: DataOptions,
    files: FileOptions,
    when: WhenOptions,
    step: str | None,
    explicit: ExplicitOptions,
    console: Console,
) -> SyncRequest:
    """The request; raises UsageError for invalid options, and for those that cannot be combined."""
    datasets = files.datasets(data.datasets(), chosen="dataset" in explicit)
    data.check(explicit, datasets)
    if files.given:
        files.check(datasets, explicit, console)
    cut = step_of(step, marks_of(when.opencost_resolution))
    request = SyncRequest(when.interval(), cut, datasets, data.options(), data.optional())
    if "settle" in explicit and when.since is None:
        raise UsageError("--settle goes with --since: the end of a window is not waited for.")
    return request


def on_marks(
    request: SyncRequest, when: WhenOptions, opencosts: Sequence[OpenCost], log: Callable[[str], None]
) -> tuple[SyncRequest, Elapsed | None]:
    """The request with the window on the marks of each source, or with one for all that contains the period of --since.

    Messages about all sources, and their total cost, are of the window on the coarsest marks.
    """
    every = set(marks_of_each(opencosts, when.marks)) or {marks_of(when.opencost_resolution)}
    elapsed = when.elapsed(marks=max(every))
    if elapsed is not None:
        return replace(request, window=elapsed.window), elapsed
    moment = utc_now()

    def widened(source: Source) -> Window:
        return when.interval(lambda: moment, marks=source.settings.marks or when.marks or source.marks)

    windows = [when.interval(lambda: moment, log, marks) for marks in sorted(every)]
    return replace(request, window=windows[-1], widened=widened), None


@contextmanager
def _target(
    files: FileOptions,
    datasets: tuple[str, ...],
    opencosts: Sequence[OpenCost],
    kusto_options: KustoOptions,
    load: LoadOptions,
    process: Process,
    console: Console,
) -> Iterator[tuple[Target, Kusto | None]]:
    """What loads a request: into files, or into a database that can be reached, and the database.

    Its errors are raised before anything is requested from OpenCost.
    """
    if files.given:
        if len(opencosts) > 1:
            raise UsageError("--output takes the rows of one source; run it once for each.")
        with files.writer(datasets) as write:
            yield (
                lambda request, run, on_result: export(
                    opencosts[0], request, checked(write), run=run, on_result=on_result, in_blocks=True
                ),
                None,
            )
        return
    with kusto_options.kusto(console.info, otherwise=DRY_RUN) as kusto:
        ready(kusto, patient=load.spool is not None)
        yield (
            lambda request, run, on_result: sync_all(
                opencosts, kusto, request, run=run, cancel=process.cancel, on_result=on_result, policy=load.policy()
            ),
            kusto,
        )


def _costs(report: Report) -> dict[str, float]:
    """The cost of the allocations of a run by cluster, where they landed or were written; "" for a single cluster."""
    arrived = [one for one in report.results if one.table == ALLOCATION.name and one.outcome in ARRIVED]
    several = len({one.source for one in arrived}) > 1
    costs: dict[str, float] = {}
    for one in arrived:
        name = one.source if several else ""
        costs[name] = costs.get(name, 0.0) + (one.cost or 0.0)
    return costs or {"": 0.0}


def _finish_rows(console: Console, report: Report, empty: str | None) -> None:
    """End a command whose stdout has the rows: the sum is an event."""
    for line in route_lines(report) if console.verbose else ():
        console.info(line, "source")
    console.info(report_line(report), "report")
    finish(Console(quiet=True), report, empty)


def replay_command(
    folder: Annotated[Path, typer.Argument(help="The folder that sync was given as --spool.")],
    kusto_options: KustoOptions,
    wait: Annotated[
        bool, option("--wait/--no-wait", "Wait until the rows are counted in their tables.", panel=LOADING)
    ] = True,
    timeout: Annotated[
        float, option("--timeout", "Seconds to wait for the next batch to land.", panel=LOADING)
    ] = TIMEOUT,
    tags: Tags = True,
    cluster: Annotated[
        list[str] | None, option("--cluster", "The batches of this cluster alone; repeatable.", panel=LOADING)
    ] = None,
    *,
    process: Process,
    console: Console,
) -> None:
    """Load what a spool still holds, exactly once."""
    seconds("--timeout", timeout)
    policy = LoadPolicy(wait=wait, timeout=timeout, tags=tags)
    with kusto_options.kusto(console.info) as kusto:
        check_is_spool(folder)
        ready(kusto)
        with console.progress({}) as on_result:
            more = {"cancel": process.cancel, "on_result": on_result, "clusters": cluster or ()}
            report = replay(folder, kusto, policy=policy, **more)  # type: ignore[arg-type]
    finish(console, report)
