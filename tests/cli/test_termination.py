"""How the command ends when it cannot print, is interrupted, or must say what went wrong in JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.recorded import OpenCostEmulator

ROOT = Path(__file__).parents[2]
HOUR = "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"
NOBODY = "http://127.0.0.1:9"
KUSTO = ("--kusto-uri", NOBODY, "--database", "OpenCost", "--auth", "none")


@pytest.fixture(scope="module")
def opencost() -> Iterator[OpenCostEmulator]:
    """The stand-in for OpenCost."""
    with OpenCostEmulator() as emulator:
        yield emulator


def ended(command: list[str], stdout: int, folder: Path) -> tuple[int, str]:
    """The exit code and the stderr of a command whose stdout is the given file."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr


def ours(*words: str) -> list[str]:
    """The command line with some words."""
    return [sys.executable, "-m", "opencost_kusto", *words]


def dry_run(opencost: OpenCostEmulator) -> list[str]:
    """A sync that writes rows to stdout."""
    return ours("sync", "--endpoint", opencost.url, "--window", HOUR, "--dataset", "allocation", "--output", "-")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("words", [["--version"], ["tables"], ["bootstrap", "--print"], ["sync"]])
def test_a_full_disk_is_said(opencost: OpenCostEmulator, tmp_path: Path, words: list[str]) -> None:
    """Where stdout takes nothing any more, the exit code is 2 and one sentence says why."""
    full = os.open("/dev/full", os.O_WRONLY)
    code, said = ended(dry_run(opencost) if words == ["sync"] else ours(*words), full, tmp_path)
    os.close(full)
    assert (code, said.splitlines()[-1]) == (
        2,
        "opencost-kusto: stdout cannot be written: No space left on device.",
    ), said
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def test_a_reader_that_has_gone_is_said(opencost: OpenCostEmulator, tmp_path: Path) -> None:
    """Where nobody reads stdout any more, the exit code is 2 and one sentence says why."""
    for command in (ours("tables"), dry_run(opencost)):
        reader, writer = os.pipe()
        os.close(reader)
        code, said = ended(command, writer, tmp_path)
        os.close(writer)
        assert (code, said.splitlines()[-1]) == (2, "opencost-kusto: stdout cannot be written: Broken pipe."), said


def test_no_stdout_at_all_is_said(opencost: OpenCostEmulator, tmp_path: Path) -> None:
    """Rows for a stdout that is closed are refused in one sentence, before OpenCost is asked."""
    before = len(opencost.requests)
    code, said = ended(["sh", "-c", 'exec "$@" >&-', "sh", *dry_run(opencost)], subprocess.DEVNULL, tmp_path)
    assert (code, said) == (2, "opencost-kusto: Rows cannot be written to stdout: it is closed.\n")
    assert len(opencost.requests) == before


MAY_LAND = "interrupted; what was not reported landed may land still. Run again."


@pytest.mark.parametrize(
    ("words", "number", "said"),
    [
        (["sync", "--window", HOUR], signal.SIGINT, MAY_LAND),
        (["sync", "--window", HOUR], signal.SIGTERM, MAY_LAND),
        # Ctrl-C is how it is meant to end.
        (["emulator"], signal.SIGTERM, "interrupted."),
    ],
    ids=["sync, Ctrl-C", "sync, SIGTERM", "emulator, SIGTERM"],
)
def test_an_interruption_is_said(tmp_path: Path, words: list[str], number: signal.Signals, said: str) -> None:
    """A signal ends with 128 + its number and one sentence, which speaks of rows where rows may be under way."""
    # Takes connections, and never answers.
    with OpenCostEmulator(answers=lambda *_: time.sleep(30)) as silent:
        more = ["--endpoint", silent.url, *KUSTO] if words[0] == "sync" else []
        with subprocess.Popen(
            ours(*words, *more), cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            while not silent.requests if more else "bootstrap" not in process.stdout.readline():
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(number)
            _, told = process.communicate(timeout=30)
    assert (process.returncode, told.splitlines()[-1]) == (128 + number, f"opencost-kusto: {said}"), told


UNREPORTED = {
    "a window": (["sync", "--window", "soon"], 2, "'soon' is not a window"),
    "an OpenCost": (["sync", "--endpoint", NOBODY, "--request-timeout", "1"], 3, "cannot be reached"),
    "a spool": (["replay", "nowhere"], 2, "There is no spool folder"),
    "a range": (["backfill", "--from", "foo"], 2, "foo"),
    "a schedule": (["schedule", "--every", "7m", "--once"], 2, "7 minutes"),
    "a tick": (["schedule", "--endpoint", NOBODY, "--request-timeout", "1", "--once"], 3, "cannot be reached"),
}


@pytest.mark.parametrize("case", UNREPORTED)
def test_json_is_one_document_though_there_is_no_report(tmp_path: Path, case: str) -> None:
    """With --json, what went wrong before there was a report is a document too, with the exit code of the process."""
    words, code, said = UNREPORTED[case]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = ours(*words, *KUSTO, "--json")
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    document = json.loads(done.stdout)
    assert (document["exit_code"], document["batches"]) == (code, [])
    assert said in document["error"]
    assert document["error"] in done.stderr
