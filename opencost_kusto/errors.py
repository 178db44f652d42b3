"""The errors this package raises on purpose: an exit code for each class, a reason code for each cause.

    OpenCostKustoError
    ├── UsageError        2  an option, a name or a configuration cannot be used
    ├── OpenCostError     3  the source cannot be reached or refused: OpenCost, the Kubernetes API, TLS, rights
    ├── ContentError      4  the source responded, and the response cannot be trusted
    ├── KustoError        5  Kusto cannot be reached, refused, or holds the wrong rows
    │   └── DuplicateError   Kusto holds more rows of a batch than were sent
    ├── NotLandedError    6  rows were not in the table by the deadline, or the table is stale
    ├── PartialError      7  some batches failed and some did not
    └── EmptyError        8  nothing had a cost where a cost was expected

Every message says what failed, why, and what to do. One place, `cli.main`, catches the base class; an exception that
is not one of these is a defect, and ends with 70. Callers decide by class, `code` and `transient`, never by the text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class ReasonCode(StrEnum):
    """Why a batch failed, or a remark about one that did not; stored in the run log."""

    USAGE = "usage"
    # The other side: OpenCost or Kusto.
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed out"
    TLS = "tls"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not found"
    REDIRECTED = "redirected"
    REFUSED = "refused"
    # OpenCost no longer has the window, at the step requested.
    EXPIRED = "expired"
    # An empty response past retention, confirmed by what the longer window costs.
    CONFIRMED_EMPTY = "confirmed empty"
    # An empty response past retention: no cost, or expired.
    INCONCLUSIVE = "inconclusive"
    # The response.
    MALFORMED = "malformed"
    INCOMPLETE = "incomplete"
    OTHER_WINDOW = "other window"
    DUPLICATE_KEY = "duplicate key"
    TOO_LARGE = "too large"
    LATE_START = "late start"
    ROWS_HALVED = "rows halved"
    IMPLAUSIBLE_COST = "implausible cost"
    FOREIGN_CLUSTERS = "foreign clusters"
    # What Kusto holds.
    NOT_BOOTSTRAPPED = "not bootstrapped"
    SCHEMA_DRIFT = "schema drift"
    OTHER_CLUSTER = "other cluster"
    OTHER_CURRENCY = "other currency"
    # Entries of a source: what identifies its cluster, and a cluster that took over a name.
    IDENTIFIED = "identified"
    ADOPTED = "adopted"
    CHANGED = "changed"
    DAMAGED = "damaged"
    NOT_LANDED = "not landed"


class OpenCostKustoError(Exception):
    """Base of every error this package raises on purpose; `exit_code` is the process's exit code.

    `code` is the kind of the cause. `transient`: another attempt may succeed; `once`: more than one more will not help;
    `retry_after`: seconds to wait, from the response; `cure`: what resolves it, one line for each
    command to run.
    """

    exit_code: ClassVar[int] = 70
    default_code: ClassVar[ReasonCode] = ReasonCode.REFUSED

    def __init__(
        self,
        message: str,
        *,
        code: ReasonCode | None = None,
        transient: bool = False,
        once: bool = False,
        retry_after: float | None = None,
        cure: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.transient = transient
        self.once = once
        self.retry_after = retry_after
        self.cure = cure


class UsageError(OpenCostKustoError):
    """An option, window, aggregate, URI, name or file given by the user cannot be used; exit code 2."""

    exit_code = 2
    default_code = ReasonCode.USAGE


class OpenCostError(OpenCostKustoError):
    """OpenCost could not be reached, refused the request or reported a failure; exit code 3."""

    exit_code = 3


class ContentError(OpenCostKustoError):
    """OpenCost's response is incomplete, is not what an OpenCost sends, or is for another request; exit code 4."""

    exit_code = 4
    default_code = ReasonCode.MALFORMED


class KustoError(OpenCostKustoError):
    """Kusto could not be reached, refused, or holds the wrong rows; exit code 5."""

    exit_code = 5


class DuplicateError(KustoError):
    """Kusto holds more rows of a batch than were sent; exit code 5."""

    default_code = ReasonCode.DAMAGED


class NotLandedError(OpenCostKustoError):
    """Rows were not in their table by the deadline, or the table is stale; exit code 6."""

    exit_code = 6
    default_code = ReasonCode.NOT_LANDED


class PartialError(OpenCostKustoError):
    """Some batches failed and some did not; exit code 7."""

    exit_code = 7


class EmptyError(OpenCostKustoError):
    """Nothing had a cost where a cost was expected; exit code 8."""

    exit_code = 8
