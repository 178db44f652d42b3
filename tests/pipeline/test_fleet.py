"""Several OpenCosts side by side: each fails alone, and is reported alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from opencost_kusto.batch import SourceSettings
from opencost_kusto.cli.source_options import SourceOptions
from opencost_kusto.cli.sync import on_marks
from opencost_kusto.cli.window_options import WhenOptions
from opencost_kusto.emulator import BUILT_IN_STORE, Reply, text_reply
from opencost_kusto.emulator import OpenCostEmulator as ComputedOpenCost
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Deadlines
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.fleet import sync_all
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.result import BatchResult
from opencost_kusto.schema.tables import ALLOCATION, SYNC_RUNS
from opencost_kusto.window import Window
from tests.support.recorded import OpenCostEmulator
from tests.support.relay import Counted
from tests.support.world import HOUR, NAMESPACES, ROWS, World, check_consistent

REQUEST = SyncRequest(HOUR, None, ("allocation",), NAMESPACES)


@pytest.fixture
def world() -> Iterator[World]:
    """Both emulators with our tables."""
    with World() as world:
        world.create()
        yield world


class Meeting:
    """Responds once every server has been requested, which shows that they are requested at once."""

    def __init__(self, servers: int) -> None:
        self._all = threading.Barrier(servers)

    def __call__(self, path: str, _: object) -> Reply | None:
        """Wait for the others, and leave the response to the recordings."""
        if path == "/allocation":
            self._all.wait(timeout=10)
        return None


def test_sources_run_side_by_side(world: World) -> None:
    """Three servers are requested at once, each lands under its own name, and each has its run log."""
    meeting = Meeting(3)
    reported: list[BatchResult] = []
    with ExitStack() as stack, world.client(Deadlines()) as kusto:
        servers = [stack.enter_context(OpenCostEmulator(responder=meeting)) for _ in range(3)]
        opencosts = [
            stack.enter_context(OpenCost(server.url, cluster=name)) for name, server in zip("abc", servers, strict=True)
        ]
        report = sync_all(opencosts, kusto, REQUEST, on_result=reported.append)
        check_consistent(report)
        assert (report.counts, report.exit_code, sorted(report.sources)) == ({"landed": 3}, 0, ["a", "b", "c"])
        assert {one.source for one in reported} == set("abc")
        logged = kusto.query(f"{SYNC_RUNS.name} | where isnotempty(BatchId) | project Source | order by Source asc")
        assert logged == [{"Source": name} for name in "abc"]
        by_source = kusto.query(f"{ALLOCATION.name} | summarize Rows = count() by Source | order by Source asc")
    assert by_source == [{"Source": name, "Rows": ROWS} for name in "abc"]


def test_a_source_fails_alone(world: World) -> None:
    """An unreachable server fails alone, with its reason; the other lands, and the exit code is 7."""
    with (
        OpenCost(world.opencost.url, cluster="up") as up,
        OpenCost("http://127.0.0.1:9", cluster="down", timeout=1) as down,
        world.client(Deadlines()) as kusto,
    ):
        report = sync_all([up, down], kusto, REQUEST)
        check_consistent(report)
        data = {one.source: one for one in report.results if one.table == ALLOCATION.name}
        assert (data["up"].outcome, data["down"].outcome, report.exit_code) == ("landed", "failed", 7)
        assert "cannot be reached" in (data["down"].reason or "")
        run_log = kusto.query(
            f"{SYNC_RUNS.name} | where isnotempty(BatchId) | project Source, Outcome | order by Source asc"
        )
    assert run_log == [{"Source": "down", "Outcome": "failed"}, {"Source": "up", "Outcome": "landed"}]


@pytest.mark.parametrize("sources", [1, 2])
def test_a_source_has_one_connection(world: World, sources: int) -> None:
    """All requests of a run to one OpenCost use one connection, where no others have to wait for it."""
    request = SyncRequest(HOUR, None, ("allocation", "assets"), NAMESPACES)
    with ExitStack() as stack, world.client(Deadlines()) as kusto:
        servers = [world.opencost, *(stack.enter_context(OpenCostEmulator()) for _ in range(sources - 1))]
        relays = [stack.enter_context(Counted(server.url)) for server in servers]
        opencosts = [
            stack.enter_context(OpenCost(relay.url, cluster=f"c{number}")) for number, relay in enumerate(relays)
        ]
        assert sync_all(opencosts, kusto, request).exit_code == 0
    assert [relay.connections for relay in relays] == [1] * sources


def test_sources_that_do_not_respond_stop_no_other(world: World) -> None:
    """Four of five do not respond, one after the other; the fifth is requested all the same."""
    request = SyncRequest(HOUR, None, ("allocation", "assets"), NAMESPACES)
    with (
        ExitStack() as stack,
        OpenCost(world.opencost.url, cluster="up") as up,
        world.client(Deadlines()) as kusto,
    ):
        down = [
            stack.enter_context(OpenCost("http://127.0.0.1:9", cluster=f"down{number}", timeout=0.2, attempts=1))
            for number in range(4)
        ]
        report = sync_all([*down, up], kusto, request, policy=LoadPolicy(workers=1))
    assert report.counts == {"failed": 8, "landed": 2}


def test_what_one_source_raises_is_its_outcome(world: World) -> None:
    """A server without JSON raises when it is alone, and is a failed batch beside others, in the run log too."""
    with (
        OpenCostEmulator(responder=lambda *_: Reply(200, {}, b"<html>")) as html,
        OpenCost(world.opencost.url, cluster="up") as up,
        OpenCost(html.url, cluster="html") as other,
        world.client(Deadlines()) as kusto,
    ):
        report = sync_all([up, other], kusto, REQUEST)
    check_consistent(report)
    (one,) = (one for one in report.results if one.source == "html")
    assert (one.outcome, one.exit_code, report.exit_code) == ("failed", 4, 7)
    assert {(row["Source"], row["Outcome"]) for row in world.log()} == {("up", "landed"), ("html", "failed")}


def test_a_source_that_is_refused_is_not_in_the_run_log(world: World) -> None:
    """What Kusto has under a name is that of its cluster: another of this name leaves no trace in it."""
    with (
        OpenCostEmulator() as server,
        world.source("prod") as prod,
        OpenCost(server.url, cluster="prod") as another,
        OpenCost("http://127.0.0.1:9", cluster="down", timeout=1) as down,
        world.client(Deadlines()) as kusto,
    ):
        assert sync_all([prod], kusto, REQUEST).exit_code == 0
        report = sync_all([another, down], kusto, REQUEST)
    assert {one.source: one.exit_code for one in report.results} == {"prod": 5, "down": 3}
    assert {(row["Source"], row["Outcome"]) for row in world.log()} == {("prod", "landed"), ("down", "failed")}


@pytest.mark.parametrize(
    "options",
    [
        SourceOptions(source=["a=http://h:9003"], cluster=["b"]),
        SourceOptions(source=["a=http://h:9003"], endpoint="http://other:9003"),
        SourceOptions(source=["http://h:9003"]),
        SourceOptions(source=["a=http://h:9003", "a=http://g:9003"]),
        SourceOptions(source=["a=h:9003"]),
    ],
    ids=["with --cluster", "with --endpoint", "without a name", "a name twice", "no address"],
)
def test_sources_that_cannot_be(options: SourceOptions) -> None:
    """Sources are named each once, by --source or by --endpoint and --cluster."""
    with pytest.raises(UsageError), options.opencosts():
        pass


def test_sources_whose_names_differ_only_in_case_are_refused() -> None:
    """Neither has an entry in the run log yet when they are in one run."""
    with pytest.raises(UsageError, match=r"OPENCOST_KUSTO_SOURCE\) has two names that differ only in case"):
        SourceOptions(source=["prod=http://h:1", "PROD=http://h:2"]).sources()


def test_sources_by_name() -> None:
    """`--source name=URL` gives a server of that name each."""
    with SourceOptions(source=["a=http://h:9003", "b=http://g:9003/x"]).opencosts() as opencosts:
        assert [(one.cluster, one.endpoint) for one in opencosts] == [("a", "http://h:9003"), ("b", "http://g:9003/x")]


def nameless(path: str, _: object) -> Reply | None:
    """An OpenCost that does not identify its cluster, so that one server can stand for many."""
    return text_reply("404 page not found\n", status=404) if path in ("/allNamespaces", "/metrics") else None


def test_many_sources_are_one_run(world: World) -> None:
    """Forty sources take few threads, few connections and four requests of Kusto each: one run log, one query."""
    threads: list[int] = []
    loaded: list[str] = []

    def ended(one: BatchResult) -> None:
        threads.append(threading.active_count())
        loaded.append(one.source)

    with ExitStack() as stack, world.client(Deadlines()) as kusto:
        server = stack.enter_context(OpenCostEmulator(responder=nameless))
        opencosts = [stack.enter_context(OpenCost(server.url, cluster=f"c{number}")) for number in range(40)]
        before, at_first = threading.active_count(), len(world.kusto.requests)
        report = sync_all(
            opencosts,
            kusto,
            REQUEST,
            policy=LoadPolicy(workers=4),
            on_result=ended,
        )
        assert (report.counts, report.exit_code) == ({"landed": 40}, 0)
    requested = world.kusto.requests[at_first:]
    # Both servers answer in threads of this process: three connections here, and one for each worker.
    assert max(threads) <= before + 4 + 12
    assert len(requested) <= 4 * 40
    assert sum(one.csl.startswith(".set-or-append OpenCostSyncRuns") for one in requested) == 1
    assert sum("Fingerprint" in one.csl for one in requested if not one.csl.startswith(".")) == 1
    assert sum("ingestion json mappings" in one.csl for one in requested) == 1
    assert len(world.log()) == 40
    # In an order that is drawn: 20 of 40 in the order given are among the first 26 in one run of 600,000.
    assert not {*loaded[:20]} <= {f"c{number}" for number in range(26)}


WRITTEN = "2026-11-23T10:05:00Z,2026-11-23T11:00:00Z"
OWN = Window(datetime(2026, 11, 23, 10, 5, tzinfo=UTC), HOUR.end)
MARKS = timedelta(minutes=10)


@pytest.fixture(scope="module")
def unlike() -> Iterator[list[OpenCost]]:
    """An OpenCost with a Prometheus, one with a built-in store of ten minutes, and one for which the user says ten."""
    with (
        OpenCostEmulator() as prometheus,
        ComputedOpenCost(version="1.119", keeps=BUILT_IN_STORE) as store,
        OpenCost(prometheus.url, cluster="fine") as fine,
        OpenCost(store.url, cluster="coarse") as coarse,
        OpenCost(prometheus.url, cluster="named", settings=SourceSettings(marks=MARKS)) as named,
    ):
        yield [fine, coarse, named]


@pytest.mark.parametrize(
    ("when", "windows", "reported"),
    [
        (WhenOptions(WRITTEN), [OWN, HOUR, HOUR], 1),
        (WhenOptions(WRITTEN, opencost_resolution="5m"), [OWN, OWN, HOUR], 1),
        (WhenOptions("2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"), [HOUR, HOUR, HOUR], 0),
    ],
    ids=["as written", "given marks", "on all marks"],
)
def test_each_window_is_on_the_marks_of_its_source(
    unlike: list[OpenCost], when: WhenOptions, windows: list[Window], reported: int
) -> None:
    """Each of several sources has the window on its own marks, and every window that differs is reported."""
    lines: list[str] = []
    request, elapsed = on_marks(REQUEST, when, unlike, lines.append)
    assert (elapsed, len(lines), request.window) == (None, reported, HOUR)
    for one, window in zip(unlike, windows, strict=True):
        batches = [batch.window for batch in request.batches(one.source(), HOUR.end)]
        assert Window(batches[0].start, batches[-1].end) == window == request.of(one.source()).window


def test_since_is_one_window_for_all_sources(unlike: list[OpenCost]) -> None:
    """What is measured from a moment on is on the coarsest marks."""
    request, elapsed = on_marks(REQUEST, WhenOptions(since=str(OWN.start)), unlike, print)
    assert elapsed is not None
    assert {request.of(one.source()).window for one in unlike} == {elapsed.window}
    assert (elapsed.window.start, elapsed.resolution) == (HOUR.start, MARKS)
