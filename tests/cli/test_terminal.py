"""What a terminal shows, on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from tests.support.recorded import OpenCostEmulator

ROOT = Path(__file__).parents[2]
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def _on_terminal(folder: Path, *words: str) -> tuple[int, str, str]:
    """Run the command with stderr on a terminal: its exit code, stdout, and what the terminal got."""
    leader, follower = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    command = [sys.executable, "-m", "opencost_kusto", *words]
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


def test_a_terminal_shows_a_bar_and_gets_its_cursor_back(tmp_path: Path) -> None:
    """The bar is on stderr alone, the lines are on stdout, and the cursor is visible when the run has ended."""
    with OpenCostEmulator() as opencost:
        code, written, shown = _on_terminal(tmp_path, *_dry_run(opencost.url, "2026-11-23T10:00Z,2026-11-23T11:00Z"))
    assert code == 0
    assert written.startswith("aks-shop-prod-weu assets     2026-11-23T10:00:00Z 60m  written  19 rows")
    assert "\x1b" not in written
    assert "batches" in shown
    assert HIDE in shown
    assert shown.rindex(SHOW) > shown.rindex(HIDE)


def test_a_run_that_fails_gives_the_cursor_back(tmp_path: Path) -> None:
    """A run that ends in an error leaves the cursor visible too."""
    (tmp_path / "rows").write_text("in the way")
    with OpenCostEmulator() as opencost:
        code, _, shown = _on_terminal(tmp_path, *_dry_run(opencost.url, "2026-11-23T10:00Z,2026-11-23T11:00Z"))
    assert code == 2
    assert "cannot be made" in shown
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
