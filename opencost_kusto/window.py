"""Windows: half-open UTC intervals of full minutes, resolved here because OpenCost resolves relative ones differently.

OpenCost takes `1h` as the unfinished clock hour with an end in the future; here it is the hour that ended last. It also
samples what runs every five minutes, and undercounts windows that do not begin and end on these marks, down to nothing:
so every window is widened to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from opencost_kusto.errors import UsageError
from opencost_kusto.times import DAY, MINUTE, is_date, is_duration, moment, period
from opencost_kusto.times import duration as duration

# How often OpenCost samples, unless its ETL_RESOLUTION_SECONDS says otherwise.
RESOLUTION = timedelta(minutes=5)
# A Sunday, since OpenCost's weeks begin on Sunday; every step that divides a day is aligned to midnight by it.
ANCHOR = datetime(1970, 1, 4, tzinfo=UTC)
_FORMS = (
    "a duration (30m, 1h, 1h30m, 7d, 2w), today, yesterday, week, lastweek, month, lastmonth, "
    "a date, or START,END in RFC 3339, dates, Unix seconds or one of these"
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
        """The full minute that contains an aware UTC time."""
        return cls(floor(moment, MINUTE), floor(moment, MINUTE) + MINUTE)

    @property
    def length(self) -> timedelta:
        """The time from start to end."""
        return self.end - self.start

    @property
    def minutes(self) -> float:
        """The length in minutes."""
        return (self.end - self.start) / MINUTE

    def before(self) -> Window:
        """The window of the same length that ends where this one starts."""
        return Window(self.start - self.length, self.start)

    def cut(self, longest: timedelta) -> Iterator[Window]:
        """Tile the window from its start, without gap or overlap, with windows of at most this length."""
        start = self.start
        while start < self.end:
            yield Window(start, min(start + longest, self.end))
            start += longest

    def steps(self, step: timedelta | None) -> Iterator[Window]:
        """Tile the window, without gap or overlap, with windows cut at multiples of `step`; uncut if None."""
        if step is None:
            yield self
            return
        start = self.start
        while start < self.end:
            boundary = ANCHOR + ((start - ANCHOR) // step + 1) * step
            yield Window(start, min(boundary, self.end))
            start = boundary

    def tiles(self, lengths: Sequence[timedelta]) -> Iterator[Window]:
        """Tile the window with the longest of `lengths` that fit on the clock; without lengths, the window itself.

        Time that fits none is a separate window, up to the next mark of the shortest.
        """
        start = self.start
        while lengths and start < self.end:
            fits = (one for one in lengths if not (start - ANCHOR) % one and start + one <= self.end)
            end = start + next(fits, _ceiling(start + MINUTE, lengths[-1]) - start)
            yield Window(start, min(end, self.end))
            start = end
        if not lengths:
            yield self


def stamp(moment: datetime) -> str:
    """The one spelling of a time that every OpenCost understands: `YYYY-MM-DDTHH:MM:SSZ`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(
    text: str,
    *,
    now: datetime,
    resolution: timedelta = RESOLUTION,
    on_result: Callable[[str], None] = lambda _: None,
) -> Window:
    """Resolve a user's text to a window on OpenCost's marks that has ended by `now` (an aware time).

    An end that is relative to now (1h, today) moves back to the last mark, with its duration; bounds that are written
    out move outwards, and the future is cut off. `on_result` is called with a sentence about it. Raises
    UsageError with the forms that exist.
    """
    minute, last = floor(now, MINUTE), floor(now, resolution)
    if is_duration(text):
        written = _back(minute, duration(text), text), minute
        start, end = _back(last, duration(text), text), last
    else:
        start, end = written = period(text, minute) or _pair(text.strip(), minute)
    if start >= last:
        raise UsageError(
            f"The window {text!r} lies in the future: it begins at {stamp(start)}, and what OpenCost has sampled ends "
            f"at {stamp(last)}."
        )
    result = Window(floor(start, resolution), _ceiling(min(end, last), resolution))
    if (result.start, result.end) != written:
        on_result(f"The window is {result}: it begins and ends on OpenCost's marks, every {_every(resolution)}.")
    return result


def between(start: str, end: str | None, *, now: datetime) -> Window:
    """The full minutes from one time in a user's text to another, or to `now` (an aware time), whichever is earlier.

    Raises UsageError for an invalid time, for a start in the future, and for an end that is not after it.
    """
    opening = _bound(start, "--from", now)
    closing = now if end is None else _bound(end, "--to", now)
    if opening >= closing:
        raise UsageError(f"The range ends at {stamp(closing)}, not after its start at {stamp(opening)}.")
    if floor(opening, MINUTE) >= floor(now, MINUTE):
        raise UsageError(f"The range lies in the future: it begins at {stamp(opening)}, and now is {stamp(now)}.")
    return Window(floor(opening, MINUTE), _ceiling(min(closing, floor(now, MINUTE)), MINUTE))


def since(text: str, *, now: datetime) -> datetime:
    """The time (UTC) of --since; raises UsageError for an invalid time, and for one in the future."""
    began = _bound(text, "--since", now)
    if began > now:
        raise UsageError(f"{text!r} lies in the future: it is {stamp(began)}, and now is {stamp(now)}.")
    return began


def covering(began: datetime, ended: datetime, resolution: timedelta = RESOLUTION) -> Window:
    """The window on OpenCost's marks in which both moments lie, and all between them; at least from mark to mark.

    Its end may be in the future.
    """
    start = floor(began, resolution)
    return Window(start, max(_ceiling(ended, resolution), start + resolution))


def check_step(step: timedelta, resolution: timedelta = RESOLUTION) -> timedelta:
    """The step, if its windows begin and end on OpenCost's marks; raises UsageError."""
    if step % resolution:
        raise UsageError(
            f"OpenCost samples every {_every(resolution)} and undercounts other windows: make --step a multiple of it."
        )
    return step


def resolution(text: str) -> timedelta:
    """Read OpenCost's sampling interval; raises UsageError for one that does not divide a day."""
    found = duration(text)
    if DAY % found:
        raise UsageError(f"--opencost-resolution {text!r} does not divide a day; write 1m, 5m or 10m.")
    return found


def _bound(text: str, option: str, now: datetime) -> datetime:
    """The time that an option gives."""
    try:
        return moment(text, now=now)
    except UsageError as error:
        raise UsageError(f"{option} {error}") from None


def floor(time: datetime, step: timedelta) -> datetime:
    """The last mark of a step at or before a time (UTC)."""
    utc = time.astimezone(UTC)
    return utc - (utc - ANCHOR) % step


def _ceiling(time: datetime, step: timedelta) -> datetime:
    mark = floor(time, step)
    return mark if mark == time else mark + step


def _every(resolution: timedelta) -> str:
    return f"{resolution / MINUTE:g} minutes"


def _back(minute: datetime, length: timedelta, text: str) -> datetime:
    try:
        return minute - length
    except OverflowError:
        raise UsageError(f"The window {text!r} reaches back before the calendar begins.") from None


def _pair(text: str, now: datetime) -> tuple[datetime, datetime]:
    start, separator, end = text.partition("," if "," in text else "/")
    if not separator and is_date(text):
        midnight = _part(text, text, now)
        return midnight, midnight + DAY
    if not separator:
        raise UsageError(f"{text!r} is not a window; write {_FORMS}.")
    opening, closing = _part(start, text, now), _part(end, text, now)
    if opening >= closing:
        raise UsageError(f"The window {text!r} ends at {stamp(closing)}, not after its start at {stamp(opening)}.")
    return opening, closing


def _part(part: str, text: str, now: datetime) -> datetime:
    try:
        return moment(part, now=now)
    except UsageError:
        raise UsageError(
            f"{part.strip()!r} in the window {text!r} is not a time; write {_FORMS}. Times need Z or an offset such as "
            "+01:00."
        ) from None
