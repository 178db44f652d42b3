"""Every function and query that ships: Microsoft's analyser accepts it, and it has rows on the recorded day."""

from __future__ import annotations

import re

import pytest

from opencost_kusto.database import functions, script
from opencost_kusto.database.functions import Function
from opencost_kusto.database.script import Command
from opencost_kusto.errors import UsageError
from tests.kql.database import Database
from tests.support.kql_analyser import Analyser, Schema

FUNCTIONS = functions.functions()
QUERIES = sorted((script.root() / "queries").glob("*.kql"))
VALUES = {
    "startTime": "2026-11-23",
    "endTime": "2026-11-24",
    "label": "team",
    "runId": "nightly",
    "baselineRunId": "nightly",
    "dataset": "allocation",
}


def called(function: Function) -> str:
    """A call with a value for each parameter that needs one."""
    return functions.call(
        function.name, {each.name: VALUES[each.name] for each in function.parameters if each.default is None}
    )


def of_that_day(text: str) -> str:
    """A query whose `ago` counts from the morning after the recorded day."""
    return re.sub(r"ago\((\w+)\)", r"datetime(2026-11-24 06:00) - \1", text)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_function_passes_microsofts_analyser(function: Function, analyser: Analyser, schema: Schema) -> None:
    """A function's body speaks only of columns, tables and functions that ship."""
    assert analyser.check(function.path.read_text(), schema=schema) == []


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_function_returns_the_columns_of_the_analyser(
    function: Function, analyser: Analyser, schema: Schema, day: Database
) -> None:
    """The emulator and Microsoft's analyser agree on the columns of a function and on their types."""
    reply = day.engine.query(f"{called(function)} | take 0")
    columns = [(column.name, column.kql) for column in reply.columns]
    assert columns == analyser.result_columns(called(function), schema=schema)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_function_is_a_file_of_its_name_without_blank_lines(function: Function) -> None:
    """A file holds one function of its name, which no tool that cuts scripts at blank lines can break."""
    assert function.path.stem == function.name
    command = function.path.read_text().partition("\n.")[2] or function.path.read_text()
    assert "\n\n" not in command
    assert "\n//" not in command
    assert len(list(script.parse(function.path.read_text(), function.path))) == 1


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_query_passes_the_analyser_and_has_rows_on_the_recorded_day(
    path: object, analyser: Analyser, schema: Schema, day: Database
) -> None:
    """A query that ships is right by Microsoft's analyser and finds something in the recorded day."""
    text = path.read_text()  # type: ignore[attr-defined]
    assert text.startswith("// ")
    assert analyser.check(text, schema=schema) == []
    assert day.rows(of_that_day(text))


def test_functions_follow_the_functions_they_call() -> None:
    """Kusto resolves the names in a body when it is created, so what is called is created first."""
    made: set[str] = set()
    names = {function.name for function in FUNCTIONS}
    for command in script.commands("functions"):
        body = command.text.partition(") {")[2]
        assert {word for word in re.findall(r"\w+", body) if word in names} <= made
        made.add(command.path.stem)
    assert made == names


def test_functions_that_call_each_other_in_a_circle_are_refused() -> None:
    """A circle has no order, and is said to be one."""
    path = script.root() / "functions"
    circle = [Command("A() { B }", path / "A.kql", 1), Command("B() { A }", path / "B.kql", 1)]
    with pytest.raises(UsageError, match="circle: A, B"):
        list(script.callees_first(circle))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("OpenCostMetrics", "Source, Timestamp, MetricName, LabelsText = tostring(Labels)"),
    ],
)
def test_guards_group_by_what_identifies_a_row(name: str, key: str) -> None:
    """Whatever keeps the latest row groups by what identifies a row among all batches."""
    guards = []
    for function in FUNCTIONS:
        text = function.path.read_text()
        if re.search(rf"^    {name}\n", text, re.MULTILINE):
            guards += re.findall(r"summarize arg_max\(\w+, \*\) by (.*)", text)
    assert guards
    assert set(guards) == {key}
