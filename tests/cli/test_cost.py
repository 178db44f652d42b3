"""`cost` and `query` on the command line, in this process, against an emulator with the recorded hour."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opencost_kusto.cli import app
from opencost_kusto.cli.termination import Process
from opencost_kusto.database import script
from opencost_kusto.errors import UsageError
from opencost_kusto.pipeline.request import SyncRequest
from tests.support.world import HOUR, PATIENT, World

WINDOW = "2026-11-23T10:00Z,2026-11-23T11:00Z"
COST = 1.07208
Requested = Callable[..., str]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Both servers, every function, and the recorded hour by container."""
    with World() as world:
        world.command(*(command.text for command in script.commands("functions")))
        request = SyncRequest(HOUR, None, ("allocation", "assets"))
        assert world.sync(request=request, deadlines=PATIENT).exit_code == 0
        yield world


@pytest.fixture
def requested(world: World, capsys: pytest.CaptureFixture[str]) -> Requested:
    """Runs a command against the emulator; what it writes to stdout."""

    def run(*arguments: str) -> str:
        target = ("--kusto-uri", world.kusto.url, "--database", "OpenCost", "--auth", "none")
        app([*arguments, *target], standalone_mode=False, obj=Process())
        return capsys.readouterr().out

    return run


def test_cost_has_a_header_a_total_and_json(requested: Requested) -> None:
    """`cost` prints header, lines and total; with -o json it is one document."""
    lines = requested("cost", "--window", WINDOW, "--top", "2").splitlines()
    assert lines[:3] == [
        "Cost by namespace",
        "Period:    2026-11-23T10:00:00Z to 2026-11-23T11:00:00Z (1h 0m)",
        "Currency:  not set (sync --currency sets it)",
    ]
    assert lines[-2].split() == ["Total", "1.07", "100.0", "%"]
    document = json.loads(requested("cost", "--window", WINDOW, "--by", "cluster", "-o", "json"))
    assert document["totals"] == [{"Currency": "", "TotalCost": COST}]
    assert document["missing"] == []


def test_cost_draws_a_chart(requested: Requested, tmp_path: Path) -> None:
    """`--chart` leaves a picture, beside the report."""
    file = tmp_path / "cost.png"
    assert requested("cost", "--window", WINDOW, "--chart", str(file))
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cost", "--window", WINDOW, "--run", "x"), "--window .or OPENCOST_KUSTO_WINDOW. or --run"),
        (("cost", "--with", "cake"), "write --with idle"),
        (("cost", "--chart", "cost.jpg"), r"ends in \.png"),
        (("cost", "--window", "soon"), "'soon' is not a window"),
        (("cost", "--cluster", "nowhere"), "--cluster 'nowhere': the database has no cost of it"),
        (("query",), "Name one function"),
        (("query", "ByNamespace", "--kql", "print 1"), "Name one function"),
        (("query", "ByNamespaces"), "Did you mean"),
        (("query", "OfRun", "--window", "1h", "--param", "runId=r"), "no parameter startTime; leave out --window"),
        (("query", "MetricsWide", "--cluster", "a"), "no parameter cluster; leave out --cluster"),
        (
            ("query", "ByNamespace", "--window", "1h", "--param", "startTime=7d"),
            "--window and --param startTime are one",
        ),
        (("query", "--kql", ".drop table T"), "management command"),
        (("query", "--kql", "print 1", "--param", "a=b"), "--param is for a function"),
    ],
)
def test_options_that_cannot_be_combined_are_refused(
    requested: Requested, arguments: tuple[str, ...], message: str
) -> None:
    """An option that contradicts another, names nothing or would have no effect is refused by its name."""
    with pytest.raises(UsageError, match=message):
        requested(*arguments)


def test_a_function_has_a_window_and_a_top(requested: Requested) -> None:
    """`query` sets the times of a function, lists the first rows, adds up the others, and leaves out empty columns."""
    text = requested("query", "namespace", "--window", WINDOW, "--top", "1")
    head, period, *rest = text.splitlines()
    assert head.startswith("OpenCostByNamespace: What each namespace cost")
    assert period == "Period: 2026-11-23T10:00:00Z to 2026-11-23T11:00:00Z (1h 0m)"
    assert "Currency" not in rest[1].split()
    assert [line.split()[:2] for line in rest if "others" in line] == [["7", "others"]]
    rows = json.loads(requested("query", "OpenCostByNamespace", "--window", WINDOW, "--top", "3", "-o", "json"))
    assert (len(rows), "Currency" in rows[0]) == (3, True)
    csv = requested("query", "ByCluster", "--window", WINDOW, "--cluster", rows[0]["Cluster"], "-o", "csv").splitlines()
    assert csv[1].split(",")[1] == str(COST)


def test_a_query_is_run_for_each_cluster(requested: Requested) -> None:
    """With --cluster twice each row names its cluster, and a name without rows adds none."""
    names = ("--cluster", "aks-shop-prod-weu", "--cluster", "nobody")
    rows = json.loads(requested("query", "DailyCost", "--window", WINDOW, *names, "-o", "json"))
    assert {row["Cluster"] for row in rows} == {"aks-shop-prod-weu"}
    text = "print One = _cluster"
    assert json.loads(requested("query", "--kql", text, *names, "-o", "json")) == [
        {"Cluster": name, "One": name} for name in ("aks-shop-prod-weu", "nobody")
    ]


def test_a_function_has_parameters_and_formats(requested: Requested) -> None:
    """`--param` sets any parameter; every format has the same rows, and of no rows CSV has no text."""
    day = ("--param", "startTime=2026-11-23", "--param", "endTime=2026-11-24")
    rows = json.loads(requested("query", "OpenCostByNamespace", *day, "--format", "json"))
    assert {row["Namespace"] for row in rows} >= {"shop", "payments", "data", "ml", "monitoring", "kube-system"}
    lines = requested("query", "ByNamespace", *day, "-o", "csv").splitlines()
    assert (len(lines), lines[0].split(",")) == (len(rows) + 1, list(rows[0]))
    lines = requested("query", "ByNamespace", *day).splitlines()
    assert lines[2].split() == [name for name in rows[0] if name != "Currency"]
    assert [line.split()[1] for line in lines[4 : 4 + len(rows)]] == [row["Namespace"] for row in rows]
    none = ("--param", "startTime=2020-01-01", "--param", "endTime=2020-01-02")
    assert requested("query", "ByNamespace", *none, "-o", "csv") == ""


def test_any_kql_is_run(requested: Requested, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--kql` is a query with the names of the dashboard; `-` reads it from stdin."""
    text = "OpenCostAllocation | where Timestamp between (_startTime .. _endTime) | summarize Rows = count()"
    assert json.loads(requested("query", "--kql", text, "--window", WINDOW, "-o", "json")) == [{"Rows": 61}]
    monkeypatch.setattr("sys.stdin", io.StringIO("print One = 1"))
    assert json.loads(requested("query", "--kql", "-", "-o", "json")) == [{"One": 1}]
    assert requested("query", "--kql", "print One = 1 | where One > 1") == "No rows.\n"


def test_the_environment_is_for_other_commands_too(requested: Requested, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that a variable sets is no error of a function without times; --run wins over it."""
    monkeypatch.setenv("OPENCOST_KUSTO_WINDOW", WINDOW)
    assert requested("query", "Currencies", "-o", "json") == "[]\n"
    with pytest.raises(UsageError, match="No cost of a run 'x'"):
        requested("cost", "--run", "x")


def test_the_functions_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """`query --list` needs no database: each function with its parameters and its sentence."""
    app(["query", "--list", "-o", "json"], standalone_mode=False, obj=Process())
    listed: dict[str, Any] = {one["Function"]: one for one in json.loads(capsys.readouterr().out)}
    times = ", ".join(f"{name}: datetime = datetime(null)" for name in ("fromTime", "toTime"))
    assert listed["OpenCostOfRun"]["Parameters"] == f'runId: string, cluster: string = "", {times}'
