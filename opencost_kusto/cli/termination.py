"""How a command ends when it is broken off, cannot print, or owes its reader a JSON document."""

from __future__ import annotations

import errno
import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from opencost_kusto.errors import OpenCostKustoError, UsageError
from opencost_kusto.result import unreported

# What a write to stdout fails with: a full disk, a reader that has gone, a terminal that has.
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE, errno.EIO, errno.EBADF}


class Interrupted(BaseException):
    """The process was interrupted, or told to end, by a signal; the text says so."""

    def __init__(self, number: int, said: str = "interrupted.") -> None:
        super().__init__(said)
        self.exit_code = 128 + number
        self.number = number


def told_to_end(number: int, _: Any) -> NoReturn:
    """A handler of signals: gives back what is held on the way out."""
    raise Interrupted(number)


@contextmanager
def written() -> Iterator[None]:
    """Whatever is printed within has left the process at the end; raises UsageError where stdout does not take it."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        # Nothing can be told to it any more, and the flush at the very end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UsageError(f"stdout cannot be written: {error.strerror}.") from error


def ending(command: Callable[..., None], *, brings: bool) -> Callable[..., None]:
    """The command, ending as it should: `brings` says that rows may be under way, and that --json is of a report.

    An error that comes before the report is a document too: its exit code, its sentence, and no batches.
    """

    @functools.wraps(command)
    def run(**given: Any) -> None:
        with written():
            try:
                command(**given)
            except OpenCostKustoError as error:
                if brings and given.get("as_json"):
                    print(json.dumps(unreported(error.exit_code, error)))
                raise
            except (KeyboardInterrupt, Interrupted) as end:
                # The command line's own library would end an interrupted process without a word.
                number = end.number if isinstance(end, Interrupted) else signal.SIGINT
                later = "; what was not reported landed may land still. Run again." if brings else "."
                raise Interrupted(number, f"interrupted{later}") from None

    return run
