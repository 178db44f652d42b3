"""A run that is told to end from another thread: it gives back what it holds, as at an interruption."""

from __future__ import annotations

import threading


class Stopped(BaseException):
    """The run was told to end. Not an error of ours: nobody reports it, and nothing is half-reported."""


class Stop:
    """Tells a run to end; it heeds that between batches and while it waits."""

    def __init__(self) -> None:
        self._told = threading.Event()

    def tell(self) -> None:
        """Tell it."""
        self._told.set()

    def heed(self) -> None:
        """Raise Stopped if it was told."""
        if self._told.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """Wait so long, or until it is told, which raises Stopped."""
        self._told.wait(seconds)
        self.heed()
