"""The standard streams of the process, which accept every write: printing never ends a run with rows under way."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Callable
from typing import Any, TextIO

import typer

from opencost_kusto.errors import UsageError

# Bytes of rows that are written at a time.
_BUFFER = 1 << 16


class Output(io.RawIOBase):
    """A file descriptor that accepts every write: the first error is kept, and later writes are dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write some bytes; the number that is accepted, all of them once a write has failed."""
        while self.error is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                # Another process that shares the terminal or pipe has made it non-blocking.
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.error = error
        return len(data)

    def writable(self) -> bool:
        """True: it can be written to."""
        return True

    def fileno(self) -> int:
        """The file descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)


def prepare() -> None:
    """Make stdout and stderr accept every write and escape every character that their encoding does not have.

    On Windows Python's own streams are kept: a console there is no file descriptor that accepts bytes.
    """
    if sys.platform == "win32":
        return
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is taken: else the next socket would be the process's stdout or stderr.
            os.open(os.devnull, os.O_RDWR)
    # Without a stdout Python drops what is printed; without a stderr it would print that to stdout.
    sys.stdout = None if sys.stdout is None else _text(1, sys.stdout.encoding)
    sys.stderr = _text(2, sys.stderr.encoding if sys.stderr else "utf-8")


def _text(descriptor: int, encoding: str) -> TextIO:
    raw = Output(descriptor)
    buffered = io.BufferedWriter(raw, _BUFFER)
    return io.TextIOWrapper(buffered, encoding, "backslashreplace", line_buffering=descriptor == 2 or raw.isatty())


def checked(write: Callable[..., object]) -> Callable[..., None]:
    """The function, which ends a command that only writes once stdout accepts nothing more.

    It raises typer.Exit where the reader has closed the pipe, and UsageError for a full disk.
    """

    output = _output()

    def write_checked(*given: Any) -> None:
        write(*given)
        if output is not None and output.error is not None:
            raise _unwritable(output.error) or typer.Exit(0)

    return write_checked


def finish() -> UsageError | None:
    """Write what is still in memory; the error where stdout has not accepted everything.

    A reader that has closed the pipe, as `head` does, is no error.
    """
    output = _output()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    return None if output is None or output.error is None else _unwritable(output.error)


def _unwritable(error: OSError) -> UsageError | None:
    return None if error.errno == errno.EPIPE else UsageError(f"stdout cannot be written: {error.strerror}.")


def _output() -> Output | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw if isinstance(raw, Output) else None
