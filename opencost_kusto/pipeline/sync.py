"""The pipeline: ask OpenCost for each step, turn the answer into rows, load them, and prove that they landed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path

from opencost_kusto.batch import BatchContext, Run, Source
from opencost_kusto.cancel import CancelToken
from opencost_kusto.errors import ContentError, KustoError, UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.ingest import TableCount, count_batches, counted_ahead
from opencost_kusto.load.replace import refuse_where_impossible
from opencost_kusto.load.spool import GZIP_LEVEL, Spool, remove
from opencost_kusto.load.tracker import IngestionTracker, already_there
from opencost_kusto.pipeline.prefetch import prefetch
from opencost_kusto.pipeline.request import BatchPlan, new_run
from opencost_kusto.pipeline.run_log import may_be_half, record
from opencost_kusto.pipeline.stage import StagedBatch, fetch
from opencost_kusto.result import BatchResult, Outcome, Report, batch_result
from opencost_kusto.schema.columns import Json


def sync(
    opencost: OpenCost,
    kusto: Kusto,
    question: BatchPlan,
    *,
    run: Run | None = None,
    wait: bool = True,
    timeout: float = 900.0,
    replace: bool = False,
    spool: Path | None = None,
    gzip_level: int = GZIP_LEVEL,
    stop: CancelToken | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
) -> Report:
    """Take a window of cost into Kusto, exactly once, and report what became of each batch.

    The next answer is on its way while this one is loaded. `timeout` is seconds for all batches to land, counted from
    the last one queued; without `wait` batches end as queued. With `replace`, an answer that has changed takes the
    place of what the table holds of its batch. With `spool`, sealed batches stay in that folder until they have
    landed. `stop` ends the run from another thread. `tell` is called with each outcome as it comes. Raises UsageError,
    and OpenCostError when the server does not say which cluster it is; what goes wrong with a batch is in the report
    and its `exit_code`.
    """
    run, stop = run or new_run(), stop or CancelToken()
    if replace:
        if not wait:
            raise UsageError("--replace proves what it puts in the place of rows, so it cannot go with --no-wait.")
        refuse_where_impossible(kusto)
    source = opencost.source()
    report = Report(run.id, on_result=on_result)
    with (
        nullcontext(str(spool)) if spool else tempfile.TemporaryDirectory(prefix="opencost-kusto-") as folder,
        IngestionTracker(kusto, wait=wait, timeout=timeout, keep=spool is not None, sleep=stop.sleep) as landing,
    ):
        parts = Spool(Path(folder), durable=spool is not None, level=gzip_level)
        parts.sweep()
        batches = question.batches(source, run.collection_time)
        answers = (
            fetch(opencost, kusto, BatchContext(run, source, batch), found, parts)
            for batch, found in counted_ahead(kusto, batches)
        )
        told = _renamed(source)
        for fetched in prefetch(answers, stop.check):
            fetched.notes += told
            told = []
            report.end(chain(_load(fetched, kusto, landing, replace), landing.poll()))
        report.end(landing.finish())
        report.end(record(report, run, source, question.window, parts, landing))
    return report


def _renamed(source: Source) -> list[str]:
    """A sentence where the user calls a cluster by another name than it calls itself: to Kusto these are two."""
    if source.own in (None, source.name):
        return []
    return [
        f"OpenCost calls this cluster {source.own}; its rows are filed under {source.name}. Rows that were filed under "
        "another name are another source's, and are counted besides."
    ]


def _load(fetched: StagedBatch, kusto: Kusto, landing: IngestionTracker, replace: bool) -> Iterator[BatchResult]:
    """Load what was fetched, unless it is there already; gives outcomes that are known at once."""
    batch, sealed, before = fetched.batch, fetched.sealed, fetched.before
    took: dict[str, Json] = {"seconds": round(time.monotonic() - fetched.begun, 3), "notes": fetched.notes}
    try:
        if fetched.unknown and sealed is not None:
            # Nothing is sent before it is known what is there: tags guard for a week, the question for ever.
            before = count_batches(kusto, batch.table, [batch.id]).get(batch.id)
        whole = before is not None and sealed is not None and before.is_all_of(sealed)
        half = before is not None and not whole and may_be_half(kusto, batch, before, sealed)
    except KustoError as error:
        if fetched.unknown and sealed is not None:
            fetched.notes.append(sealed.kept)
        yield batch_result(batch, Outcome.FAILED, error=error, **took)
        return
    if before is None:
        if sealed is not None:
            yield from landing.add(batch, sealed, fetched.begun, fetched.notes)
        elif fetched.error is not None:
            yield batch_result(batch, Outcome.FAILED, error=fetched.error, **took)
        else:
            yield batch_result(batch, Outcome.EMPTY, rows=0, **took)
    elif sealed is None:
        yield _left(fetched, before, half, replace, took)
    elif not whole and (replace or half):
        yield from landing.replace(batch, sealed, fetched.begun, fetched.notes, before)
    else:
        yield already_there(batch, before, before.changed_to(sealed), **took)
        remove(sealed.folder)


def _left(fetched: StagedBatch, before: TableCount, half: bool, replace: bool, took: dict[str, Json]) -> BatchResult:
    """The outcome of rows that stay, because OpenCost has nothing to put beside them or in their place."""
    error = fetched.error
    if error is not None and (half or replace):
        return batch_result(fetched.batch, Outcome.FAILED, error=error, **took)
    gone = "OpenCost has no data for the window any more"
    if half:
        error = ContentError(
            f"{gone}, and the {before.rows} rows that are there may be a part of it: no run has seen them land whole. "
            "If a spool holds the batch, replay it."
        )
        return batch_result(fetched.batch, Outcome.FAILED, error=error, **took)
    if error is not None:
        gone = f"OpenCost could not be asked whether its answer has changed: {error}"
    return already_there(fetched.batch, before, gone if error else f"{gone}; the rows that landed stay", **took)
