"""Queries through the SDK."""

from __future__ import annotations

import subprocess
import sys

import pytest
import requests
from azure.kusto.data.exceptions import KustoApiError

from tests.emulator.conftest import ROW, Client

WITHOUT_DUCKDB = """
import sys
sys.modules["duckdb"] = None
sys.argv = ["opencost-kusto", "demo"]
from opencost_kusto.cli import main
main()
"""


def test_parameters_are_values(costs: Client) -> None:
    """A declared parameter is bound, whatever is in it."""
    costs.land([ROW, {**ROW, "Name": '"; drop'}])
    text = "declare query_parameters(name: string); Costs | where Name == name | count"
    assert [costs.query(text, name=name)[0]["Count"] for name in ("web", '"; drop', "none")] == [1, 1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Nowhere | count", "Nowhere"),
        ("Costs | where", "Syntax error"),
        ("Costs | where Absent == 1", "Absent"),
        ("Costs | evaluate pivot(Name)", "evaluate"),
    ],
)
def test_a_bad_query_is_an_error_with_its_cause(costs: Client, text: str, message: str) -> None:
    """The error is permanent and names what is wrong."""
    with pytest.raises(KustoApiError, match=message) as refused:
        costs.query(text)
    assert refused.value.get_api_error().permanent is True


def test_a_repeated_query_sees_a_column_added_since(costs: Client) -> None:
    """The same text is translated anew when a table has changed: a join lists the columns of both sides."""
    costs.land([ROW])
    text = "Costs | join kind=inner (Costs) on Name | project-away Timestamp"
    assert "Extra1" not in costs.query(text)[0]
    costs.command(".create-merge table Costs (Extra: string)")
    assert {"Extra", "Extra1"} <= set(costs.query(text)[0])


def test_a_query_calls_the_function_as_it_is_now(costs: Client) -> None:
    """The same text is translated anew when a function has changed."""
    for least in (1, 2):
        costs.command(f".create-or-alter function Few() {{ print A = {least} }}")
        assert costs.query("Few()") == [{"A": least}]


def test_queries_that_differ_in_a_list_alone_differ_in_their_results(costs: Client) -> None:
    """A shared translation gets the texts of each query, however many they are."""
    names = ["web", "it's", '"', "db", "tmp"]
    costs.land([{**ROW, "Name": name} for name in names])
    for some in (names[:1], names[1:2], names[:2], names[3:], ["none"], ["web", "db", "tmp"]):
        listed = ", ".join(f'"{name}"' for name in some if '"' not in name)
        found = costs.query(f"Costs | where Name in ({listed}) | project Name")
        assert {row["Name"] for row in found} == set(some) & set(names)


def test_coalesce_takes_the_first_value_that_is_not_empty(costs: Client) -> None:
    """A number or a time is taken unless it is null; a string, and one in a bag, unless it is empty, too.

    https://learn.microsoft.com/kusto/query/coalesce-function
    """
    columns = "S: string, N: real, B: bool, D: dynamic"
    values = "'', real(null), bool(null), dynamic(null), 'a', 2.5, false, dynamic('x')"
    chosen = "coalesce(S, 'none'), coalesce(N, 1.0), coalesce(B, true), coalesce(tostring(D), 'none')"
    found = costs.query(f"datatable({columns})[{values}] | project {chosen}")
    assert [list(row.values()) for row in found] == [["none", 1.0, True, "none"], ["a", 2.5, False, "x"]]


def test_the_older_endpoint_responds_too(costs: Client) -> None:
    """`/v1/rest/query` speaks the older protocol."""
    with requests.Session() as session:
        reply = session.post(
            costs.emulator.url + "/v1/rest/query", json={"db": "OpenCost", "csl": "print A = 1"}, timeout=10
        )
    assert reply.json()["Tables"][0]["Rows"] == [[1]]


def test_without_duckdb_the_error_names_what_to_install() -> None:
    """The demo names the extra that is missing, with exit code 2, before it prints anything else."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_DUCKDB], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install '.[demo]' from a clone" in done.stderr
