"""One line of the doctor's report: a hop, what was measured, and the one command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.redact import redacted


class Status(StrEnum):
    """How a hop is."""

    OK = "ok"
    # Worth knowing; everything works, or nothing that is always needed is missing.
    NOTE = "note"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found at a hop; `cure` is a command to run, `exit_code` that of the process, 0 unless it failed."""

    hop: str
    status: Status
    said: str
    cure: str = ""
    exit_code: int = 0

    def document(self) -> dict[str, Any]:
        """The finding as JSON."""
        return asdict(self)


def failed(hop: str, error: OpenCostKustoError) -> Finding:
    """A hop that an error ended; the error's sentence has what to do about it."""
    return Finding(hop, Status.FAILED, redacted(error), exit_code=error.exit_code)


def guarded(hop: str, check: Callable[[], Iterable[Finding]], *, optional: bool = False) -> Iterator[Finding]:
    """The findings of a check; an error of it is one too, and no more than a note where the check is optional."""
    try:
        yield from check()
    except OpenCostKustoError as error:
        if optional:
            yield Finding(hop, Status.NOTE, f"cannot be read: {redacted(error)}")
        else:
            yield failed(hop, error)
