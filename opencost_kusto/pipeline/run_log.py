"""The run ledger: one row for each batch of a run, loaded like everything else."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from opencost_kusto.batch import Batch, BatchContext, Run, Source
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.ingest import TableCount
from opencost_kusto.load.spool import ROWS_PER_PART, SealedBatch, Spool
from opencost_kusto.load.tracker import IngestionTracker
from opencost_kusto.pipeline.stage import seal
from opencost_kusto.result import BatchResult, Outcome, Report, batch_result
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import SYNC_RUNS
from opencost_kusto.transform.rows import Encoder
from opencost_kusto.window import Window


def record(
    report: Report, run: Run, source: Source, window: Window, parts: Spool, landing: IngestionTracker
) -> Iterator[BatchResult]:
    """Load a row for each outcome so far, as a batch of its own, filed under `window`; gives the batch's outcome."""
    batch = Batch(SYNC_RUNS, source.name, window, run=f"{run.id}/{run.collection_time.isoformat()}")
    origin = BatchContext(run, source, batch)
    encoder = Encoder(SYNC_RUNS, origin)
    encode = msgspec.json.Encoder().encode
    lines = list(encoder.lines(encode(_row(one)) for one in report.outcomes))
    if not lines:
        return
    begun = time.monotonic()
    try:
        folder, written = parts.write(batch, lines)
        sealed = seal(origin, encoder, folder, written, parts)
    except OpenCostKustoError as error:
        # What became of the others is known all the same.
        yield batch_result(batch, Outcome.FAILED, error=error)
        return
    yield from landing.add(batch, sealed, begun, [])
    yield from landing.finish()


def _row(one: BatchResult) -> dict[str, Json]:
    known = {key.path for key in SYNC_RUNS.keys()}
    return {name: value for name, value in msgspec.structs.asdict(one).items() if name in known}


def whole_query(batch: Batch, rows: int) -> str:
    """Whether a run has seen the batch land with so many rows."""
    seen = f'Outcome in ("{Outcome.LANDED}", "{Outcome.ALREADY_LANDED}")'
    return f"{SYNC_RUNS.name} | where BatchId == {literal(batch.id)} and Rows == {rows} and {seen} | count"


def may_be_half(kusto: Kusto, batch: Batch, before: TableCount, sealed: SealedBatch | None) -> bool:
    """Whether what the table holds may be some parts of an answer: no run has seen so many rows land whole.

    `sealed` is the answer that is at hand. A batch of fewer rows than a part holds was sent in one piece, which lands
    as a whole or not at all. Raises KustoError when the ledger cannot be asked.
    """
    parts = len(sealed.parts) if sealed else 1
    in_pieces = before.rows >= ROWS_PER_PART or (parts > 1 and sealed is not None and before.rows < sealed.rows)
    return in_pieces and not kusto.query(whole_query(batch, before.rows))[0]["Count"]


def collected_query(table: Table, batch_id: str) -> str:
    """When the runs began whose rows of a batch the table holds, the first and the last."""
    of = f"{table.name} | where {table.batch_column} == {literal(batch_id)}"
    return f"{of} | summarize First = min(CollectionTime), Last = max(CollectionTime)"


def is_same_answer(kusto: Kusto, sealed: SealedBatch, table: Table) -> bool:
    """Whether all rows the table holds of a batch are of this very answer. Raises KustoError."""
    (found,) = kusto.query(collected_query(table, sealed.batch_id))
    return sealed.collected is not None and found["First"] == found["Last"] == sealed.collected
