"""One batch's answer, read to its end and sealed on disk: nothing leaves before that."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from opencost_kusto.batch import Batch, Origin
from opencost_kusto.errors import KustoError, OpenCostKustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.ingest import Landed, present
from opencost_kusto.load.spool import Part, Sealed, Spool, remove
from opencost_kusto.retry import retrying
from opencost_kusto.transform.rows import Encoder


@dataclass(slots=True)
class Fetched:
    """A batch whose answer was read, and what the table held of it before; `sealed` is None when it had no rows.

    `unknown` says that Kusto could not be asked what it holds.
    """

    batch: Batch
    begun: float
    sealed: Sealed | None = None
    error: OpenCostKustoError | None = None
    before: Landed | None = None
    unknown: bool = False
    notes: list[str] = field(default_factory=list)


def fetch(opencost: OpenCost, kusto: Kusto, origin: Origin, found: dict[str, Landed] | None, parts: Spool) -> Fetched:
    """Ask OpenCost for a batch and seal its answer; what goes wrong is in the result.

    `found` is what the tables hold, None when they could not be asked for many batches at once.
    """
    batch = origin.batch
    result = Fetched(batch, time.monotonic())
    try:
        try:
            result.before = (present(kusto, batch.table, [batch.id]) if found is None else found).get(batch.id)
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


def _read(opencost: OpenCost, origin: Origin, parts: Spool, notes: list[str]) -> Sealed | None:
    """One answer, read to its end and sealed as parts; None when it holds no rows."""
    batch = origin.batch
    encoder = Encoder(batch.table, origin)
    notes.clear()
    # Closed when writing fails, or the error would hold the connection.
    with closing(opencost.records(batch, notes.append)) as records:
        folder, written = parts.write(batch, map(encoder.encode, records))
    if encoder.unmapped:
        notes.append(
            f"OpenCost sent keys that have no column yet, kept in Unmapped: {', '.join(sorted(encoder.unmapped))}"
        )
    if not written:
        remove(folder)
        return None
    return seal(origin, encoder, folder, written, parts)


def seal(origin: Origin, encoder: Encoder, folder: Path, written: list[Part], parts: Spool) -> Sealed:
    """Seal parts that are whole, with the question they answer."""
    batch, table = origin.batch, origin.batch.table
    asked = (batch.id, batch.source, batch.window, batch.options, batch.scraped, batch.run)
    micros = encoder.micros if table.cost else None
    sizes = (tuple(written), encoder.rows, encoder.bytes, micros)
    sealed = Sealed(*asked, table.name, table.mapping, str(folder), *sizes, origin.run.collection_time)
    parts.seal(sealed)
    return sealed
