"""`backfill` as a process of its own, over hours of the recorded day, and its library beneath."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opencost_kusto.batch import Run
from opencost_kusto.cli.backfill import estimated
from opencost_kusto.coverage.backfill import backfill, survey
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.emulator import Reply, Request, text_reply
from opencost_kusto.errors import UsageError
from opencost_kusto.result import BatchResult, Outcome
from opencost_kusto.window import Window, stamp
from tests.support import forked
from tests.support.store_world import CLUSTER, DAY, HOUR, MINUTE, StoreWorld, target_of
from tests.support.world import World

ROOT = Path(__file__).parents[2]
RANGE = ("--from", "2026-11-23T08:00Z", "--to", "2026-11-23T12:00:00Z")
NOW = datetime(2026, 12, 10, 9, 15, tzinfo=UTC)

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def servers() -> Iterator[World]:
    """Both emulators, with our tables."""
    with World() as world:
        yield world


@pytest.fixture
def run(servers: World, tmp_path: Path) -> Command:
    """Runs `opencost-kusto backfill` against the emulators."""
    return runner(servers, tmp_path)


def command(servers: World) -> list[str]:
    """The arguments of a backfill against the emulators."""
    place = ["--endpoint", servers.opencost.url, "--kusto-uri", servers.kusto.url, "--database", "OpenCost"]
    return [sys.executable, "-m", "opencost_kusto", "backfill", *place, "--auth", "none"]


def environment(home: Path) -> dict[str, str]:
    """An environment of its own."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT)}


def runner(servers: World, home: Path) -> Command:
    """Runs it with more arguments."""
    arguments, own = command(servers)[3:], environment(home)
    return lambda *more: forked.run([*arguments, *more], home, own)


def test_a_range_is_loaded_and_a_second_run_does_nothing(servers: World, run: Command) -> None:
    """Four hours of two datasets land; the second run requests none of them, reports it, and exits 0."""
    first = run(*RANGE)
    assert first.returncode == 0, first.stderr
    assert len(re.findall(r"aks-shop-prod-weu (?:allocation|assets) \S+ 60m landed", first.stderr)) == 8
    message = "8 batches from 2026-11-23T08:00:00Z to 2026-11-23T12:00:00Z"
    assert f"8 to load, of {message}.\n" in first.stderr
    servers.opencost.requests.clear()
    second = run(*RANGE)
    assert second.returncode == 0, second.stderr
    assert f"Nothing is missing: all {message} are in Kusto, or empty." in second.stdout
    identity = {"/clusterInfo", "/installInfo", "/allNamespaces", "/metrics"}
    assert {request.path for request in servers.opencost.requests} <= identity


def test_an_interrupted_run_resumes(servers: World, run: Command) -> None:
    """What failed makes the exit code 7, and only that is requested the next time."""
    servers.opencost.fault = _refuse("2026-11-23T10:00:00Z,2026-11-23T11:00:00Z")
    broken = run(*RANGE, "--dataset", "allocation")
    assert broken.returncode == 7, broken.stdout
    servers.opencost.fault = None
    servers.opencost.requests.clear()
    again = run(*RANGE, "--dataset", "allocation", "-o", "json")
    assert again.returncode == 0, again.stderr
    requested = [request.param("window") for request in servers.opencost.requests if request.path == "/allocation"]
    assert requested == ["2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"]
    assert '"landed": 1' in again.stdout


def _refuse(window: str) -> Callable[[Request], Reply | None]:
    return lambda request: text_reply("no\n", status=500) if request.param("window") == window else None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*RANGE, "--dataset", "metrics"), "metrics only of this moment"),
        ((*RANGE, "--step", "7m"), "do not tile a day"),
        ((*RANGE, "--dataset", "costs"), "There is no dataset 'costs'"),
        (("--from", "2026-11-23T08:10Z", "--to", "2026-11-23T08:50Z"), "No full window lies in"),
        (("--from", "soon"), "is not a time"),
        ((), "--from"),
    ],
    ids=["metrics", "step", "dataset", "too short", "no time", "nothing"],
)
def test_what_cannot_be_done_is_refused(run: Command, arguments: tuple[str, ...], message: str) -> None:
    """One sentence and exit code 2, before any request for cost."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert message in done.stderr


def test_what_is_lost_stays_in_the_exit_code() -> None:
    """Days that have expired are lost; the second run requests nothing, and still reports them as not in Kusto."""
    with StoreWorld(NOW) as here:
        span = Window(datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 28, tzinfo=UTC))
        for expected in ({"expired": 2, "landed": 2, "lost": 2}, {"lost": 2}):
            found = survey([here.opencost_client], here.kusto_client, target_of(DAY), span, now=NOW, closed=NOW)
            report = backfill(found, here.kusto_client, run=Run("again", NOW, "1.0"))
            assert report.counts == expected
            assert report.exit_code == (7 if "landed" in expected else 3)
        assert sorted(here.windows()) == [Window(span.end - n * DAY, span.end - (n - 1) * DAY) for n in (2, 1)]


def test_a_dry_run_lists_what_is_lost(tmp_path: Path) -> None:
    """What the exit code says of windows that are lost, the first line says too: there is nothing to load, and why."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    with StoreWorld(now) as here:
        midnight = now.replace(hour=0, minute=0)
        span = Window(midnight - 20 * DAY, midnight - 18 * DAY)
        found = survey([here.opencost_client], here.kusto_client, target_of(DAY), span, now=now, closed=now)
        backfill(found, here.kusto_client, run=Run("first", now, "1.0"))
        arguments = ("--step", "1d", "--aggregate", "namespace", "--dataset", "allocation", "--cluster", CLUSTER)
        done = runner(here, tmp_path)("--from", stamp(span.start), "--to", stamp(span.end), *arguments)
    days = f"2 batches from {stamp(span.start)} to {stamp(span.end)}"
    assert (done.returncode, f"0 to load, 2 lost, of {days}." in done.stderr) == (3, True), done.stderr
    assert len(re.findall(" 1440m lost", done.stderr)) == 2


def test_a_terminated_backfill_reports_no_failure(servers: World, tmp_path: Path) -> None:
    """SIGTERM while rows are waited for ends it at once, and nothing false is reported."""
    servers.kusto.pause()
    arguments = [*command(servers), *RANGE, "--dataset", "allocation"]
    folder = {"cwd": tmp_path, "env": environment(tmp_path) | {"TMPDIR": str(tmp_path)}}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(arguments, text=True, **folder, **pipes) as process:  # type: ignore[call-overload]
        try:
            while sum(one.path == "/allocation" for one in servers.opencost.requests) < 4:
                assert process.poll() is None
                time.sleep(0.02)
            process.terminate()
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out) == (143, ""), err
    assert "Batches not reported as landed may still arrive" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_many_windows_reach_the_run_log_in_between() -> None:
    """More than two hundred tens are two writes of the run log, so one that is broken off has lost little."""
    with StoreWorld(NOW) as here:
        here.store.keeps[10 * MINUTE] = 300
        span = Window(NOW.replace(minute=0) - 35 * HOUR, NOW.replace(minute=0))
        found = survey([here.opencost_client], here.kusto_client, target_of(10 * MINUTE), span, now=NOW, closed=NOW)
        assert (found.due, found.expected) == (210, 210)
        report = backfill(found, here.kusto_client, run=Run("long", NOW, "1.0"))
        logged = here.query(
            "OpenCostSyncRuns | where isnotempty(BatchId)"
            " | summarize Rows = count() by LoggedAt | order by LoggedAt asc"
        )
        assert (report.exit_code, [row["Rows"] for row in logged]) == (0, [200, 10])
        assert len(here.windows()) == 210


def test_the_time_left_is_estimated() -> None:
    """After 25 of 100 batches in 50 seconds, 150 seconds are left."""
    now = [0.0]
    reported: list[BatchResult] = []
    lines: list[str] = []
    on_result = estimated(reported.append, 100, lines.append, now=lambda: now[0])
    for _ in range(25):
        now[0] += 2
        on_result(_landed("allocation"))
    assert lines == ["25 of 100 batches, about 2 min left"]
    assert len(reported) == 25


def _landed(dataset: str) -> BatchResult:
    return BatchResult("id", "table", "source", dataset, NOW, NOW + HOUR, 60, None, Outcome.LANDED)


def test_datasets_are_checked() -> None:
    """An unknown dataset is refused before any request."""
    with pytest.raises(UsageError, match="There is no dataset 'costs'"):
        Target(HOUR, ("costs",))
