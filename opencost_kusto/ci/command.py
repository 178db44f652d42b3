"""A command that runs inside ours, and the window in which it run_and_time."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from opencost_kusto.ci.settle import clock
from opencost_kusto.errors import UsageError
from opencost_kusto.window import Window, covering


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended, and the whole minutes in which it run_and_time; the last may not be over yet."""

    exit_code: int
    window: Window


def executed(command: Sequence[str]) -> int:
    """Run a command with our own stdin, stdout and stderr; its exit code as a shell tells it: 128 + n for signal n.

    Signals are the command's to decide about: SIGTERM is passed on, and SIGINT where no terminal has told it already.
    Raises UsageError when it cannot be run.
    """
    with forward_signals() as started:
        try:
            process = subprocess.Popen(command)
        except OSError as error:
            raise UsageError(f"The command {command[0]!r} cannot be run: {error.strerror}.") from error
        started(process)
        code = process.wait()
    return code if code >= 0 else 128 - code


def run_and_time(
    command: Sequence[str],
    *,
    now: Callable[[], datetime] = clock,
    execute: Callable[[Sequence[str]], int] = executed,
) -> CommandResult:
    """Run a command to its end; raises UsageError when it cannot be run."""
    began = now()
    exit_code = execute(command)
    return CommandResult(exit_code, covering(began, now()))


@contextmanager
def forward_signals() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Within it, signals to us go to the process that the given function is told, those before it started too."""
    processes: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def pass_on(number: int, _: Any) -> None:
        if number == signal.SIGINT and _on_terminal():
            return
        if processes:
            processes[0].send_signal(number)
        else:
            early.append(number)

    def started(process: subprocess.Popen[bytes]) -> None:
        processes.append(process)
        for number in early:
            process.send_signal(number)

    # Handlers are not inherited by the command, as ignoring would be.
    handlers = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield started
    finally:
        for number, before in handlers.items():
            signal.signal(number, before)


def _on_terminal() -> bool:
    """Whether a terminal controls us: then Ctrl-C reaches the command without us."""
    try:
        os.close(os.open(os.ctermid(), os.O_RDONLY))
    except OSError:
        return False
    return True
