"""Cooperative cancellation: a cancelled run releases its resources and reports only what it has verified."""

from __future__ import annotations

import threading
import time


class Cancelled(BaseException):
    """Cancellation was requested. Not an error of this package, so no handler reports it as a failure."""


class CancelToken:
    """Requests cancellation from any thread; a run checks it between batches and while it waits.

    All waits of a run are `sleep` and are measured by `clock`, so a test can pass a token whose waits are short.

    A signal handler must not call it: the thread that it interrupts may hold the lock of the event.
    """

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether cancellation was requested."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Request cancellation, and wake every thread that waits."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise Cancelled if cancellation was requested."""
        if self._cancelled.is_set():
            raise Cancelled

    def clock(self) -> float:
        """Seconds on the monotonic clock that `sleep` moves on."""
        return time.monotonic()

    def sleep(self, seconds: float | None = None) -> None:
        """Wait for that many seconds, or without end; raise Cancelled as soon as cancellation is requested."""
        self._cancelled.wait(seconds)
        self.check()
