"""Replace the rows of a batch: load into a staging table, verify, then change the table in one transaction.

`.update table` deletes and appends, or deletes and moves, in one transaction, on Azure Data Explorer and on Fabric, and
changes no row of another batch: https://learn.microsoft.com/kusto/management/update-table-command
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from opencost_kusto.batch import Batch
from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.holdings import holdings
from opencost_kusto.load.sealed import SealedBatch
from opencost_kusto.load.table_columns import live_columns, live_schema
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.kql import batching_policy, create_mapping, literal

_STAGING = "OpenCostReplacement"
# A later run drops the staging table of a killed run, and so does Kusto.
_ABANDONED_AFTER = timedelta(days=1)
# Longest random delay before a repair, in seconds: keeps two schedulers from repairing a batch at the same moment.
_LONGEST_DELAY = 2.0


def leftovers_command() -> str:
    """The command that lists staging tables."""
    return f".show tables | where TableName startswith {literal(_STAGING)} | project TableName"


def drop_command(staging: str) -> str:
    """The command that drops a staging table, whether it exists or not."""
    return f".drop table {staging} ifexists"


def held_query(table: Table, batch_id: str) -> str:
    """KQL for the rows that a table holds of a batch."""
    return f"{table.name} | where {table.batch_column} == {literal(batch_id)}"


def move_command(table: Table, batch_id: str, staging: str, *, whatif: bool) -> str:
    """The command that deletes a batch's rows and moves the staged extents in, with their tags."""
    tags = literal(json.dumps([f"ingest-by:{batch_id}"]))
    options = f"whatif={str(whatif).lower()}, extentTagsToMove={tags}"
    return (
        f".update table {table.name} delete D move {staging} with ({options}) <| let D = {held_query(table, batch_id)};"
    )


def append_command(table: Table, batch_id: str, rows: str, *, whatif: bool) -> str:
    """The command that deletes a batch's rows and appends those of a query."""
    return (
        f".update table {table.name} delete D append A with (whatif={str(whatif).lower()}) <|"
        f" let D = {held_query(table, batch_id)}; let A = {rows};"
    )


def once_query(table: Table, batch_id: str, columns: list[str]) -> str:
    """KQL for the rows of a batch, each number once, with the columns in the table's order."""
    once = "summarize arg_max(CollectionTime, *) by RowNumber"
    return f"{held_query(table, batch_id)} | {once} | project {', '.join(columns)}"


class BatchReplacement:
    """Replaces the rows that a table holds of a batch.

    Nothing changes in the table before `swap` or `deduplicate`, which change it in one transaction or not at all. Needs
    Database User, and Table Admin on the table. `rows` is how many rows the batch has afterwards.
    """

    def __init__(
        self,
        kusto: Kusto,
        batch: Batch,
        rows: int,
        *,
        now: datetime | None = None,
        sleep: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._kusto = kusto
        self._batch = batch
        self._rows = rows
        self._now = now or datetime.now(UTC)
        self._sleep = sleep
        self.staging = f"{_STAGING}_{self._now:%Y%m%d%H%M%S}_{uuid.uuid4().hex[:8]}"

    def commands(self, columns: str) -> list[str]:
        """The commands that create the staging table: the table's columns in their order, with an expiry date."""
        table, name = self._batch.table, self.staging
        ends = {"ExpiryDate": f"{self._now + 2 * _ABANDONED_AFTER:%Y-%m-%dT%H:%M:%SZ}", "DeleteIfNotEmpty": True}
        return [
            f'.create table {name} ({columns}) with (folder="OpenCost")',
            f".alter table {name} policy auto_delete ```{json.dumps(ends)}```",
            batching_policy(name),
            create_mapping(table, of=name),
        ]

    def prepare(self) -> None:
        """Create the staging table; raises KustoError."""
        self._sweep()
        for command in self.commands(live_schema(self._kusto, self._batch.table)):
            self._kusto.command(command)

    def swap(self) -> None:
        """Replace the rows that the table holds with the staged ones; raises KustoError."""
        table, batch_id = self._batch.table, self._batch.id
        self._sleep(random.uniform(0, _LONGEST_DELAY))
        held = self._count(held_query(table, batch_id))
        # After a swap whose reply was lost, the rows have moved: do not delete again.
        if self._count(self.staging) != self._rows:
            raise KustoError(
                f"{self.staging} no longer holds {batch_id}, so nothing was replaced. Run again.",
                code=ReasonCode.DAMAGED,
            )
        try:
            self._change(lambda whatif: move_command(table, batch_id, self.staging, whatif=whatif), held)
        except KustoError as error:
            if error.transient or error.code in (ReasonCode.FORBIDDEN, ReasonCode.CHANGED):
                raise
            # Clusters without `move` refuse it before anything changes.
            rows = f"{self.staging} | where {table.batch_column} == {literal(batch_id)}"
            self._change(lambda whatif: append_command(table, batch_id, rows, whatif=whatif), held)

    def land(self, sealed: SealedBatch) -> None:
        """Replace the rows with the staged ones, and verify that the table holds the batch; raises KustoError."""
        table, failed = self._batch.table, None
        try:
            self.swap()
        except KustoError as error:
            failed = error
        held = holdings(self._kusto, table, [self._batch.id]).get(self._batch.id)
        if held is None or not held.holds(sealed):
            raise failed or KustoError(
                f"{table.name} does not hold {self._batch.id} after it was replaced. Run again.",
                code=ReasonCode.DAMAGED,
            )

    def deduplicate(self) -> None:
        """Keep each row of the batch once, from the table alone; raises KustoError."""
        table, batch_id = self._batch.table, self._batch.id
        rows = once_query(table, batch_id, list(live_columns(self._kusto, table)))
        held = self._count(held_query(table, batch_id))
        self._change(lambda whatif: append_command(table, batch_id, rows, whatif=whatif), held)

    def drop(self) -> None:
        """Drop the staging table; raises KustoError."""
        self._kusto.command(drop_command(self.staging))

    def _change(self, command: Callable[[bool], str], held: int) -> None:
        """Change rows, if the change would delete exactly the rows counted before."""
        would = self._kusto.command(command(True), retry=False)
        deleted = sum(int(row["RowCount"]) for row in would if row["Action"] == "Delete")
        if deleted != held:
            raise KustoError(
                f"{self._batch.table.name} held {held} rows of {self._batch.id} and now {deleted}: another run is "
                "replacing them, so this one changed nothing. Run again.",
                code=ReasonCode.CHANGED,
            )
        self._kusto.command(command(False), retry=False)

    def _count(self, rows: str) -> int:
        return int(self._kusto.query(f"{rows} | count", fresh=True)[0]["Count"])

    def _sweep(self) -> None:
        """Drop the staging tables of killed runs; the name of a staging table has its creation time."""
        for row in self._kusto.command(leftovers_command()):
            name = str(row["TableName"])
            if name < f"{_STAGING}_{self._now - _ABANDONED_AFTER:%Y%m%d%H%M%S}":
                self._kusto.command(drop_command(name))
