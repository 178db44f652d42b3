"""What a terminal shows, on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from opencost_kusto.emulator import Reply
from tests.support.recorded import OpenCostEmulator

ROOT = Path(__file__).parents[2]
HOUR = "2026-11-23T10:00Z,2026-11-23T11:00Z"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def _on_terminal(folder: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run the command with stderr on a terminal: its exit code, stdout, and what the terminal got."""
    leader, follower = pty.openpty()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
        **variables,
    }
    command = [sys.executable, "-m", "opencost_kusto", *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=follower) as process:
        os.close(follower)
        shown = b""
        try:
            while piece := os.read(leader, 4096):
                shown += piece
        except OSError:
            # Linux says that the other end is closed by an error.
            pass
        finally:
            os.close(leader)
        assert process.stdout is not None
        written = process.stdout.read()
    return process.returncode, written.decode(), shown.decode()


def _dry_run(url: str, window: str) -> tuple[str, ...]:
    return ("sync", "--endpoint", url, "--window", window, "--dataset", "assets", "--output", "rows")


def test_a_terminal_shows_live_lines_and_gets_its_cursor_back(tmp_path: Path) -> None:
    """Live lines are on stderr alone, the table is on stdout, and the cursor is visible when the run has ended."""
    with OpenCostEmulator() as opencost:
        code, written, shown = _on_terminal(tmp_path, *_dry_run(opencost.url, HOUR))
    assert code == 0
    assert written.splitlines()[0].split() == ["Cluster", "Dataset", "Outcome", "Batches", "Rows", "Cost"]
    assert "\x1b" not in written
    assert re.search(r"aks\S+ assets", shown)
    # Before OpenCost has answered, the dataset has a line already.
    assert shown.index("requested") < shown.index("written")
    assert "INFO" not in shown
    assert shown.rindex(SHOW) > shown.rindex(HIDE)


def test_verbose_prints_each_batch_on_a_terminal(tmp_path: Path) -> None:
    """With -v the line of each batch stands above the live lines, at any width; the table has their sums."""
    with OpenCostEmulator() as opencost:
        code, written, shown = _on_terminal(tmp_path, *_dry_run(opencost.url, HOUR), "-v")
    assert code == 0
    assert re.search(r"assets \S+Z 60m written: \d+ rows", shown)
    assert len(re.findall("assets", written)) == 1


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_colours_and_live_lines_can_be_left_out(tmp_path: Path, variable: str) -> None:
    """NO_COLOR leaves colours out, and a terminal that is dumb gets no control sequence at all."""
    arguments = ("sync", "--endpoint", "http://127.0.0.1:9", "--request-timeout", "1", "--output", "rows")
    value = "1" if variable == "NO_COLOR" else "dumb"
    code, _, shown = _on_terminal(tmp_path, *arguments, **{variable: value})
    assert code == 3
    assert "\x1b[1;31m" not in shown
    assert (variable == "TERM") == ("\x1b" not in shown), shown
    code, _, shown = _on_terminal(tmp_path, *arguments)
    assert "\x1b[1;31mopencost-kusto: " in shown


def test_a_run_that_fails_gives_the_cursor_back(tmp_path: Path) -> None:
    """A run whose batch fails leaves the cursor visible too, and says why below the table."""
    with OpenCostEmulator(responder=lambda path, _: Reply(400, {}, b"no") if path == "/assets" else None) as one:
        code, written, shown = _on_terminal(tmp_path, *_dry_run(one.url, HOUR))
    assert code == 3
    assert "failed: " in written
    assert re.search(r"assets \S+Z 60m failed\. OpenCost", shown)
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
