"""Sync several sources at once: one request at a time for each, and each fails and is reported alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial

from opencost_kusto.batch import Run, Source
from opencost_kusto.cancel import CancelToken
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.request import BatchPlan, new_run, plan_of
from opencost_kusto.pipeline.sync import sync, timed
from opencost_kusto.result import BatchResult, Outcome, Report, batch_result
from opencost_kusto.window import RESOLUTION, Window

# Seconds in which cancelled sources may release what they hold.
_GRACE = 10.0
# Longest wait in seconds; a signal is handled after it.
_WAIT = 0.2


def sync_all(
    opencosts: Sequence[OpenCost],
    kusto: Kusto,
    request: BatchPlan | Window | str,
    *,
    run: Run | None = None,
    policy: LoadPolicy | None = None,
    cancel: CancelToken | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
) -> Report:
    """`sync` every source at once, in one report.

    Several sources must have names; an error of one is a result of each of its batches. One source alone raises what
    `sync` raises. `on_result` is called from several threads.
    """
    plan = plan_of(request)
    run, token = timed(run or new_run(), kusto), cancel or CancelToken()
    if len(opencosts) == 1:
        return sync(opencosts[0], kusto, plan, run=run, policy=policy, cancel=token, on_result=on_result)
    reports = [Report(run.id) for _ in opencosts]

    def load(at: int) -> None:
        opencost = opencosts[at]
        try:
            reports[at] = sync(opencost, kusto, plan, run=run, policy=policy, cancel=token, on_result=on_result)
        except OpenCostKustoError as error:
            batches = plan.batches(Source(opencost.cluster or "", settings=opencost.settings), run.collection_time)
            reports[at].on_result = on_result
            reports[at].add(batch_result(batch, Outcome.FAILED, error=error) for batch in batches)

    run_concurrently([lambda at=at: load(at) for at in range(len(opencosts))], token)  # type: ignore[misc]
    return merged(run.id, reports)


def common_marks(opencosts: Sequence[OpenCost]) -> timedelta:
    """The marks on which the windows of all sources begin and end; those that do not respond are left out."""
    found = [RESOLUTION]

    def ask(opencost: OpenCost) -> None:
        with suppress(OpenCostKustoError):
            found.append(opencost.settings.marks or opencost.capabilities().marks)

    run_concurrently([partial(ask, one) for one in opencosts])
    return max(found)


def merged(run_id: str, reports: Sequence[Report]) -> Report:
    """One report of several."""
    failed = next((one.run_log for one in reports if one.run_log is not None), None)
    warnings = [warning for one in reports for warning in one.warnings]
    return Report(run_id, [result for one in reports for result in one.results], run_log=failed, warnings=warnings)


def run_concurrently(works: Sequence[Callable[[], None]], cancel: CancelToken | None = None) -> None:
    """Run callables concurrently and return when all have ended; re-raise the first error.

    They run on daemon threads: a process that must end waits only for a grace period, in which cancelled ones release
    what they hold.
    """
    errors: list[BaseException] = []
    # Not Thread.join: once interrupted, it reports its thread as ended (CPython 3.11).
    ends: list[threading.Event] = []

    def guarded(work: Callable[[], None], end: threading.Event) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            end.set()

    try:
        for work in works:
            ends.append(threading.Event())
            threading.Thread(target=guarded, args=(work, ends[-1]), daemon=True).start()
        for end in ends:
            # A signal just before a wait is handled only after it, so keep waits short.
            while not end.wait(_WAIT):
                continue
    except BaseException:
        if cancel is not None:
            cancel.cancel()
            give_up = time.monotonic() + _GRACE
            for end in ends:
                end.wait(max(0.0, give_up - time.monotonic()))
        raise
    if errors:
        raise errors[0]
