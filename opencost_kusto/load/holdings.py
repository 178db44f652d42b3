"""Read what tables hold of batches, and verify that a batch is complete.

Each row has its number within the batch, and the last row has the batch's totals. The table alone therefore proves a
batch: every number once (by count, extremes, sum and sum of squares), one collection time, and rows and cost equal to
the totals. `OpenCostProof` is the exact form of the same proof, as a KQL function.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from opencost_kusto.batch import Batch
from opencost_kusto.kusto.client import Kusto, Row
from opencost_kusto.kusto.policies import is_enabled
from opencost_kusto.load.sealed import SealedBatch, key_text
from opencost_kusto.result import Outcome
from opencost_kusto.schema import micros
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.proof import facts
from opencost_kusto.schema.tables import SYNC_RUNS

T = TypeVar("T")
# Ids in one query; its text stays far below the service's limit.
_IDS_PER_QUERY = 100
# Outcomes of batches whose rows were sent.
_SENT = (Outcome.LANDED, Outcome.ALREADY_LANDED, Outcome.QUEUED, Outcome.TIMED_OUT)


@dataclass(frozen=True, slots=True)
class Holding:
    """What a table holds of a batch.

    `rows` counts rows, copies included; `micros` is their cost in millionths, None where the table has no cost; `keys`
    is the digest of the rows' keys and `collected` the start of the run that wrote them, if all agree. `damage`
    describes what is wrong, and is "" for a complete response.
    """

    rows: int
    micros: int | None
    keys: str | None = None
    collected: datetime | None = None
    damage: str = ""

    @property
    def cost(self) -> float | None:
        """The summed cost, in the source's currency."""
        return None if self.micros is None else micros.to_cost(self.micros)

    @property
    def complete(self) -> bool:
        """Whether this is one complete response, each row once."""
        return not self.damage

    def holds(self, sealed: SealedBatch) -> bool:
        """Whether this is exactly the sealed response: complete, with equal rows, cost and keys."""
        return self.complete and (self.rows, self.micros, self.keys) == (sealed.rows, sealed.micros, sealed.keys)

    def difference(self, sealed: SealedBatch) -> str:
        """The difference of a sealed response from this, in rows and cost."""
        cost = micros.to_cost((sealed.micros or 0) - (self.micros or 0))
        more = f" and {cost:+.6f} in cost" if sealed.micros is not None else ""
        return f"{sealed.rows - self.rows:+d} rows{more}"


def proof_query(table: Table, batch_ids: Iterable[str], within: str | None = None) -> str:
    """KQL for the proof of some batches, one row for each that has rows.

    `within` names another table of the same columns.
    """
    ids, by = ", ".join(map(literal, batch_ids)), table.batch_column
    proof = f"{facts(table.cost)}, arg_max(RowNumber, BatchKeys)"
    return f"{within or table.name} | where {by} in ({ids}) | summarize {proof} by {by}"


def read(row: Row, table: Table) -> Holding:
    """One row of `proof_query` as a holding."""
    rows, cost = int(row["Rows"]), None if not table.cost else int(row["Micros"] or 0)
    numbers = tuple(int(row[name] or 0) for name in ("Least", "Most", "Sum", "Squares"))
    every_number_once = (1, rows, rows * (rows + 1) // 2, rows * (rows + 1) * (2 * rows + 1) // 6)
    one_response = row["First"] == row["Last"]
    total_rows, total_cost = row["BatchRows"], row["BatchCost"]
    damage = ""
    if row["Most"] is None or not numbers[1]:
        damage = f"{rows} rows without numbers, which another mapping or another program wrote"
    elif not one_response:
        damage = f"{rows} rows of two responses"
    elif numbers != every_number_once or int(row["Ends"]) != 1:
        expected = "" if total_rows is None else f" instead of {int(total_rows)}"
        damage = f"{rows} rows{expected}: some are missing or duplicated"
    elif total_rows is None or int(total_rows) != rows or (cost is not None and int(total_cost or 0) != cost):
        damage = f"{rows} rows whose sums are not those of the batch"
    collected = row["First"].astimezone(UTC) if one_response and row["First"] else None
    return Holding(rows, cost, row["BatchKeys"] or None, collected, damage)


def holdings(kusto: Kusto, table: Table, batch_ids: Iterable[str], within: str | None = None) -> dict[str, Holding]:
    """What the table holds of each batch; batches without rows are left out. Raises KustoError."""
    found: dict[str, Holding] = {}
    for some in chunks(batch_ids, _IDS_PER_QUERY):
        for row in kusto.query(proof_query(table, some, within), fresh=True):
            found[row[table.batch_column]] = read(row, table)
    return found


def sent_query(batch_ids: Iterable[str]) -> str:
    """KQL for the batches whose rows were sent, or may have been, by the run log.

    A batch that failed with rows may be queued: the reply of the queue can be lost. OpenCost had cost for it.
    """
    ids, sent = ", ".join(map(literal, batch_ids)), ", ".join(map(literal, _SENT))
    perhaps = f"Outcome == {literal(Outcome.FAILED)} and isnotnull(Rows)"
    return f"{SYNC_RUNS.name} | where BatchId in ({ids}) and (Outcome in ({sent}) or ({perhaps})) | distinct BatchId"


def sent_before(kusto: Kusto, batches: Iterable[Batch]) -> set[str]:
    """The batches among these that an earlier run sent, by the run log. Raises KustoError."""
    found: set[str] = set()
    for some in chunks((batch.id for batch in batches), _IDS_PER_QUERY):
        found |= {row["BatchId"] for row in kusto.query(sent_query(some), fresh=True)}
    return found


def doubled_query(table: Table, batch_id: str) -> str:
    """KQL for the proof of a batch whose rows are each counted once."""
    numbers = f"{table.name} | where {table.batch_column} == {literal(batch_id)}"
    cost, sums = "", ""
    if table.cost:
        cost, sums = (
            f"Micros = take_any({micros.kql(table.cost)}), ",
            " Micros = sum(Micros), BatchCost = max(BatchCost),",
        )
    once = f"{numbers} | summarize {cost}BatchRows = max(BatchRows), BatchCost = max(BatchCost) by RowNumber"
    return f"{once} | summarize Rows = count(), Most = max(RowNumber),{sums} BatchRows = max(BatchRows)"


def only_doubled(kusto: Kusto, table: Table, batch_id: str, held: Holding) -> bool:
    """Whether the table holds every row of one complete response, some more than once. Raises KustoError."""
    if held.collected is None:
        return False
    (row,) = kusto.query(doubled_query(table, batch_id), fresh=True)
    rows = row["BatchRows"]
    same_cost = not table.cost or row["Micros"] == row["BatchCost"]
    return rows is not None and row["Rows"] == row["Most"] == rows and same_cost


def held_keys_query(table: Table, batch_id: str) -> str:
    """KQL for the keys of the rows that a table holds of a batch."""
    keys = (f"{name} = tostring({name})" if table[name].type == "dynamic" else name for name in table.key)
    rows = f"{table.name} | where {table.batch_column} == {literal(batch_id)}"
    return f"{rows} | project {', '.join(keys)} | distinct {', '.join(table.key)}"


def held_keys(kusto: Kusto, table: Table, batch_id: str) -> set[tuple[Json, ...]]:
    """The keys of the rows that a table holds of a batch, as `Table.key` names them. Raises KustoError."""
    rows = kusto.query(held_keys_query(table, batch_id), fresh=True)
    return {tuple(key_text(row[name]) for name in table.key) for row in rows}


def policy_command(table: Table, policy: str) -> str:
    """The command that shows a policy of a table."""
    return f".show table {table.name} policy {policy} | project Policy"


def is_visible(kusto: Kusto, table: Table) -> bool:
    """Whether queries see every row of a table: no row-level security and no restricted view. Raises KustoError."""
    policies = kusto.command(policy_command(table, "row_level_security"))
    policies += kusto.command(policy_command(table, "restricted_view_access"))
    return not any(is_enabled(json.loads(row["Policy"] or "null")) for row in policies)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut items into lists of at most that size."""
    remaining = iter(items)
    while some := list(islice(remaining, size)):
        yield some
