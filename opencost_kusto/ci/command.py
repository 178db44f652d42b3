"""Run a command, and determine the window in which it ran."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

from opencost_kusto.ci.elapsed import Elapsed
from opencost_kusto.errors import UsageError
from opencost_kusto.times import utc_now
from opencost_kusto.window import RESOLUTION


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The exit code of a command, and when it ran."""

    exit_code: int
    elapsed: Elapsed


# Takes a function of a signal number; returns a context in which signals are sent to it.
SignalsTo = Callable[[Callable[[int], None]], AbstractContextManager[None]]


def executed(command: Sequence[str], signals_to: SignalsTo = lambda _: nullcontext()) -> int:
    """Run a command with this process's stdin, stdout and stderr; return its exit code, 128 + n for signal n.

    SIGTERM is forwarded to the command, and so is SIGINT if no terminal has sent it.
    Raises UsageError when the command cannot be run.
    """
    forwarder = SignalForwarder()
    with signals_to(forwarder.send):
        try:
            process = subprocess.Popen(command)
        except OSError as error:
            raise UsageError(f"The command {command[0]!r} cannot be run: {error.strerror}.") from error
        forwarder.started(process)
        code = process.wait()
    return code if code >= 0 else 128 - code


class SignalForwarder:
    """Sends signals to a process, also those that arrived before it started; called from two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def send(self, number: int) -> None:
        """Forward a signal, unless it is Ctrl-C on a terminal, which the command receives directly."""
        if number == signal.SIGINT and _on_terminal():
            return
        with self._lock:
            if self._process is None:
                self._early.append(number)
            else:
                self._process.send_signal(number)

    def started(self, process: subprocess.Popen[bytes]) -> None:
        """Set the process, and send it the signals that have arrived."""
        with self._lock:
            self._process = process
            for number in self._early:
                process.send_signal(number)


def run_and_time(
    command: Sequence[str],
    *,
    now: Callable[[], datetime] = utc_now,
    execute: Callable[[Sequence[str]], int] = executed,
    resolution: timedelta = RESOLUTION,
) -> CommandResult:
    """Run a command to its end; raises UsageError when it cannot be run."""
    began = now()
    exit_code = execute(command)
    return CommandResult(exit_code, Elapsed(began, now(), resolution))


def _on_terminal() -> bool:
    """Whether a terminal controls this process, so that the command receives Ctrl-C directly."""
    if sys.platform == "win32":
        # A console sends Ctrl-C to each of its processes, and a signal cannot be sent to one.
        return True
    try:
        os.close(os.open(os.ctermid(), os.O_RDONLY))
    except OSError:
        return False
    return True
