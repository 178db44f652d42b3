"""How the command ends when it cannot print, is interrupted, or must say what went wrong in JSON."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from opencost_kusto.cli.streams import Output
from tests.support.recorded import OpenCostEmulator

ROOT = Path(__file__).parents[2]
HOUR = "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"
UNREACHABLE = "http://127.0.0.1:9"
KUSTO = ("--kusto-uri", UNREACHABLE, "--database", "OpenCost", "--auth", "none")


@pytest.fixture(scope="module")
def opencost() -> Iterator[OpenCostEmulator]:
    """The emulator for OpenCost."""
    with OpenCostEmulator() as emulator:
        yield emulator


def ended(command: list[str], stdout: int, folder: Path) -> tuple[int, str]:
    """The exit code and the stderr of a command whose stdout is the given file."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr


def ours(*arguments: str) -> list[str]:
    """The command line with these arguments."""
    return [sys.executable, "-m", "opencost_kusto", *arguments]


def dry_run(opencost: OpenCostEmulator) -> list[str]:
    """A sync that writes rows to stdout."""
    return ours("sync", "--endpoint", opencost.url, "--window", HOUR, "--dataset", "allocation", "--output", "-")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["--version"], ["tables"], ["bootstrap", "--print"], ["sync"]])
def test_a_full_disk_is_reported(opencost: OpenCostEmulator, tmp_path: Path, arguments: list[str]) -> None:
    """Where stdout takes nothing any more, the exit code is 2 and one sentence says why."""
    full = os.open("/dev/full", os.O_WRONLY)
    code, message = ended(dry_run(opencost) if arguments == ["sync"] else ours(*arguments), full, tmp_path)
    os.close(full)
    assert (code, message.splitlines()[-1]) == (
        2,
        "opencost-kusto: stdout cannot be written: No space left on device.",
    ), message
    assert "Traceback" not in message
    assert "Exception ignored" not in message


def test_a_reader_who_has_left_is_no_error(opencost: OpenCostEmulator, tmp_path: Path) -> None:
    """A closed pipe on stdout, as `head` leaves it, ends the command with 0 and no complaint."""
    for command in (ours("tables"), dry_run(opencost)):
        reader, writer = os.pipe()
        os.close(reader)
        code, message = ended(command, writer, tmp_path)
        os.close(writer)
        assert (code, "pipe" in message) == (0, False), message


@pytest.mark.parametrize("end", ["2>&-", "2>/dev/full", ">&- 2>&-"])
def test_stderr_may_be_closed_or_full(opencost: OpenCostEmulator, tmp_path: Path, end: str) -> None:
    """Without a stderr that accepts anything, the rows are written all the same."""
    command = [*dry_run(opencost)[:-1], "rows"]
    code, _ = ended(["sh", "-c", f'exec "$@" {end}', "sh", *command], subprocess.DEVNULL, tmp_path)
    assert code == 0
    assert len((tmp_path / "rows" / "OpenCostAllocation.ndjson").read_text("utf-8").splitlines()) == 61


def test_without_stderr_stdout_is_the_report_alone(opencost: OpenCostEmulator, tmp_path: Path) -> None:
    """What stderr would have shown is dropped, and never printed on stdout."""
    command = [*dry_run(opencost)[:-1], "rows", "-o", "json"]
    arguments = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, json.loads(done.stdout)["exit_code"]) == (0, 0)


def test_a_stdout_that_does_not_block_gets_everything() -> None:
    """Another process that shares the pipe has made it non-blocking, and its reader is slow: nothing is dropped."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    output, data, received, full = Output(writer), bytes(1_000_000), 0, 0
    with suppress(BlockingIOError):
        while True:
            full += os.write(writer, bytes(1 << 12))

    def write() -> None:
        with io.BufferedWriter(output) as stream:
            stream.write(data)
        os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    while piece := os.read(reader, 1 << 16):
        received += len(piece)
    thread.join()
    os.close(reader)
    assert (received, output.error) == (full + len(data), None)


def test_letters_outside_the_encoding_are_escaped(opencost: OpenCostEmulator, tmp_path: Path) -> None:
    """An ASCII stdout gets the letters of a cluster's name as escapes, and the exit code is that of the run."""
    command = [*dry_run(opencost)[:-1], "rows", "--cluster", "прод"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment |= {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, b"\\u043f\\u0440\\u043e\\u0434" in done.stdout) == (0, True), done


DESTRUCTOR = """
import sys, time
from opencost_kusto.cli.termination import Process

class Held:
    def __del__(self):
        print("in the destructor", flush=True)
        while not process.signal:
            time.sleep(0.01)

def work():
    held = Held()
    del held
    return 0

process = Process()
sys.exit(process.run(work))
"""
DEAF = """
import sys, threading
from opencost_kusto.cli.termination import Process

def work():
    print("deaf", flush=True)
    threading.Event().wait()

process = Process(grace=3600)
sys.exit(process.run(work))
"""


WAITING = """
import sys
from opencost_kusto.cli.termination import Process

def work():
    print("waits", flush=True)
    process.cancel.sleep()
    return 0

process = Process(grace=3600)
sys.exit(process.run(work))
"""


def signalled(program: str, *numbers: signal.Signals) -> tuple[int, str]:
    """The exit code and the stderr of a program that is sent signals once it has printed a line."""
    arguments, environment = [sys.executable, "-c", program], os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            for number in numbers:
                process.send_signal(number)
                time.sleep(0.2)
            _, message = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, message


def test_a_signal_during_a_destructor_is_not_lost() -> None:
    """What a handler raised inside a destructor would be ignored by Python; ours raises nothing, and 143 is the end."""
    code, message = signalled(DESTRUCTOR, signal.SIGTERM)
    assert (code, message) == (128 + signal.SIGTERM, "opencost-kusto: Interrupted by SIGTERM.\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_wakes_a_command_that_waits(number: signal.Signals) -> None:
    """What waits without end is cancelled by the first signal, long before its grace, which is an hour here."""
    code, message = signalled(WAITING, number)
    assert (code, message) == (128 + number, f"opencost-kusto: Interrupted by {number.name}.\n")


def test_a_second_signal_ends_a_command_that_does_not_react() -> None:
    """Within the grace, which is an hour here, the second signal ends the process with the code of the first."""
    code, message = signalled(DEAF, signal.SIGINT, signal.SIGTERM)
    assert (code, message) == (128 + signal.SIGINT, "opencost-kusto: Interrupted by SIGINT.\n")


def test_the_grace_ends_a_command_that_does_not_react() -> None:
    """A command that does not react to the first signal is left behind after the grace."""
    code, message = signalled(DEAF.replace("3600", "0.05"), signal.SIGTERM)
    assert (code, message) == (128 + signal.SIGTERM, "opencost-kusto: Interrupted by SIGTERM.\n")


@pytest.mark.parametrize("verbose", [False, True])
def test_a_defect_is_one_sentence_and_exit_code_70(verbose: bool) -> None:
    """An exception that is none of ours is one sentence, and a traceback only when it is requested."""
    program = f"""
from opencost_kusto.cli.termination import Process

process = Process()
process.console.verbose = {verbose}
raise SystemExit(process.run(lambda: 1 // 0))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    last = "opencost-kusto: Internal error: ZeroDivisionError: integer division or modulo by zero."
    last += "" if verbose else " Run again with --verbose for the traceback."
    assert (done.returncode, done.stderr.splitlines()[-1]) == (70, last)
    assert ("Traceback" in done.stderr) == verbose


def test_a_missing_stdout_is_reported(opencost: OpenCostEmulator, tmp_path: Path) -> None:
    """Rows for a stdout that is closed are refused in one sentence, before OpenCost is requested."""
    before = len(opencost.requests)
    code, message = ended(["sh", "-c", 'exec "$@" >&-', "sh", *dry_run(opencost)], subprocess.DEVNULL, tmp_path)
    assert (code, message) == (2, "opencost-kusto: Rows cannot be written to stdout: it is closed.\n")
    assert len(opencost.requests) == before


LATER = " Batches not reported as landed may still arrive. Run the command again."


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_reported(tmp_path: Path, number: signal.Signals) -> None:
    """A signal ends with 128 + its number and a message that mentions the rows that may be under way."""
    # Takes connections, and never answers.
    with OpenCostEmulator(responder=lambda *_: time.sleep(30)) as silent:
        arguments = ("sync", "--window", HOUR, "--endpoint", silent.url, "--output", "rows")
        with subprocess.Popen(
            ours(*arguments), cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            while not silent.requests:
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(number)
            _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr.splitlines()[-1]) == (
        128 + number,
        f"opencost-kusto: Interrupted by {number.name}.{LATER}",
    ), stderr


UNREPORTED = {
    "a window": (["sync", "--window", "soon"], 2, "'soon' is not a window"),
    "a Kusto": (["sync", "--endpoint", UNREACHABLE, "--request-timeout", "1"], 5, "cannot be reached"),
    "a spool": (["replay", "nowhere"], 2, "There is no spool folder"),
    "a range": (["backfill", "--from", "foo"], 2, "foo"),
    "a schedule": (["schedule", "--every", "7m", "--once"], 2, "7 minutes"),
    "a tick": (["schedule", "--endpoint", UNREACHABLE, "--request-timeout", "1", "--once"], 3, "cannot be reached"),
}


@pytest.mark.parametrize("case", UNREPORTED)
def test_json_is_one_document_though_there_is_no_report(tmp_path: Path, case: str) -> None:
    """With --json, what went wrong before there was a report is a document too, with the exit code of the process."""
    arguments, code, message = UNREPORTED[case]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = ours(*arguments, *KUSTO, "-o", "json")
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    document = json.loads(done.stdout)
    assert (document["exit_code"], document["batches"]) == (code, [])
    assert message in document["error"]
    assert document["error"] in done.stderr
