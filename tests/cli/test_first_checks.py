"""Every command that loads rows begins with the doctor's first checks, before OpenCost is requested."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from opencost_kusto.cli import app
from opencost_kusto.cli.termination import Process
from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.emulator import KustoEmulator, OpenCostEmulator
from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.kusto.client import Kusto
from tests.faults.wire import is_message, is_resources, is_upload, kusto_refusal
from tests.support.authority import Authority
from tests.support.relay import TlsFront

COMMANDS = {
    "sync": ["--window", "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"],
    "run": ["--", "true"],
    "schedule": ["--once"],
    "backfill": ["--from", "2026-11-23", "--to", "2026-11-24"],
    "replay": [],
}
MESSAGES = "Principal 'aadapp=1;2' is not authorized to perform operation 'IngestionResourcesGetCommand'."


@pytest.fixture(scope="module")
def kusto() -> Iterator[KustoEmulator]:
    """A database that is up to date, whose ingestion endpoint refuses this identity."""
    with KustoEmulator(latency=0) as emulator:
        with Kusto(emulator.url, emulator.database, auth="none") as client:
            bootstrap(client)
        refused = kusto_refusal(403, MESSAGES, permanent=True)
        emulator.fault = lambda request: refused if is_resources(request) else None
        yield emulator


@pytest.fixture(scope="module")
def opencost() -> Iterator[OpenCostEmulator]:
    """An OpenCost."""
    with OpenCostEmulator() as emulator:
        yield emulator


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_loads_rows_ends_with_the_line_that_grants_the_right(
    command: str, kusto: KustoEmulator, opencost: OpenCostEmulator, tmp_path: Path
) -> None:
    """Nothing is requested of OpenCost's costs, nothing uploaded, and the administrator's line is in the sentence."""
    kusto_arguments = ["--kusto-uri", kusto.url, "--database", kusto.database, "--auth", "none"]
    source = ["--endpoint", opencost.url] if command != "replay" else [str(tmp_path)]
    if command == "replay":
        (tmp_path / "OpenCostAllocation").mkdir()
    sent, requested = len(kusto.requests), len(opencost.requests)
    with pytest.raises(KustoError) as refused:
        app([command, *kusto_arguments, *source, *COMMANDS[command]], standalone_mode=False, obj=Process())
    assert refused.value.code is ReasonCode.FORBIDDEN
    assert ".add database ['OpenCost'] ingestors ('aadapp=1;2')" in str(refused.value)
    assert not [one for one in opencost.requests[requested:] if one.path in ("/allocation", "/assets")]
    assert not [one for one in kusto.requests[sent:] if is_upload(one) or is_message(one)]


def test_a_sign_in_that_fails_is_one_sentence(
    kusto: KustoEmulator, opencost: OpenCostEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without Azure CLI: what failed, why and what to do, before OpenCost is requested."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.ca)
    monkeypatch.setenv("PATH", "")
    requested = len(opencost.requests)
    with TlsFront(authority.server(), int(kusto.url.rpartition(":")[2])) as front:
        arguments = ["--kusto-uri", front.url, "--ingest-uri", front.url, "--database", "OpenCost", "--auth", "cli"]
        arguments += ["--trusted-host", "localhost", "--endpoint", opencost.url]
        with pytest.raises(KustoError) as refused:
            app(["sync", *arguments], standalone_mode=False, obj=Process())
    assert "failed: Azure CLI not found on path. Install Azure CLI and run az login" in str(refused.value)
    assert refused.value.code is ReasonCode.UNAUTHORIZED
    assert opencost.requests[requested:] == []


READING = (["bootstrap"], ["bootstrap", "--check"], ["status"], ["cost"], ["query", "ByNamespace"], ["query", "Proof"])


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_command_that_reads_ends_with_the_line_that_grants_the_right(
    arguments: list[str], kusto: KustoEmulator
) -> None:
    """An identity without a role is named, with the role that is missing."""
    principal = "aadapp=nobody;tenant"
    with kusto.door(principal) as door, pytest.raises(KustoError) as refused:
        app(
            [*arguments, "--kusto-uri", door.url, "--database", kusto.database, "--auth", "none"], standalone_mode=False
        )
    assert refused.value.code is ReasonCode.FORBIDDEN
    assert f".add database ['OpenCost'] viewers ('{principal}')" in str(refused.value)
    assert refused.value.exit_code == 5
