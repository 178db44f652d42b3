"""`run` runs a command, loads exactly the window in which it ran, and prints what that cost."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opencost_kusto import Kusto, Run, SyncRequest, bootstrap
from opencost_kusto.ci.command_cost import CommandCost
from opencost_kusto.cli.console import Console
from opencost_kusto.cli.run import show_cost
from opencost_kusto.cli.source_options import SourceOptions
from opencost_kusto.emulator import Reply, json_reply
from opencost_kusto.errors import EmptyError, KustoError, OpenCostError, UsageError
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.window import covering
from tests.support import forked
from tests.support.recorded import Emulator, another_cluster, become

ROOT = Path(__file__).parents[2]
BEGAN = datetime(2026, 11, 23, 10, 0, 5, tzinfo=UTC)
ENDED = BEGAN + timedelta(minutes=59, seconds=30)


@dataclass(slots=True)
class Hour:
    """A clock that only moves by sleeping, and by running a command, which takes an hour."""

    exit_code: int = 0
    time: datetime = BEGAN
    commands: list[Sequence[str]] = field(default_factory=list)

    def now(self) -> datetime:
        """The time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.time += timedelta(seconds=seconds)

    def execute(self, command: Sequence[str]) -> int:
        """Run, which ends in the last minute of the hour."""
        self.commands.append(command)
        self.time = ENDED
        return self.exit_code


@pytest.fixture(scope="module")
def servers() -> Iterator[Emulator]:
    """Both emulators, with the tables of `bootstrap`."""
    with Emulator(latency=0.05) as emulator:
        with Kusto(emulator.kusto_url, emulator.database, auth="none") as kusto:
            bootstrap(kusto)
        yield emulator


@dataclass(frozen=True, slots=True)
class Account:
    """A command's cost, and the console that prints it."""

    cost: CommandCost
    console: Console

    def of(self, command: Sequence[str]) -> int:
        """Run the command and print what it cost; the exit code."""
        return show_cost(self.console, self.cost.of(command))


def account(servers: Emulator, hour: Hour, cluster: str, summary: Path | None = None, endpoint: str = "") -> Account:
    """What is requested of the emulators about a command, by the clock of the test."""
    console = Console()
    become(servers.opencost, cluster)
    url = endpoint or servers.opencost_url
    cost = CommandCost(
        SourceOptions(endpoint=url, cluster=[cluster] if cluster else None, request_timeout=1.0).opencosts,
        lambda: Kusto(servers.kusto_url, servers.database, auth="none"),
        SyncRequest(covering(BEGAN, BEGAN), datasets=("allocation", "assets")),
        Run(f"run-{cluster}", BEGAN, "1"),
        timedelta(minutes=2),
        LoadPolicy(timeout=10.0),
        summary,
        console.info,
        now=hour.now,
        sleep=hour.sleep,
        execute=hour.execute,
    )
    return Account(cost, console)


def test_a_command_and_what_it_cost(servers: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hour it ran in lands under its run id when it has settled, and each namespace's cost is stderr on stderr."""
    hour = Hour()
    assert account(servers, hour, "cheap", tmp_path / "page.md").of(["load", "--test"]) == 0
    assert hour.commands == [["load", "--test"]]
    assert hour.time == datetime(2026, 11, 23, 11, 2, tzinfo=UTC)
    written, stderr = capsys.readouterr()
    assert written == ""
    assert "Waiting until 11:02:00Z for OpenCost to measure the window that ends at 11:00Z." in stderr
    assert "Elapsed: 59.5 of the window's 60 minutes. Its share of the cost by time: 1.06315." in stderr
    assert "From 2026-11-23T10:00:00Z to 2026-11-23T11:00:00Z everything cost 1.07208." in stderr
    assert re.search(r"^ *kube-system +0\.\d{4} +\d+\.\d %$", stderr, re.MULTILINE)
    assert "### Cost by namespace" in (tmp_path / "page.md").read_text("utf-8")
    with Kusto(servers.kusto_url, servers.database, auth="none") as kusto:
        [row] = kusto.query(
            'OpenCostAllocation | where RunId == "run-cheap" | summarize Rows = count(), From = min(WindowStart), '
            "To = max(WindowEnd), Requested = min(CollectionTime)"
        )
    assert row["Rows"] == 61
    assert (row["From"], row["To"]) == (BEGAN.replace(second=0), BEGAN.replace(hour=11, second=0))
    assert row["Requested"] == hour.time


def test_the_exit_code_of_the_command_takes_precedence(servers: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that failed sets the exit code, and its cost is loaded nevertheless."""
    assert account(servers, Hour(exit_code=77), "failing").of(["false"]) == 77
    assert "2 landed" in capsys.readouterr().err


def test_the_exit_code_of_the_command_precedes_any_error(capsys: pytest.CaptureFixture[str]) -> None:
    """When OpenCost is down after the command, the command's failure is the exit code, and the error is printed."""
    for exit_code in (77, 0):
        hour, gone = Hour(exit_code), [False]

        def responder(_: str, __: object, gone: list[bool] = gone) -> Reply | None:
            return json_reply(b'{"code":500,"message":"gone"}', status=500) if gone[0] else None

        with Emulator(latency=0.05, responder=responder) as servers:
            with Kusto(servers.kusto_url, servers.database, auth="none") as kusto:
                bootstrap(kusto)
            requested = account(servers, hour, "")

            def execute(command: Sequence[str], hour: Hour = hour, gone: list[bool] = gone) -> int:
                gone[0] = True
                return hour.execute(command)

            changed = Account(replace(requested.cost, execute=execute), requested.console)
            if exit_code:
                assert changed.of(["false"]) == exit_code
                assert "/clusterInfo with 500: gone" in capsys.readouterr().err
            else:
                with pytest.raises(OpenCostError, match="/clusterInfo with 500: gone"):
                    changed.of(["true"])


def test_an_opencost_that_is_down_is_found_before_the_command_runs(servers: Emulator) -> None:
    """A test of two hours would be for nothing: OpenCost's identity is requested first, also if it was named."""
    for cluster in ("", "named"):
        hour = Hour()
        with pytest.raises(OpenCostError, match="cannot be reached"):
            account(servers, hour, cluster, endpoint="http://127.0.0.1:9").of(["true"])
        assert hour.commands == []


def test_another_cluster_is_found_before_the_command_runs(servers: Emulator) -> None:
    """Nor does the command run where Kusto has another cluster under the name: its cost could not be loaded."""
    assert account(servers, Hour(), "taken").of(["true"]) == 0
    hour = Hour()
    command = account(servers, hour, "taken")
    with another_cluster(servers.opencost), pytest.raises(KustoError, match="another cluster under the name taken"):
        command.of(["true"])
    assert hour.commands == []


def test_an_unreachable_kusto_is_reported_before_the_command_runs(tmp_path: Path) -> None:
    """The command does not run where Kusto is down or not bootstrapped; the page of the run reports it."""
    with Emulator(latency=0.05) as servers:
        hour = Hour()
        with pytest.raises(KustoError, match="Run opencost-kusto bootstrap"):
            account(servers, hour, "bare", tmp_path / "page.md").of(["true"])
        assert hour.commands == []
    assert "exit code 5" in (tmp_path / "page.md").read_text("utf-8")


def test_else_the_exit_code_is_the_syncs(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that succeeded, and whose window did not land, ends with the code of why not."""

    def responder(path: str, _: object) -> Reply | None:
        return json_reply(b'{"code":500,"message":"no"}', status=500) if path == "/assets" else None

    with Emulator(latency=0.05, responder=responder) as broken:
        with Kusto(broken.kusto_url, broken.database, auth="none") as kusto:
            bootstrap(kusto)
        assert account(broken, Hour(), "half").of(["true"]) == 7
        assert account(broken, Hour(exit_code=1), "half").of(["true"]) == 1
    assert "everything cost 1.07208" in capsys.readouterr().err


def test_a_window_that_begins_before_the_data_is_not_loaded() -> None:
    """With --require-coverage, a command whose start OpenCost did not see ends with 8, or its own code, and no row."""

    def responder(path: str, _: object) -> Reply | None:
        return json_reply(b'{"code":200,"data":[{}]}') if path == "/allocation" else None

    with Emulator(latency=0.05, responder=responder) as young:
        with Kusto(young.kusto_url, young.database, auth="none") as kusto:
            bootstrap(kusto)
        for exit_code in (0, 77):
            requested = account(young, Hour(exit_code), "young")
            strict = Account(replace(requested.cost, require_coverage=True), requested.console)
            if exit_code:
                assert strict.of(["false"]) == exit_code
            else:
                with pytest.raises(EmptyError, match="young: OpenCost has no workload at the start of the window"):
                    strict.of(["true"])
        with Kusto(young.kusto_url, young.database, auth="none") as kusto:
            assert kusto.query("OpenCostAssets | count") == [{"Count": 0}]


def test_errors_are_reported_before_the_command_runs(servers: Emulator, tmp_path: Path) -> None:
    """A summary, address or database that cannot be used is refused while nothing has run yet."""
    hour = Hour()
    with pytest.raises(UsageError, match="cannot be written"):
        account(servers, hour, "no", tmp_path).of(["true"])
    with pytest.raises(UsageError, match="is not the address of an OpenCost"):
        account(servers, hour, "no", endpoint="localhost:9003").of(["true"])
    assert hour.commands == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--settle", "soon"], "--settle 'soon' is not a duration"),
        (["--dataset", "costs"], "There is no dataset 'costs'"),
        (["--metadata", "team"], "is not key=value"),
        (["--step", "0h"], "is not a duration"),
        (["--step", "7m"], "make --step a multiple"),
        (["--opencost-resolution", "7m"], "does not divide a day"),
        (["--kusto-uri", ""], "Name the Kusto database"),
        (["--share-idle"], "add --include-idle"),
    ],
)
def test_options_are_refused_before_the_command_runs(tmp_path: Path, arguments: list[str], message: str) -> None:
    """What cannot be done as requested ends with exit code 2 and one line, and the command never starts."""
    done = _command(tmp_path, "run", "--kusto-uri", "http://127.0.0.1:9", *arguments, "--", "touch", "ran")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "ran").exists()


def test_the_commands_options_are_its_own(servers: Emulator, tmp_path: Path) -> None:
    """After -- every word is the command's, one that cannot be run is named, and none at all is refused."""
    where = ("--endpoint", servers.opencost_url, "--kusto-uri", servers.kusto_url)
    done = _command(tmp_path, "run", *where, "--", "no-such-command", "--settle", "1")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "opencost-kusto: The command 'no-such-command' cannot be run: No such file or directory.",
    )
    assert _command(tmp_path, "run").returncode == 2


def _command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    environment |= {"OPENCOST_KUSTO_DATABASE": "OpenCost", "OPENCOST_KUSTO_AUTH": "none"}
    return forked.run(arguments, folder, environment)


def test_a_window_without_cost_is_exit_code_8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where OpenCost has no cost for the hour, the code is 8 and the reason is said; it can be accepted."""

    def responder(path: str, _: object) -> Reply | None:
        return json_reply(b'{"code":200,"data":[{}]}') if path in ("/allocation", "/assets") else None

    with Emulator(latency=0.05, responder=responder) as idle:
        with Kusto(idle.kusto_url, idle.database, auth="none") as kusto:
            bootstrap(kusto)
        one = account(idle, Hour(), "idle", tmp_path / "page.md")
        assert one.of(["true"]) == 8
        stderr = capsys.readouterr().err
        assert "OpenCost has no cost from 2026-11-23T10:00:00Z to 2026-11-23T11:00:00Z." in stderr
        assert "--no-fail-on-empty" in stderr
        measured = account(idle, Hour(), "idle").cost.of(["true"])
        assert show_cost(one.console, measured, fail_on_empty=False) == 0
        assert account(idle, Hour(exit_code=3), "idle").of(["false"]) == 3
