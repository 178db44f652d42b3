"""Files of KQL are split into commands with their lines, and all KQL that ships or is sent is valid."""

from __future__ import annotations

import ast
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencost_kusto.batch import Batch, RequestOptions, Run, Source
from opencost_kusto.ci.summary import costs_query
from opencost_kusto.cli import reports
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.coverage.missing import missing_query
from opencost_kusto.coverage.state import states_query
from opencost_kusto.coverage.status import cost_query
from opencost_kusto.coverage.totals import earlier_query, months_query, totals_query
from opencost_kusto.database import script
from opencost_kusto.database.render import render
from opencost_kusto.database.script import Command, commands, parse
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.fingerprint import UID
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load import holdings, ingest, replace
from opencost_kusto.load.run_log import LogContext, append_command
from opencost_kusto.load.table_columns import columns_command
from opencost_kusto.pipeline.name_entries import identities_query
from opencost_kusto.result import Outcome, batch_result
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.kql import (
    batching_policy,
    column_docstrings,
    create_flat_mapping,
    create_mapping,
    create_table,
    literal,
    paths,
    tags_policy,
)
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, SYNC_RUNS, TABLES
from opencost_kusto.window import Window
from tests.support.kql_analyser import Analyser, Schema
from tests.support.shipped import SHIPPED

PACKAGE = Path(script.__file__).parents[1]
FENCE = "```"
PATH = Path("kql/tables/Costs.kql")
SCHEMA = Schema(SHIPPED.tables)
BUNDLED = list(commands())
BATCH_IDS = ["OpenCostAllocation/prod/20261123T1000Z-20261123T1100Z/7c6d98098920", "odd \" \\ ' name/ü\n"]


def texts(text: str) -> list[tuple[int, str]]:
    """The commands of a text with the lines they begin at."""
    return [(command.line, command.text) for command in parse(text, PATH)]


def test_commands_begin_at_a_dot_and_have_their_line() -> None:
    """Each command ends before the next; blank lines and comments around them are left out."""
    text = "// About.\n\n.show tables\n\n// Between.\n.show table Costs\n| project A\n// inside\n| take 1\n\n// end\n"
    assert texts(text) == [(3, ".show tables"), (6, ".show table Costs\n| project A\n| take 1")]
    assert texts("") == texts("\n\n// nothing\n") == []
    assert texts(".show tables") == [(1, ".show tables")]


def test_what_is_fenced_is_one_command() -> None:
    """Inside a fence neither a dot, nor a comment, nor a blank line ends or changes a command."""
    mapping = f'.create-or-alter table T ingestion json mapping "m"\n{FENCE}\n[\n\n// kept\n.5\n]\n{FENCE}'
    policy = f".alter table T policy x {FENCE}{{}}{FENCE}"
    assert texts(f"{mapping}\n\n{policy}\n") == [(1, mapping), (10, policy)]


def test_a_function_keeps_its_body() -> None:
    """A body may have blank lines, and lines that begin with a dot when they are indented."""
    function = ".create-or-alter function F() {\n    Costs\n\n    | extend x = A\n    .b\n}"
    assert texts(f"// F\n{function}\n.show tables") == [(2, function), (8, ".show tables")]


@pytest.mark.parametrize(("text", "line"), [("Costs | take 1\n", 1), ("// a\n\n  .show tables\n", 3), ("\n}\n", 2)])
def test_stray_text_is_refused_with_its_place(text: str, line: int) -> None:
    """Text that belongs to no command would be lost, so it is an error that names file and line."""
    with pytest.raises(UsageError, match=rf"Costs\.kql:{line} belongs to no command"):
        list(parse(text, PATH))


def test_a_place_is_folder_file_and_line() -> None:
    """Messages name a command by the end of its path and its line."""
    assert Command(".show tables", PATH, 12).place == "tables/Costs.kql:12"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_rendered_files_cut_into_their_commands(table: Table) -> None:
    """What is rendered for a table parses into exactly the six commands it was made of."""
    assert [command.text for command in parse(render(table), PATH)] == [
        create_table(table),
        column_docstrings(table),
        create_mapping(table),
        create_flat_mapping(table),
        batching_policy(table.name),
        tags_policy(table),
    ]


def test_bundled_commands_are_in_the_order_they_must_run() -> None:
    """Tables precede functions, and one folder can be requested."""
    folders = [command.path.parent.name for command in BUNDLED]
    assert folders == sorted(folders, key=["tables", "functions"].index)
    assert [command.text for command in commands("tables")] == [
        command.text for command in BUNDLED if command.path.parent.name == "tables"
    ]
    assert folders.count("tables") == 6 * len(TABLES)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_mappings_take_each_key_to_its_column(table: Table) -> None:
    """A table's mapping has each column once, in order, from where a row has it, and without a type."""
    command = create_mapping(table)
    assert f'ingestion json mapping "{table.mapping}"' in command
    entries = json.loads(command.split(FENCE)[1])
    assert paths(entries) == {column.name: f"$.{table.path_of(column)}" for column in table.columns}
    assert "datatype" not in command.lower()
    assert create_mapping(table, of="Other").startswith(".create-or-alter table Other ingestion")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_flat_mappings_take_each_name_to_its_column(table: Table) -> None:
    """A table has a second mapping, for files in which each column stands under its own name."""
    entries = json.loads(create_flat_mapping(table).split(FENCE)[1])
    assert paths(entries) == {column.name: f"$.{column.name}" for column in table.columns}


@pytest.mark.parametrize(
    "entry",
    [
        {"column": "A", "Properties": {"Path": "$.a"}},
        {"Column": "A", "properties": {"path": "$.a"}},
        {"column": "A", "path": "$.a", "datatype": ""},
    ],
)
def test_mappings_are_read_in_every_spelling_of_kusto(entry: dict[str, object]) -> None:
    """Kusto returns another spelling than it was sent; both are the same mapping."""
    assert paths([entry]) == {"A": "$.a"}


def test_policies_are_those_of_the_design() -> None:
    """Batching takes half a minute, and tags are kept for a week, by the only prefix that Kusto allows for them."""
    batching = json.loads(batching_policy("T").split(FENCE)[1])
    assert batching["MaximumBatchingTimeSpan"] == "00:00:30"
    [tags] = json.loads(tags_policy(ASSETS).split(FENCE)[1])
    assert tags == {"TagPrefix": "ingest-by:", "RetentionPeriod": "7.00:00:00"}


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.text())
def test_a_literal_is_one_line_of_the_right_value(text: str) -> None:
    """No text can break out of its literal."""
    written = literal(text)
    assert "\n" not in written
    assert json.loads(written) == text


@pytest.mark.parametrize("command", list(commands("tables")), ids=lambda command: command.place)
def test_commands_of_tables_are_clean(analyser: Analyser, command: Command) -> None:
    """Microsoft's analyser finds nothing wrong with any command that makes a table; `tests/kql` checks functions."""
    found = analyser.check(command.text, schema=SCHEMA)
    assert found == [], f"{command.place}: {'; '.join(map(str, found))}"


MADE = datetime(2026, 11, 23, 12, tzinfo=UTC)
BATCH = Batch(ALLOCATION, "odd \" \\ ' name", Window(MADE, MADE + timedelta(hours=1)))
STAGING = "OpenCostReplacement_20261124120000_0f8fad5b"
SOURCE_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
RESULT = batch_result(BATCH, Outcome.FAILED, error=UsageError('odd " \\ \n reason'), rows=8, cost=1.5)
CONTEXT = LogContext(Run("run", MADE, "1.0", metadata={"a": "b"}), Source("prod"))
LIVE = {column.name: column.type for column in SYNC_RUNS.columns}
MISSING = Target(timedelta(hours=1), ("allocation", "assets"), RequestOptions(aggregate="pod", filter_types="Disk"))
FACTS = [table for table in TABLES if table is not SYNC_RUNS]

SENT = {
    **{f"proof {table.name}": holdings.proof_query(table, BATCH_IDS) for table in FACTS},
    **{f"once {table.name}": holdings.doubled_query(table, BATCH.id) for table in FACTS},
    **{f"keys {table.name}": holdings.held_keys_query(table, BATCH.id) for table in FACTS},
    "sent before": holdings.sent_query(BATCH_IDS),
    "identities": identities_query(
        [Source('odd " name', fingerprint={UID: SOURCE_ID, "arm": "s/mc_rg"}), Source("b", fingerprint={UID: "x"})]
    ),
    "policy": holdings.policy_command(ALLOCATION, "row_level_security"),
    "tagged": ingest.tagged_command(ALLOCATION.name, BATCH.id),
    "failures": ingest.failures_command("Database", ALLOCATION.name, [SOURCE_ID, BATCH_IDS[1]]),
    "months": months_query(2026),
    "earlier": earlier_query(2026),
    "totals": totals_query(MADE, MADE.replace(day=1)),
    "states": states_query([BATCH.source, "b"], FACTS, BATCH.window),
    "states of all": states_query(None, FACTS, BATCH.window),
    **{f"states of {table.name}": states_query([BATCH.source], [table], BATCH.window) for table in FACTS},
    "missing": missing_query([Source("a"), Source('odd " name')], MISSING, BATCH.window),
    "mapping of a table": ingest.mappings_command(ALLOCATION),
    "leftovers": replace.leftovers_command(),
    "columns": columns_command(ALLOCATION),
    "append": replace.append_command(ALLOCATION, BATCH.id, ALLOCATION.name, whatif=True),
    "once": replace.once_query(ALLOCATION, BATCH.id, ["RowNumber", "BatchId"]),
    "run log": append_command([(CONTEXT, RESULT)], LIVE | {"Older": "real", "Text": "string"}),
    # The analyser's database has this name.
    "schema": ".show database ['Database'] schema as json",
    "mappings": f".show table {ALLOCATION.name} ingestion json mappings",
    "batching": f".show table {ALLOCATION.name} policy ingestionbatching",
    "tags": f".show table {ALLOCATION.name} policy extent_tags_retention",
}


@pytest.mark.parametrize("dataset", ["allocation", "assets"])
def test_status_calls_shipped_functions(analyser: Analyser, dataset: str) -> None:
    """The query that status sends for costs is clean, too."""
    assert analyser.check(cost_query(dataset, BATCH.window), schema=SHIPPED) == []


def test_the_page_of_a_run_calls_a_shipped_function(analyser: Analyser) -> None:
    """The query for the page of a run is clean, too, whatever the run is called."""
    assert analyser.check(costs_query('odd " \\ name', BATCH.window), schema=SHIPPED) == []


def test_the_demo_calls_a_shipped_function(analyser: Analyser) -> None:
    """The query at the end of the demo is clean, too."""
    assert analyser.check(reports.cost_query(BATCH.window), schema=SHIPPED) == []


@pytest.mark.parametrize("name", SENT)
def test_texts_our_code_sends_are_clean(analyser: Analyser, name: str) -> None:
    """Microsoft's analyser finds nothing wrong with any query or command our code sends."""
    found = analyser.check(SENT[name], schema=SCHEMA)
    assert found == [], f"{SENT[name]}: {'; '.join(map(str, found))}"


def test_the_commands_of_a_staging_table_are_clean(analyser: Analyser) -> None:
    """The commands that make a staging table pass the analyser, once the table exists."""
    with Kusto("http://127.0.0.1:9", "OpenCost", auth="none") as kusto:
        replacement = replace.BatchReplacement(kusto, BATCH, 8)
    columns = [(column.name, column.type) for column in ALLOCATION.columns]
    tables = {**SCHEMA.tables, replacement.staging: columns}
    shape = ", ".join(f"{column.name}:{column.type}" for column in ALLOCATION.columns)
    create, *others = replacement.commands(shape)
    assert analyser.check(create, schema=SCHEMA) == []
    for command in (*others, replace.drop_command(replacement.staging)):
        assert analyser.check(command, schema=Schema(tables=tables)) == [], command


@pytest.mark.parametrize("table", FACTS, ids=lambda table: table.name)
def test_the_proof_has_integers(analyser: Analyser, table: Table) -> None:
    """The query that proves a batch has integer rows and numbers and, where there is a cost, integer millionths."""
    columns = dict(analyser.result_columns(holdings.proof_query(table, BATCH_IDS), schema=SCHEMA))
    assert {name for name, kind in columns.items() if kind == "long"} >= {"Rows", "Least", "Most", "Sum", "Squares"}
    assert columns.get("Micros") == ("long" if table.cost else None)


def test_the_analyser_would_see_a_broken_column(analyser: Analyser) -> None:
    """A table's file with a wrong mapping, type or docstring does not pass, so clean means something."""
    commands = [command.text for command in parse(render(ALLOCATION), PATH)]
    for right, wrong in [
        ('"column": "TotalCost"', '"column": "TotalCosts"'),
        ("TotalCost: real", "TotalCost: money"),
        ('TotalCost: "', 'TotalCosts: "'),
        ('"MaximumNumberOfItems": 500', '"MaximumNumberOfItems": 500,,'),
    ]:
        broken, *_ = [text.replace(right, wrong) for text in commands if right in text]
        assert analyser.check(broken, schema=SCHEMA), wrong


# What is handed to `.query(…)` and `.command(…)` in the modules that do the work, as it is written there.
LISTED = {
    "append_command(some, live)",
    "columns_command(table)",
    # The commands of a staging table, checked above, and those that bootstrap renders.
    "command",
    # `.update table … move`, which is newer than the analyser, and `… append`, checked above.
    "command(False)",
    "command(True)",
    # What doctor and a migration send is recorded and analysed in their own tests.
    "'.show capacity ingestions'",
    "'.show version'",
    "'print Principal = current_principal()'",
    "f\".show database ['{kusto.database}'] principal roles\"",
    "f'.show {kind} {name} principal roles'",
    "f'.rename table {table.name} to {table.name}{_SUFFIX}'",
    "f'.create-or-alter table {name} ingestion json mapping \"{_MAPPING}\" ```{mapping}```'",
    "f'.drop table {name} ingestion json mapping \"{_MAPPING}\"'",
    "f'{self.old} | distinct {self._by}'",
    "f'{self.old} | where {same} | order by CollectionTime asc'",
    "text",
    "self._named(text)",
    "f'{name} | take 0'",
    "f'.show {database} policy retention'",
    "'.show materialized-views | project Name, SourceTable'",
    "tagged",
    "cost_query(dataset, period)",
    "costs_query(report.run_id, period)",
    "difference.command",
    "doubled_query(table, batch_id)",
    "drop_command(name)",
    "drop_command(self.staging)",
    "f'.show table {table} ingestion json mappings'",
    "f'.show table {table} policy {name}'",
    "f'{rows} | count'",
    "f\".show database ['{kusto.database}'] schema as json\"",
    "failures_command(kusto.database, table, some)",
    "held_keys_query(table, batch_id)",
    "identities_query(some)",
    "missing_query(sources, target, period)",
    "states_query(sources, tables, month)",
    "leftovers_command()",
    "mappings_command(table)",
    "policy_command(table, 'restricted_view_access')",
    "policy_command(table, 'row_level_security')",
    "proof_query(table, some, within)",
    "sent_query(some)",
    "tagged_command(table, tag)",
    "ingest.tagged_command(pending.target, pending.tag)",
    "months_query(year)",
    "earlier_query(year)",
    "totals_query(now, month)",
}
WORKING = [
    path.relative_to(PACKAGE).as_posix()
    for folder in ("ci", "coverage", "database", "load", "pipeline")
    for path in sorted((PACKAGE / folder).glob("*.py"))
]


@pytest.mark.parametrize("file", WORKING)
def test_every_text_that_is_sent_is_listed_here(file: str) -> None:
    """A new query of Kusto has its text in `SENT`, where the analyser checks it."""
    requested = {
        ast.unparse(node.args[0])
        for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args
        if node.func.attr in ("query", "command") and ast.unparse(node.func.value).endswith("kusto")
    }
    assert requested <= LISTED
