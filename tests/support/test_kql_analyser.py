"""The KQL analyser finds what is wrong with a query or a command, and leaves a good one alone."""

import json
from collections.abc import Callable

import pytest

from tests.support.kql_analyser import Analyser, AnalyserError, Diagnostic, Schema

FENCE = "```"
COSTS = """.create-or-alter function with (docstring="Cost by namespace.", folder="OpenCost")
NamespaceCosts(startTime:datetime, least:real=0.0) {
    Costs
    | where Timestamp >= startTime

    | summarize Cost=sum(TotalCost) by Namespace
    | where Cost > least
}"""
SCHEMA = Schema(
    tables={
        "Costs": [("Timestamp", "datetime"), ("Namespace", "string"), ("TotalCost", "real"), ("Labels", "dynamic")]
    },
    functions=[COSTS, ("Dearest", "(n:long=3)", "{ NamespaceCosts(ago(1d)) | top n by Cost }")],
)
Check = Callable[[str], list[Diagnostic]]


@pytest.fixture
def check(analyser: Analyser) -> Check:
    """Check a text against the schema of this file."""
    return lambda text: analyser.check(text, schema=SCHEMA)


def mapping(*columns: str, path: str = "$.x", table: str = "Costs") -> str:
    """Write the command of a mapping that has these columns."""
    entries = [{"column": column, "Properties": {"Path": path}} for column in columns]
    text = json.dumps(entries, indent=1)
    return f'.create-or-alter table {table} ingestion json mapping "{table}_mapping"\n{FENCE}\n{text}\n{FENCE}'


GOOD = {
    "a query": "Costs | where Namespace == 'a' | summarize sum(TotalCost) by bin(Timestamp, 1h)",
    "a query with parameters": "declare query_parameters(since:datetime, name:string='x');\n"
    "Costs | where Timestamp > since and Namespace == name | count",
    "dynamic access": "Costs | extend Team = tostring(Labels['team']) | summarize count() by Team",
    "a call of a stored function": "NamespaceCosts(ago(1d)) | top 5 by Cost",
    "a function whose body has a blank line": COSTS,
    "a table": '.create-merge table Costs (Timestamp:datetime, Extra:real) with (docstring="d", folder="OpenCost")',
    "column docstrings": '.alter-merge table Costs column-docstrings (Namespace:"The namespace.")',
    "a fenced mapping": mapping("Timestamp", "TotalCost"),
    "a quoted mapping": """.create-or-alter table Costs ingestion json mapping "m" """
    """'[{"column":"Namespace","Properties":{"Path":"$[\\'ns\\']"}}]'""",
    "a fenced policy": f".alter-merge table Costs policy ingestionbatching\n{FENCE}\n{{}}\n{FENCE}",
    "a list as a policy": f'.alter table Costs policy extent_tags_retention {FENCE}[{{"TagPrefix":"x"}}]{FENCE}',
    "a row level security query": '.alter table Costs policy row_level_security enable "Costs | take 1"',
    "a question about ingestion": ".show ingestion failures | where Table == 'Costs' | project FailedOn, Details",
    "comments around a command": "// before\n.show tables\n// after\n",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_a_good_text_is_clean(check: Check, text: str) -> None:
    """A query or a command without a mistake has no diagnostic."""
    assert check(text) == []


BAD = {
    "an unknown column": ("Costs | where Nope > 5", "'Nope' does not refer to any known column", "Nope"),
    "an unknown table": ("Nope | take 1", "'Nope' does not refer to any known table", "Nope"),
    "an unknown function": (
        "Costs | extend x = nope(TotalCost)",
        "'nope' does not refer to any known function",
        "nope",
    ),
    "a wrong aggregate argument": ("Costs | summarize sum(Namespace)", "must be summable", "Namespace"),
    "a syntax error": ("Costs | summarize sum(TotalCost", "Expected: )", ""),
    "an unknown query parameter": (
        "declare query_parameters(since:datetime);\nCosts | where Timestamp > sinse",
        "'sinse' does not refer",
        "sinse",
    ),
    "a column that the function does not give": (
        "Dearest() | where TotalCost > 1",
        "'TotalCost' does not",
        "TotalCost",
    ),
    "a missing argument": ("NamespaceCosts()", "expects", "NamespaceCosts"),
    "a mistake in a function's body": (COSTS.replace("sum(TotalCost)", "sum(Cost)"), "'Cost' does not refer", "Cost"),
    "an unknown command": (".frobnicate table Costs", "no such command: .frobnicate", ".frobnicate table Costs"),
    "an unknown type": (".create-merge table Costs (a:strin)", "Expected one of: bool", "strin"),
    "a docstring of an unknown column": ('.alter-merge table Costs column-docstrings (Nope:"x")', "'Nope'", "Nope"),
    "text after a command": (".create-merge table Costs (a:real) banana", "skips this text", "banana"),
    "a second command": (".show tables\n\n.show functions", "skips this text", ".show functions"),
    "nothing but a comment": ("// Costs | take 1", "no query and no command", ""),
    "a mapping of an unknown table": (mapping("Timestamp", table="Nope"), "'Nope' does not refer", "Nope"),
    "a mapping to a missing column": (mapping("Timestamp", "Nope"), "'Nope', which Costs does not have", '"Nope"'),
    "a mapping with a column twice": (mapping("Namespace", "Namespace"), "'Namespace' 2 times", '"Namespace"'),
    "a mapping without a path": (mapping("Namespace", path=""), "'Namespace' has no Path", '"Namespace"'),
    "a mapping that is not JSON": (mapping("Namespace").replace("]", ""), "The mapping is not JSON", ""),
    "a mapping that is no list": (
        f'.create-or-alter table Costs ingestion json mapping "m" {FENCE}{{}}{FENCE}',
        "not a list of objects",
        "{}",
    ),
    "a policy that is not JSON": (
        f".alter-merge table Costs policy ingestionbatching {FENCE}{{]{FENCE}",
        "The policy is not JSON",
        "",
    ),
    "a policy that is only a word": ('.alter table Costs policy merge "5"', "not an object or a list", "5"),
}


@pytest.mark.parametrize(("text", "message", "marked"), BAD.values(), ids=BAD.keys())
def test_a_mistake_is_found_where_it_is(check: Check, text: str, message: str, marked: str) -> None:
    """Each kind of mistake is one diagnostic that names it and marks its text."""
    (diagnostic,) = check(text)
    assert message in diagnostic.message
    assert diagnostic.severity == "Error"
    assert text[diagnostic.start : diagnostic.start + diagnostic.length] == marked


def test_a_mistake_has_its_line(check: Check) -> None:
    """The line of a mistake counts from 1, also after characters beyond the basic plane."""
    assert [each.line for each in check("Costs\n| where Namespace != '😀'\n| where Nope > 1")] == [3]
    (missing,) = check(mapping("Namespace", "Nope"))
    assert missing.line == 2 + mapping("Namespace", "Nope").splitlines()[1:].index('  "column": "Nope",')
    assert str(missing) == f"line {missing.line}: Error: {missing.message}"


def test_a_mistake_in_escaped_json_is_at_the_beginning_of_the_literal(check: Check) -> None:
    """Where escapes shift the positions, a mistake in a mapping is placed at the mapping."""
    literal = """'[{"column":"Nope","Properties":{"Path":"$[\\'a\\']"}}]'"""
    text = f'.create-or-alter table Costs ingestion json mapping "m" {literal}'
    (diagnostic,) = check(text)
    assert (diagnostic.start, diagnostic.length) == (text.index(literal), 0)


def test_all_mistakes_of_a_text_are_reported_in_order(check: Check) -> None:
    """Two mistakes of one text are two diagnostics, the first one first."""
    assert [each.message.split("'")[1] for each in check("Costs | where A > 1 | where B > 1")] == ["A", "B"]


def test_a_query_has_its_result_columns(analyser: Analyser) -> None:
    """The result of a query has names and types, through stored functions that call others."""
    assert analyser.result_columns("Dearest(1) | extend Half = Cost / 2", schema=SCHEMA) == [
        ("Namespace", "string"),
        ("Cost", "real"),
        ("Half", "real"),
    ]


def test_a_command_has_its_result_columns(analyser: Analyser) -> None:
    """The result of a management command has them too."""
    assert ("Mapping", "string") in analyser.result_columns(".show table Costs ingestion json mappings", schema=SCHEMA)


def test_a_text_without_a_result_is_an_error(analyser: Analyser) -> None:
    """Columns of an unknown command are not an empty list but an error that names it."""
    with pytest.raises(AnalyserError, match="frobnicate"):
        analyser.result_columns(".frobnicate table Costs", schema=SCHEMA)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (Schema(tables={"T": [("a", "strin")]}), r"T\.a has the type 'strin'"),
        (Schema(functions=["NamespaceCosts | take 5"]), "not a function declaration"),
    ],
)
def test_an_invalid_schema_is_an_error(analyser: Analyser, schema: Schema, message: str) -> None:
    """A schema with an unknown type or a broken function is refused, not ignored, and the next request succeeds."""
    with pytest.raises(AnalyserError, match=message):
        analyser.check("print 1", schema=schema)
    assert analyser.check("print 1", schema=SCHEMA) == []
