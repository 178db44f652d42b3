"""A batch takes the place of what its table holds of it: loaded and verified aside, then swapped in one transaction.

Extents are Kusto's unit of rows that come and go together. Those that hold rows of the batch are dropped, and in the
same transaction the new rows come, and with them copies of the rows of other batches that merging had put there too:
https://learn.microsoft.com/kusto/management/replace-extents
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from opencost_kusto.batch import Batch
from opencost_kusto.errors import KustoError, UsageError
from opencost_kusto.kusto.client import Kusto, Row
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.kql import batching_policy, create_mapping, literal

_STAGING = "OpenCostReplacement"
# A staging table that a killed run has left is dropped by a later run, and by Kusto itself.
_LEFT_AFTER = timedelta(days=1)
# How often a swap begins anew because Kusto merged the extents it was about to drop.
_ATTEMPTS = 5


def refuse_where_impossible(kusto: Kusto) -> None:
    """Raise UsageError for a Fabric Eventhouse, which has no `.replace extents`."""
    host = urlsplit(kusto.uri).hostname or ""
    if host.endswith(".fabric.microsoft.com"):
        raise UsageError(
            f"{kusto.uri} is a Fabric Eventhouse, which cannot replace extents in one transaction, so nothing was "
            "replaced. Delete the rows of the BatchId with .delete and run again without --replace."
        )


def leftovers_command() -> str:
    """The staging tables there are."""
    return f".show tables | where TableName startswith {literal(_STAGING)} | project TableName"


def extents_query(table: Table, batch_id: str, within: str) -> str:
    """The extents that hold rows of a batch, in the batch's table or in a staging table."""
    by = table.batch_column
    return (
        f"{within} | where {by} == {literal(batch_id)} | summarize Rows = count() by ExtentId = tostring(extent_id())"
    )


def neighbours_query(table: Table, batch_id: str, extents: Iterable[str]) -> str:
    """The rows of other batches in those extents."""
    some = ", ".join(map(literal, extents))
    # A row without a batch is another's too.
    other = f'coalesce({table.batch_column}, "") != {literal(batch_id)}'
    return f"{table.name} | where tostring(extent_id()) in ({some}) and {other}"


def tags_command(table: Table, extents: Iterable[str]) -> str:
    """What those extents are tagged with, and when they were made."""
    return f".show table {table.name} extents ({', '.join(extents)}) | project Tags, MinCreatedOn"


def copy_command(table: Table, batch_id: str, staging: str, extents: list[str], tagged: list[Row]) -> str:
    """Copy the neighbours, with their tags and their age, which decides when retention ends them."""
    tags = {tag for row in tagged for tag in (row["Tags"] or "").split()}
    kept = json.dumps(sorted(tag for tag in tags if not tag.startswith(f"ingest-by:{batch_id}/")))
    created = min((row["MinCreatedOn"] for row in tagged), default=datetime.now(UTC))
    options = f"tags={literal(kept)}, creationTime={literal(created.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ'))}"
    return f".set-or-append {staging} with ({options}) <| {neighbours_query(table, batch_id, extents)}"


def swap_command(table: Table, dropping: Iterable[str], moving: Iterable[str], staging: str) -> str:
    """Drop and bring extents in one transaction. They are named one by one: one that is gone makes it fail."""
    return (
        f".replace extents in table {table.name} <| {{ {named(dropping, table.name)} }}, {{ {named(moving, staging)} }}"
    )


def named(extents: Iterable[str], within: str) -> str:
    """Extents of a table by their ids, as a query with the columns the command wants."""
    rows = ", ".join(f"guid({extent}), {literal(within)}" for extent in extents)
    return f"datatable(ExtentId:guid, TableName:string)[{rows}]"


class BatchReplacement:
    """A staging table that a batch is loaded into before it takes the place of what its table holds.

    Nothing changes in the batch's table before `swap`, which changes it in one transaction or not at all. Needs the
    right to create tables, and Table Admin on the batch's table. `rows` is how many rows the batch now has.
    """

    def __init__(self, kusto: Kusto, batch: Batch, rows: int, now: datetime | None = None) -> None:
        self._kusto = kusto
        self._batch = batch
        self._rows = rows
        self._now = now or datetime.now(UTC)
        self.staging = f"{_STAGING}_{self._now:%Y%m%d%H%M%S}_{uuid.uuid4().hex[:8]}"

    def commands(self) -> list[str]:
        """What makes the staging table: the same columns and mapping, prompt, never merged, and gone by itself."""
        table, name = self._batch.table, self.staging
        ends = {"ExpiryDate": f"{self._now + 2 * _LEFT_AFTER:%Y-%m-%dT%H:%M:%SZ}", "DeleteIfNotEmpty": True}
        apart = {"AllowMerge": False, "AllowRebuild": False}
        return [
            f'.create table {name} based-on {table.name} with (folder="OpenCost")',
            f".alter table {name} policy auto_delete ```{json.dumps(ends)}```",
            f".alter table {name} policy merge ```{json.dumps(apart)}```",
            batching_policy(name),
            create_mapping(table, of=name),
        ]

    def prepare(self) -> None:
        """Make the staging table; raises KustoError, and UsageError where replacing is impossible."""
        refuse_where_impossible(self._kusto)
        self._sweep()
        for command in self.commands():
            self._kusto.command(command)

    def swap(self) -> None:
        """Put the staged rows in the place of those the table holds of the batch; raises KustoError."""
        name = self._batch.table.name
        for attempt in range(_ATTEMPTS):
            staged, dropping = self._extents(self.staging), self._extents(name)
            # After a swap whose reply was lost the rows are gone from here, and dropping must not begin anew.
            if sum(staged.values()) != self._rows:
                raise KustoError(f"{self.staging} no longer holds {self._batch.id}, so it did not replace anything.")
            try:
                moving = [*staged, *self._copied(dropping)]
                self._kusto.command(swap_command(self._batch.table, dropping, moving, self.staging))
                return
            except KustoError:
                # Where the extents are still the same, they were not what it failed for.
                if attempt + 1 == _ATTEMPTS or self._extents(name) == dropping:
                    raise

    def drop(self) -> None:
        """Drop the staging table; raises KustoError."""
        self._kusto.command(drop_command(self.staging))

    def _extents(self, name: str) -> dict[str, int]:
        """The extents of a table that hold rows of the batch, and how many rows of it each."""
        found = self._kusto.query(extents_query(self._batch.table, self._batch.id, name))
        return {row["ExtentId"]: int(row["Rows"]) for row in sorted(found, key=lambda row: str(row["ExtentId"]))}

    def _copied(self, extents: dict[str, int]) -> list[str]:
        """Copy the rows of other batches out of extents that will be dropped; gives the extents with the copies."""
        if not extents:
            return []
        table, batch_id = self._batch.table, self._batch.id
        neighbours = int(self._kusto.query(f"{neighbours_query(table, batch_id, extents)} | count")[0]["Count"])
        if not neighbours:
            return []
        tagged = self._kusto.command(tags_command(table, extents))
        made = self._kusto.command(copy_command(table, batch_id, self.staging, list(extents), tagged))
        copied = sum(int(row["RowCount"]) for row in made)
        if copied != neighbours:
            raise KustoError(
                f"{copied} of {neighbours} rows of other batches were copied out of the way of {batch_id}, so nothing "
                "was replaced. Run again."
            )
        return [str(row["ExtentId"]) for row in made]

    def _sweep(self) -> None:
        """Drop what killed runs have left; a staging table says in its name when it was made."""
        for row in self._kusto.command(leftovers_command()):
            name = str(row["TableName"])
            if name < f"{_STAGING}_{self._now - _LEFT_AFTER:%Y%m%d%H%M%S}":
                self._kusto.command(drop_command(name))


def drop_command(staging: str) -> str:
    """Drop a staging table, whether it is there or not."""
    return f".drop table {staging} ifexists"
