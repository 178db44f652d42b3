"""Doors on the command line: cost comes through them, and no secret comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from opencost_kusto.cli import app
from opencost_kusto.cli.termination import Process
from opencost_kusto.emulator.http import Reply
from opencost_kusto.errors import UsageError
from tests.support.authority import Authority
from tests.support.recorded import OpenCostEmulator
from tests.support.relay import ForwardProxy, TlsFront

HOUR = "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"
SECRETS = ("OPENSESAME", "TENANT", "PASSWORD")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command: the exit code and what it printed."""

    def run(*words: str) -> tuple[int, str, str]:
        code = app(list(words), standalone_mode=False, obj=Process()) or 0
        return code, *capsys.readouterr()

    return run


def test_cost_comes_through_every_door_at_once_and_no_secret_comes_out(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """Token, header, client certificate, private authority and proxy, from the environment; rows and logs are clean."""
    authority = Authority(tmp_path)
    files = {name: tmp_path / name for name in ("token", "tenant", "proxy")}
    words = ["sync", "--window", HOUR, "--cluster", "c", "-v", "--log-format", "json", "--output"]

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
            code, out, err = run(*words, str(tmp_path / "rows"))
            assert code == 0, err
            assert all(one.startswith(b"CONNECT localhost:") for one in proxy.seen)
            files["tenant"].write_text("OTHER")
            late, more, failed = run(*words, str(tmp_path / "none"))
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
        words = ("doctor", "--endpoint", front.url, "--cluster", "c", "-o", "json")
        code, out, _ = run(*words)
        assert code == 3
        assert "--opencost-ca (or OPENCOST_KUSTO_OPENCOST_CA)" in out, out
        code, out, _ = run(*words, "--opencost-ca", authority.ca)
    assert json.loads(out)["findings"][0]["status"] == "ok"


@pytest.mark.parametrize(
    "words", [("--opencost-token-file", "/etc/token"), ("--opencost-proxy=@/etc/proxy",), ("--config", "/etc/c.toml")]
)
def test_a_manifest_takes_no_files_that_it_does_not_mount(words: tuple[str, ...]) -> None:
    """A pod would not find them."""
    place = ("--image", "i:1", "--client-id", "c", "--kusto-uri", "https://a.b.kusto.windows.net", "--database", "d")
    with pytest.raises(UsageError, match="names a file, which the manifest does not mount"):
        app(["manifest", *place, "--", *words], standalone_mode=False)
