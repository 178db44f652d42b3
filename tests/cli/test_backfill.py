"""A backfill of several clusters: each fails alone, and is reported alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from opencost_kusto.cli import app
from opencost_kusto.cli.termination import Process
from opencost_kusto.emulator import Reply
from opencost_kusto.errors import ContentError
from opencost_kusto.window import stamp
from tests.support.recorded import OpenCostEmulator
from tests.support.store_world import StoreWorld

# How the queries for the states of windows and for the entries of names end.
_STATES, _ENTRIES = "Outcome, Reason, Cost", "by Source, Print, Adopted"
Run = Callable[..., tuple[int, dict[str, list[str]]]]


@pytest.fixture(scope="module")
def here() -> Iterator[StoreWorld]:
    """A world at this moment, since a command has no other clock."""
    with StoreWorld(datetime.now(UTC)) as one:
        yield one


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """The address of what is no OpenCost: a page for people."""
    with OpenCostEmulator(responder=lambda *_: Reply(200, {}, b"<html>")) as server:
        yield server.url


@pytest.fixture
def run(here: StoreWorld, capsys: pytest.CaptureFixture[str]) -> Run:
    """Backfills three hours of sources: the exit code, and the outcomes of each source."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    place = ["--kusto-uri", here.kusto.url, "--database", "OpenCost", "--auth", "none", "-o", "json"]
    times = ["--from", stamp(hour - timedelta(hours=3)), "--to", stamp(hour), "--aggregate", "namespace"]

    def run(*sources: str) -> tuple[int, dict[str, list[str]]]:
        arguments = ["backfill", "--dataset", "allocation", *place, *times, *(f"--source={one}" for one in sources)]
        code = app(arguments, standalone_mode=False, obj=Process()) or 0
        found: dict[str, list[str]] = {}
        for one in json.loads(capsys.readouterr().out)["batches"]:
            found.setdefault(one["source"], []).append(one["outcome"])
        return code, found

    return run


def test_a_cluster_that_is_none_fails_alone(here: StoreWorld, page: str, run: Run) -> None:
    """Of two clusters one is loaded, and the other is in the report and in the run log with its newest window."""
    assert run(f"up={here.opencost.url}", f"page={page}") == (7, {"up": ["landed"] * 3, "page": ["failed"]})
    assert {(row["Source"], row["Outcome"]) for row in here.log()} == {("up", "landed"), ("page", "failed")}
    assert run(f"up={here.opencost.url}", f"page={page}") == (4, {"page": ["failed"]})


@pytest.mark.parametrize("sources", [1, 2])
def test_no_cluster_at_all_is_an_error(page: str, run: Run, sources: int) -> None:
    """Where nothing can be loaded from any, the command ends with why."""
    with pytest.raises(ContentError, match="did not return JSON"):
        run(*(f"page{number}={page}" for number in range(sources)))


def test_each_cluster_is_contacted_once_and_one_query_is_for_all(here: StoreWorld, run: Run) -> None:
    """No OpenCost says twice which cluster it is of, and more clusters take no more queries for identities and gaps."""
    queries = []
    for names in (["one"], ["two", "three", "four"]):
        with ExitStack() as stack:
            servers = [stack.enter_context(OpenCostEmulator(responder=here.store)) for _ in names]
            before = len(here.kusto.requests)
            sources = [f"{name}={server.url}" for name, server in zip(names, servers, strict=True)]
            assert run(*sources) == (0, {name: ["landed"] * 3 for name in names})
            for server in servers:
                paths = Counter(request.path for request in server.requests)
                assert paths.pop("/allocation") == 3
                assert paths["/clusterInfo"] == 1
                assert set(paths.values()) == {1}, paths
        texts = [one.csl for one in here.kusto.requests[before:]]
        queries.append([sum(text.endswith(end) for text in texts) for end in (_STATES, _ENTRIES)])
    assert min(queries[0]) > 0
    assert queries[0] == queries[1]
