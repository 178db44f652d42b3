"""Sends what a spool still holds: batches that an earlier run has sealed and not seen land."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from opencost_kusto.cancel import CancelToken
from opencost_kusto.errors import KustoError, UsageError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.ingest import count_batches
from opencost_kusto.load.spool import SealedBatch, Spool, remove
from opencost_kusto.load.tracker import IngestionTracker, already_there
from opencost_kusto.pipeline.run_log import is_same_answer, may_be_half
from opencost_kusto.result import BatchResult, Outcome, Report, batch_result
from opencost_kusto.schema.tables import TABLES


def replay(
    folder: Path,
    kusto: Kusto,
    *,
    wait: bool = True,
    timeout: float = 900.0,
    stop: CancelToken | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
) -> Report:
    """Load the batches a spool still holds, each exactly once, and remove those that are in Kusto.

    Where parts of the same answer are in the table already, the others complete them: the same parts have the same
    tags. Where parts of another answer are, this one takes their place; where another answer has landed whole, that one
    stays. Raises UsageError when the folder is not there or is no spool, and ContentError for a batch that cannot be
    read.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no spool folder {folder}.")
    _check_is_spool(folder)
    stop = stop or CancelToken()
    report = Report("replay", on_result=on_result)
    spool = Spool(folder, durable=True)
    spool.sweep()
    with IngestionTracker(kusto, wait=wait, timeout=timeout, keep=True, sleep=stop.sleep) as landing:
        for sealed in spool.sealed():
            stop.check()
            report.end(chain(_load(sealed, kusto, landing), landing.poll()))
        report.end(landing.finish())
    return report


def _check_is_spool(folder: Path) -> None:
    """Raise UsageError for a folder of other things: that there is nothing to do in it would be no news."""
    # A file system of its own has this folder at its root.
    names = {path.name for path in folder.iterdir()} - {"lost+found"}
    if names and not any(name.startswith("OpenCost") for name in names):
        raise UsageError(
            f"{folder} holds no batches, but other things; name the folder that sync was given as --spool."
        )


def _load(sealed: SealedBatch, kusto: Kusto, landing: IngestionTracker) -> Iterator[BatchResult]:
    """Load a sealed batch, unless it is there already; gives outcomes that are known at once."""
    begun = time.monotonic()
    batch = sealed.batch(TABLES)
    try:
        before = count_batches(kusto, batch.table, [batch.id]).get(batch.id)
        whole = before is not None and (before.is_all_of(sealed) or not may_be_half(kusto, batch, before, sealed))
        mixes = before is not None and not whole and not is_same_answer(kusto, sealed, batch.table)
    except KustoError as error:
        yield batch_result(batch, Outcome.FAILED, error=error)
        return
    if before is None:
        yield from landing.add(batch, sealed, begun, [])
    elif whole:
        other = (
            "another answer to the same question is there; the spool's, which differs by "
            f"{before.difference(sealed)}, was not sent"
        )
        reason = None if before.is_all_of(sealed) else other
        yield already_there(batch, before, reason, seconds=round(time.monotonic() - begun, 3))
        remove(sealed.folder)
    elif mixes:
        yield from landing.replace(batch, sealed, begun, [], before)
    else:
        yield from landing.add(batch, sealed, begun, [])
