"""`demo` and `emulator` as a user runs them: what they print, that it works, and how they end."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from opencost_kusto.cli import demo
from opencost_kusto.emulator import CLUSTERS, Emulator, KustoEmulator

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SAID = "This is a local emulator: "
SECONDS = 300
Lines = list[str]


@contextmanager
def _started(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs until the block ends, and at most five minutes; its output comes as it is printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    command = [sys.executable, "-m", "opencost_kusto", *words]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = threading.Timer(SECONDS, process.kill)
        deadline.start()
        try:
            yield process
        finally:
            deadline.cancel()
            process.kill()


def _until_up(process: subprocess.Popen[str]) -> Lines:
    """What was printed until the lines that reach the servers are there."""
    assert process.stdout is not None
    with Emulator() as any_servers:
        expected = len(demo.lines(any_servers))
    lines: Lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if len(_commands(lines)) == expected:
            return lines
    raise AssertionError("\n".join(lines))


def _commands(lines: Lines) -> Lines:
    """The lines that reach the servers."""
    return [line.strip() for line in lines if line.startswith("  opencost-kusto ")]


def _stopped(process: subprocess.Popen[str]) -> str:
    """Interrupt the process as Ctrl-C does, and return its stderr once it has ended well."""
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, ""), errors
    assert "Traceback" not in errors
    return errors


def _run(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run a printed line, with this Python's command in place of the installed one."""
    words = shlex.split(line)
    assert words[0] == "opencost-kusto"
    command = [sys.executable, "-m", "opencost_kusto", *words[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def _assert_the_answers(lines: Lines) -> None:
    """What landed of the last day of both clusters, and cost by namespace as bars, the largest first."""
    text = "\n".join(lines)
    assert lines[0].startswith(SAID)
    landed = re.findall(r"^sync: 49 batches of (\S+) in run demo: 49 landed; (\d+) rows$", text, re.MULTILINE)
    assert [name for name, _ in landed] == list(CLUSTERS)
    tables = re.findall(r"^(OpenCost\w+) +(\d+)(?: +(\d+\.\d\d))?$", text, re.MULTILINE)
    assert sum(int(rows) for _, rows, _ in tables) == sum(int(rows) for _, rows in landed)
    allocated = next(float(cost) for name, _, cost in tables if name == "OpenCostAllocation")
    assert allocated > 20
    bars = re.findall(r"^(\S+) +(\d+\.\d{4})  (█*)$", text, re.MULTILINE)
    costs = [float(cost) for _, cost, _ in bars]
    assert bars[0][0] == "ml"
    assert costs == sorted(costs, reverse=True)
    assert sum(costs) == pytest.approx(allocated, abs=0.01)
    assert [len(bar) for _, _, bar in bars] == [round(40 * cost / costs[0]) for cost in costs]


def test_the_demo_answers(tmp_path: Path) -> None:
    """`demo` says first that it is an emulator, lands the day, and prints cost by namespace."""
    with _started(tmp_path, "demo") as process:
        output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")
    _assert_the_answers(output.splitlines())
    assert re.search(r"^Done in [\d.]+ s\.$", output, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_keeps_its_servers(tmp_path: Path) -> None:
    """`demo --keep` prints lines that work as they stand against what it landed, and ends with 0 on Ctrl-C."""
    with _started(tmp_path, "demo", "--keep") as process:
        lines = _until_up(process)
        _assert_the_answers(lines)
        bootstrap, sync, *more = _commands(lines)
        done = _run(tmp_path, bootstrap)
        assert (done.returncode, done.stdout) == (0, "OpenCost is up to date; nothing changed.\n"), done.stderr
        done = _run(tmp_path, sync)
        assert done.returncode == 0, done.stderr
        # The metrics are there too when this minute's scrape is the demo's.
        assert re.search(r": (49 already landed|48 already landed, 1 landed); ", done.stdout), done.stdout
        for line in more:
            assert _run(tmp_path, line).returncode == 0, line
        assert _stopped(process) == "Stopped.\n"


def test_the_emulator_serves(tmp_path: Path) -> None:
    """`emulator` prints lines that bootstrap and fill its empty database, and ends with 0 on Ctrl-C."""
    with _started(tmp_path, "emulator") as process:
        lines = _until_up(process)
        assert lines[0].startswith(SAID)
        bootstrap, sync, *more = _commands(lines)
        done = _run(tmp_path, bootstrap)
        assert done.returncode == 0, done.stderr
        assert "commands run." in done.stdout
        # With no options but the addresses: the hour that ends now.
        done = _run(tmp_path, re.sub(r" --window \S+ --step 1h", "", sync))
        assert done.returncode == 0, done.stderr
        assert re.search(r": 3 landed; \d{3,} rows$", done.stdout.splitlines()[-1]), done.stdout
        for line in more:
            done = _run(tmp_path, line)
            assert done.returncode == 0, done.stderr
            assert done.stdout, line
        _stopped(process)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """A port that another process has ends with exit code 2 and a sentence, not a traceback."""
    with KustoEmulator() as taken:
        port = taken.url.rpartition(":")[2]
        done = _run(tmp_path, f"opencost-kusto emulator --kusto-port {port}")
    assert (done.returncode, done.stdout.count("\n")) == (2, 1)
    assert f"port {port} of 127.0.0.1 cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_emulator_answers_as_a_version(tmp_path: Path) -> None:
    """`--opencost-version` and `--opencost-store` decide what OpenCost answers: 1.119 with its built-in store here."""
    with _started(tmp_path, "emulator", "--opencost-version", "1.119", "--opencost-store", "built-in") as process:
        _, sync, *_ = _commands(_until_up(process))
        endpoint = shlex.split(sync)[3]
        with requests.Session() as session:
            today = session.get(f"{endpoint}/allocation", params={"window": "1d", "aggregate": "cluster"}, timeout=20)
            odd = session.get(f"{endpoint}/allocation", params={"window": "30m"}, timeout=20)
        assert "status" not in today.json()
        assert (odd.status_code, "failed to find MetricCollector" in odd.text) == (500, True)
        _stopped(process)


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    """The versions that there are, and exit code 2."""
    done = _run(tmp_path, "opencost-kusto emulator --opencost-version 1.2")
    assert done.returncode == 2
    assert "does not answer as OpenCost 1.2. Choose one of 1.111, 1.112, 1.119." in done.stderr
