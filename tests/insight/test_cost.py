"""What something cost: lines of every dimension, totals by currency, gaps, comparisons, and how they are printed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from opencost_kusto.cli.console import Console, Format
from opencost_kusto.errors import UsageError
from opencost_kusto.insight.cost import CostReport, Gap, cost_report
from opencost_kusto.insight.cost_chart import check_chart, draw_cost
from opencost_kusto.insight.cost_document import cost_document, cost_rows
from opencost_kusto.insight.cost_lines import Line
from opencost_kusto.insight.cost_request import CostRequest, window_of
from opencost_kusto.insight.dimensions import dimension, idle_query, run_query, runs_query
from opencost_kusto.window import Window, stamp
from tests.kql.database import CLUSTER, DAY, NEXT, Database, Requested
from tests.support.recordings import recording

TEN = DAY + timedelta(hours=10)
HOUR = Window(TEN, TEN + timedelta(hours=1))
NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
# What OpenCost answered for that hour.
COST = 1.07208


@dataclass
class Queried:
    """A database in memory, queried as the client queries Kusto."""

    database: Database

    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows of a query, whose times are UTC as the SDK reads them."""
        rows = self.database.rows(text)
        return [{name: _utc(value) for name, value in row.items()} for row in rows]


def _utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


@pytest.fixture(scope="module")
def kusto() -> Iterator[Queried]:
    """The recorded hour of one cluster, and the same of a second one that a run loaded, whose currency is set."""
    with Database() as database:
        database.install()
        database.allocation(recording("1.112", "allocation_hour.json"))
        database.assets(recording("1.112", "assets_hours/10.json"))
        database.allocation(recording("1.112", "allocation_hour.json"), Requested("research", "test-42"))
        log = logged("test-42", "", "landed") | {"Currency": "EUR"}
        database.insert("OpenCostSyncRuns", [log])
        yield Queried(database)


def logged(run: str, batch: str, outcome: str, start: datetime = TEN) -> dict[str, Any]:
    """A row of the run log: how an hour of allocations of the second cluster ended."""
    row = {"RunId": run, "Cluster": "research", "Source": "research", "Dataset": "allocation", "BatchId": batch}
    times = {"WindowStart": stamp(start), "WindowEnd": stamp(start + timedelta(hours=1))}
    return row | times | {"Outcome": outcome, "CollectionTime": stamp(NOW), "LoggedAt": stamp(NOW)}


def recorded_report(kusto: Queried, **request: Any) -> CostReport:
    """A report over the recorded hour."""
    return cost_report(kusto, CostRequest(**{"window": HOUR, **request}))


@pytest.mark.parametrize(
    ("by", "first"),
    [
        ("namespace", ("ml",)),
        ("cluster", ()),
        ("controller", ("ml", "deployment", "trainer")),
        ("node", ("aks-gpu-14142135-vmss000002",)),
        ("label:app", ("trainer",)),
        ("team", ("data-science",)),
        ("day", ("2026-11-23",)),
    ],
)
def test_every_dimension_has_the_complete_cost(kusto: Queried, by: str, first: tuple[str, ...]) -> None:
    """The lines of every dimension of workloads add up to the same, by currency, the most expensive first."""
    report = recorded_report(kusto, by=by)
    assert report.totals == {"": pytest.approx(COST), "EUR": pytest.approx(COST)}
    own = [line for line in report.lines if line.cluster == CLUSTER]
    assert [line.cost for line in own] == sorted((line.cost for line in own), reverse=True)
    assert own[0].names == first
    assert sum(report.share(line) or 0 for line in own) == pytest.approx(1)
    assert report.gaps == []


def test_assets_by_type(kusto: Queried) -> None:
    """By type the lines are of assets, and so are the gaps: the second cluster has none."""
    report = recorded_report(kusto, by="type")
    assert [line.names[0] for line in report.lines] == ["Node", "Disk", "LoadBalancer"]
    assert report.totals == {"": pytest.approx(1.35, abs=0.01)}
    assert report.landed_until == {CLUSTER: HOUR.end}


@pytest.mark.parametrize("by", ["node", "controller"])
def test_idle_cost_adds_what_nodes_have_left(kusto: Queried, by: str) -> None:
    """With idle, the total is workloads and idle: beside the cost of nodes, else in a line for each cluster."""
    report = recorded_report(kusto, by=by, clusters=(CLUSTER,), idle=True)
    times = f"datetime({stamp(HOUR.start)}), datetime({stamp(HOUR.end)})"
    (idle,) = kusto.query(f"OpenCostIdleByNode({times}) | summarize Cost = sum(IdleCost)")
    assert idle["Cost"] > 0.1
    assert report.totals[""] == pytest.approx(COST + idle["Cost"])
    lines = [line for line in report.lines if line.names[0] == "__idle__"]
    assert len(lines) == (by == "controller")
    assert (report.lines[0].idle_cost is not None) == (by == "node")


def test_an_earlier_window_is_compared_line_by_line(kusto: Queried) -> None:
    """Each line has the cost of the window before; a cluster that holds nothing of it has none, and not 0."""
    half = Window(TEN + timedelta(minutes=30), HOUR.end)
    report = recorded_report(kusto, window=half, earlier=half.before(), clusters=(CLUSTER,))
    assert [line.previous_cost for line in report.lines] == [pytest.approx(line.cost) for line in report.lines]
    one = recorded_report(kusto, earlier=HOUR.before())
    assert {line.previous_cost for line in one.lines} == {None}
    assert ("research", 60.0) in {(gap.cluster, gap.minutes) for gap in one.earlier_gaps}


def test_a_run_costs_what_its_windows_cost(kusto: Queried) -> None:
    """The windows of a run count, at their own time; another run is its baseline."""
    report = recorded_report(kusto, window=Window(DAY, NEXT), run="test-42", baseline="nightly", by="cluster")
    assert report.window == HOUR
    assert {line.cluster: line.previous_cost for line in report.lines} == {
        "research": None,
        CLUSTER: pytest.approx(COST),
    }
    runs = recorded_report(kusto, by="run", baseline="test-42")
    (line,) = runs.lines
    assert (line.names, line.currency) == (("test-42",), "EUR")
    assert line.cost == line.previous_cost == pytest.approx(COST)
    assert runs.totals == {}


@pytest.mark.parametrize(
    "query",
    [
        lambda names: dimension("namespace").query(HOUR, names),
        lambda names: idle_query(HOUR, names, ()),
        lambda names: run_query("test-42", names, ()),
        lambda names: runs_query(HOUR, names) + " | extend Cluster = 'research'",
    ],
)
def test_several_clusters_are_selected(kusto: Queried, query: Callable[[Sequence[str]], str]) -> None:
    """The result has only their rows."""
    assert {row["Cluster"] for row in kusto.query(query(("third", "research")))} <= {"research"}
    assert kusto.query(query(("third", "fourth"))) == []


@dataclass
class ManyRuns:
    """A database whose window has a number of runs."""

    count: int

    def query(self, text: str) -> list[dict[str, Any]]:
        """Results of the shipped functions: the runs, and the cost of each, which is its number."""
        if text.startswith("OpenCostSyncRuns"):
            return [{"RunId": f"{number}"} for number in range(self.count)]
        found = re.match(r'OpenCostOfRun\("(\d+)"', text)
        return [{"Cluster": "a", "RunId": found[1], "TotalCost": float(found[1]), "Currency": ""}] if found else []


def test_every_run_of_a_window_has_its_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """By run there is a line for each run, however many, and no sum; a window with too many is refused."""
    report = cost_report(ManyRuns(42), CostRequest(HOUR, by="run"))
    assert [line.cost for line in report.lines] == [float(number) for number in reversed(range(42))]
    Console().show(cost_document(report, NOW, top=1))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines if "others" in line or "█" in line] == [
        ["41", "41.00", "████████████"],
        ["41", "others"],
    ]
    assert not any("Total" in line for line in lines)
    with pytest.raises(UsageError, match=r"1,000 at most; the window has 1,001. Choose a shorter --window"):
        cost_report(ManyRuns(1001), CostRequest(HOUR, by="run"))


def test_windows_a_run_did_not_load_are_reported(kusto: Queried, capsys: pytest.CaptureFixture[str]) -> None:
    """A window that a run requested, and that its rows do not cover, is missing of the run, whichever run loaded it."""
    start = DAY - timedelta(days=5)
    (held,) = kusto.query("OpenCostAllocation | where RunId == 'nightly' | distinct BatchId")
    log = [
        logged(run, held["BatchId"], outcome, start) for run, outcome in (("nightly", "queued"), ("night", "failed"))
    ]
    log += [logged("night", "2", "expired", start + timedelta(hours=1)), logged("idle", "3", "empty", start)]
    kusto.database.insert("OpenCostSyncRuns", log)
    report = recorded_report(kusto, by="run", window=Window(start, start + timedelta(hours=2)))
    assert [line.names for line in report.lines] == [("nightly",)]
    Console().show(cost_document(report, NOW))
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "Missing: 2 hours of research allocation in run night, from 2026-11-18T00:00:00Z to 2026-11-18T02:00:00Z",
        "Load the windows of a run again, as in: opencost-kusto sync --run-id night --window "
        "2026-11-18T00:00:00Z,2026-11-18T02:00:00Z",
    ]
    Console(format_=Format.JSON).show(cost_document(report, NOW))
    assert json.loads(capsys.readouterr().out)["missing"][0]["run"] == "night"


def test_gaps_are_reported(kusto: Queried) -> None:
    """What is missing of the window is in the report, by cluster, and up to when each has landed."""
    report = recorded_report(kusto, window=Window(DAY, NEXT))
    assert [(gap.cluster, gap.minutes / 60) for gap in report.gaps] == [(CLUSTER, 23), ("research", 23)]
    assert report.landed_until == {CLUSTER: HOUR.end, "research": HOUR.end}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"by": "namespaces"}, "Did you mean namespace?"),
        ({"by": "label"}, "write label:NAME"),
        ({"by": "team:shop"}, "write label:NAME"),
        ({"by": "type", "idle": True}, "the cost of assets has it"),
        ({"by": "day", "idle": True}, "it is of nodes"),
        ({"by": "node", "run": "test-42"}, "by namespace, cluster, controller, not by node"),
        ({"baseline": "test-42"}, "add --run RUN or --by run"),
        ({"by": "day", "earlier": HOUR.before()}, "leave days uncompared"),
        ({"clusters": (CLUSTER, "reserch")}, "It has aks-shop-prod-weu, research. Did you mean research?"),
        ({"run": "test-43"}, "No cost of a run 'test-43' has landed"),
        ({"run": "test-42", "baseline": "test-43"}, "No cost of a run 'test-43' has landed"),
    ],
)
def test_an_unusable_dimension_is_refused(kusto: Queried, request_: dict[str, Any], message: str) -> None:
    """What is no dimension, is not in the database or cannot be combined is refused by name."""
    with pytest.raises(UsageError, match=message):
        recorded_report(kusto, **request_)


def made_up(lines: list[Line], **more: Any) -> CostReport:
    """A report of an hour, of made-up lines."""
    hour = Window(DAY, DAY + timedelta(hours=1))
    request = CostRequest(hour, **more)
    gap = Gap("prod", "allocation", 30, DAY, DAY + timedelta(minutes=30))
    return CostReport(request, dimension(request.by), hour, lines, {"prod": NOW - timedelta(minutes=90)}, [gap], [])


EUROS = [
    Line("prod", ("shop",), "EUR", 1234.5),
    Line("prod", ("ml",), "EUR", 0.25),
    Line("prod", ("web",), "EUR", 0.25),
]


def test_a_report_reads_as_a_statement(capsys: pytest.CaptureFixture[str]) -> None:
    """Header, money with the currency in the heading, shares, what --top leaves out, a total, and what is missing."""
    Console().show(cost_document(made_up(EUROS), NOW, top=1))
    assert capsys.readouterr().out.splitlines() == [
        "Cost by namespace",
        "Period:    2026-11-23T00:00:00Z to 2026-11-23T01:00:00Z (1h 0m)",
        "Currency:  EUR",
        "Clusters:  prod",
        "Landed to: 2026-11-24T04:30:00Z (1h 30m ago)",
        "",
        "  Namespace   Cost (EUR)     Share",
        " ─────────────────────────────────────────────────",
        "  shop          1,234.50   100.0 %   ████████████",
        "  2 others        0.5000     0.0 %",
        "",
        "  Total         1,235.00   100.0 %",
        "",
        "Missing: 0.5 hours of prod allocation, from 2026-11-23T00:00:00Z to 2026-11-23T00:30:00Z",
        "Load what OpenCost still has: opencost-kusto backfill --from 2026-11-23T00:00:00Z --to 2026-11-23T00:30:00Z",
    ]


def test_two_currencies_are_never_added(capsys: pytest.CaptureFixture[str]) -> None:
    """Each currency has its own total, share and line of others, in every format."""
    dollars = [Line("dev", ("shop",), "USD", 30.0), Line("dev", ("ml",), "USD", 10.0)]
    report = made_up([*EUROS, *dollars])
    assert report.totals == {"EUR": 1235.0, "USD": 40.0}
    Console().show(cost_document(report, NOW, top=2))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["dev", "shop", "30.00", "75.0", "%", "USD"] in [line[:6] for line in lines]
    assert ["2", "others", "0.5000", "0.0", "%", "EUR"] in [line[:6] for line in lines]
    assert ["1", "others", "10.00", "25.0", "%", "USD", "███"] not in lines
    assert ["Total", "1,235.00", "100.0", "%", "EUR"] in lines
    assert ["Total", "40.00", "100.0", "%", "USD"] in lines
    Console(format_=Format.JSON).show(cost_document(report, NOW))
    document = json.loads(capsys.readouterr().out)
    assert document["totals"] == [{"Currency": "EUR", "TotalCost": 1235.0}, {"Currency": "USD", "TotalCost": 40.0}]


def test_json_and_csv_have_every_line_with_six_decimals(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON is one document with header, lines, totals and gaps; CSV is the lines alone."""
    lines = [Line("prod", ("shop",), "", 2 / 3, None, 1 / 3)]
    report = made_up(lines, earlier=HOUR.before())
    Console(format_=Format.JSON).show(cost_document(report, NOW))
    document = json.loads(capsys.readouterr().out)
    assert (document["by"], document["start"], document["clusters"]) == (
        "namespace",
        "2026-11-23T00:00:00Z",
        {"prod": "2026-11-24T04:30:00Z"},
    )
    assert document["lines"] == [
        {
            "Cluster": "prod",
            "Namespace": "shop",
            "TotalCost": 0.666667,
            "Share": 1.0,
            "PreviousCost": 0.333333,
            "Change": 0.333333,
            "ChangePercent": 100.0,
            "Currency": "",
        }
    ]
    assert document["missing"][0]["hours"] == 0.5
    Console(format_=Format.CSV).show(cost_document(report, NOW))
    assert capsys.readouterr().out.splitlines() == [
        "Cluster,Namespace,TotalCost,Share,PreviousCost,Change,ChangePercent,Currency",
        "prod,shop,0.666667,1.0,0.333333,0.333333,100.0,",
    ]
    assert cost_rows(report) == document["lines"]


def test_no_cost_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a line there is no table but a sentence, and no header in CSV that would look like data."""
    Console().show(cost_document(made_up([]), NOW))
    assert "No cost has landed for this period." in capsys.readouterr().out


def test_the_chart_is_a_picture(tmp_path: Path) -> None:
    """`--chart` writes a PNG of the lines; it refuses another name, and currencies that one axis cannot have."""
    file = tmp_path / "cost.png"
    draw_cost(made_up([*EUROS, Line("prod", ("__unmounted__",), "EUR", 3.0)]), file)
    with Image.open(file) as picture:
        assert picture.format == "PNG"
        assert picture.width > 800
    with pytest.raises(UsageError, match=r"ends in \.png"):
        check_chart(tmp_path / "cost.jpg")
    with pytest.raises(UsageError, match="several currencies"):
        draw_cost(made_up([*EUROS, Line("dev", ("shop",), "USD", 1.0)]), file)
    with pytest.raises(UsageError, match="no lines"):
        draw_cost(made_up([]), file)
    with pytest.raises(UsageError, match="cannot be written"):
        draw_cost(made_up(EUROS), tmp_path / "none" / "cost.png")


def test_the_default_window_is_of_minutes() -> None:
    """What is in Kusto needs no marks of OpenCost's: a window ends at the minute that is over."""
    assert window_of("7d", NOW + timedelta(minutes=7)).end == NOW + timedelta(minutes=7)
    assert window_of(HOUR) is HOUR
