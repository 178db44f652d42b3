"""The pipeline: request each step from OpenCost, transform it to rows, load them, and verify that they landed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from opencost_kusto.batch import BatchContext, Run, Source
from opencost_kusto.cancel import CancelToken
from opencost_kusto.errors import KustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.loader import BatchLoader, stage_all
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.load.run_log import write_run_log
from opencost_kusto.load.spool import Spool
from opencost_kusto.load.staged import StagedBatch
from opencost_kusto.pipeline.identity import Identity
from opencost_kusto.pipeline.prefetch import prefetch
from opencost_kusto.pipeline.request import BatchPlan, new_run, plan_of
from opencost_kusto.pipeline.stage import Breaker, RowCounts, read_response
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.window import Window


def sync(
    opencost: OpenCost,
    kusto: Kusto,
    request: BatchPlan | Window | str,
    *,
    source: Source | None = None,
    run: Run | None = None,
    policy: LoadPolicy | None = None,
    cancel: CancelToken | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
) -> Report:
    """Load a window of cost into Kusto, exactly once, and report what became of each batch.

    `request` is a SyncRequest, or a window of the default datasets, also as text: `1h`, `yesterday`; `source` is what
    the server has said of itself, if it was asked. The next response is read while this one is loaded. `cancel` ends
    the run from another thread; `on_result` is called with each result as it comes. Raises UsageError, OpenCostError
    when the server does not say which cluster it serves, and KustoError for another cluster than the name stands for;
    an error of a batch is in the report and its `exit_code`.
    """
    plan, policy, cancel = plan_of(request), policy or LoadPolicy(), cancel or CancelToken()
    run = timed(run or new_run(), kusto)
    source = source or opencost.source()
    run = run.of(source)
    identity = Identity(kusto, source, run, policy.adopt)
    identity.hold_if_read()
    report = Report(run.id, on_result=on_result)
    loading = BatchLoader(kusto, policy, admit=lambda _: identity.hold(), clock=cancel.clock, sleep=cancel.sleep)
    with _spool(policy) as spool, loading as loader:
        batches = stage_all(kusto, plan.batches(source, run.collection_time))
        responses = _responses(opencost, batches, run, source, spool, plan.optional)
        for staged in prefetch(responses, cancel.check):
            report.add(loader.load(staged))
        report.add(loader.finish())
    report.warnings = identity.warnings
    log(report, kusto, run, source)
    return report


def timed(run: Run, kusto: Kusto) -> Run:
    """The run with Kusto's clock, so that machines with wrong clocks agree; the machine's if Kusto cannot be read."""
    if run.clock != "machine":
        return run
    try:
        return replace(run, collection_time=kusto.now(), clock="kusto")
    except KustoError:
        return run


def log(report: Report, kusto: Kusto, run: Run, source: Source, results: Iterable[BatchResult] | None = None) -> None:
    """Write a run's results to the run log; if that fails, the error is in the report."""
    some = list(report.results if results is None else results)
    try:
        if some:
            write_run_log(kusto, run, [source], some)
    except KustoError as error:
        report.run_log = error


def _responses(
    opencost: OpenCost,
    batches: Iterable[StagedBatch],
    run: Run,
    source: Source,
    spool: Spool,
    optional: frozenset[str],
) -> Iterator[StagedBatch]:
    """Read a response for each batch, one at a time."""
    breaker, rows = Breaker(), RowCounts()
    for staged in batches:
        context = BatchContext(run, source, staged.batch)
        yield rows.compared(read_response(opencost, staged, context, spool, breaker, optional))


@contextmanager
def _spool(policy: LoadPolicy) -> Iterator[Spool]:
    """The spool of a run: the given folder, or a temporary one."""
    if policy.spool is not None:
        spool = Spool(policy.spool, durable=True, level=policy.gzip_level)
        spool.sweep()
        yield spool
        return
    with tempfile.TemporaryDirectory(prefix="opencost-kusto-") as folder:
        yield Spool(Path(folder), level=policy.gzip_level)
