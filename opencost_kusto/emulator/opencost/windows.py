"""The `window` and `step` parameters as the server reads them, its surprises included.

`1h` is the unfinished clock hour up to its future end; RFC 3339 pairs take a literal Z only; a step that cannot be
read is the whole window.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from opencost_kusto.emulator.opencost.sampling import Span

_DURATION: Final = re.compile(r"(\d+)([mhdw])")
_OFFSET: Final = re.compile(r"(\d+)([mhdw]) offset (\d+)([mhdw])")
_SECONDS: Final = re.compile(r"(\d+)[,|-](\d+)")
_RFC3339: Final = "%Y-%m-%dT%H:%M:%SZ"
_STEP: Final = re.compile(r"(\d+)(s|m|h|d|w)")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse(text: str, now: datetime) -> Span | None:
    """A window at a moment; None for what the server calls an illegal window."""
    found = _word(text, now)
    if found is None and (match := _DURATION.fullmatch(text)):
        found = _last(int(match[1]), match[2], now)
    if found is None and (match := _OFFSET.fullmatch(text)):
        end = now - timedelta(seconds=int(match[3]) * _UNITS[match[4]])
        found = end - timedelta(seconds=int(match[1]) * _UNITS[match[2]]), end
    if found is not None:
        return Span(found[0].timestamp(), found[1].timestamp())
    if match := _SECONDS.fullmatch(text):
        return Span(int(match[1]), int(match[2]))
    return _pair(text)


def step(text: str, window: Span) -> float:
    """The length of a set in seconds."""
    match = _STEP.fullmatch(text)
    length = int(match[1]) * _UNITS[match[2]] if match else 0
    return length or window.end - window.start


def _word(text: str, now: datetime) -> tuple[datetime, datetime] | None:
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    sunday = day - timedelta(days=(day.weekday() + 1) % 7)
    month = day.replace(day=1)
    return {
        "today": (day, day + timedelta(days=1)),
        "yesterday": (day - timedelta(days=1), day),
        "week": (sunday, now),
        "lastweek": (sunday - timedelta(days=7), sunday),
        "month": (month, now),
        "lastmonth": ((month - timedelta(days=1)).replace(day=1), month),
    }.get(text)


def _last(count: int, unit: str, now: datetime) -> tuple[datetime, datetime]:
    """The last units up to the end of the unfinished one; weeks are counted in days."""
    length = timedelta(days=1) if unit == "w" else timedelta(seconds=_UNITS[unit])
    count = count * 7 if unit == "w" else count
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    end = epoch + ((now - epoch) // length + 1) * length
    return end - count * length, end


def _pair(text: str) -> Span | None:
    first, _, last = text.partition(",")
    try:
        start, end = (datetime.strptime(bound, _RFC3339).replace(tzinfo=UTC) for bound in (first, last))
    except ValueError:
        return None
    return Span(start.timestamp(), end.timestamp())
