"""The errors this program raises on purpose, one exit code per kind.

    OpenCostKustoError
    ├── UsageError        2  what was asked for cannot be done as it was asked
    ├── OpenCostError     3  OpenCost could not be reached, or refused
    ├── ContentError      4  OpenCost answered, and the answer cannot be trusted
    ├── KustoError        5  Kusto could not be reached, refused, or holds the wrong rows
    │   └── DuplicateError   Kusto holds more rows of a batch than were sent
    ├── NotLandedError    6  the deadline passed before the rows were in the table
    └── PartialError      7  some batches failed and some did not

Every message says what happened and what to do. One place, `cli.main`, catches the base class.
"""

from __future__ import annotations

from typing import ClassVar


class OpenCostKustoError(Exception):
    """Base of every error this package raises on purpose; `exit_code` is the process's exit code.

    `transient` says that asking again may help, `retry_after` (seconds) when the other side said how soon.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, transient: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.retry_after = retry_after


class UsageError(OpenCostKustoError):
    """An option, window, aggregate, URI or file given by the user cannot be used; exit code 2."""

    exit_code = 2


class OpenCostError(OpenCostKustoError):
    """OpenCost could not be reached, refused the request or reported a failure; exit code 3."""

    exit_code = 3


class ContentError(OpenCostKustoError):
    """OpenCost's answer is not whole or not what an OpenCost sends; exit code 4."""

    exit_code = 4


class KustoError(OpenCostKustoError):
    """Kusto could not be reached or refused; exit code 5."""

    exit_code = 5


class DuplicateError(KustoError):
    """Kusto holds more rows of a batch than were sent; exit code 5."""


class NotLandedError(OpenCostKustoError):
    """The deadline passed before every row was in its table; exit code 6."""

    exit_code = 6


class PartialError(OpenCostKustoError):
    """Some batches failed and some did not; exit code 7."""

    exit_code = 7
