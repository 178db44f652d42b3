"""The page of a run: what landed, what it cost by namespace, and what did not land and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from opencost_kusto import Kusto, OpenCost, Report, SyncRequest, bootstrap, export, parse_window, sync
from opencost_kusto.batch import Batch, RequestOptions, SourceSettings
from opencost_kusto.ci.summary import Cost, Page, by_currency, by_namespace, cost_table, markdown, page
from opencost_kusto.emulator import Reply, json_reply
from opencost_kusto.errors import OpenCostError, UsageError
from opencost_kusto.pipeline.request import new_run
from opencost_kusto.rendering import money
from opencost_kusto.result import Outcome, batch_result
from opencost_kusto.schema.tables import ASSETS
from tests.support import forked
from tests.support.recorded import Emulator, another_cluster

ROOT = Path(__file__).parents[2]
HOUR = parse_window("2026-11-23T10:00Z,2026-11-23T11:00Z", now=datetime(2026, 11, 24, tzinfo=UTC))
COSTS = SyncRequest(HOUR, datasets=("allocation", "assets"))


@pytest.fixture(scope="module")
def servers() -> Iterator[Emulator]:
    """Both emulators, with the tables of `bootstrap`."""
    with Emulator(latency=0.05) as emulator:
        with Kusto(emulator.kusto_url, emulator.database, auth="none") as kusto:
            bootstrap(kusto)
        yield emulator


def tables(text: str) -> list[list[list[str]]]:
    """The tables a renderer of GitHub's Markdown shows: lines of cells, as their text."""
    result: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(text):
        if token.type == "table_open":
            result.append([])
        elif token.type == "tr_open":
            result[-1].append([])
        elif token.type == "inline" and result and len(result[-1]) and token.level > 2:
            assert all(child.type in ("text", "strong_open", "strong_close") for child in token.children or []), (
                token.content
            )
            result[-1][-1].append("".join(child.content for child in token.children or []))
    return result


def test_a_run_that_landed(servers: Emulator, tmp_path: Path) -> None:
    """Totals by dataset, and namespaces with what their rows in Kusto cost, which adds up to what landed."""
    file = tmp_path / "summary.md"
    file.write_text("# What an earlier step content\n", "utf-8")
    rows: list[dict[str, float | str]] = []
    with OpenCost(servers.opencost_url) as opencost, Kusto(servers.kusto_url, "OpenCost", auth="none") as kusto:
        export(opencost, SyncRequest(HOUR, datasets=("allocation",)), lambda _, line: rows.append(json.loads(line)))
        for _ in ("landed", "already landed"):
            with page(file) as content:
                content.add(sync(opencost, kusto, COSTS), kusto)
    head, first, second = file.read_text("utf-8").split("## OpenCost to Kusto: ")
    assert head == "# What an earlier step content\n"
    assert first.startswith("2 landed\n\nRun sync-")
    assert second.startswith("2 already landed\n\nRun sync-")
    costs: Counter[str] = Counter()
    for row in rows:
        costs[str(row["Namespace"])] += round(float(row["TotalCost"]) * 1e6)
    total = sum(costs.values())
    expected = [[name, money(micros / 1e6), f"{micros / total * 100:.1f} %"] for name, micros in costs.most_common()]
    assert "__unmounted__" in costs
    for text in (first, second):
        totals, namespaces = tables(text)
        assert totals[1:3] == [["allocation", "1", "61", "1.07"], ["assets", "1", "19", "1.35"]]
        assert namespaces == [["Namespace", "Cost", "Share"], *expected, ["Total", "1.07", "100.0 %"]]
        assert "but" not in text
        assert "did not land" not in text


def test_a_failed_batch_is_listed_with_its_reason(tmp_path: Path) -> None:
    """What did not land is in a table of its own, with the reason, and without secrets."""
    file = tmp_path / "summary.md"

    def responder(path: str, _: object) -> Reply | None:
        reason = b'{"code":500,"message":"no | good: <b>see</b> https://h/x?sig=hushhush"}'
        return json_reply(reason, status=500) if path == "/assets" else None

    with (
        Emulator(latency=0.05, responder=responder) as broken,
        Kusto(broken.kusto_url, "OpenCost", auth="none") as kusto,
        OpenCost(broken.opencost_url, timeout=1.0) as opencost,
    ):
        bootstrap(kusto)
        with page(file) as content:
            content.add(sync(opencost, kusto, COSTS), kusto)
    text = file.read_text("utf-8")
    assert ", exit code 7." in text
    lost = tables(text)[-1]
    assert lost[1][:5] == ["aks-shop-prod-weu", "assets", "2026-11-23T10:00:00Z", "60m", "failed"]
    assert "no | good: <b>see</b>" in lost[1][5]
    assert "hush" not in text


def test_many_batches_that_failed() -> None:
    """Fifty have a line each, and the page says how many more there are."""
    batch = Batch(ASSETS, "prod", HOUR)
    lost = [batch_result(batch, Outcome.FAILED, error=OpenCostError(f"reason {at}")) for at in range(60)]
    text = markdown(Page(Report("r", [*lost, batch_result(batch, Outcome.LOST)])))
    assert len(tables(text)[-1]) == 51
    assert text.endswith("\n\nAnd 11 more.\n\n")


def test_the_page_names_what_ended_a_run(tmp_path: Path) -> None:
    """A run that an error or an interruption ends leaves a sentence, and the error is raised on."""
    file = tmp_path / "summary.md"
    with pytest.raises(OpenCostError), page(file):
        raise OpenCostError("OpenCost at http://me:hush@host cannot be reached.")
    with pytest.raises(KeyboardInterrupt), page(file):
        raise KeyboardInterrupt
    first, second = file.read_text("utf-8").splitlines()[::2]
    assert first == (
        "## OpenCost to Kusto: exit code 3. OpenCost at http://&lt;credentials&gt;@host cannot be reached."
    )
    assert second.startswith("## OpenCost to Kusto: the run was interrupted. Batches not reported as landed")


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """A summary that could not be written is refused before anything is done."""
    begun = []
    with pytest.raises(UsageError, match="cannot be written: Is a directory"), page(tmp_path):
        begun.append(True)
    assert not begun


def test_without_a_file_nothing_is_written(tmp_path: Path) -> None:
    """No option, no page."""
    with page(None) as content:
        content.add(Report("r"))
    assert list(tmp_path.iterdir()) == []


def test_the_page_lists_the_most_expensive_namespaces() -> None:
    """The most expensive have a line each and the rest one; without a reachable Kusto, a sentence explains it."""
    costs = [Cost("prod", f"team-{at:02}", 1.0 - at / 1e6) for at in range(25)]
    [totals, shown] = tables(markdown(Page(Report("r"), costs)))
    assert totals == [["Dataset", "Batches", "Rows", "Cost"]]
    assert len(shown) == 1 + 20 + 2
    assert shown[-2:] == [["5 others", "5.00", "20.0 %"], ["Total", "25.00", "100.0 %"]]
    [_, shown] = tables(markdown(Page(Report("r"), [*costs, Cost("test", "team-00", 0.000005)])))
    assert shown[0] == ["Cluster", "Namespace", "Cost", "Share"]
    assert shown[1] == ["prod", "team-00", "1.00", "4.0 %"]
    assert "The cost by namespace was not queried." in markdown(Page(Report("r")))
    assert "No allocation was counted in Kusto." in markdown(Page(Report("r"), []))
    content = Page()
    with Emulator() as servers:
        kusto = Kusto(servers.kusto_url, "OpenCost", auth="none")
        with OpenCost(servers.opencost_url) as opencost:
            bootstrap(kusto)
            report = sync(opencost, kusto, SyncRequest(HOUR, datasets=("allocation",)))
            kusto.command(".drop table OpenCostAllocation")
    content.add(report, kusto)
    assert "The cost by namespace could not be queried:" in markdown(content)
    assert report.exit_code == 0


def test_a_sum_that_differs_is_reported() -> None:
    """When the namespaces do not add up to what landed, the page says so, and why."""
    text = markdown(Page(Report("r"), [Cost("prod", "shop", 1.5)]))
    assert (
        "The batches that landed have a cost of 0.000000, and the namespaces 1.500000: each minute counts once" in text
    )


SIGNS = ["a|b", "a\\|b", "<img src=x>", "[x](http://e)", "a\n| b |", "__idle__", "`x`", "&amp;", "@x", "- x"]


@pytest.mark.parametrize("name", SIGNS)
def test_signs_are_shown(name: str) -> None:
    """The signs that would end a cell, or be one of Markdown's or HTML's, are shown."""
    assert shown(name) == " ".join(name.split())


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_names_stay_in_their_cell(name: str) -> None:
    """Whatever a namespace is called, it stays in its cell, without what no one can see."""
    assert shown(name) == "".join(one for one in " ".join(name.split()) if one.isprintable()).strip()


def shown(name: str) -> str:
    """The cell of a namespace of that name."""
    [_, lines] = tables(markdown(Page(Report("r"), [Cost("prod", name, 1.0)])))
    assert [len(line) for line in lines] == [3, 3]
    return lines[1][0]


def test_the_command_appends_its_page(servers: Emulator, tmp_path: Path) -> None:
    """`--summary` reports a run that landed, a dry run, and one that never reached OpenCost."""
    arguments = ["--window", str(HOUR), "--dataset", "allocation", "--summary", "page.md"]
    target = ["--kusto-uri", servers.kusto_url, "--database", "OpenCost", "--auth", "none"]
    opencost = ["--endpoint", servers.opencost_url]
    with another_cluster(servers.opencost):
        assert _sync(tmp_path, *arguments, *target, *opencost, "--cluster", "of-command") == 0
    assert _sync(tmp_path, *arguments, *opencost, "--output", "rows") == 0
    assert _sync(tmp_path, *arguments, *target, "--endpoint", "http://127.0.0.1:9", "--request-timeout", "1") == 3
    pages = (tmp_path / "page.md").read_text("utf-8").split("## OpenCost to Kusto: ")[1:]
    assert [one.splitlines()[0][:12] for one in pages] == ["1 landed", "1 written", "exit code 3."]
    assert "| kube-system | " in pages[0]
    assert "was not queried" in pages[1]
    assert "cannot be reached" in pages[2]


def _sync(folder: Path, *arguments: str) -> int:
    return forked.run(["sync", *arguments], folder, {"HOME": str(folder)}).returncode


def test_two_currencies_are_never_added(servers: Emulator) -> None:
    """Each currency has its own shares and its own total, and Kusto says which a cluster has."""
    euros, dollars = Cost("a", "shop", 3.0, "EUR"), Cost("b", "shop", 1.0, "USD")
    costs = [euros, dollars, Cost("b", "ml", 0.00001, "USD")]
    assert by_currency(costs) == {"EUR": 3.0, "USD": 1.00001}
    table = cost_table(costs, top=1)
    assert [row[2:] for row in table.cells()] == [["3.00", "100.0 %", "EUR"], ["1.00", "100.0 %", "USD"]]
    assert [total[2] for total in table.totals()] == ["3.00", "1.00"]
    euro = SourceSettings(currency="EUR")
    with (
        another_cluster(servers.opencost),
        OpenCost(servers.opencost_url, cluster="euros", settings=euro) as opencost,
        Kusto(servers.kusto_url, "OpenCost", auth="none") as kusto,
    ):
        report = sync(opencost, kusto, SyncRequest(HOUR, datasets=("allocation",)))
        assert {one.currency for one in by_namespace(kusto, report)} == {"EUR"}


def test_the_page_of_a_run_is_what_the_function_returns_for_it(servers: Emulator) -> None:
    """The namespaces are those of OpenCostOfRun, each minute once: also where two invocations are one run."""
    by_container, by_namespace_ = SyncRequest(HOUR, datasets=("allocation",)), RequestOptions(aggregate="namespace")
    with (
        another_cluster(servers.opencost),
        OpenCost(servers.opencost_url, cluster="apart") as opencost,
        Kusto(servers.kusto_url, "OpenCost", auth="none") as kusto,
    ):
        assert sync(opencost, kusto, by_container, run=new_run("other")).exit_code == 0
    with (
        another_cluster(servers.opencost),
        OpenCost(servers.opencost_url, cluster="twice") as opencost,
        Kusto(servers.kusto_url, "OpenCost", auth="none") as kusto,
    ):
        reports = [
            sync(opencost, kusto, request, run=new_run(run))
            for request, run in (
                (by_container, "other"),
                (by_container, "one"),
                (SyncRequest(HOUR, datasets=("allocation",), options=by_namespace_), "one"),
            )
        ]
        assert [report.counts for report in reports] == [{"landed": 1}, {"already landed": 1}, {"landed": 1}]
        found = kusto.query('OpenCostOfRun("one") | summarize Cost = sum(TotalCost) by Cluster, Namespace', fresh=True)
        pages = [by_namespace(kusto, report) for report in reports[1:]]
    expected = {(row["Cluster"], row["Namespace"]): pytest.approx(row["Cost"]) for row in found}
    for costs in pages:
        assert {(one.cluster, one.namespace): one.cost for one in costs} == expected
    assert sum(one.cost for one in pages[0]) == pytest.approx(reports[1].results[0].cost)
