"""How the process ends: signals, errors, and the exit code."""

from __future__ import annotations

import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from select import select
from typing import Any

from opencost_kusto.cancel import Cancelled, CancelToken
from opencost_kusto.cli.console import Console
from opencost_kusto.cli.usage import refusal
from opencost_kusto.config import Config
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.redact import first_sentence, redacted

# Seconds in which a cancelled command may release what it holds; one with rows under way may have to drop a table.
_GRACE, _GRACE_LOADING = 1.0, 10.0
# What the thread of the command writes among the numbers of signals.
_DONE = b"\0"


class Process:
    """What a command needs of its process: cancellation, signals and the console.

    The command runs on a thread of its own. The main thread reads the numbers of signals from a socket, to which
    Python's own handler writes them, so nothing is ever raised from a handler. The first signal cancels, the second
    ends the process at once, as does the end of the grace (seconds).
    """

    def __init__(self, grace: float | None = None) -> None:
        self._grace = grace
        self.cancel = CancelToken()
        self.console = Console()
        self.config = Config()
        # Set by the command line: rows may be under way.
        self.loading = False
        self.signal = 0
        self._receiver: Callable[[int], None] | None = None

    @contextmanager
    def signals_to(self, receiver: Callable[[int], None]) -> Iterator[None]:
        """Within it, signals go to `receiver`, on the main thread, and cancel nothing."""
        self._receiver = receiver
        try:
            yield
        finally:
            self._receiver = None

    def run(self, work: Callable[[], int]) -> int:
        """Do the work; its exit code, or 128 + the signal that arrived before the end."""
        codes: list[int] = []
        receiving, sending = socket.socketpair()

        def guarded() -> None:
            try:
                codes.append(self._guarded(work))
            finally:
                sending.send(_DONE)

        sending.setblocking(False)
        signal.set_wakeup_fd(sending.fileno())
        # A handler of Python's own is needed for the number to be written; it does nothing.
        before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
        threading.Thread(target=guarded, name="command", daemon=True).start()
        self._wait(receiving)
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            # Later signals end the process as the system does.
            signal.signal(number, signal.SIG_DFL if self.signal else handler)
        if not self.signal:
            return codes[0]
        later = " Batches not reported as landed may still arrive. Run the command again." if self.loading else ""
        return self.fail(f"Interrupted by {signal.Signals(self.signal).name}.{later}", 128 + self.signal)

    def _wait(self, receiving: socket.socket) -> None:
        """Return when the work has ended, at a second signal, or when a cancelled command has used up its grace."""
        deadline: float | None = None
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select([receiving], [], [], left)[0]:
                return
            number = receiving.recv(1)[0]
            if number == _DONE[0] or self.signal:
                return
            if self._receiver is not None:
                self._receiver(number)
                continue
            self.signal = number
            self.cancel.cancel()
            grace = _GRACE_LOADING if self.loading else _GRACE
            deadline = time.monotonic() + (grace if self._grace is None else self._grace)

    def _guarded(self, work: Callable[[], int]) -> int:
        """The exit code of the work, whatever it raises; every error is printed as one sentence."""
        try:
            return work()
        except Cancelled:
            return 128 + self.signal
        except OpenCostKustoError as error:
            return self.fail(redacted(error), error.exit_code)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        except Exception as error:
            return self._refused(error) if hasattr(error, "show") else self._defect(error)

    def fail(self, text: str, exit_code: int) -> int:
        """Print the error, and return the exit code."""
        self.console.error(text, exit_code)
        return exit_code

    def _refused(self, error: Any) -> int:
        """Typer's own refusal of an option or command; a call without a command gets the help."""
        text = refusal(error)
        if text is not None:
            return self.fail(text, int(error.exit_code))
        error.show()
        return int(error.exit_code)

    def _defect(self, error: Exception) -> int:
        """Print an unexpected exception, and return its exit code."""
        self.console.traceback(redacted("".join(traceback.format_exception(error))))
        more = "" if self.console.verbose else " Run again with --verbose for the traceback."
        text = first_sentence(str(error)).rstrip(".")
        return self.fail(f"Internal error: {type(error).__name__}: {text}.{more}", OpenCostKustoError.exit_code)
