"""Doors on the command line: cost comes through them, and no secret comes out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from opencost_kusto import emulator
from opencost_kusto.cli import app
from opencost_kusto.cli.termination import Process
from opencost_kusto.emulator.http import Reply, Request
from opencost_kusto.errors import UsageError
from tests.support.authority import Authority
from tests.support.recorded import OpenCostEmulator
from tests.support.relay import ForwardProxy, TlsFront

HOUR = "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"
CLIENT = ("--opencost-cert", "--opencost-key")
SECRETS = ("OPENSESAME", "TENANT", "PASSWORD")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command: the exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = app(list(arguments), standalone_mode=False, obj=Process()) or 0
        return code, *capsys.readouterr()

    return run


def test_cost_comes_through_every_door_at_once_and_no_secret_comes_out(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """Token, header, client certificate, private authority and proxy, from the environment; rows and logs are clean."""
    authority = Authority(tmp_path)
    files = {name: tmp_path / name for name in ("token", "tenant", "proxy")}
    arguments = ["sync", "--window", HOUR, "--cluster", "c", "-v", "--log-format", "json", "--output"]

    def fault(request: object) -> Reply | None:
        headers = getattr(request, "headers", {})
        known = headers.get("authorization") == "Bearer OPENSESAME" and headers.get("x-tenant") == "TENANT"
        return None if known else Reply(401, {}, b"Bearer OPENSESAME is not known")

    with OpenCostEmulator() as opencost, ForwardProxy("user:PASSWORD") as proxy:
        opencost.fault = fault
        context = authority.server(clients=authority)
        with TlsFront(context, int(opencost.url.rpartition(":")[2])) as front, pytest.MonkeyPatch.context() as patch:
            for path, text in zip(
                files.values(), ("OPENSESAME", "TENANT", f"http://user:PASSWORD@127.0.0.1:{proxy.port}"), strict=True
            ):
                path.write_text(text)
            certificate, key = authority.issue("client")
            for name, value in {
                "ENDPOINT": front.url,
                "OPENCOST_TOKEN_FILE": str(files["token"]),
                "OPENCOST_HEADER": f"X-Tenant=@{files['tenant']}",
                "OPENCOST_CA": authority.ca,
                "OPENCOST_CERT": certificate,
                "OPENCOST_KEY": key,
                "OPENCOST_PROXY": f"@{files['proxy']}",
            }.items():
                patch.setenv(f"OPENCOST_KUSTO_{name}", value)
            code, out, err = run(*arguments, str(tmp_path / "rows"))
            assert code == 0, err
            assert all(one.startswith(b"CONNECT localhost:") for one in proxy.seen)
            files["tenant"].write_text("OTHER")
            late, more, failed = run(*arguments, str(tmp_path / "none"))
    assert late == 3
    assert "401: Bearer <secret> is not known" in failed
    rows = "".join(path.read_text() for path in (tmp_path / "rows").iterdir())
    assert len(rows.splitlines()) == 61 + 19 + 1041
    for secret in SECRETS:
        assert secret not in out + err + more + failed + rows


def test_doctor_names_the_door_that_is_shut(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """The finding of OpenCost has the sentence of TLS, its file and its option, and the exit code of the source."""
    authority = Authority(tmp_path)
    with OpenCostEmulator() as opencost, TlsFront(authority.server(), int(opencost.url.rpartition(":")[2])) as front:
        arguments = ("doctor", "--endpoint", front.url, "--cluster", "c", "-o", "json")
        code, out, _ = run(*arguments)
        assert code == 3
        assert "--opencost-ca (or OPENCOST_KUSTO_OPENCOST_CA)" in out, out
        code, out, _ = run(*arguments, "--opencost-ca", authority.ca)
    assert json.loads(out)["findings"][0]["status"] == "ok"


@dataclass(frozen=True)
class Door:
    """A door that is closed without its options, and what the message of a closed one contains."""

    arguments: Callable[[Path, Authority, ForwardProxy], tuple[str, ...]]
    says: str
    tls: bool = False
    clients: bool = False
    header: tuple[str, str] = ("", "")
    proxied: bool = False
    shut: Callable[[ForwardProxy], tuple[str, ...]] = lambda _: ()


def secret(folder: Path, text: str) -> str:
    """A file with a secret."""
    path = folder / "secret"
    path.write_text(text)
    return str(path)


DOORS = {
    "token": Door(
        lambda folder, *_: ("--opencost-token-file", secret(folder, "OPENSESAME")),
        "Sign in with --opencost-token-file, --opencost-header or --opencost-scope",
        header=("authorization", "Bearer OPENSESAME"),
    ),
    "header": Door(
        lambda folder, *_: ("--opencost-header", f"X-Tenant=@{secret(folder, 'OPENSESAME')}"),
        "Sign in with --opencost-token-file, --opencost-header or --opencost-scope",
        header=("x-tenant", "OPENSESAME"),
    ),
    "ca": Door(lambda _, authority, __: ("--opencost-ca", authority.ca), "Set --opencost-ca", tls=True),
    "certificate": Door(
        lambda _, authority, __: (
            *("--opencost-ca", authority.ca),
            *(word for pair in zip(CLIENT, authority.issue("me"), strict=True) for word in pair),
        ),
        "--opencost-c",
        tls=True,
        clients=True,
    ),
    "proxy": Door(
        lambda folder, _, proxy: (
            "--opencost-proxy",
            f"@{secret(folder, f'http://user:OPENSESAME@127.0.0.1:{proxy.port}')}",
        ),
        "407",
        proxied=True,
        shut=lambda proxy: ("--opencost-proxy", f"http://127.0.0.1:{proxy.port}"),
    ),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_doctor_goes_through_each_door(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: Door
) -> None:
    """Every hop is ok through an open door; a shut one fails OpenCost's with 3; the secret is never printed."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")

    def fault(request: Request) -> Reply | None:
        name, value = door.header
        return None if not name or request.headers.get(name) == value else Reply(401, {}, b"OPENSESAME is the word")

    with ExitStack() as stack:
        opencost = stack.enter_context(emulator.OpenCostEmulator())
        opencost.fault = fault
        proxy = stack.enter_context(ForwardProxy("user:OPENSESAME"))
        url = opencost.url
        if door.tls:
            context = authority.server(clients=authority if door.clients else None)
            url = stack.enter_context(TlsFront(context, int(url.rpartition(":")[2]))).url
        if door.proxied:
            url = url.replace("127.0.0.1", "opencost.invalid")
        arguments = ("doctor", "--endpoint", url, "--cluster", "c")
        code, out, err = run(*arguments, *door.arguments(tmp_path, authority, proxy))
        assert code == 0, out
        assert "ok      OpenCost: " in out
        assert "ok      cost: " in out
        shut, message, more = run(*arguments, *door.shut(proxy))
        # The word of a server is not known to be a secret where no door names it.
        assert "OPENSESAME" not in out + err + (message + more).replace("OPENSESAME is the word", "")
        assert bool(proxy.seen) == door.proxied
    assert shut == 3, message
    assert "failed  OpenCost: " in message
    assert door.says in message


def test_a_scope_that_cannot_sign_in_is_named(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the variables of its method, --opencost-scope ends before OpenCost is requested, with their names."""
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    with emulator.OpenCostEmulator() as opencost:
        door = ("--opencost-scope", "api://opencost/.default", "--opencost-auth", "workload-identity")
        arguments = ("doctor", "--endpoint", opencost.url, *door)
        with pytest.raises(UsageError, match="AZURE_FEDERATED_TOKEN_FILE"):
            run(*arguments)
        assert opencost.requests == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc")
def test_no_secret_is_an_argument_or_in_the_environment(tmp_path: Path) -> None:
    """While OpenCost gets them, the process has none among its arguments and variables, and prints none."""
    authority, running, dumps = Authority(tmp_path), list[subprocess.Popen[str]](), list[bytes]()
    files = {name: tmp_path / name for name in ("token", "tenant", "proxy")}

    def fault(request: Request) -> Reply | None:
        if request.path == "/allocation":
            assert request.headers["authorization"] == "Bearer OPENSESAME"
            assert request.headers["x-tenant"] == "TENANT"
            proc = Path("/proc") / str(running[0].pid)
            dumps.extend((proc / name).read_bytes() for name in ("cmdline", "environ"))
        return None

    with OpenCostEmulator() as opencost, ForwardProxy("user:PASSWORD") as proxy:
        opencost.fault = fault
        context = authority.server(clients=authority)
        with TlsFront(context, int(opencost.url.rpartition(":")[2])) as front:
            for path, text in zip(
                files.values(), ("OPENSESAME", "TENANT", f"http://user:PASSWORD@127.0.0.1:{proxy.port}"), strict=True
            ):
                path.write_text(text)
            certificate, key = authority.issue("client")
            arguments = ["sync", "--endpoint", front.url, "--window", HOUR, "--cluster", "c", "-v", "--output", "-"]
            arguments += ["--dataset", "allocation", "--opencost-token-file", str(files["token"])]
            arguments += ["--opencost-header", f"X-Tenant=@{files['tenant']}", "--opencost-proxy", f"@{files['proxy']}"]
            arguments += ["--opencost-ca", authority.ca, "--opencost-cert", certificate, "--opencost-key", key]
            program = [sys.executable, "-m", "opencost_kusto", *arguments]
            process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            running.append(process)
            out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert len(out.splitlines()) == 61
    assert len(dumps) == 2
    for one in SECRETS:
        assert one not in out + err
        assert all(one.encode() not in dump for dump in dumps)
    assert "BEGIN" not in out + err


@pytest.mark.parametrize(
    "arguments",
    [("--opencost-token-file", "/etc/token"), ("--opencost-proxy=@/etc/proxy",), ("--config", "/etc/c.toml")],
)
def test_a_manifest_takes_no_files_that_it_does_not_mount(arguments: tuple[str, ...]) -> None:
    """A pod would not find them."""
    place = ("--image", "i:1", "--client-id", "c", "--kusto-uri", "https://a.b.kusto.windows.net", "--database", "d")
    with pytest.raises(UsageError, match="names a file, which the manifest does not mount"):
        app(["manifest", *place, "--", *arguments], standalone_mode=False)
