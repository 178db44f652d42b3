"""A dry run: the rows that would be loaded, line by line, without Kusto."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from opencost_kusto.batch import BatchContext, Run
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.pipeline.request import SyncRequest, new_run
from opencost_kusto.result import BatchResult, Outcome, Report, batch_result
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.transform.rows import Encoder, flatten


def export(
    opencost: OpenCost,
    question: SyncRequest,
    write: Callable[[Table, bytes], None],
    *,
    run: Run | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
) -> Report:
    """The same rows, handed line by line to `write` instead of Kusto, each column under its name, as tables hold it.

    A line may come before the answer it is from turns out broken; the report then says the batch failed.
    """
    run = run or new_run()
    source = opencost.source()
    report = Report(run.id, on_result=on_result)
    for batch in question.batches(source, run.collection_time):
        begun = time.monotonic()
        notes: list[str] = []
        encoder = Encoder(batch.table, BatchContext(run, source, batch))
        try:
            for line in encoder.lines(opencost.records(batch, notes.append)):
                write(batch.table, msgspec.json.encode(flatten(batch.table, line)) + b"\n")
        except OpenCostKustoError as error:
            one = batch_result(batch, Outcome.FAILED, error=error, seconds=time.monotonic() - begun)
        else:
            size: dict[str, Json] = {"rows": encoder.rows, "cost": encoder.cost, "bytes": encoder.bytes}
            kind = Outcome.WRITTEN if encoder.rows else Outcome.EMPTY
            one = batch_result(batch, kind, notes=notes, seconds=round(time.monotonic() - begun, 3), **size)
        report.end([one])
    return report
