"""Times in the headers of a response."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST_WAIT = 120.0


def date(header: str | None) -> datetime | None:
    """A Date header as a time in UTC; None where there is none."""
    try:
        return parsedate_to_datetime(header).astimezone(UTC) if header else None
    except (ValueError, OverflowError):
        return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Retry-After as seconds, at most two minutes; it may be a number or a date."""
    header = headers.get("Retry-After")
    if not header:
        return None
    try:
        wait = float(header)
    except ValueError:
        try:
            wait = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(wait) else min(max(wait, 0.0), _LONGEST_WAIT)
