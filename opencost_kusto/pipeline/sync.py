"""The pipeline: request each step from OpenCost, transform it to rows, load them, and verify that they landed."""

from __future__ import annotations

from collections.abc import Callable

from opencost_kusto.batch import Run
from opencost_kusto.cancel import CancelToken
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.clocks import timed, timed_by_opencost
from opencost_kusto.pipeline.identity import Identity
from opencost_kusto.pipeline.loading import Lane, Loading
from opencost_kusto.pipeline.request import BatchPlan, new_run, plan_of
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.window import Window


def sync(
    opencost: OpenCost,
    kusto: Kusto,
    request: BatchPlan | Window | str,
    *,
    run: Run | None = None,
    policy: LoadPolicy | None = None,
    cancel: CancelToken | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
) -> Report:
    """Load a window of cost into Kusto, exactly once, and report the outcome of each batch.

    `request` is a SyncRequest, or a window of the default datasets, also as text: `1h`, `yesterday`. The next response
    is read while this one is loaded.
    `cancel` ends the run from another thread; `on_result` is called with each result. Raises UsageError,
    OpenCostError when the server does not say which cluster it serves, and KustoError for another cluster than the name
    stands for; an error of a batch is in the report and its `exit_code`.
    """
    plan, policy, run = plan_of(request), policy or LoadPolicy(), timed(run or new_run(), kusto)
    source = opencost.source()
    run = timed_by_opencost(run, [opencost]).of(source)
    identity = Identity(kusto, source, run, policy.adopt)
    identity.hold_if_read()
    with Loading(kusto, run, policy, cancel, on_result) as loading:
        loading.load([Lane(opencost, identity, plan.batches(source, run.collection_time))], plan.optional)
        loading.drain()
    loading.log()
    return loading.report
