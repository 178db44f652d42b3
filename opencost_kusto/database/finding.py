"""One line of the doctor's report: a hop, its result, and the command that fixes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.redact import redacted


class Status(StrEnum):
    """The status of a hop."""

    OK = "ok"
    # Information; everything that is always required works.
    NOTE = "note"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a hop; `cure` is a command to run, `exit_code` that of the process, 0 unless it failed."""

    hop: str
    status: Status
    message: str
    cure: str = ""
    exit_code: int = 0

    def document(self) -> dict[str, Any]:
        """The finding as JSON."""
        return asdict(self)


def failed(hop: str, error: OpenCostKustoError, cure: str = "") -> Finding:
    """A hop that failed with an error; `cure` is what to do if the error does not say."""
    return Finding(hop, Status.FAILED, redacted(error), error.cure or cure, error.exit_code)


def guarded(
    hop: str, check: Callable[[], Iterable[Finding]], *, optional: bool = False, cure: str = ""
) -> Iterator[Finding]:
    """The findings of a check; an error is a finding too, and only a note if the check is optional."""
    try:
        yield from check()
    except OpenCostKustoError as error:
        if optional:
            yield Finding(hop, Status.NOTE, f"cannot be read: {redacted(error)}", error.cure)
        else:
            yield failed(hop, error, cure)
