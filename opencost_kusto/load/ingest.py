"""Loads sealed batches and proves that they landed: queue each part once, then count what the table holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from opencost_kusto.batch import Batch
from opencost_kusto.errors import ContentError, DuplicateError, KustoError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.spool import SealedBatch
from opencost_kusto.schema import micros
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.kql import literal, paths

T = TypeVar("T")
# Ids in one question: keeps the text far below the service's limit.
_AT_ONCE = 100
# Batches the tables are asked about before the first of them is asked of OpenCost: a day of hours.
_LOOKED_UP = 24


@dataclass(frozen=True, slots=True)
class TableCount:
    """What a table holds of a batch; `micros` is the cost in millionths, None where the table has no cost."""

    rows: int
    micros: int | None

    @property
    def cost(self) -> float | None:
        """The summed cost, in the currency OpenCost is set to."""
        return None if self.micros is None else micros.to_cost(self.micros)

    @classmethod
    def of(cls, sealed: SealedBatch) -> TableCount:
        """What a table holds when all of it has landed, and nothing else."""
        return cls(sealed.rows, sealed.micros)

    def is_all_of(self, sealed: SealedBatch) -> bool:
        """Whether this is exactly what was sent: equal, never at least."""
        return self == TableCount.of(sealed)

    def difference(self, sealed: SealedBatch) -> str:
        """By how much an answer differs from this, in rows and cost."""
        cost = micros.to_cost((sealed.micros or 0) - (self.micros or 0))
        more = f" and {cost:+.6f} in cost" if sealed.micros is not None else ""
        return f"{sealed.rows - self.rows:+d} rows{more}"

    def changed_to(self, sealed: SealedBatch) -> str | None:
        """In a sentence, by how much OpenCost's answer has changed since this landed; None when it has not."""
        if self.is_all_of(sealed):
            return None
        return (
            f"OpenCost's answer has changed since: {self.difference(sealed)}. "
            "sync --replace puts the new answer in its place."
        )


def count_query(table: Table, batch_ids: Iterable[str], within: str | None = None) -> str:
    """Rows and cost by batch. Costs are summed as whole millionths, so the sum does not depend on the order.

    `within` names another table of the same columns.
    """
    ids = ", ".join(map(literal, batch_ids))
    summed = f", Micros = sum({micros.kql(table.cost)})" if table.cost else ""
    by = table.batch_column
    return f"{within or table.name} | where {by} in ({ids}) | summarize Rows = count(){summed} by {by}"


def failures_command(source_ids: Iterable[str]) -> str:
    """What the engine says of blobs it could not ingest; a blob that never arrived shows nowhere."""
    ids = ", ".join(map(literal, source_ids))
    # The SDK puts the source id into the name of the blob; Kusto shows no column of its own for it.
    source = 'SourceId = extract("__([0-9a-f-]{36})__", 1, IngestionSourcePath)'
    return (
        f".show ingestion failures | extend {source} | where SourceId in ({ids})"
        " | project SourceId, Details, ErrorCode, FailureKind"
    )


def count_batches(
    kusto: Kusto, table: Table, batch_ids: Iterable[str], within: str | None = None
) -> dict[str, TableCount]:
    """What the table holds of each batch; batches it does not hold are left out. Raises KustoError."""
    found: dict[str, TableCount] = {}
    for some in _cut(batch_ids, _AT_ONCE):
        for row in kusto.query(count_query(table, some, within)):
            summed = int(row["Micros"] or 0) if table.cost else None
            found[row[table.batch_column]] = TableCount(int(row["Rows"]), summed)
    return found


def counted_ahead(kusto: Kusto, batches: Iterable[Batch]) -> Iterator[tuple[Batch, dict[str, TableCount] | None]]:
    """Each batch, with what the tables hold of it: asked for many batches at once, and None where that failed."""
    for some in _cut(batches, _LOOKED_UP):
        found: dict[str, TableCount] = {}
        asked = True
        try:
            for table in {batch.table.name: batch.table for batch in some}.values():
                found |= count_batches(kusto, table, [batch.id for batch in some if batch.table is table])
        except KustoError:
            asked = False
        for batch in some:
            yield batch, found if asked else None


def _cut(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while some := list(islice(remaining, size)):
        yield some


def mappings_command(table: Table) -> str:
    """The mappings a table has."""
    return f".show table {table.name} ingestion json mappings"


def check_mapping(kusto: Kusto, table: Table) -> None:
    """Raise KustoError when the table's mapping is of another version: what it does not read would be lost in silence.

    A mapping that is missing is left to the engine, which refuses the blob; so is one that may not be looked at.
    """
    try:
        found = {row["Name"]: paths(json.loads(row["Mapping"])) for row in kusto.command(mappings_command(table))}
    except KustoError:
        return
    mapping = found.get(table.mapping)
    if mapping is None:
        return
    lost = [column.name for column in table.columns if mapping.get(column.name) != f"$.{table.path_of(column)}"]
    if lost:
        more = f" and {len(lost) - 3} more columns" if len(lost) > 3 else ""
        raise KustoError(
            f"{table.mapping} in Kusto is of another version of opencost-kusto, and would lose {', '.join(lost[:3])}"
            f"{more}, so nothing was sent. Run opencost-kusto bootstrap, and then this again."
        )


def send(kusto: Kusto, sealed: SealedBatch, table: str) -> Iterator[str]:
    """Upload and announce each part for a table, giving the source id of each as it is queued.

    Raises KustoError, and ContentError for a part that is not there any more.
    """
    for number, part in enumerate(sealed.parts):
        if not part.rows:
            raise KustoError(
                f"Part {number} of {sealed.batch_id} is empty; an empty blob would vanish, so it was not sent."
            )
        name = f"{sealed.tag(number).replace('/', '_')}.multijson.gz"
        try:
            uploaded = kusto.upload(sealed.path(part), name=name, table=table, raw_bytes=part.bytes)
        except FileNotFoundError as error:
            raise ContentError(
                f"{sealed.folder} is not whole: {part.file} is missing. Move the folder away and sync the window again."
            ) from error
        kusto.enqueue(uploaded, table=table, mapping=sealed.mapping, tag=sealed.tag(number))
        yield uploaded.source_id


def check(sealed: SealedBatch, landed: TableCount | None, table: str) -> bool:
    """Whether the batch landed whole. Raises DuplicateError for more rows than sent, KustoError for other cost."""
    if landed is None or landed.rows < sealed.rows:
        return False
    if landed.rows > sealed.rows:
        raise DuplicateError(
            f"{table} holds {landed.rows} rows of {sealed.batch_id}, but {sealed.rows} were sent: "
            "some are there twice. sync --replace puts the answer there once."
        )
    if not landed.is_all_of(sealed):
        raise KustoError(
            f"{table} holds all {sealed.rows} rows of {sealed.batch_id}, but they cost {landed.cost or 0:.6f} and "
            f"{sealed.cost or 0:.6f} was sent: another answer has landed there. sync --replace puts this one in its "
            "place."
        )
    return True


def refused(kusto: Kusto, source_ids: Iterable[str]) -> dict[str, str]:
    """Of these blobs, those the engine has refused for good, and why. Never raises: what is unknown may still land."""
    found: dict[str, str] = {}
    try:
        for some in _cut(source_ids, _AT_ONCE):
            for row in kusto.command(failures_command(some)):
                if row["FailureKind"] == "Permanent":
                    found[str(row["SourceId"])] = str(row["Details"]).rstrip(". ")
    except KustoError:
        pass
    return found


def why(kusto: Kusto, sealed: SealedBatch, landed: TableCount | None, source_ids: list[str]) -> str:
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
