"""Windows: half-open UTC intervals of whole minutes, resolved by us because OpenCost's own words surprise.

OpenCost takes `1h` as the unfinished clock hour with an end in the future; here it is the hour that ends now.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from opencost_kusto.errors import UsageError

_MINUTE = timedelta(minutes=1)
_UNITS = {"m": _MINUTE, "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
# A Sunday, since OpenCost's weeks begin on Sunday; every step that divides a day is aligned to midnight by it.
ANCHOR = datetime(1970, 1, 4, tzinfo=UTC)
# Digits of a duration: more reach back before the calendar begins.
_DIGITS = 6
_FORMS = (
    "a duration (30m, 1h, 24h, 7d, 2w), today, yesterday, week, lastweek, month, lastmonth, "
    "a date, or START,END in RFC 3339, dates or Unix seconds"
)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The interval from `start` up to, and not including, `end`; both UTC and on a whole minute."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for bound in (self.start, self.end):
            if bound.tzinfo is not UTC or bound.second or bound.microsecond:
                raise ValueError(f"a window's bounds are whole UTC minutes, not {bound!r}")
        if self.start >= self.end:
            raise UsageError(f"The window ends at {stamp(self.end)}, not after its start at {stamp(self.start)}.")

    def __str__(self) -> str:
        return f"{stamp(self.start)},{stamp(self.end)}"

    @classmethod
    def minute(cls, moment: datetime) -> Window:
        """The whole minute in which an aware UTC moment lies."""
        return cls(_floor(moment), _floor(moment) + _MINUTE)

    @property
    def length(self) -> timedelta:
        """The time from start to end."""
        return self.end - self.start

    @property
    def minutes(self) -> float:
        """The length in minutes."""
        return (self.end - self.start) / _MINUTE

    def steps(self, step: timedelta | None) -> Iterator[Window]:
        """Tile the window, without gap or overlap, with windows cut at multiples of `step`; whole if None."""
        if step is None:
            yield self
            return
        start = self.start
        while start < self.end:
            boundary = ANCHOR + ((start - ANCHOR) // step + 1) * step
            yield Window(start, min(boundary, self.end))
            start = boundary


def stamp(moment: datetime) -> str:
    """The one spelling of a time that every OpenCost understands: `YYYY-MM-DDTHH:MM:SSZ`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(text: str) -> timedelta:
    """Read `30m`, `1h`, `7d`, `2w`; raises UsageError for anything else and for zero."""
    match = re.fullmatch(r"(\d+)([mhdw])", text.strip().lower())
    if not match or not int(match[1]) or len(match[1]) > _DIGITS:
        what = "too long a duration" if match and int(match[1]) else "not a duration"
        raise UsageError(f"{text!r} is {what}; write a number above 0 and m, h, d or w, such as 30m or 1h.")
    return int(match[1]) * _UNITS[match[2]]


def parse(text: str, *, now: datetime, on_result: Callable[[str], None] = lambda _: None) -> Window:
    """Resolve what a user wrote to a window that does not end after the minute of `now` (an aware time).

    Bounds given to the second are widened to whole minutes, and what has not come yet is cut off; `tell` is given a
    sentence about it. Raises UsageError with the forms it knows.
    """
    minute = _floor(now)
    word = text.strip().lower()
    if re.fullmatch(r"\d+[mhdw]", word):
        return Window(_back(minute, duration(word), text), minute)
    window = _named(word, minute)
    if window is None:
        window = _pair(text.strip())
    if _floor(window[0]) >= minute:
        raise UsageError(
            f"The window {text!r} lies in the future: it begins at {stamp(window[0])}, and now is {stamp(minute)}."
        )
    result = Window(_floor(window[0]), min(_ceiling(window[1]), minute))
    if (result.start, result.end) != window:
        on_result(f"The window is {result}: bounds are whole minutes, and nothing ends in the future.")
    return result


def between(start: str, end: str | None, *, now: datetime) -> Window:
    """The whole minutes from one time a user wrote up to another, or to `now` (an aware time), whichever is earlier.

    Raises UsageError for what is no time, for a start that has not come yet, and for an end that is not after it.
    """
    opening = _told(start, "--from", "begin")
    closing = now if end is None else _told(end, "--to", "end")
    if opening >= closing:
        raise UsageError(f"The range ends at {stamp(closing)}, not after its start at {stamp(opening)}.")
    if _floor(opening) >= _floor(now):
        raise UsageError(f"The range lies in the future: it begins at {stamp(opening)}, and now is {stamp(now)}.")
    return Window(_floor(opening), min(_ceiling(closing), _floor(now)))


def since(text: str, *, now: datetime) -> Window:
    """The whole minutes from a time a user wrote up to `now` (an aware time).

    Takes what `START` of a window takes. The last minute may not be over yet: OpenCost is asked when it is. Raises
    UsageError for what is no time, and for one that has not come yet.
    """
    began = _told(text, "--since", "begin")
    if began > now:
        raise UsageError(f"{text!r} lies in the future: it is {stamp(began)}, and now is {stamp(now)}.")
    return covering(began, now)


def covering(began: datetime, ended: datetime) -> Window:
    """The whole minutes in which both moments lie, and all between them; at least one."""
    return Window(_floor(began), max(_ceiling(ended), _floor(began) + _MINUTE))


def _told(text: str, option: str, what: str) -> datetime:
    """The time that an option says something begins or ends at."""
    try:
        return _read(text.strip())
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text!r} is not a time to {what} at; write RFC 3339 with Z or an offset such as +01:00, a date, "
            "or Unix seconds, as date -u +%s prints them."
        ) from None


def _floor(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def _ceiling(moment: datetime) -> datetime:
    return _floor(moment) if _floor(moment) == moment else _floor(moment) + _MINUTE


def _back(minute: datetime, length: timedelta, text: str) -> datetime:
    try:
        return minute - length
    except OverflowError:
        raise UsageError(f"The window {text!r} reaches back before the calendar begins.") from None


def _named(word: str, minute: datetime) -> tuple[datetime, datetime] | None:
    midnight = minute.replace(hour=0, minute=0)
    day = _UNITS["d"]
    sunday = midnight - (midnight.isoweekday() % 7) * day
    first = midnight.replace(day=1)
    windows = {
        "today": (midnight, minute),
        "yesterday": (midnight - day, midnight),
        "week": (sunday, minute),
        "lastweek": (sunday - 7 * day, sunday),
        "month": (first, minute),
        "lastmonth": ((first - day).replace(day=1), first),
    }
    return windows.get(word)


def _pair(text: str) -> tuple[datetime, datetime]:
    start, separator, end = text.partition("," if "," in text else "/")
    if not separator and re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        midnight = _moment(text, text)
        return midnight, midnight + _UNITS["d"]
    if not separator:
        raise UsageError(f"{text!r} is not a window; write {_FORMS}.")
    opening, closing = _moment(start, text), _moment(end, text)
    if opening >= closing:
        raise UsageError(f"The window {text!r} ends at {stamp(closing)}, not after its start at {stamp(opening)}.")
    return opening, closing


def _moment(part: str, text: str) -> datetime:
    part = part.strip()
    try:
        return _read(part)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{part!r} in the window {text!r} is not a time; write {_FORMS}. Times need Z or an offset such as +01:00."
        ) from None


def _read(text: str) -> datetime:
    """A time as people write one; raises ValueError or OverflowError for anything else."""
    if re.fullmatch(r"\d{9,11}", text):
        return datetime.fromtimestamp(int(text), UTC)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)", text):
        raise ValueError(text)
    return datetime.fromisoformat(text.upper()).astimezone(UTC)
