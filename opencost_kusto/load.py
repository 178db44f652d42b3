"""Loads sealed batches and proves that they landed: queue each part once, then count what the table holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from opencost_kusto.errors import DuplicateError, KustoError
from opencost_kusto.kql import literal
from opencost_kusto.kusto import Kusto
from opencost_kusto.schema import Table
from opencost_kusto.spool import Sealed

# Ids in one question: keeps the text far below the service's limit.
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Landed:
    """What a table holds of a batch; `micros` is the cost in millionths, None where the table has no cost."""

    rows: int
    micros: int | None

    @property
    def cost(self) -> float | None:
        """The summed cost, in the currency OpenCost is set to."""
        return None if self.micros is None else self.micros / 1e6

    def is_all_of(self, sealed: Sealed) -> bool:
        """Whether this is exactly what was sent: equal, never at least."""
        return (self.rows, self.micros) == (sealed.rows, sealed.micros)


def count_query(table: Table, batch_ids: Iterable[str]) -> str:
    """Rows and cost by batch. Costs are summed as whole millionths, so the sum does not depend on the order."""
    ids = ", ".join(map(literal, batch_ids))
    micros = f", Micros = sum(tolong(round({table.cost} * 1000000.0)))" if table.cost else ""
    by = table.batch_column
    return f"{table.name} | where {by} in ({ids}) | summarize Rows = count(){micros} by {by}"


def failures_command(source_ids: Iterable[str]) -> str:
    """What the engine says of blobs it could not ingest; a blob that never arrived shows nowhere."""
    ids = ", ".join(map(literal, source_ids))
    # The SDK puts the source id into the name of the blob; Kusto shows no column of its own for it.
    source = 'extract("__([0-9a-f-]{36})__", 1, IngestionSourcePath)'
    return f".show ingestion failures | where {source} in ({ids}) | project Details, ErrorCode"


def present(kusto: Kusto, table: Table, batch_ids: Iterable[str]) -> dict[str, Landed]:
    """What the table holds of each batch; batches it does not hold are left out. Raises KustoError."""
    found: dict[str, Landed] = {}
    remaining = iter(batch_ids)
    while some := list(islice(remaining, _AT_ONCE)):
        for row in kusto.query(count_query(table, some)):
            micros = int(row["Micros"] or 0) if table.cost else None
            found[row[table.batch_column]] = Landed(int(row["Rows"]), micros)
    return found


def send(kusto: Kusto, sealed: Sealed) -> Iterator[str]:
    """Upload and announce each part, giving the source id of each as it is queued. Raises KustoError."""
    for number, part in enumerate(sealed.parts):
        if not part.rows:
            raise KustoError(
                f"Part {number} of {sealed.batch_id} is empty; an empty blob would vanish, so it was not sent."
            )
        name = f"{sealed.tag(number).replace('/', '_')}.multijson.gz"
        uploaded = kusto.upload(sealed.path(part), name=name, table=sealed.table, raw_bytes=part.bytes)
        kusto.enqueue(uploaded, table=sealed.table, mapping=sealed.mapping, tag=sealed.tag(number))
        yield uploaded.source_id


def check(sealed: Sealed, landed: Landed | None) -> bool:
    """Whether the batch landed whole. Raises DuplicateError for more rows than sent, KustoError for other cost."""
    if landed is None or landed.rows < sealed.rows:
        return False
    if landed.rows > sealed.rows:
        raise DuplicateError(
            f"{sealed.table} holds {landed.rows} rows of {sealed.batch_id}, but {sealed.rows} were sent: "
            "some are there twice. Delete the rows of that BatchId and run again."
        )
    if not landed.is_all_of(sealed):
        raise KustoError(
            f"{sealed.table} holds all {sealed.rows} rows of {sealed.batch_id}, but they cost "
            f"{landed.cost or 0:.6f} and {sealed.cost or 0:.6f} was sent: another answer has landed there."
        )
    return True


def why(kusto: Kusto, sealed: Sealed, landed: Landed | None, source_ids: list[str]) -> str:
    """Why a batch has not landed, as far as Kusto knows. Never raises, since something failed already."""
    there = landed.rows if landed else 0
    try:
        failures = kusto.command(failures_command(source_ids)) if source_ids else []
    except KustoError as error:
        known = f"and Kusto could not be asked why ({error})"
    else:
        known = (
            f"Kusto says: {'; '.join(sorted({str(row['Details']) for row in failures}))}"
            if failures
            else "Kusto knows of no failure: the blob waits in the queue, or never arrived"
        )
    return f"{there} of {sealed.rows} rows are there; {known}"
