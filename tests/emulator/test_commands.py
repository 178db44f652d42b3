"""Management commands, as the SDK sends them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from azure.kusto.data import ClientRequestProperties
from azure.kusto.data.exceptions import KustoApiError

from opencost_kusto.database import script
from opencost_kusto.schema.tables import TABLES
from tests.emulator.conftest import MAPPING, ROW, Client


def schema(client: Client) -> Any:
    """The database as it describes itself."""
    [row] = client.command(".show database OpenCost schema as json")
    return json.loads(row["DatabaseSchema"])["Databases"]["OpenCost"]


def test_the_shipped_commands_run_twice_and_change_nothing(client: Client) -> None:
    """Every bundled command is understood, and the second run leaves the schema as the first did."""
    for _ in range(2):
        for command in script.commands("tables"):
            client.command(command.text)
        described = schema(client)
    for table in TABLES:
        columns = described["Tables"][table.name]["OrderedColumns"]
        assert [(column["Name"], column["CslType"]) for column in columns] == [
            (column.name, column.type) for column in table.columns
        ]


def test_create_merge_adds_columns_at_the_end(costs: Client) -> None:
    """Old rows have nulls in the new column, the old columns keep their places, and the table keeps its docstring.

    https://learn.microsoft.com/kusto/management/create-merge-table-command: only the columns of a table change.
    """
    costs.land([ROW])
    costs.command('.create-merge table Costs (Extra: string, Name: string) with (docstring = "Money", folder = "F")')
    table = schema(costs)["Tables"]["Costs"]
    assert [column["Name"] for column in table["OrderedColumns"]][-2:] == ["Labels", "Extra"]
    assert not {"DocString", "Folder"} & set(table)
    assert costs.query("Costs | project Name, Extra") == [{"Name": "web", "Extra": ""}]


def test_a_docstring_and_a_folder_are_altered(costs: Client) -> None:
    """`.alter table T docstring` and `folder` describe an existing table."""
    costs.command('.alter table Costs docstring "Money"')
    costs.command('.alter table Costs folder "F"')
    [shown] = costs.command(".show tables")
    assert (shown["DocString"], shown["Folder"]) == ("Money", "F")


def test_a_table_based_on_another_has_all_but_the_update_policy(costs: Client) -> None:
    """https://learn.microsoft.com/kusto/management/create-table-based-on-command."""
    costs.command('.alter-merge table Costs policy merge ```{"AllowMerge": false}```')
    costs.command(".alter table Costs policy update ```[]```")
    costs.land([ROW])
    costs.command('.create table Copy based-on Costs with (folder = "F")')
    assert costs.command(".show table Copy ingestion json mappings")[0]["Name"] == "Costs_mapping"
    policies = {name: costs.command(f".show table Copy policy {name}")[0]["Policy"] for name in ("merge", "update")}
    assert policies == {"merge": '{"AllowMerge": false}', "update": "null"}
    assert costs.count("Copy") == 0


def test_create_merge_refuses_another_type(costs: Client) -> None:
    """A column keeps its type, and nothing of the command is done."""
    with pytest.raises(KustoApiError, match="'Cost' of table 'Costs' is of type real"):
        costs.command(".create-merge table Costs (New: string, Cost: string)")
    assert "New" not in [row["ColumnName"] for row in costs.query("Costs | getschema")]


def test_column_docstrings_are_merged(costs: Client) -> None:
    """Each column can be given a sentence; an unknown column is an error."""
    costs.command('.alter-merge table Costs column-docstrings (Name: "Its \\"name\\", in full")')
    costs.command('.alter-merge table Costs column-docstrings (Cost: "US dollars")')
    columns = schema(costs)["Tables"]["Costs"]["OrderedColumns"]
    docs = {column["Name"]: column["DocString"] for column in columns if "DocString" in column}
    assert docs == {"Name": 'Its "name", in full', "Cost": "US dollars"}
    with pytest.raises(KustoApiError, match="'Nope'"):
        costs.command('.alter-merge table Costs column-docstrings (Nope: "x")')


def test_a_schema_has_types_in_both_languages(costs: Client) -> None:
    """A column has its .NET and its Kusto type."""
    columns = schema(costs)["Tables"]["Costs"]["OrderedColumns"]
    assert [column["Type"] for column in columns] == [
        *("System.DateTime", "System.String", "System.Double", "System.Int64", "System.SByte", "System.Object")
    ]


def test_mappings_are_shown_as_they_were_given(costs: Client) -> None:
    """The fenced document comes back as JSON."""
    [mapping] = costs.command(".show table Costs ingestion json mappings")
    assert (mapping["Name"], mapping["Kind"], mapping["Table"]) == ("Costs_mapping", "Json", "Costs")
    assert json.loads(mapping["Mapping"]) == json.loads(MAPPING.split("```")[1])


@pytest.mark.parametrize("document", ["[", "{}", "[]", '[{"column": "Name"}]', '[{"column":"Name","path":"Name"}]'])
def test_a_mapping_that_is_not_one_is_refused(costs: Client, document: str) -> None:
    """Broken JSON, no entries, an entry without a path and a path that is none are all errors."""
    with pytest.raises(KustoApiError):
        costs.command(f'.create-or-alter table Costs ingestion json mapping "m" ```{document}```')


def test_policies_are_merged_or_replaced(costs: Client) -> None:
    """`.alter-merge` keeps what it does not name, `.alter` does not; an unset policy is null."""
    costs.command('.alter-merge table Costs policy ingestionbatching ```{"MaximumNumberOfItems": 5}```')
    costs.command("""  .alter-merge table Costs policy ingestionbatching '{"MaximumBatchingTimeSpan": "00:00:30"}'""")
    [policy] = costs.command(".show table Costs policy ingestionbatching")
    assert json.loads(policy["Policy"]) == {"MaximumNumberOfItems": 5, "MaximumBatchingTimeSpan": "00:00:30"}
    assert (policy["PolicyName"], policy["EntityType"]) == ("IngestionBatchingPolicy", "Table")
    costs.command(".alter table Costs policy ingestionbatching ```{}```")
    assert costs.command(".show table Costs policy ingestionbatching")[0]["Policy"] == "{}"
    assert costs.command(".show table Costs policy extent_tags_retention")[0]["Policy"] == "null"


def test_functions_are_stored_shown_and_called(costs: Client) -> None:
    """A function with a default is used in a query, and described with its parameters."""
    costs.land([ROW, {**ROW, "Cost": 2.0}])
    costs.command(
        '.create-or-alter function with (docstring = "Dear ones", folder = "F")'
        ' Above(least: real = 1.0, name: string = "")'
        " {\n    Costs\n    | where Cost > least // not equal\n}"
    )
    assert [len(costs.query(text)) for text in ("Above()", "Above(0.0)", "Above | where Cost > 5")] == [1, 2, 0]
    [shown] = costs.command(".show functions")
    assert (shown["Name"], shown["DocString"], shown["Folder"]) == ("Above", "Dear ones", "F")
    described = schema(costs)["Functions"]["Above"]
    assert described["InputParameters"] == [
        {"Name": "least", "Type": "System.Double", "CslType": "real", "CslDefaultValue": "1.0"},
        {"Name": "name", "Type": "System.String", "CslType": "string", "CslDefaultValue": '""'},
    ]
    assert "// not equal" in described["Body"]
    costs.command(".drop function Above ifexists")
    with pytest.raises(KustoApiError):
        costs.query("Above()")


def test_retention_has_its_own_syntax_and_a_policy_can_be_deleted(costs: Client) -> None:
    """https://learn.microsoft.com/kusto/management/alter-merge-table-retention-policy-command."""
    costs.command(".alter-merge table Costs policy retention softdelete = 400d")
    [shown] = costs.command(".show table Costs policy retention")
    assert json.loads(shown["Policy"]) == {"SoftDeletePeriod": "400.00:00:00"}
    with pytest.raises(KustoApiError, match="'soon' is not a timespan"):
        costs.command(".alter-merge table Costs policy retention softdelete = soon")
    costs.command(".delete table Costs policy retention")
    assert costs.command(".show table Costs policy retention")[0]["Policy"] == "null"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("Costs | where", "'where' has no arguments"),
        ("Costs | were Cost > 1", "found 'were'"),
        ("Costs | where (Cost > 1", "unexpected '}'"),
        ("NoSuchFunction(1)", "Unknown function: 'NoSuchFunction'"),
        ("Costs | extend A = nosuch(Cost)", "Unknown function: 'nosuch'"),
        ("Nowhere | count", "Failed to resolve table or column expression named 'Nowhere'"),
        ("Costs | where Nope == 1", "Failed to resolve scalar expression named 'Nope'"),
        ("Costs | summarize sum(Nope) by Name", "Failed to resolve scalar expression named 'Nope'"),
        ("Other | where Cost == 1", "Failed to resolve scalar expression named 'Cost'"),
    ],
)
def test_a_function_that_does_not_read_or_resolve_is_refused(costs: Client, body: str, message: str) -> None:
    """The error comes when it is created, and nothing is stored; `skipvalidation` stores it all the same.

    https://learn.microsoft.com/kusto/management/create-alter-function
    """
    costs.command(".create table Other (A: string)")
    with pytest.raises(KustoApiError, match=re.escape(message)):
        costs.command(f".create-or-alter function Broken() {{ {body} }}")
    assert costs.command(".show functions") == []
    costs.command(f".create-or-alter function with (skipvalidation = true) Broken() {{ {body.rstrip('(')} }}")
    assert len(costs.command(".show functions")) == 1


@pytest.mark.parametrize(
    "body",
    [
        "let least = 1.0; let dear = (T: string) { strlen(T) > 2 }; Costs | where Cost > least and dear(Name)",
        "Costs | summarize sum(Cost), count() by bin(Timestamp, 1h) | where sum_Cost > 1 and count_ > 2",
        "Costs | join kind=leftouter (Costs | project Name, More = Cost) on Name | extend A = Cost + More, B = Name1",
        "Costs | mv-expand kind=array P = Labels | project-away Cost | top 5 by Timestamp desc nulls last",
        "Above() | where Twice > 1 | extend Team = tostring(Labels['team']), Zone = Labels.topology.zone",
        "datatable(A: string, B: long)['x', 1] | where A has 'x' and B between (1 .. 5)",
        "union Costs, (Costs | where Name in ('a', 'b')) | order by Name asc",
    ],
)
def test_a_function_that_resolves_is_stored(costs: Client, body: str) -> None:
    """Names may come from tables, parameters, `let`, assignments, aggregates, joins and called functions."""
    costs.command(".create-or-alter function Above(x: real = 0.5) { Costs | where Cost > x | extend Twice = 2 * Cost }")
    costs.command(f".create-or-alter function Good(name: string = '') {{ {body} }}")


def test_tables_are_dropped_and_shown(costs: Client) -> None:
    """A dropped table is gone from list and queries; dropping it again needs `ifexists`."""
    assert [row["TableName"] for row in costs.command(".show tables | project TableName")] == ["Costs"]
    costs.command(".drop table Costs ifexists")
    costs.command(".drop table Costs ifexists")
    assert costs.command(".show tables") == []
    for command in (".drop table Costs", "Costs | count"):
        with pytest.raises(KustoApiError, match="Costs"):
            (costs.command if command.startswith(".") else costs.query)(command)


@pytest.mark.parametrize(
    "command",
    [
        ".show nonsense",
        ".create-merge table",
        ".create-merge table T (A: number)",
        ".create-merge table T (A: string) and more",
        ".drop everything",
        ".execute database script <| .show tables",
        "// only a comment",
    ],
)
def test_an_unknown_command_is_an_error(costs: Client, command: str) -> None:
    """Nothing is silently fine."""
    with pytest.raises(KustoApiError):
        costs.command(command)


def test_comments_before_a_command_are_ignored(costs: Client) -> None:
    """A command may follow the comment that explains it."""
    assert costs.command("// what tables?\n// all of them\n.show tables | count") == [{"Count": 1}]


def test_another_database_is_not_found(costs: Client) -> None:
    """A request for a database that is not served is refused by name."""
    with pytest.raises(KustoApiError, match="'Elsewhere'") as refused:
        costs.kusto.execute_query("Elsewhere", "print 1")
    assert refused.value.get_api_error().code == "BadRequest_EntityNotFound"
    assert refused.value.get_api_error().permanent is True


def test_a_command_does_not_run_as_a_query(costs: Client) -> None:
    """Commands have an endpoint of their own, also those that only read."""
    for text in (".drop table Costs", ".show tables | count"):
        with pytest.raises(KustoApiError, match="management endpoint"):
            costs.query(text)
    assert costs.command(".show tables | count") == [{"Count": 1}]
    with pytest.raises(KustoApiError, match="not a command"):
        costs.command("Costs | count")


@pytest.mark.parametrize(("consistency", "accepted"), [("strongconsistency", True), ("strong", False)])
def test_a_consistency_is_one_of_five(costs: Client, consistency: str, accepted: bool) -> None:
    """https://learn.microsoft.com/kusto/api/rest/request-properties"""
    properties: Any = ClientRequestProperties()  # type: ignore[no-untyped-call]
    properties.set_option("queryconsistency", consistency)
    if accepted:
        assert costs.kusto.execute_query("OpenCost", "print 1", properties).primary_results
    else:
        with pytest.raises(KustoApiError, match="'strong' is not a query consistency"):
            costs.kusto.execute_query("OpenCost", "print 1", properties)


def test_the_service_returns_its_version(client: Client) -> None:
    """The SDK requests the kind of service it is connected to."""
    assert client.command(".show version")[0]["ServiceType"] == "Engine"
