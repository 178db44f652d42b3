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

from opencost_kusto.cli import demo
from opencost_kusto.emulator import Emulator, KustoEmulator

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SAID = "This is a local stand-in: "
SECONDS = 60
HOUR = "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"
Lines = list[str]


@contextmanager
def _started(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs until the block ends, and at most a minute; its output comes as it is printed."""
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
    """The totals of the recorded day, and cost by namespace as bars, dearest first."""
    text = "\n".join(lines)
    assert lines[0].startswith(SAID)
    assert re.search(r"^sync: 49 batches of aks-shop-prod-weu in run demo: 49 landed; 2975 rows$", text, re.MULTILINE)
    assert re.search(r"^OpenCostAllocation +1478 +26\.44$", text, re.MULTILINE)
    assert re.search(r"^OpenCostAssets +456 +32\.33$", text, re.MULTILINE)
    assert re.search(r"^OpenCostMetrics +1041$", text, re.MULTILINE)
    bars = re.findall(r"^(\S+) +(\d+\.\d{4})  (█*)$", text, re.MULTILINE)
    costs = [float(cost) for _, cost, _ in bars]
    assert bars[0][0] == "ml"
    assert len(bars) == 8
    assert costs == sorted(costs, reverse=True)
    assert sum(costs) == pytest.approx(26.44, abs=0.01)
    assert [len(bar) for _, _, bar in bars] == [round(40 * cost / costs[0]) for cost in costs]


def test_the_demo_answers(tmp_path: Path) -> None:
    """`demo` says first that it is a stand-in, lands the day, answers in KQL, and ends by itself within 30 s."""
    with _started(tmp_path, "demo") as process:
        output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")
    _assert_the_answers(output.splitlines())
    took = re.search(r"^Done in ([\d.]+) s\.$", output, re.MULTILINE)
    assert took is not None
    assert float(took[1]) < 30
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
        done = _run(tmp_path, f"{sync} --window {HOUR}")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].endswith(": 3 landed; 1121 rows")
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
