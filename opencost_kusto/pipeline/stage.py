"""One batch's answer, read to its end and sealed on disk: nothing leaves before that."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from opencost_kusto.batch import Batch, BatchContext
from opencost_kusto.errors import KustoError, OpenCostKustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.ingest import TableCount, count_batches
from opencost_kusto.load.spool import Part, SealedBatch, Spool, remove
from opencost_kusto.retry import retrying
from opencost_kusto.transform.rows import Encoder


@dataclass(slots=True)
class StagedBatch:
    """A batch whose answer was read, and what the table held of it before; `sealed` is None when it had no rows.

    `unknown` says that Kusto could not be asked what it holds.
    """

    batch: Batch
    begun: float
    sealed: SealedBatch | None = None
    error: OpenCostKustoError | None = None
    before: TableCount | None = None
    unknown: bool = False
    notes: list[str] = field(default_factory=list)


def fetch(
    opencost: OpenCost, kusto: Kusto, origin: BatchContext, found: dict[str, TableCount] | None, parts: Spool
) -> StagedBatch:
    """Ask OpenCost for a batch and seal its answer; what goes wrong is in the result.

    `found` is what the tables hold, None when they could not be asked for many batches at once.
    """
    batch = origin.batch
    result = StagedBatch(batch, time.monotonic())
    try:
        try:
            result.before = (count_batches(kusto, batch.table, [batch.id]) if found is None else found).get(batch.id)
        except KustoError:
            # With a spool the answer is kept for later; without one, asking for it would be in vain.
            if not parts.durable:
                raise
            result.unknown = True
        result.sealed = retrying(
            lambda: _read(opencost, origin, parts, result.notes), seconds=opencost.timeout, attempts=4
        )
    except OpenCostKustoError as error:
        result.error = error
    return result


def _read(opencost: OpenCost, origin: BatchContext, parts: Spool, notes: list[str]) -> SealedBatch | None:
    """One answer, read to its end and sealed as parts; None when it holds no rows."""
    batch = origin.batch
    encoder = Encoder(batch.table, origin)
    notes.clear()
    # Closed when writing fails, or the error would hold the connection.
    with closing(opencost.records(batch, notes.append)) as records:
        folder, written = parts.write(batch, encoder.lines(records))
    if encoder.unmapped:
        notes.append(
            f"OpenCost sent keys that have no column yet, kept in Unmapped: {', '.join(sorted(encoder.unmapped))}"
        )
    if not written:
        remove(folder)
        return None
    return seal(origin, encoder, folder, written, parts)


def seal(origin: BatchContext, encoder: Encoder, folder: Path, written: list[Part], parts: Spool) -> SealedBatch:
    """Seal parts that are whole, with the question they answer."""
    batch, table = origin.batch, origin.batch.table
    asked = (batch.id, batch.source, batch.window, batch.options, batch.scraped, batch.run)
    micros = encoder.micros if table.cost else None
    sizes = (tuple(written), encoder.rows, encoder.bytes, micros)
    sealed = SealedBatch(*asked, table.name, table.mapping, str(folder), *sizes, origin.run.collection_time)
    parts.seal(sealed)
    return sealed
