"""Several OpenCosts side by side: each is asked one question at a time, fails alone, and is reported alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from opencost_kusto.batch import Run, Source
from opencost_kusto.cancel import CancelToken
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.pipeline.request import BatchPlan, new_run
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.result import BatchResult, Outcome, Report, batch_result

# Seconds in which sources that are told to end may give back what they hold.
_MOMENT = 10.0
# Seconds after which a signal is heard at the latest.
_HEARD = 0.2


def sync_all(
    opencosts: Sequence[OpenCost],
    kusto: Kusto,
    question: BatchPlan,
    *,
    run: Run | None = None,
    stop: CancelToken | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
    **loading: Any,
) -> Report:
    """`sync` of every source at once, in one report; `loading` is what `sync` takes beside.

    Of several sources, each must have been named: what a source cannot do is an outcome of each of its batches. One
    source alone raises what `sync` raises. `tell` is called from several threads.
    """
    run, stop = run or new_run(), stop or CancelToken()
    if len(opencosts) == 1:
        return sync(opencosts[0], kusto, question, run=run, on_result=on_result, stop=stop, **loading)
    reports = {one.cluster: Report(run.id, on_result=on_result) for one in opencosts}

    def bring(opencost: OpenCost) -> None:
        try:
            reports[opencost.cluster] = sync(
                opencost, kusto, question, run=run, on_result=on_result, stop=stop, **loading
            )
        except OpenCostKustoError as error:
            batches = question.batches(Source(opencost.cluster or "", opencost.cluster), run.collection_time)
            reports[opencost.cluster].end(batch_result(batch, Outcome.FAILED, error=error) for batch in batches)

    run_concurrently([lambda one=one: bring(one) for one in opencosts], stop)  # type: ignore[misc]
    return Report(run.id, [one for report in reports.values() for one in report.outcomes])


def run_concurrently(works: Sequence[Callable[[], None]], stop: CancelToken | None = None) -> None:
    """Do all of it at once, and return when all is done; raises the first error any of them raises.

    On daemon threads: a process that is told to end does not wait for them, but for a moment when `stop` can tell them.
    """
    errors: list[BaseException] = []
    # Not Thread.join: one that is interrupted takes its thread for ended ever after (CPython 3.11).
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
            # A signal that comes just before a wait begins is heard only after it, so none is for long.
            while not end.wait(_HEARD):
                continue
    except BaseException:
        if stop is not None:
            stop.cancel()
            give_up = time.monotonic() + _MOMENT
            for end in ends:
                end.wait(max(0.0, give_up - time.monotonic()))
        raise
    if errors:
        raise errors[0]
