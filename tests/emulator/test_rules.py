"""Every rule of the emulator is obeyed once and broken once, and every reply has the columns of Microsoft's."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import opencost_kusto.emulator.kusto
from opencost_kusto.emulator.kusto import commands
from opencost_kusto.emulator.kusto.catalog import KustoRefusal
from opencost_kusto.emulator.kusto.engine import Engine
from tests.emulator.conftest import MAPPING, TABLE
from tests.emulator.rules import COMMANDS, RULES, STRICTNESS, CommandRule, Rule
from tests.support.kql_analyser import Analyser, Schema

SOURCES = Path(opencost_kusto.emulator.kusto.__file__).parent
COSTS: Final = [
    *(("Timestamp", "datetime"), ("Name", "string"), ("Cost", "real"), ("Count", "long")),
    *(("Spot", "bool"), ("Labels", "dynamic")),
]
SCHEMA: Final = Schema(
    {"Costs": COSTS, "Same": COSTS, "Other": [("A", "string")]}, [("F", "()", "{ Costs }"), ("G", "()", "{ Costs }")]
)
# One of each command, in an order in which they can run. Where the analyser has no answer for one, or fewer columns
# than its page, the second entry is what the page says.
SAMPLES: Final[dict[str, tuple[str, list[tuple[str, str]] | None]]] = {
    ".create-merge table": (".create-merge table Costs (Name: string)", None),
    ".create table": (".create table New (A: string)", None),
    ".create-or-alter table": (MAPPING, None),
    ".alter-merge table": (".alter-merge table Costs policy merge '{}'", None),
    ".alter table": (".alter table Costs docstring 'Money'", None),
    ".create-or-alter function": (".create-or-alter function F() { Costs }", None),
    ".set": (".set Newer <| Same", None),
    ".append": (".append Costs <| Same", None),
    ".set-or-append": (".set-or-append Costs <| Same", None),
    ".ingest inline into table": (".ingest inline into table Other <| x", None),
    ".update table": (
        ".update table Costs delete D append A <| let D = Costs | where Name == 'x'; let A = Same;",
        [("Table", "string"), ("Action", "string"), ("ExtentId", "guid"), ("RowCount", "long")],
    ),
    ".delete table": (
        ".delete table Costs records with (whatif = true) <| Costs | where Name == 'x'",
        [("ExtentId", "guid"), ("RecordsMatchPredicate", "long")],
    ),
    ".add": (".add table Costs admins ('aadapp=a;b')", None),
    ".drop database": (
        ".drop database OpenCost viewers ('aadapp=a;b')",
        [
            *(("Role", "string"), ("PrincipalType", "string"), ("PrincipalDisplayName", "string")),
            *(("PrincipalObjectId", "string"), ("PrincipalFQN", "string"), ("Notes", "string")),
            ("RoleAssignmentIdentifier", "string"),
        ],
    ),
    ".show table": (".show table Costs extents", None),
    ".show tables": (".show tables", None),
    ".show function": (".show function F principal roles", None),
    ".show functions": (".show functions", None),
    ".show materialized-views": (".show materialized-views", None),
    ".show database": (".show database OpenCost principal roles", None),
    ".show capacity": (
        ".show capacity ingestions",
        [
            *(("Resource", "string"), ("Total", "long"), ("Consumed", "long"), ("Remaining", "long")),
            ("Origin", "string"),
        ],
    ),
    ".show ingestion failures": (".show ingestion failures", None),
    ".show version": (
        ".show version",
        [
            *(("BuildVersion", "string"), ("BuildTime", "datetime"), ("ServiceType", "string")),
            *(("ProductVersion", "string"), ("ServiceOffering", "string")),
        ],
    ),
    ".drop extents": (".drop extents <| .show table Costs extents", None),
    ".clear table": (".clear table Costs data", None),
    ".drop function": (".drop function F", None),
    ".drop table": (".drop table Other ifexists", None),
    ".rename table": (".rename table Same to Renamed", None),
}
MORE: Final = [
    ".show table Costs ingestion json mappings",
    ".show table Costs policy merge",
    ".show table Costs cslschema",
    ".show table Costs principals",
    ".show table Costs principal roles",
    ".show database schema as json",
]


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A database with the tables the samples name."""
    engine = Engine("OpenCost")
    for text in (TABLE, TABLE.replace("Costs", "Same"), ".create table Other (A: string)", MAPPING):
        commands.run(engine, text)
    for name in "FG":
        commands.run(engine, f".create-or-alter function {name}() {{ Costs }}")
    yield engine
    engine.close()


@pytest.mark.parametrize("rule", COMMANDS.values(), ids=COMMANDS)
def test_a_rule_can_be_obeyed_and_not_broken(engine: Engine, rule: CommandRule) -> None:
    """A statement that obeys a rule runs; one that breaks it is refused with the reason, and changes nothing."""
    commands.run(engine, rule.obeyed)
    before = (list(engine.tables), {name: table.policies for name, table in engine.tables.items()})
    with pytest.raises(KustoRefusal, match=re.escape(rule.message)) as refused:
        commands.run(engine, rule.broken)
    assert refused.value.status == 400
    assert (list(engine.tables), {name: table.policies for name, table in engine.tables.items()}) == before


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_has_its_tests(rule: Rule) -> None:
    """The tests that obey and break a rule are there."""
    for name in rule.tests:
        module, _, test = name.partition(".")
        assert hasattr(importlib.import_module(f"tests.emulator.{module}"), test), name


@pytest.mark.parametrize("rules", STRICTNESS.values(), ids=STRICTNESS)
def test_what_is_strict_has_its_rules(rules: tuple[str, ...]) -> None:
    """Each point in which the emulator is as strict as the documentation is a rule that is obeyed and broken."""
    assert rules
    assert set(rules) <= COMMANDS.keys() | RULES.keys()


def test_pages_that_the_emulator_cites_have_a_rule() -> None:
    """Whoever adds a rule to the source, with its page, adds it to the table with its tests."""
    cited = set()
    for source in SOURCES.glob("*.py"):
        cited |= set(re.findall(r"learn\.microsoft\.com/kusto/([\w/-]+)", source.read_text(encoding="utf-8")))
    stated = {rule.page for rule in COMMANDS.values()} | {rule.page for rule in RULES.values()}
    assert cited <= stated


def test_every_command_has_a_sample() -> None:
    """A new command needs a sample, so that its reply is compared."""
    assert set(SAMPLES) == set(commands.COMMANDS)


def test_replies_have_the_columns_of_microsofts(engine: Engine, analyser: Analyser) -> None:
    """Names, types and order are those of the analyser for each command, or of its page where the analyser has none."""
    requested = [*SAMPLES.items(), *((text, (text, None)) for text in MORE)]
    for _, (text, page) in sorted(requested, key=lambda one: one[0].startswith(".drop") or ".clear" in one[0]):
        reply = commands.run(engine, text)
        columns = [(column.name, column.kql) for column in reply.columns]
        assert columns == (page if page is not None else analyser.result_columns(text, schema=SCHEMA)), text


@pytest.mark.parametrize("text", [".show capacity ingestions", ".show version"])
def test_pages_add_to_what_the_analyser_has(engine: Engine, analyser: Analyser, text: str) -> None:
    """Where the page is newer than the analyser, its further columns stand at the end."""
    known = analyser.result_columns(text, schema=SCHEMA)
    assert [(column.name, column.kql) for column in commands.run(engine, text).columns][: len(known)] == known
