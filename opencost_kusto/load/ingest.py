"""Send sealed batches to a table: upload the blob, queue it once, and find out why one was not ingested."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from opencost_kusto.errors import ContentError, KustoError, ReasonCode
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.holdings import chunks
from opencost_kusto.load.sealed import SealedBatch
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.kql import literal, paths

_IDS_PER_COMMAND = 100
# Kusto also lists blobs that it skipped: `Skipped_IngestByTagAlreadyExists` means that the tag exists.
_SKIPPED = "Skipped_"


@dataclass(frozen=True, slots=True)
class Failure:
    """The failure that Kusto lists for a blob that it did not ingest and did not skip."""

    details: str
    permanent: bool


def mappings_command(table: Table) -> str:
    """The command that shows a table's mappings."""
    return f".show table {table.name} ingestion json mappings"


def check_mapping(kusto: Kusto, table: Table) -> None:
    """Raise KustoError if the table's mapping is missing or of another version: values would be lost silently.

    A mapping that this identity cannot read is not checked; Kusto refuses the blob if it does not fit.
    """
    try:
        found = {row["Name"]: paths(json.loads(row["Mapping"])) for row in kusto.command(mappings_command(table))}
    except KustoError as error:
        if error.code is ReasonCode.NOT_BOOTSTRAPPED:
            raise
        return
    mapping = found.get(table.mapping)
    if mapping is None:
        raise KustoError(
            f"{table.name} has no mapping {table.mapping}, so nothing was sent. Run opencost-kusto bootstrap.",
            code=ReasonCode.NOT_BOOTSTRAPPED,
        )
    lost = [column.name for column in table.columns if mapping.get(column.name) != f"$.{table.path_of(column)}"]
    if lost:
        more = f" and {len(lost) - 3} more columns" if len(lost) > 3 else ""
        raise KustoError(
            f"{table.mapping} in Kusto is of another version of opencost-kusto, and would lose {', '.join(lost[:3])}"
            f"{more}, so nothing was sent. Run opencost-kusto bootstrap, then run this command again.",
            code=ReasonCode.SCHEMA_DRIFT,
        )


def send(kusto: Kusto, sealed: SealedBatch, table: str, tag: str | None) -> str:
    """Upload a batch and queue it for a table; return the source id of its blob.

    Raises KustoError, and ContentError if the file is missing.
    """
    name = f"{table}-{hashlib.sha256(sealed.batch_id.encode()).hexdigest()[:16]}.multijson.gz"
    try:
        uploaded = kusto.upload(sealed.path, name=name, table=table, raw_bytes=sealed.bytes)
    except FileNotFoundError as error:
        raise ContentError(
            f"{sealed.path} is missing. Move {sealed.folder} away and sync the window again.",
            code=ReasonCode.INCOMPLETE,
        ) from error
    kusto.enqueue(uploaded, table=table, mapping=sealed.mapping, tag=tag)
    return uploaded.source_id


def tagged_command(table: str, tag: str) -> str:
    """The command that shows the extents with an `ingest-by` tag; `has` compares whole tags."""
    return f".show table {table} extents where tags has {literal(f'ingest-by:{tag}')} | project ExtentId, RowCount"


def free_tag(kusto: Kusto, table: str, batch_id: str) -> str:
    """The first of `ID`, `ID~2`, `ID~3`, … that no extent of the table carries. Raises KustoError.

    A tag without rows would make Kusto skip the batch, so the batch is sent with the next tag.
    """
    number, tag = 1, batch_id
    while kusto.command(tagged_command(table, tag)):
        number += 1
        tag = f"{batch_id}~{number}"
    return tag


def failures_command(database: str, table: str, source_ids: Iterable[str]) -> str:
    """The command that shows what Kusto could not ingest; a blob that never arrived is not listed.

    Names of databases have no case, so the user's may be spelled differently:
    https://learn.microsoft.com/kusto/query/schema-entities/entity-names
    """
    ids = ", ".join(map(literal, source_ids))
    # The SDK puts the source id into the name of the blob; Kusto has no column for it.
    source = 'SourceId = extract("__([0-9a-f-]{36})__", 1, IngestionSourcePath)'
    return (
        f".show ingestion failures | where FailedOn > ago(1d) and Database =~ {literal(database)}"
        f" and Table == {literal(table)} | extend {source} | where SourceId in ({ids})"
        " | project SourceId, Details, ErrorCode, FailureKind"
    )


def failures(kusto: Kusto, table: str, source_ids: Iterable[str]) -> dict[str, Failure]:
    """The failures of these blobs, by source id. Raises KustoError."""
    found: dict[str, Failure] = {}
    for some in chunks(source_ids, _IDS_PER_COMMAND):
        for row in kusto.command(failures_command(kusto.database, table, some)):
            if not str(row["ErrorCode"]).startswith(_SKIPPED):
                details = str(row["Details"]).rstrip(". ")
                found[str(row["SourceId"])] = Failure(details, row["FailureKind"] == "Permanent")
    return found
