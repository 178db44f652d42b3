"""`.update table` and `.delete`, as Microsoft documents them.

https://learn.microsoft.com/kusto/management/update-table-command,
https://learn.microsoft.com/kusto/management/soft-delete-command and
https://learn.microsoft.com/kusto/concepts/data-soft-delete
"""

from __future__ import annotations

from typing import Any

import pytest
from azure.kusto.data.exceptions import KustoApiError

from tests.emulator.conftest import ROW, Client

APPEND = ".update table Costs delete D append A <| let D = Costs | where Name == 'old'; let A = Staging;"
MOVE = ".update table Costs delete D move Staging <| let D = Costs | where Name == 'old';"
SCHEMA = "(Timestamp: datetime, Name: string, Cost: real, Count: long, Spot: bool, Labels: dynamic)"


@pytest.fixture
def staged(costs: Client) -> Client:
    """Costs holds an old row and a neighbour in one tagged extent; Staging, of the same schema, holds two new rows."""
    costs.land([{**ROW, "Name": "old"}, {**ROW, "Name": "neighbour"}], tag="batch")
    costs.command(f".create table Staging {SCHEMA}")
    costs.command(
        ".set-or-append Staging with (tags='[\"drop-by:new\"]') <| Costs | extend Name = 'new' | take 2"
        " | project Timestamp, Name, Cost, Count, Spot, Labels"
    )
    return costs


def names(client: Client, table: str = "Costs") -> list[str]:
    """The names in a table."""
    return [row["Name"] for row in client.query(f"{table} | order by Name asc | project Name")]


def extents(client: Client) -> list[dict[str, Any]]:
    """The extents of Costs, the oldest first."""
    return client.command(".show table Costs extents | order by MinCreatedOn asc")


@pytest.mark.parametrize(("command", "left"), [(APPEND, ["new", "new"]), (MOVE, [])])
def test_rows_are_deleted_and_others_added_in_one_transaction(staged: Client, command: str, left: list[str]) -> None:
    """The old row is deleted, the neighbour remains, the new rows are added; moving empties the staging table."""
    reply = staged.command(command)
    assert [(row["Table"], row["Action"], row["RowCount"]) for row in reply] == [
        ("Costs", "Delete", 1),
        ("Costs", "Create", 2),
    ]
    assert names(staged) == ["neighbour", "new", "new"]
    assert names(staged, "Staging") == left


def test_an_extent_that_lost_rows_keeps_its_tags_and_times(staged: Client) -> None:
    """Soft delete puts another extent in the place of the old one, with the same tags, even when no row is left."""
    [before] = extents(staged)
    staged.command(MOVE)
    after, moved = extents(staged)
    assert after["ExtentId"] != before["ExtentId"]
    assert (after["Tags"], after["MinCreatedOn"]) == ("ingest-by:batch", before["MinCreatedOn"])
    assert (after["RowCount"], after["DeletedRowCount"]) == (1, 1)
    assert moved["Tags"] == "drop-by:new"
    staged.command(".delete table Costs records <| Costs | where Name == 'neighbour'")
    staged.land([ROW], tag="batch")
    assert names(staged) == ["new", "new"], "the tag outlives its rows"


def test_appended_rows_have_no_tags(staged: Client) -> None:
    """Only moved extents keep their tags."""
    staged.command(APPEND)
    assert [row["Tags"] for row in extents(staged)] == ["ingest-by:batch", ""]


@pytest.mark.parametrize("command", [APPEND, MOVE])
def test_whatif_shows_counts_and_changes_nothing(staged: Client, command: str) -> None:
    """`whatif=true` returns the rows that would be deleted and created."""
    reply = staged.command(command.replace(" <|", " with (whatif=true) <|"))
    assert [(row["Action"], row["RowCount"]) for row in reply] == [("Delete", 1), ("Create", 2)]
    assert (names(staged), names(staged, "Staging")) == (["neighbour", "old"], ["new", "new"])


def test_only_extents_with_a_tag_are_moved(staged: Client) -> None:
    """`extentTagsToMove` leaves other extents in the staging table."""
    staged.command(".set-or-append Staging with (tags='[\"drop-by:other\"]') <| Costs | where Name == 'neighbour'")
    staged.command(MOVE.replace(" <|", " with (extentTagsToMove='[\"drop-by:new\"]') <|"))
    assert (names(staged), names(staged, "Staging")) == (["neighbour", "new", "new"], ["neighbour"])


def test_both_predicates_read_the_tables_as_they_were(staged: Client) -> None:
    """The append predicate may reuse the delete identifier, and sees the rows that are deleted."""
    staged.command(
        ".update table Costs delete D append A <| let D = Costs | where Name == 'old'; let A = D | extend Cost = 9.0"
        " | project Timestamp, Name, Cost, Count, Spot, Labels;"
    )
    assert [row["Cost"] for row in staged.query("Costs | order by Name asc")] == [0.25, 9.0]


@pytest.mark.parametrize(
    "predicate",
    [
        "Costs | where Name == 'old' | project Name | where Name == 'old'",
        "Costs | extend Upper = toupper(Name) | where Upper == 'OLD'",
        "Costs | where Name == 'old' | order by Cost asc | take 5",
    ],
)
def test_a_predicate_may_use_five_operators(staged: Client, predicate: str) -> None:
    """extend, order, project, take and where are allowed."""
    staged.command(f".update table Costs delete D move Staging <| let D = {predicate};")
    assert names(staged) == ["neighbour", "new", "new"]


@pytest.mark.parametrize(
    ("predicate", "message"),
    [
        ("Costs | where Name == 'old' | summarize take_any(Name)", "operator 'summarize'"),
        ("Costs | where Name == 'old' | join kind=leftsemi Staging on Name", "operator 'join'"),
        ("Costs | take 1", "at least one 'where'"),
        ("Staging | where Name == 'new'", "only reference the table 'Costs'"),
    ],
)
def test_other_predicates_are_refused(staged: Client, predicate: str, message: str) -> None:
    """Another operator, another table and a predicate without `where` are errors, and nothing changes."""
    for command in (
        f".update table Costs delete D move Staging <| let D = {predicate};",
        f".delete table Costs records <| {predicate}",
    ):
        with pytest.raises(KustoApiError, match=message):
            staged.command(command)
    assert (names(staged), names(staged, "Staging")) == (["neighbour", "old"], ["new", "new"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (".create-merge table Staging (More: string)", "schema of table 'Staging'"),
        (".drop table Staging", "'Staging' could not be found"),
    ],
)
def test_a_source_of_another_schema_is_refused(staged: Client, change: str, message: str) -> None:
    """Moving needs a local table with the same schema; nothing is deleted."""
    staged.command(change)
    with pytest.raises(KustoApiError, match=message):
        staged.command(MOVE)
    assert names(staged) == ["neighbour", "old"]


def test_an_append_of_another_schema_deletes_nothing(staged: Client) -> None:
    """The transaction fails in full, extents included."""
    before = extents(staged)
    with pytest.raises(KustoApiError, match="schema"):
        staged.command(APPEND.replace("A = Staging", "A = Staging | project Name"))
    assert (names(staged), extents(staged)) == (["neighbour", "old"], before)


def test_moved_rows_keep_the_time_of_their_ingestion(staged: Client) -> None:
    """`ingestion_time()` of moved rows and of neighbours is what it was."""
    before = {row["Name"]: row["At"] for row in staged.query("union Costs, Staging | extend At = ingestion_time()")}
    staged.command(MOVE)
    after = {row["Name"]: row["At"] for row in staged.query("Costs | extend At = ingestion_time()")}
    assert after == {name: at for name, at in before.items() if name != "old"}


def test_delete_shows_how_many_records_match(staged: Client) -> None:
    """`.delete … with (whatif=true)` counts and deletes nothing."""
    command = ".delete table Costs records with (whatif=true) <| Costs | where Name == 'old'"
    assert [row["RecordsMatchPredicate"] for row in staged.command(command)] == [1]
    assert names(staged) == ["neighbour", "old"]


def test_a_transaction_that_fails_late_leaves_extents_and_rows(staged: Client) -> None:
    """When rows were appended and moved and something fails after that, neither rows nor extents have changed."""
    engine = staged.emulator.engine
    table, source = engine.table("Costs"), engine.table("Staging")
    before = (extents(staged), list(source.extents))
    with pytest.raises(KeyError):
        engine.update(table, [(0, "an extent that is not there")], "Costs", dict.fromkeys(source.extents, source))
    assert (extents(staged), list(source.extents)) == before
    assert (names(staged), names(staged, "Staging")) == (["neighbour", "old"], ["new", "new"])


def test_one_command_deletes_five_million_records_at_most(staged: Client) -> None:
    """The limit of the page, here set to one record: two are refused, and nothing is deleted."""
    assert staged.emulator.engine.most_deleted == 5_000_000
    staged.emulator.engine.most_deleted = 1
    with pytest.raises(KustoApiError, match="deletes 2 records; at most 1"):
        staged.command(MOVE.replace("Name == 'old'", "isnotempty(Name)"))
    assert names(staged) == ["neighbour", "old"]
    staged.command(MOVE)
    assert names(staged) == ["neighbour", "new", "new"]
