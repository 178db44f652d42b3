"""Nothing is requested that OpenCost cannot return, and nothing more once it does not respond."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from opencost_kusto.emulator import text_reply
from opencost_kusto.errors import OpenCostError, ReasonCode
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.load.spool import Spool
from opencost_kusto.pipeline.export import export
from opencost_kusto.pipeline.fleet import sync_all
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.pipeline.stage import Breaker
from opencost_kusto.window import Window
from tests.support.world import HOUR, NAMESPACES, World, result_of


@pytest.mark.parametrize(("seconds", "landed"), [(-60, False), (-2, False), (0, True), (3600, True)])
def test_what_has_not_ended_by_opencosts_clock_is_not_requested(seconds: int, landed: bool) -> None:
    """A client whose clock is ahead loads no window that has not ended; the message has both times."""
    with World(clock=lambda: HOUR.end + timedelta(seconds=seconds)) as world:
        one = result_of(world.sync())
        assert (one.outcome, one.exit_code) == (("landed", 0) if landed else ("failed", 2))
        requested = [request for request in world.opencost.requests if request.path == "/allocation"]
        assert bool(requested) == landed
        if not landed:
            assert f"{HOUR} has not ended: it is 2026-11-23T10:59:" in (one.reason or "")


def test_a_dry_run_also_requires_ended_windows() -> None:
    """Rows of a window that has not ended are incomplete in a file as in a table."""
    with World(clock=lambda: HOUR.start) as world, world.source() as opencost:
        report = export(opencost, SyncRequest(HOUR, None, ("allocation",), NAMESPACES), lambda *_: None)
        assert (report.exit_code, result_of(report).outcome) == (2, "failed")
        assert "has not ended" in (result_of(report).reason or "")
        assert not [request for request in world.opencost.requests if request.path == "/allocation"]


@pytest.mark.parametrize("sources", [1, 2])
def test_without_kusto_the_time_is_opencosts(tmp_path: Path, sources: int) -> None:
    """What a spool keeps while Kusto is away has the time of OpenCost, not of a machine that may be wrong."""
    now = HOUR.end + timedelta(days=1)
    request = SyncRequest(HOUR, None, ("allocation",), NAMESPACES)
    with (
        World(clock=lambda: now) as world,
        ExitStack() as stack,
        world.client(Deadlines(query=1, resources=1)) as kusto,
    ):
        world.kusto.fault = lambda _: text_reply("down", status=403)
        opencosts = [stack.enter_context(world.source(f"c{number}")) for number in range(sources)]
        sync_all(opencosts, kusto, request, policy=LoadPolicy(spool=tmp_path))
    assert [one.collected for one in Spool(tmp_path).sealed()] == [now] * sources


def test_a_scrape_is_of_the_minute_that_runs() -> None:
    """The minute of a scrape has not ended, and is requested all the same."""
    with World(clock=lambda: HOUR.start) as world:
        assert result_of(world.sync("metrics"), "OpenCostMetrics").outcome == "landed"


def test_the_sdk_is_imported_while_opencost_responds() -> None:
    """What an upload needs is prepared before the first costs are requested, and not when they have come."""
    happened: list[str] = []

    class Noted(Kusto):
        """Notes when it is prepared."""

        def prepare(self) -> None:
            """Prepare."""
            happened.append("prepare")
            super().prepare()

    with (
        World(responder=lambda path, _: happened.append(path)) as world,
        world.source("prod") as opencost,
        Noted(world.kusto.url, "OpenCost", auth="none") as kusto,
    ):
        assert sync_all([opencost], kusto, SyncRequest(HOUR, None, ("allocation",), NAMESPACES)).exit_code == 0
    assert happened.index("prepare") < happened.index("/allocation")


def test_after_three_failures_to_respond_nothing_more_is_requested() -> None:
    """Each further request would take long to fail; every window has its result all the same."""
    with World() as world:
        world.opencost.stop()
        request = SyncRequest(
            Window(HOUR.start, HOUR.start + 8 * HOUR.length), HOUR.length, ("allocation",), NAMESPACES
        )
        report = world.sync(request=request, cluster="prod")
    assert (report.counts, report.exit_code) == ({"failed": 8}, 3)
    assert [one.reason_code for one in report.results] == ["unreachable"] * 8
    assert sum("Not requested" in (one.reason or "") for one in report.results) == 5


@pytest.mark.parametrize(
    ("codes", "opened"),
    [
        ("uu", False),
        ("utc", True),
        ("uu.u", False),
        ("uu4uu", False),
        ("uu.uuu", True),
        ("444", False),
    ],
)
def test_failures_to_connect_in_a_row_count(codes: str, opened: bool) -> None:
    """Three without a response; one that comes in between, even an error, shows that OpenCost is there."""
    errors = {
        "u": OpenCostError("", code=ReasonCode.UNREACHABLE),
        "t": OpenCostError("", code=ReasonCode.TIMED_OUT),
        "c": OpenCostError("", code=ReasonCode.TLS),
        "4": OpenCostError("", code=ReasonCode.NOT_FOUND),
        ".": None,
    }
    breaker = Breaker()
    for one in codes:
        breaker.record(errors[one])
    assert breaker.open is opened


@pytest.mark.parametrize(
    ("missing", "optional", "outcome", "exit_code"),
    [
        ({"/assets"}, frozenset({"assets"}), "unsupported", 0),
        ({"/assets"}, frozenset[str](), "failed", 7),
        ({"/assets", "/allocation"}, frozenset({"assets"}), "failed", 3),
    ],
    ids=["not needed", "requested by name", "no OpenCost"],
)
def test_a_dataset_that_an_opencost_does_not_support(
    missing: set[str], optional: frozenset[str], outcome: str, exit_code: int
) -> None:
    """A 404 fails no run that does not need the dataset, as long as the server is an OpenCost."""
    gone = text_reply("404 page not found\n", status=404)
    with World(responder=lambda path, _: gone if path in missing else None) as world:
        request = SyncRequest(HOUR, None, ("allocation", "assets"), NAMESPACES, optional)
        report = world.sync(request=request)
    assert result_of(report, "OpenCostAssets").outcome == outcome
    assert report.exit_code == exit_code
