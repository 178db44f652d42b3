"""Extents: tagged, shown, moved and dropped, all or nothing."""

from __future__ import annotations

import pytest
from azure.kusto.data.exceptions import KustoApiError

from tests.emulator.conftest import ROW, Client

GONE = "5d4e8f3a-6b0e-4d7a-9c41-2e5d7b90a6f1"


@pytest.fixture
def staged(costs: Client) -> Client:
    """Costs holds one old row, and Staging, of the same shape, two new ones."""
    costs.land([{**ROW, "Name": "old"}], tag="batch")
    costs.command(".create table Staging based-on Costs")
    costs.command(
        ".set-or-append Staging with (tags='[\"drop-by:new\"]') <| range N from 1 to 2 step 1"
        " | extend Timestamp = datetime(2026-11-23), Name = 'new', Cost = 1.0"
        " | extend Count = N, Spot = true, Labels = dynamic({})"
        " | project Timestamp, Name, Cost, Count, Spot, Labels"
    )
    return costs


def names(client: Client) -> list[str]:
    """The names in Costs."""
    return [row["Name"] for row in client.query("Costs | order by Name asc | project Name")]


def test_extents_show_rows_and_tags(costs: Client) -> None:
    """One ingestion is one extent, with its tags, and can be chosen by tag or id."""
    costs.land([ROW, ROW], tag="a")
    costs.land([ROW], tag="b")
    shown = costs.command(".show table Costs extents | project ExtentId, RowCount, Tags | order by RowCount asc")
    assert [(row["RowCount"], row["Tags"]) for row in shown] == [(1, "ingest-by:b"), (2, "ingest-by:a")]
    for condition in ("where tags has 'ingest-by:b'", "where tags !contains ':a'", f"({shown[0]['ExtentId']}, {GONE})"):
        assert [row["RowCount"] for row in costs.command(f".show table Costs extents {condition}")] == [1]


def test_tags_match_in_full(costs: Client) -> None:
    """`has` is equality with a tag, `contains` a part of one in any case: management/show-extents."""
    costs.land([ROW], tag="Cluster/2026")
    for condition, found in [
        ("has 'ingest-by:Cluster/2026'", 1),
        ("has 'ingest-by:Cluster'", 0),
        ("has 'Cluster'", 0),
        ("!has 'ingest-by:Cluster'", 1),
        ("contains 'cluster/'", 1),
        ("!contains 'cluster/'", 0),
    ]:
        assert len(costs.command(f".show table Costs extents where tags {condition}")) == found, condition


def test_queries_can_read_the_extent(costs: Client) -> None:
    """`extent_id()` counts, lists and filters, and its column is in no result."""
    costs.land([{**ROW, "Name": "x"}] * 3)
    costs.land([{**ROW, "Name": "y"}])
    [found] = costs.query('Costs | where Name == "x" | summarize Rows = count() by Extent = tostring(extent_id())')
    assert found["Rows"] == 3
    others = costs.query(f'Costs | where tostring(extent_id()) in ("{found["Extent"]}") and Name != "x" | count')
    assert others == [{"Count": 0}]
    [row] = costs.query(f"Costs | where extent_id() == guid({found['Extent']}) | take 1")
    assert list(row) == list(ROW)
    assert len(costs.query("Costs | distinct tostring(extent_id())")) == 2
    assert list(costs.query("Costs | take 1")[0]) == list(ROW)


def test_set_or_append_makes_a_tagged_extent(staged: Client) -> None:
    """Rows of a query become an extent; a query of another shape is refused; an absent table is made."""
    [extent] = staged.command(".set-or-append Costs with (tags='[\"drop-by:copy\"]') <| Staging")
    assert extent["RowCount"] == 2
    with pytest.raises(KustoApiError, match="schema"):
        staged.command(".set-or-append Costs <| Staging | project Name")
    staged.command(".set-or-append Fresh <| Staging | project Name")
    assert (staged.count(), staged.count("Fresh")) == (3, 2)


def test_drop_extents_drops_what_is_named(staged: Client) -> None:
    """Only the extents of the query go, and their rows with them."""
    staged.land([ROW], tag="other")
    dropped = staged.command(".drop extents <| .show table Costs extents where tags has 'ingest-by:batch'")
    assert (len(dropped), names(staged)) == (1, ["web"])


def test_clear_empties_a_table(costs: Client) -> None:
    """No row and no extent is left."""
    costs.land([ROW], tag="a")
    costs.command(".clear table Costs data")
    assert (costs.count(), costs.command(".show table Costs extents")) == (0, [])


def test_an_extent_is_as_old_as_the_command_says(costs: Client) -> None:
    """`creationTime` is the extent's, and not the time of the rows' ingestion: ingest-from-query."""
    costs.land([ROW])
    costs.command(".set-or-append Costs with (creationTime = '2020-01-02T03:04:05Z') <| Costs")
    created = [row["MinCreatedOn"].year for row in costs.command(".show table Costs extents")]
    assert sorted(created)[0] == 2020 < sorted(created)[1]
    assert costs.query("Costs | where ingestion_time() < ago(1d) | count") == [{"Count": 0}]
    with pytest.raises(KustoApiError, match="'soon' is not a datetime"):
        costs.command(".set-or-append Costs with (creationTime = 'soon') <| Costs")
