"""Sends what a spool still holds: batches that an earlier run has sealed and not seen land."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from opencost_kusto.errors import KustoError, UsageError
from opencost_kusto.kusto import Kusto
from opencost_kusto.landing import Landing, already_there
from opencost_kusto.load import present
from opencost_kusto.report import FAILED, Outcome, Report, outcome
from opencost_kusto.spool import Spool, remove
from opencost_kusto.tables import TABLES


def replay(
    folder: Path,
    kusto: Kusto,
    *,
    wait: bool = True,
    timeout: float = 900.0,
    tell: Callable[[Outcome], None] = lambda _: None,
) -> Report:
    """Load the batches a spool still holds, each exactly once, and remove those that are in Kusto.

    Parts of a batch that are in the table already are not sent again: the same parts have the same tags. Raises
    UsageError when the folder is not there, and ContentError for a batch that cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no spool folder {folder}.")
    report = Report("replay", tell=tell)
    with Landing(kusto, wait=wait, timeout=timeout, keep=True) as landing:
        for sealed in Spool(folder, durable=True).sealed():
            begun = time.monotonic()
            batch = sealed.batch(TABLES)
            try:
                before = present(kusto, batch.table, [batch.id]).get(batch.id)
            except KustoError as error:
                report.end([outcome(batch, FAILED, error=error)])
                continue
            if before is not None and before.rows >= sealed.rows:
                took = {"seconds": round(time.monotonic() - begun, 3)}
                report.end([already_there(batch, before, before.changed_to(sealed), **took)])
                remove(sealed.folder)
            else:
                report.end(chain(landing.add(batch, sealed, begun, []), landing.poll()))
        report.end(landing.finish())
    return report
