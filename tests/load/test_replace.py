"""The commands of a replacement, as text, and the moments at which they are sent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from opencost_kusto.batch import Batch
from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.load import replace
from opencost_kusto.load.replace import BatchReplacement
from opencost_kusto.schema.tables import ALLOCATION
from tests.faults.damage import copy
from tests.faults.wire import kusto_refusal, once
from tests.support.world import HOUR, NAMESPACES, PATIENT, ROWS, World

BATCH = Batch(ALLOCATION, "aks-shop-prod-weu", HOUR, NAMESPACES)
NOW = datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC)
HELD = f'let D = OpenCostAllocation | where BatchId == "{BATCH.id}";'


def test_the_commands() -> None:
    """One transaction deletes the batch's rows alone, and moves tagged extents or appends rows.

    https://learn.microsoft.com/kusto/management/update-table-command
    """
    assert replace.move_command(ALLOCATION, BATCH.id, "S", whatif=True) == (
        ".update table OpenCostAllocation delete D move S with (whatif=true, "
        f'extentTagsToMove="[\\"ingest-by:{BATCH.id}\\"]") <| {HELD}'
    )
    assert replace.append_command(ALLOCATION, BATCH.id, "S | where X", whatif=False) == (
        f".update table OpenCostAllocation delete D append A with (whatif=false) <| {HELD} let A = S | where X;"
    )
    assert replace.once_query(ALLOCATION, BATCH.id, ["A", "B"]) == (
        f'OpenCostAllocation | where BatchId == "{BATCH.id}" | summarize arg_max(CollectionTime, *) by RowNumber'
        " | project A, B"
    )


def test_the_staging_table(world: World) -> None:
    """It has the live table's columns in the live order, a short life, the same mapping, and a name with its time."""
    with world.client(PATIENT) as kusto:
        first, second = (BatchReplacement(kusto, BATCH, 7, now=NOW) for _ in range(2))
    assert first.staging.startswith("OpenCostReplacement_20261124010203_")
    assert first.staging != second.staging
    create, expiry, _, mapping = first.commands("B:string, A:long")
    assert create == f'.create table {first.staging} (B:string, A:long) with (folder="OpenCost")'
    assert '"ExpiryDate": "2026-11-26T01:02:03Z", "DeleteIfNotEmpty": true' in expiry
    assert f"{first.staging} ingestion json mapping" in mapping


def test_the_live_tables_own_columns(world: World) -> None:
    """Columns that the table has beyond ours, in whatever order, are the staging table's, and of what is kept once."""
    world.command(f".create-merge table {ALLOCATION.name} (Theirs: string)")
    assert world.sync().exit_code == 0
    world.command(f".set-or-append {ALLOCATION.name} <| {ALLOCATION.name}")
    with world.client(PATIENT) as kusto:
        replacement = BatchReplacement(kusto, BATCH, ROWS)
        replacement.prepare()
        columns = [world.kusto.engine.tables[name].columns for name in (ALLOCATION.name, replacement.staging)]
        assert list(columns[0].items()) == list(columns[1].items())
        assert "Theirs" in columns[0]
        replacement.deduplicate()
        replacement.drop()
    assert (world.count(), world.staging) == (ROWS, [])


@pytest.mark.parametrize("staged", [ROWS - 1, ROWS + 1])
def test_staged_rows_that_are_not_all(world: World, staged: int) -> None:
    """Nothing is deleted unless every staged row is counted: after a change whose reply was lost they are missing."""
    assert world.sync().exit_code == 0
    slept: list[float] = []
    with world.client(PATIENT) as kusto:
        replacement = BatchReplacement(kusto, BATCH, staged, sleep=slept.append)
        replacement.prepare()
        world.command(f".set-or-append {replacement.staging} <| {ALLOCATION.name}")
        with pytest.raises(KustoError, match=r"no longer holds .* nothing was replaced") as caught:
            replacement.swap()
    assert caught.value.code is ReasonCode.DAMAGED
    assert not [one for one in world.kusto.requests if one.csl.startswith(".update")]
    # Two schedulers that see one damage do not repair it at the same moment.
    assert len(slept) == 1
    assert 0 <= slept[0] <= 2
    assert world.count() == ROWS


@pytest.mark.parametrize(
    ("reply", "updates"),
    [(kusto_refusal(403, "No.", permanent=True), 1), (kusto_refusal(429, "No.", permanent=False), 1)],
)
def test_no_other_command_is_tried_where_it_cannot_help(world: World, reply: object, updates: int) -> None:
    """Missing rights and a busy Kusto lead to no other command, which could change the table twice."""
    assert world.sync().exit_code == 0
    with world.client(PATIENT) as kusto:
        replacement = BatchReplacement(kusto, BATCH, ROWS)
        replacement.prepare()
        world.command(f".set-or-append {replacement.staging} <| {ALLOCATION.name}")
        world.kusto.fault = once(lambda one: "whatif=true" in one.csl, reply)  # type: ignore[arg-type]
        with pytest.raises(KustoError):
            replacement.swap()
        replacement.drop()
    assert len([one for one in world.kusto.requests if one.csl.startswith(".update")]) == updates


def test_deduplicating_counts_first(world: World) -> None:
    """Rows added between the count and the change stop it."""
    assert world.sync().exit_code == 0
    world.command(copy())

    def add(request: object) -> None:
        if "whatif=true" in request.csl:  # type: ignore[attr-defined]
            world.kusto.fault = None
            world.command(copy("RowNumber == 1"))

    world.kusto.fault = add
    with world.client(PATIENT) as kusto, pytest.raises(KustoError, match=r"held 16 rows of .* and now 18") as caught:
        BatchReplacement(kusto, BATCH, ROWS).deduplicate()
    assert caught.value.code is ReasonCode.CHANGED
    assert world.count() == 18
