"""A command runs as if it were alone: its streams, its exit code, its signals, and the window it run_and_time in."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opencost_kusto.ci.command import CommandResult, SignalForwarder, executed, run_and_time
from opencost_kusto.ci.elapsed import Elapsed
from opencost_kusto.errors import UsageError
from opencost_kusto.window import Window

ROOT = Path(__file__).parents[2]
BEGAN = datetime(2026, 11, 23, 10, 0, 5, tzinfo=UTC)
PROGRAM = """
import sys
from opencost_kusto.ci.command import executed
from opencost_kusto.cli.termination import Process

process = Process()
sys.exit(process.run(lambda: executed(sys.argv[1:], process.signals_to)))
"""
# Says how often it was interrupted or terminated, and ends a moment after the first time.
COUNTING = (
    "trap 'n=${n}I' INT; trap 'n=${n}T' TERM; echo ready; "
    'while [ -z "$n" ]; do sleep 0.05; done; sleep 0.3; echo received $n; exit 9'
)


@contextmanager
def wrapping(*command: str, stdin: int = subprocess.DEVNULL, terminal: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A process of its own session that wraps the command; with `terminal`, stdin is what controls it."""
    arguments = [sys.executable, "-c", PROGRAM, *command]
    with subprocess.Popen(
        arguments,
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if terminal else None,
    ) as process:
        # Ends it too when it would never end, so that reading from it does.
        watch = threading.Timer(30, _kill, [process])
        watch.start()
        try:
            yield process
        finally:
            watch.cancel()
            _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def test_exit_codes_are_the_commands_own() -> None:
    """What the command ends with is what we give, and a signal that ends it counts from 128, as in a shell."""
    assert executed(["sh", "-c", "exit 0"]) == 0
    assert executed(["sh", "-c", "exit 7"]) == 7
    assert executed(["sh", "-c", "kill -KILL $$"]) == 128 + signal.SIGKILL


def test_a_missing_command(tmp_path: Path) -> None:
    """A command that cannot be started is refused by name."""
    (tmp_path / "text").write_text("no program", "utf-8")
    with pytest.raises(UsageError, match="The command 'no-such-command' cannot be run: No such file"):
        executed(["no-such-command", "--settle"])
    with pytest.raises(UsageError, match="cannot be run: Permission denied"):
        executed([str(tmp_path / "text")])


def test_streams_are_ours() -> None:
    """The command reads our stdin and writes our stdout."""
    with wrapping("tr", "a-z", "A-Z", stdin=subprocess.PIPE) as process:
        assert process.communicate("shop\n", timeout=30)[0] == "SHOP\n"


@pytest.mark.parametrize(("number", "received"), [(signal.SIGTERM, "T"), (signal.SIGINT, "I")])
def test_signals_are_passed_on(number: signal.Signals, received: str) -> None:
    """Without a terminal, a signal to us reaches the command once, and the command decides how to end."""
    with wrapping("sh", "-c", COUNTING) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == f"received {received}\n"
        assert process.wait(30) == 9


def test_a_signal_while_the_command_starts_is_passed_on() -> None:
    """A signal that arrives before the command has started is sent to it once it has."""
    forwarder = SignalForwarder()
    forwarder.send(signal.SIGTERM)
    with subprocess.Popen(["sleep", "30"]) as process:
        forwarder.started(process)
        assert process.wait() == -signal.SIGTERM


def test_an_interruption_by_the_terminal_arrives_once() -> None:
    """Ctrl-C on a terminal reaches the command only through the terminal, and the program waits for the command."""
    leader, follower = pty.openpty()
    try:
        with wrapping("sh", "-c", COUNTING, stdin=follower, terminal=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            os.write(leader, b"\x03")
            assert process.stdout.read() == "received I\n"
            assert process.wait(30) == 9
    finally:
        os.close(leader)
        os.close(follower)


@pytest.mark.parametrize(
    ("seconds", "end"), [(0, "10:05"), (295, "10:05"), (296, "10:10"), (3595, "11:00"), (-90, "10:05")]
)
def test_the_window_is_on_the_marks_around_it(seconds: int, end: str) -> None:
    """From the mark before it began to the mark after it ended, even when the clock was set back meanwhile."""
    times = iter([BEGAN, BEGAN + timedelta(seconds=seconds)])
    commands = []

    def execute(command: object) -> int:
        commands.append(command)
        return 3

    hour, minute = map(int, end.split(":"))
    window = Window(BEGAN.replace(second=0), BEGAN.replace(hour=hour, minute=minute, second=0))
    result = run_and_time(["load", "test"], now=lambda: next(times), execute=execute)
    assert result == CommandResult(3, Elapsed(BEGAN, BEGAN + timedelta(seconds=seconds)))
    assert result.elapsed.window == window
    assert next(result.elapsed.described({"": 1.0}))
    assert commands == [["load", "test"]]
