"""Times as people write them: one parser for windows, bounds, steps, and the parameters of functions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from opencost_kusto.errors import UsageError

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
_UNITS = {"w": timedelta(weeks=1), "d": DAY, "h": timedelta(hours=1), "m": MINUTE}
_DURATION = re.compile(r"(?=\d)(?:(\d+)[wW])?(?:(\d+)[dD])?(?:(\d+)[hH])?(?:(\d+)m)?", re.ASCII)
# Digits of one number of a duration: more would reach back before the year 1.
_DIGITS = 6
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
NAMED = ("today", "yesterday", "week", "lastweek", "month", "lastmonth")
FORMS = (
    "RFC 3339 with Z or an offset such as +01:00, a date, Unix seconds as date -u +%s prints them, now, "
    "how long ago (30m, 1h30m, 7d), or " + ", ".join(NAMED[:-1]) + " or " + NAMED[-1]
)


def utc_now() -> datetime:
    """The time now by this machine's clock, in UTC."""
    return datetime.now(UTC)


def is_duration(text: str) -> bool:
    """Whether a text has the form of a duration."""
    return _DURATION.fullmatch(text.strip()) is not None


def duration(text: str) -> timedelta:
    """Read `30m`, `1h30m`, `2d12h`, `2w`: numbers with w, d, h, m, largest first.

    Raises UsageError for anything else, for zero, and for `1M`, which others read as a month.
    """
    found = _DURATION.fullmatch(text.strip())
    numbers = found.groups(default="0") if found else ()
    if not any(map(int, numbers)) or max(map(len, numbers)) > _DIGITS:
        what = "too long a duration" if any(map(int, numbers)) else "not a duration"
        month = " M would be a month, which has no fixed length." if text.strip().endswith("M") else ""
        raise UsageError(
            f"{text!r} is {what}; write a number above 0 and m, h, d or w, such as 30m, 1h or 1h30m.{month}"
        )
    return sum((int(number) * unit for number, unit in zip(numbers, _UNITS.values(), strict=True)), timedelta())


def readable(length: timedelta) -> str:
    """A length for people: `2d 3h`, `3h 5m` or `5m`; 0m for a negative one, which results from differing clocks."""
    minutes = max(0, length // MINUTE)
    days, minutes = divmod(minutes, 24 * 60)
    hours, minutes = divmod(minutes, 60)
    return f"{days}d {hours}h" if days else f"{hours}h {minutes}m" if hours else f"{minutes}m"


def period(word: str, now: datetime) -> tuple[datetime, datetime] | None:
    """The period that a word names, in UTC: today up to `now`, yesterday, …; None for any other text."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    # OpenCost's weeks begin on Sunday.
    sunday = midnight - (midnight.isoweekday() % 7) * DAY
    first = midnight.replace(day=1)
    periods = {
        "today": (midnight, now),
        "yesterday": (midnight - DAY, midnight),
        "week": (sunday, now),
        "lastweek": (sunday - 7 * DAY, sunday),
        "month": (first, now),
        "lastmonth": ((first - DAY).replace(day=1), first),
    }
    return periods.get(word.strip().lower())


def moment(text: str, *, now: datetime) -> datetime:
    """The time that a text names, in UTC; of a word it is the beginning. `now` is aware.

    Raises UsageError with the valid forms for anything else.
    """
    text = text.strip()
    try:
        if text.lower() == "now":
            return now.astimezone(UTC)
        if is_duration(text):
            return now.astimezone(UTC) - duration(text)
        found = period(text, now)
        return found[0] if found else _read(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not a time; write {FORMS}.") from None


def is_date(text: str) -> bool:
    """Whether a text has the form of a date."""
    return _DATE.fullmatch(text.strip()) is not None


def _read(text: str) -> datetime:
    """A time in one of the absolute forms; raises ValueError or OverflowError."""
    if re.fullmatch(r"\d{9,11}", text, re.ASCII):
        return datetime.fromtimestamp(int(text), UTC)
    if is_date(text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    if not _TIME.fullmatch(text):
        raise ValueError(text)
    return datetime.fromisoformat(text.upper()).astimezone(UTC)
