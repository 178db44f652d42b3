"""`doctor` and `dashboard` on the command line: lines and JSON, and the exit code of the worst hop."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from opencost_kusto.cli import app
from opencost_kusto.cli.doctor import examine, line, worst
from opencost_kusto.cli.termination import Process
from opencost_kusto.database.finding import Finding, Status
from opencost_kusto.emulator import BUILT_IN_STORE, KustoEmulator, OpenCostEmulator, json_reply
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.extract.doors import TOKEN, Doors, SecretFile
from tests.pipeline.test_identity import ONE, OTHER, cluster
from tests.support.world import World


@pytest.fixture(scope="module")
def opencost() -> Iterator[OpenCostEmulator]:
    """An OpenCost with data up to now."""
    with OpenCostEmulator() as emulator:
        yield emulator


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a command: the exit code and what is on stdout."""

    def run(*arguments: str) -> tuple[int, str]:
        code = app(list(arguments), standalone_mode=False, obj=Process())
        return code or 0, capsys.readouterr().out

    return run


def test_json_is_one_document_with_the_exit_code(
    run: Callable[..., tuple[int, str]], opencost: OpenCostEmulator
) -> None:
    """A database without tables ends with Kusto's code; the findings are for a bug report."""
    with KustoEmulator() as kusto:
        arguments = ("--kusto-uri", kusto.url, "--database", "OpenCost", "--auth", "none")
        code, out = run("doctor", "--endpoint", opencost.url, *arguments, "--format", "json")
        lines = run("doctor", "--endpoint", opencost.url, *arguments)[1].splitlines()
    assert f"        → opencost-kusto bootstrap --kusto-uri {kusto.url} --database OpenCost" in lines
    document = json.loads(out)
    assert code == document["exit_code"] == 5
    failed = [one["hop"] for one in document["findings"] if one["status"] == "failed"]
    assert failed == ["schema"]
    assert "sig=" not in out


def test_without_kusto_the_source_alone_is_checked(
    run: Callable[..., tuple[int, str]], opencost: OpenCostEmulator
) -> None:
    """No address of Kusto is a note, not a failure."""
    code, out = run("doctor", "--endpoint", opencost.url)
    assert code == 0
    assert "ok      OpenCost: " in out
    assert "note    sign-in: " in out


def test_an_unreachable_opencost_fails_with_its_code() -> None:
    """One line, and no request for its costs."""
    with OpenCost("http://127.0.0.1:9", attempts=1, timeout=5) as opencost:
        [one] = examine(opencost)
    assert (one.hop, one.status, one.exit_code) == ("OpenCost", Status.FAILED, 3)
    assert one.cure.startswith("kubectl port-forward")


def test_a_port_forward_cures_nothing_but_an_address(opencost: OpenCostEmulator) -> None:
    """A token file that is missing, or a server that refuses, needs something else."""
    missing = Doors(token=SecretFile("/nowhere/token", TOKEN))
    with OpenCost(opencost.url, attempts=1, doors=missing, environment={}) as client:
        [one] = examine(client)
    assert (one.status, one.cure) == (Status.FAILED, "opencost-kusto guide faults")


def test_an_hour_without_cost_fails(opencost: OpenCostEmulator) -> None:
    """OpenCost responds with no record and no error when its Prometheus has no data."""
    with OpenCost(opencost.url) as client:
        found = {one.hop: one for one in examine(client)}
        assert found["cost"].status is Status.OK
        opencost.fault = lambda request: (
            json_reply(b'{"code":200,"data":[{}]}') if request.path == "/allocation" else None
        )
        found = {one.hop: one for one in examine(client)}
        opencost.fault = None
    assert (found["cost"].status, found["cost"].exit_code) == (Status.FAILED, 8)


def test_a_built_in_store_is_noted_with_what_it_keeps(run: Callable[..., tuple[int, str]]) -> None:
    """OpenCost's default, or what the option says; with a Prometheus nothing is said of a store."""
    with OpenCostEmulator(version="1.119", keeps=BUILT_IN_STORE) as server:
        arguments = ("doctor", "--endpoint", server.url)
        assert "note    store:              OpenCost keeps its measurements itself" in run(*arguments)[1]
        assert "36 of 10m, 49 of 1h, 15 of 1d" in run(*arguments)[1]
        assert "36 of 10m, 168 of 1h, 15 of 1d" in run(*arguments, "--opencost-retention", "1h=168")[1]
        with pytest.raises(
            UsageError, match=r"--opencost-retention \(or OPENCOST_KUSTO_OPENCOST_RETENTION\): .*'2h=1'"
        ):
            run(*arguments, "--opencost-retention", "2h=1")


def test_a_clock_that_is_off_is_noted(opencost: OpenCostEmulator) -> None:
    """OpenCost's `Date` is compared with this machine's clock."""
    with OpenCost(opencost.url) as client:
        found = {one.hop: one for one in examine(client, lambda: datetime.now(UTC) - timedelta(hours=1))}
    assert found["OpenCost's clock"].status is Status.NOTE


@pytest.mark.parametrize(
    ("name", "uid", "status", "message", "cure", "exit_code"),
    [
        ("prod west", ONE, "ok", "prod west is the cluster that Kusto has under this name", None, 0),
        ("prod west", None, "ok", "nothing identifies the cluster of this OpenCost", None, 0),
        ("new", OTHER, "ok", "new is not in Kusto yet", None, 0),
        ("default-cluster", OTHER, "note", "default-cluster is a name that many clusters have", None, 0),
        ("prod west", OTHER, "failed", "the costs of another cluster under the name prod west", "NAME", 5),
        ("new", ONE, "failed", "under new they would be counted twice. Use --cluster 'prod west'", "prod west", 5),
        ("Prod West", OTHER, "failed", "differs from prod west, which Kusto has, only in case", "prod west", 2),
    ],
)
def test_a_name_of_another_cluster_is_found_before_a_run(
    run: Callable[..., tuple[int, str]],
    named: World,
    name: str,
    uid: str | None,
    status: str,
    message: str,
    cure: str | None,
    exit_code: int,
) -> None:
    """What a run would refuse is a failed hop, with a command that a shell reads as it is meant; nothing is written."""
    named.opencost.responder = cluster(uid)
    before = named.identities()
    arguments = ("--kusto-uri", named.kusto.url, "--database", "OpenCost", "--auth", "none", "--format", "json")
    _, out = run("doctor", "--endpoint", named.opencost.url, "--cluster", name, *arguments)
    found = [one for one in json.loads(out)["findings"] if one["hop"] == "name"]
    assert (found[-1]["status"], found[-1]["exit_code"]) == (status, exit_code)
    assert message in found[-1]["message"]
    assert shlex.split(found[-1]["cure"]) == (["opencost-kusto", "sync", "--cluster", cure] if cure else [])
    assert named.identities() == before


@pytest.fixture(scope="module")
def named() -> Iterator[World]:
    """A cluster has landed as `prod west`."""
    with World(responder=cluster(ONE)) as world:
        assert world.sync(cluster="prod west").exit_code == 0
        yield world


@pytest.mark.parametrize(
    ("codes", "expected"), [([], 0), ([5], 5), ([5, 3], 3), ([8, 5], 5), ([8, 2, 3], 2), ([70], 70)]
)
def test_the_worst_hop_gives_the_exit_code(codes: list[int], expected: int) -> None:
    """In the order of what to fix first: names, the source, Kusto, content, time, cost."""
    found = [Finding("x", Status.FAILED, "no", exit_code=code) for code in codes]
    assert worst([Finding("y", Status.NOTE, "note"), *found]) == expected


def test_a_line_is_printable() -> None:
    """What a server says of itself does not act on a terminal."""
    message = line(Finding("rights", Status.FAILED, "a\x1b[2Jb\rc", "d\u202ee\n\x1b]0;x\x07", 5))
    assert [each.isprintable() for each in message.split("\n")] == [True] * 3


def test_a_line_has_the_cure_below_it() -> None:
    """Each command to paste stands on a line of its own."""
    message = line(Finding("rights", Status.FAILED, "missing.", "first\nsecond", 5))
    assert message.splitlines() == ["failed  rights:             missing.", "        → first", "        → second"]


def test_write_and_engine_only_exclude_each_other(run: Callable[..., tuple[int, str]]) -> None:
    """One ingests a row, the other checks nothing of ingestion."""
    with pytest.raises(UsageError, match="give one of them"):
        run("doctor", "--write", "--engine-only")


@pytest.mark.parametrize("uri", ["https://shop.westeurope.kusto.windows.net", "http://127.0.0.1:8080"])
@pytest.mark.parametrize("auth", ["none", "client-secret"])
def test_printing_the_dashboard_does_not_sign_in(
    run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, uri: str, auth: str
) -> None:
    """The environment says how other commands sign in; a file needs none of it."""
    monkeypatch.setenv("OPENCOST_KUSTO_AUTH", auth)
    code, out = run("dashboard", "--kusto-uri", uri, "--database", "Costs")
    assert (code, json.loads(out)["dataSources"][0]["clusterUri"]) == (0, f"{uri}/")


def test_the_dashboard_is_printed_for_a_database(run: Callable[..., tuple[int, str]]) -> None:
    """stdout is the file to import."""
    uri = "https://shop.westeurope.kusto.windows.net"
    code, out = run("dashboard", "--kusto-uri", uri, "--database", "Costs")
    assert code == 0
    assert json.loads(out)["dataSources"][0]["clusterUri"] == f"{uri}/"
    with pytest.raises(UsageError, match="--kusto-uri"):
        run("dashboard")
    with pytest.raises(UsageError, match=r"OPENCOST_KUSTO_DATABASE\) is .*: the quotes are part of it"):
        run("dashboard", "--kusto-uri", uri, "--database", '"Costs"')
