"""Files of KQL are cut into commands that know their place, and all KQL we ship or send is what Kusto understands."""

from __future__ import annotations

import ast
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencost_kusto.batch import Batch
from opencost_kusto.ci.summary import costs_query
from opencost_kusto.cli import demo
from opencost_kusto.coverage import state as known
from opencost_kusto.coverage.status import status_query
from opencost_kusto.database import script
from opencost_kusto.database.render import render
from opencost_kusto.database.script import Command, commands, parse
from opencost_kusto.errors import UsageError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load import ingest, replace
from opencost_kusto.pipeline import run_log
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.kql import (
    batching_policy,
    column_docstrings,
    create_mapping,
    create_table,
    literal,
    paths,
    tags_policy,
)
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, TABLES
from opencost_kusto.window import Window
from tests.support.kql_analyser import Analyser, Schema

PACKAGE = Path(script.__file__).parents[1]
FENCE = "```"
PATH = Path("kql/tables/Costs.kql")
SCHEMA = Schema(tables={table.name: [(column.name, column.type) for column in table.columns] for table in TABLES})
BUNDLED = list(commands())
BATCH_IDS = ["OpenCostAllocation/prod/20261123T1000Z-20261123T1100Z/7c6d98098920", "odd \" \\ ' name/ü\n"]


def texts(text: str) -> list[tuple[int, str]]:
    """The commands of a text with the lines they begin at."""
    return [(command.line, command.text) for command in parse(text, PATH)]


def test_commands_begin_at_a_dot_and_know_their_line() -> None:
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
    """What is rendered for a table parses into exactly the five commands it was made of."""
    assert [command.text for command in parse(render(table), PATH)] == [
        create_table(table),
        column_docstrings(table),
        create_mapping(table),
        batching_policy(table.name),
        tags_policy(table),
    ]


def test_bundled_commands_come_in_the_order_they_must_run() -> None:
    """Tables come before functions, and a folder alone can be asked for."""
    folders = [command.path.parent.name for command in BUNDLED]
    assert folders == sorted(folders, key=["tables", "functions"].index)
    assert [command.text for command in commands("tables")] == [
        command.text for command in BUNDLED if command.path.parent.name == "tables"
    ]
    assert folders.count("tables") == 5 * len(TABLES)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_mappings_take_each_key_to_its_column(table: Table) -> None:
    """A table's mapping has each column once, in order, from where a row has it, and without a type."""
    command = create_mapping(table)
    assert f'ingestion json mapping "{table.mapping}"' in command
    entries = json.loads(command.split(FENCE)[1])
    assert paths(entries) == {column.name: f"$.{table.path_of(column)}" for column in table.columns}
    assert "datatype" not in command.lower()
    assert create_mapping(table, of="Other").startswith(".create-or-alter table Other ingestion")


@pytest.mark.parametrize(
    "entry",
    [
        {"column": "A", "Properties": {"Path": "$.a"}},
        {"Column": "A", "properties": {"path": "$.a"}},
        {"column": "A", "path": "$.a", "datatype": ""},
    ],
)
def test_mappings_are_read_in_every_spelling_of_kusto(entry: dict[str, object]) -> None:
    """Kusto answers with another spelling than it was told; both are the same mapping."""
    assert paths([entry]) == {"A": "$.a"}


def test_policies_are_what_the_design_says() -> None:
    """Batching takes half a minute, and tags are kept for a week, by the only prefix that Kusto allows for them."""
    batching = json.loads(batching_policy("T").split(FENCE)[1])
    assert batching["MaximumBatchingTimeSpan"] == "00:00:30"
    [tags] = json.loads(tags_policy(ASSETS).split(FENCE)[1])
    assert tags == {"TagPrefix": "ingest-by:", "RetentionPeriod": "7.00:00:00"}


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.text())
def test_a_literal_is_one_line_and_says_what_it_should(text: str) -> None:
    """No text can break out of its literal."""
    written = literal(text)
    assert "\n" not in written
    assert json.loads(written) == text


@pytest.mark.parametrize("command", list(commands("tables")), ids=lambda command: command.place)
def test_commands_of_tables_are_clean(analyser: Analyser, command: Command) -> None:
    """Microsoft's analyser finds nothing wrong with any command that makes a table; `tests/kql` asks of functions."""
    found = analyser.check(command.text, schema=SCHEMA)
    assert found == [], f"{command.place}: {'; '.join(map(str, found))}"


EXTENTS = ["0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"]
MADE = datetime(2026, 11, 23, 12, tzinfo=UTC)
BATCH = Batch(ALLOCATION, "odd \" \\ ' name", Window(MADE, MADE + timedelta(hours=1)))
STAGING = "OpenCostReplacement_20261124120000_0f8fad5b"
TAGGED = [{"Tags": "ingest-by:a/p0of1 drop-by:b", "MinCreatedOn": MADE}]

SENT = {
    **{f"count {table.name}": ingest.count_query(table, BATCH_IDS) for table in TABLES},
    "failures": ingest.failures_command(["0f8fad5b-d9cb-469f-a165-70867728950e", BATCH_IDS[1]]),
    "status": status_query(MADE),
    "words": known.words_query(BATCH.source, BATCH.window),
    "words of all": known.words_query(None, BATCH.window),
    **{f"held {table.name}": known.held_query(table, BATCH.source, BATCH.window) for table in (ALLOCATION, ASSETS)},
    "mapping of a table": ingest.mappings_command(ALLOCATION),
    "whole": run_log.whole_query(BATCH, 8),
    **{f"collected {table.name}": run_log.collected_query(table, BATCH.id) for table in TABLES},
    "leftovers": replace.leftovers_command(),
    "extents": replace.extents_query(ALLOCATION, BATCH.id, ALLOCATION.name),
    "neighbours": f"{replace.neighbours_query(ALLOCATION, BATCH.id, EXTENTS)} | count",
    "tags of extents": replace.tags_command(ALLOCATION, EXTENTS),
    "copy": replace.copy_command(ALLOCATION, BATCH.id, STAGING, EXTENTS, TAGGED),
    # The analyser is wrong about `.replace extents` itself, so it sees what stands inside.
    "extents by name": replace.named(EXTENTS, STAGING),
    "summary by namespace": costs_query(BATCH_IDS),
    "demo by namespace": demo.BY_NAMESPACE,
    **{f"demo {name}": query for name, query in demo.BY_TABLE.items()},
    # The analyser's database has this name.
    "schema": ".show database ['Database'] schema as json",
    "mappings": f".show table {ALLOCATION.name} ingestion json mappings",
    "batching": f".show table {ALLOCATION.name} policy ingestionbatching",
    "tags": f".show table {ALLOCATION.name} policy extent_tags_retention",
}


@pytest.mark.parametrize("name", SENT)
def test_texts_our_code_sends_are_clean(analyser: Analyser, name: str) -> None:
    """Microsoft's analyser finds nothing wrong with any query or command our code sends."""
    found = analyser.check(SENT[name], schema=SCHEMA)
    assert found == [], f"{SENT[name]}: {'; '.join(map(str, found))}"


def test_the_commands_of_a_staging_table_are_clean(analyser: Analyser) -> None:
    """What makes a staging table passes the analyser, once the table is there."""
    with Kusto("http://127.0.0.1:9", "OpenCost", auth="none") as kusto:
        replacement = replace.BatchReplacement(kusto, BATCH, 8)
    columns = [(column.name, column.type) for column in ALLOCATION.columns]
    tables = {**SCHEMA.tables, replacement.staging: columns}
    create, *others = replacement.commands()
    assert analyser.check(create, schema=SCHEMA) == []
    for command in (*others, replace.drop_command(replacement.staging)):
        assert analyser.check(command, schema=Schema(tables=tables)) == [], command


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_counting_answers_with_rows_and_cost_by_batch(analyser: Analyser, table: Table) -> None:
    """The question that proves a landing answers with batch, whole rows and, where there is one, whole millionths."""
    columns = analyser.result_columns(ingest.count_query(table, BATCH_IDS), schema=SCHEMA)
    micros = [("Micros", "long")] if table.cost else []
    assert columns == [(table.batch_column, "string"), ("Rows", "long"), *micros]


def test_the_analyser_would_see_a_broken_column(analyser: Analyser) -> None:
    """A table's file with a wrong mapping, type or docstring does not pass, so clean means something."""
    commands = [command.text for command in parse(render(ALLOCATION), PATH)]
    for right, wrong in [
        ('"column": "TotalCost"', '"column": "TotalCosts"'),
        ("TotalCost: real", "TotalCost: money"),
        ('TotalCost: "', 'TotalCosts: "'),
        ('"MaximumNumberOfItems": 500', '"MaximumNumberOfItems": 500,,'),
    ]:
        [broken] = [text.replace(right, wrong) for text in commands if right in text]
        assert analyser.check(broken, schema=SCHEMA), wrong


# What is handed to `.query(…)` and `.command(…)` in the modules that do the work, as it is written there.
KNOWN = {
    "failures_command(source_ids)",
    "difference.command",
    "f\".show database ['{kusto.database}'] schema as json\"",
    "f'.show table {table} ingestion json mappings'",
    "f'.show table {table} policy {name}'",
    "status_query(minute)",
    "held_query(table, source, span)",
    "words_query(source, span)",
    "costs_query(batch_ids)",
    "mappings_command(table)",
    "whole_query(batch, before.rows)",
    "collected_query(table, sealed.batch_id)",
    "leftovers_command()",
    "extents_query(self._batch.table, self._batch.id, name)",
    "f'{neighbours_query(table, batch_id, extents)} | count'",
    "tags_command(table, extents)",
    "copy_command(table, batch_id, self.staging, list(extents), tagged)",
    "swap_command(self._batch.table, dropping, moving, self.staging)",
    "drop_command(self.staging)",
    "drop_command(name)",
    # The commands of a staging table, checked below.
    "command",
    "failures_command(some)",
    "count_query(table, some, within)",
}


WORKING = (
    "database/bootstrap.py",
    "database/catalog.py",
    "pipeline/stage.py",
    "coverage/state.py",
    "load/tracker.py",
    "load/ingest.py",
    "load/replace.py",
    "pipeline/replay.py",
    "pipeline/run_log.py",
    "coverage/status.py",
    "ci/summary.py",
    "pipeline/sync.py",
)


@pytest.mark.parametrize("file", WORKING)
def test_no_text_is_sent_that_these_tests_do_not_know(file: str) -> None:
    """A new question to Kusto comes with its text in `SENT`, where the analyser sees it."""
    asked = {
        ast.unparse(node.args[0])
        for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args
        if node.func.attr in ("query", "command") and ast.unparse(node.func.value).endswith("kusto")
    }
    assert asked <= KNOWN
