"""Results on the wire: values, limits, clocks and databases, as Kusto has them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.kusto.data import KustoClient, KustoConnectionStringBuilder
from azure.kusto.data.exceptions import KustoMultiApiError

from opencost_kusto.emulator import KustoEmulator
from tests.emulator.conftest import MAPPING, ROW, TABLE, Client, lines
from tests.emulator.test_behaviour import options


def test_a_string_is_empty_where_others_are_null(costs: Client) -> None:
    """Null strings of rows and of joins are empty texts; every other type has nulls."""
    costs.land([dict.fromkeys(ROW)])
    [row] = costs.query("Costs")
    assert row == {**dict.fromkeys(ROW), "Name": ""}
    joined = "print K = 1 | join kind=leftouter (datatable(K: int, Name: string, Cost: real)[2, 'x', 1.0]) on K"
    assert [(row["Name"], row["Cost"]) for row in costs.query(joined)] == [("", None)]


def test_the_keys_of_a_bag_are_reordered(costs: Client) -> None:
    """Nothing may rely on the order in which keys were ingested, at any depth."""
    costs.land([{**ROW, "Labels": {"b": 1, "a": {"y": 2, "x": 3}}}])
    [row] = costs.query("Costs | project Labels")
    assert row["Labels"] == {"a": {"x": 3, "y": 2}, "b": 1}
    assert json.dumps(row["Labels"]) == '{"a": {"x": 3, "y": 2}, "b": 1}'


@pytest.mark.parametrize(
    ("text", "limits", "limit"),
    [
        ("range N from 1 to 500001 step 1", {}, "record count limit 500000"),
        ("range N from 1 to 11 step 1", {"truncationmaxrecords": 10}, "record count limit 10"),
        ("range N from 1 to 2000 step 1 | extend T = strrep('x', 40000)", {}, "data size limit 67108864"),
    ],
)
def test_a_result_beyond_the_limits_fails(costs: Client, text: str, limits: dict[str, Any], limit: str) -> None:
    """Too many records and too many bytes end in an error inside the result, unless no limit is requested."""
    with pytest.raises(KustoMultiApiError, match=f"{limit} \\(E_QUERY_RESULT_SET_TOO_LARGE\\)"):
        options(costs, text, **limits)
    assert options(costs, "range N from 1 to 11 step 1 | count", **limits) == [{"Count": 11}]
    assert len(options(costs, "range N from 1 to 11 step 1", truncationmaxrecords=10, notruncation=True)) == 11


@pytest.mark.parametrize("offset", [timedelta(hours=-2), timedelta(hours=2)])
def test_now_is_the_clock_of_the_service(offset: timedelta) -> None:
    """`now()`, `ago()`, extents and ingestion times go by the emulator's clock, wherever the machine's is."""
    with KustoEmulator(latency=0, clock=lambda: datetime.now(UTC) + offset) as emulator:
        client = Client(emulator)
        for command in (TABLE, MAPPING):
            client.command(command)
        client.land([ROW])
        here = datetime.now(UTC)
        [row] = client.query("Costs | project Now = now(), Hour = ago(1h), At = ingestion_time()")
        [extent] = client.command(".show table Costs extents | project MinCreatedOn")
        for moment in (row["Now"], row["Hour"] + timedelta(hours=1), row["At"], extent["MinCreatedOn"]):
            assert abs(moment - here - offset) < timedelta(minutes=10)
        assert client.query("print A = now() == now()") == [{"A": True}]
        client.close()


def test_the_newest_row_by_the_time_of_its_ingestion(costs: Client) -> None:
    """`arg_max(ingestion_time(), *)` has the column that Microsoft's analyser names, in functions as well."""
    for count in (1, 2, 3):
        costs.land([{**ROW, "Count": count}])
    newest = "Costs | summarize arg_max(ingestion_time(), *) by Name"
    costs.command(f".create-or-alter function Newest() {{ {newest} }}")
    for text in (newest, "Newest()", "Newest"):
        [row] = costs.query(text)
        assert list(row) == ["Name", "$IngestionTime", "Timestamp", "Cost", "Count", "Spot", "Labels"]
        assert row["Count"] == 3
    assert list(costs.query("Costs | where ingestion_time() > ago(1h) | take 1")[0]) == list(ROW)


@pytest.mark.parametrize("name", ["Open Cost", "open-cost", "a.b c-d"])
def test_a_database_of_any_name_takes_rows(name: str) -> None:
    """Rows land in the database their message names, and in no other; each has its own tables."""
    with KustoEmulator(latency=0, more_databases=[name]) as emulator:
        kusto = KustoClient(KustoConnectionStringBuilder.with_no_authentication(emulator.url))
        for command in (TABLE, MAPPING, ".create-or-alter function Few() { Costs | take 5 }"):
            kusto.execute_mgmt(name, command)
        client = Client(emulator)
        client.send(lines([ROW]), database=name)
        emulator.wait_idle()
        counted = kusto.execute_query(name, "Few | join kind=leftouter (Costs) on Name | count").primary_results[0]
        assert [row["Count"] for row in counted] == [1]
        [row] = kusto.execute_mgmt(name, f".show database ['{name}'] schema as json").primary_results[0]
        assert list(json.loads(row["DatabaseSchema"])["Databases"]) == [name]
        assert client.command(".show tables") == []
        client.close()
        kusto.close()  # type: ignore[no-untyped-call]
