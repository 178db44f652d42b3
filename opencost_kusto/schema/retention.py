"""The time for which OpenCost's built-in store keeps a window (`Table.retention`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta


def kept_for(length: timedelta, retention: Mapping[timedelta, int]) -> timedelta | None:
    """The time after its start when a window of this length may have left the built-in store; None if it never does.

    A window is in the buckets of the longest length that is no longer than itself, else in the shortest ones.
    """
    if not retention:
        return None
    fits = [kept for kept in retention if kept <= length]
    resolution = max(fits, default=min(retention))
    return resolution * (retention[resolution] - 1)
