"""The shipped functions as values, and the KQL that calls one."""

from __future__ import annotations

import re

import pytest

from opencost_kusto.database import functions, script
from opencost_kusto.database.functions import Function, Parameter
from opencost_kusto.errors import UsageError
from tests.kql.database import Database
from tests.support.documents import GUIDES

DAY = {"startTime": "2026-11-23", "endTime": "2026-11-24"}


def test_every_file_is_a_function_with_a_sentence() -> None:
    """What is in kql/functions/ is listed by name, each with a sentence and its file."""
    found = functions.functions()
    assert [function.path.stem for function in found] == [function.name for function in found]
    assert {function.path for function in found} == set((script.root() / "functions").glob("*.kql"))
    assert all(function.doc.endswith(".") for function in found)


def test_parameters_are_parsed_with_their_defaults() -> None:
    """A default with commas in it is one default."""
    by_team = next(function for function in functions.functions() if function.name == "OpenCostByTeam")
    assert by_team.parameters[:3] == (
        Parameter("startTime", "datetime"),
        Parameter("endTime", "datetime"),
        Parameter("cluster", "string", '""'),
    )
    assert by_team.parameters[3].default == '"team,owner,cost_center,cost_centre,costcenter,department"'
    assert by_team.signature.startswith('OpenCostByTeam(startTime: datetime, endTime: datetime, cluster: string = "", ')


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        (
            "OpenCostByNamespace",
            DAY,
            "OpenCostByNamespace(datetime(2026-11-23T00:00:00Z), datetime(2026-11-24T00:00:00Z))",
        ),
        ("bynamespace", {"startTime": "7d", "endTime": "now"}, "OpenCostByNamespace(ago(10080m), now())"),
        (
            "ByNode",
            DAY | {"cluster": 'a"b'},
            'OpenCostByNode(datetime(2026-11-23T00:00:00Z), datetime(2026-11-24T00:00:00Z), "a\\"b")',
        ),
        ("OfRun", {"runId": "test-123"}, 'OpenCostOfRun("test-123")'),
        ("MetricsLatest", {}, "OpenCostMetricsLatest()"),
        ("Freshness", {}, "OpenCostFreshness()"),
        (
            "TopMovers",
            {"startTime": "2026-11-23T10:00:00+01:00", "endTime": "2h", "previousEndTime": "1d"},
            'OpenCostTopMovers(datetime(2026-11-23T09:00:00Z), ago(120m), "", datetime(null), ago(1440m))',
        ),
    ],
)
def test_call_writes_each_value_as_a_literal_of_its_type(name: str, parameters: dict[str, str], text: str) -> None:
    """Times, durations, strings; defaults stand where a later parameter is given, and nowhere else."""
    assert functions.call(name, parameters) == text


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("ByNamespce", DAY, "There is no function 'ByNamespce'. Did you mean OpenCostByNamespace"),
        ("ByNode", {}, "OpenCostByNode needs a value for startTime, endTime. It takes startTime: datetime, "),
        ("ByNode", {"startTime": "2026-11-23"}, "needs a value for endTime."),
        ("ByNode", DAY | {"clutser": "x"}, "has no parameter 'clutser'. Did you mean cluster?"),
        ("Freshness", {"zzz": "x"}, "has no parameter 'zzz'. It takes cluster: string"),
        ("MetricsLatest", {"a": "x"}, "It takes none."),
        (
            "ByNode",
            DAY | {"startTime": "yesterdayish"},
            "'yesterdayish' is not a datetime, which startTime must be. Write",
        ),
        ("ByNode", DAY | {"startTime": "2026-11-23T10:00:00"}, "is not a datetime"),
        ("ByNode", {"startTime": "2026-11-24", "endTime": "2026-11-23"}, "endTime, 2026-11-23, is not after startTime"),
        ("ByNode", {"startTime": "now", "endTime": "7d"}, "endTime, 7d, is not after startTime, now: no window lies"),
        (
            "TopMovers",
            DAY | {"previousStartTime": "1d", "previousEndTime": "2d"},
            "previousEndTime, 2d, is not after previousStartTime",
        ),
        (
            "WindowWeights",
            DAY | {"dataset": "asets"},
            "There is no dataset 'asets' with windows; there are allocation,",
        ),
    ],
)
def test_call_names_what_is_wrong_and_lists_what_exists(name: str, parameters: dict[str, str], message: str) -> None:
    """An unknown name has near ones, a missing value is named, and a wrong value is refused with an example."""
    with pytest.raises(UsageError) as raised:
        functions.call(name, parameters)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "text", "literal"),
    [
        ("long", "7", "7"),
        ("real", "0.5", "real(0.5)"),
        ("bool", "True", "true"),
        ("timespan", "1h", "60m"),
        ("string", "ü\n", '"ü\\n"'),
    ],
)
def test_literals_of_every_type(kind: str, text: str, literal: str) -> None:
    """Each Kusto type that a parameter may have is written as Kusto reads it."""
    assert functions.as_literal(Parameter("x", kind), text) == literal


@pytest.mark.parametrize(
    ("kind", "text"), [("long", "1.5"), ("real", "x"), ("bool", "yes"), ("timespan", "x"), ("dynamic", "[]")]
)
def test_values_that_are_not_of_the_type_are_refused(kind: str, text: str) -> None:
    """Nothing reaches Kusto that is not what the parameter says."""
    with pytest.raises(UsageError, match="x"):
        functions.as_literal(Parameter("x", kind), text)


@pytest.mark.parametrize("name", ["ByLabel", "TopMovers", "WindowWeights"])
def test_a_call_with_every_parameter_runs(name: str, empty: Database) -> None:
    """What call writes is a query, on empty tables too."""
    (function,) = (each for each in functions.functions() if each.name == f"OpenCost{name}")
    values = {"string": "x", "datetime": "2026-11-23", "timespan": "1h"}
    fitting = {"dataset": "assets", "endTime": "2026-11-24", "previousEndTime": "2026-11-24"}
    parameters = {each.name: fitting.get(each.name, values[each.type]) for each in function.parameters}
    assert empty.rows(functions.call(name, parameters)) == []


def test_the_guide_has_a_row_for_each_function() -> None:
    """The table in the guide is what the functions say of themselves, optional parameters in brackets."""

    def row(function: Function) -> str:
        needed = ", ".join(each.name for each in function.parameters if each.default is None)
        optional = ", ".join(each.name for each in function.parameters if each.default is not None)
        may = f"[{', ' if needed else ''}{optional}]" if optional else ""
        # Two underscores would be bold.
        sentence = re.sub(r"__[a-z]+__", r"`\g<0>`", function.doc)
        return f"| `{function.name}({needed}{may})` | {sentence} |"

    expected = "\n".join(("| function | rows |", "|---|---|", *map(row, functions.functions())))
    assert f"\n\n{expected}\n\n" in GUIDES["kql"], f"The table should be:\n{expected}"
