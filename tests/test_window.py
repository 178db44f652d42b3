"""Windows: every word people may write, clear refusals, and steps that tile without gap or overlap."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from opencost_kusto.errors import UsageError
from opencost_kusto.times import moment
from opencost_kusto.window import Window, between, check_step, covering, duration, parse, resolution, since, stamp

# A Tuesday.
NOW = datetime(2026, 11, 24, 7, 41, 30, 5, tzinfo=UTC)
SUNDAY = datetime(1970, 1, 4, tzinfo=UTC)


def at(text: str) -> datetime:
    """`11-24 07:41` of 2026, in UTC."""
    return datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        # What is relative to now ends at the last mark: five minutes are how often OpenCost samples.
        ("30m", "11-24 07:10", "11-24 07:40"),
        ("1h", "11-24 06:40", "11-24 07:40"),
        (" 1H ", "11-24 06:40", "11-24 07:40"),
        ("1h30m", "11-24 06:10", "11-24 07:40"),
        ("2d12h", "11-21 19:40", "11-24 07:40"),
        ("7m", "11-24 07:30", "11-24 07:40"),
        ("1m", "11-24 07:35", "11-24 07:40"),
        ("24h", "11-23 07:40", "11-24 07:40"),
        ("7d", "11-17 07:40", "11-24 07:40"),
        ("2w", "11-10 07:40", "11-24 07:40"),
        ("today", "11-24 00:00", "11-24 07:40"),
        ("yesterday,today", "11-23 00:00", "11-24 00:00"),
        ("7d,now", "11-17 07:40", "11-24 07:40"),
        ("Yesterday", "11-23 00:00", "11-24 00:00"),
        ("week", "11-22 00:00", "11-24 07:40"),
        ("lastweek", "11-15 00:00", "11-22 00:00"),
        ("month", "11-01 00:00", "11-24 07:40"),
        ("lastmonth", "10-01 00:00", "11-01 00:00"),
        ("2026-11-23", "11-23 00:00", "11-24 00:00"),
        ("2026-11-24", "11-24 00:00", "11-24 07:40"),
        ("2026-11-01,2026-11-03", "11-01 00:00", "11-03 00:00"),
        ("2026-11-23T10:00:00Z,2026-11-23T11:00:00Z", "11-23 10:00", "11-23 11:00"),
        ("2026-11-23T10:00:00Z/2026-11-23T11:00:00Z", "11-23 10:00", "11-23 11:00"),
        ("2026-11-23t10:00:00z , 2026-11-23 11:00Z", "11-23 10:00", "11-23 11:00"),
        ("2026-11-23T11:00:00+01:00,2026-11-23T03:00:00-08:00", "11-23 10:00", "11-23 11:00"),
        ("2026-11-23T15:45:00+05:45,2026-11-23T11:00:00+00:00", "11-23 10:00", "11-23 11:00"),
        ("2026-11-23,2026-11-23T11:00:00Z", "11-23 00:00", "11-23 11:00"),
        ("1795428000,1795431600", "11-23 10:00", "11-23 11:00"),
        ("1795428000/2026-11-23T11:00:00Z", "11-23 10:00", "11-23 11:00"),
        # What is written out widens to the marks.
        ("2026-11-23T10:07:30Z,2026-11-23T10:52:15Z", "11-23 10:05", "11-23 10:55"),
        ("2026-11-23T10:05:00.000Z,2026-11-23T10:50:00.001Z", "11-23 10:05", "11-23 10:55"),
        ("2026-11-23T10:00:00Z,2026-11-23T10:00:30Z", "11-23 10:00", "11-23 10:05"),
        # What reaches into the future is clipped.
        ("2026-11-24T07:00:00Z,2026-11-24T12:00:00Z", "11-24 07:00", "11-24 07:40"),
        ("2026-11-24T07:00:00Z,2026-11-24T07:39:00Z", "11-24 07:00", "11-24 07:40"),
        ("2026-11-24T07:00:00Z,2026-11-24T07:41:00Z", "11-24 07:00", "11-24 07:40"),
    ],
)
def test_what_people_write(text: str, start: str, end: str) -> None:
    """Each form resolves to the window it says, in UTC and on OpenCost's marks."""
    assert parse(text, now=NOW) == Window(at(start), at(end))


@pytest.mark.parametrize(
    ("now", "text", "start", "end"),
    [
        ("11-22 12:00", "week", "11-22 00:00", "11-22 12:00"),
        ("11-21 12:00", "lastweek", "11-08 00:00", "11-15 00:00"),
        ("03-31 12:00", "lastmonth", "02-01 00:00", "03-01 00:00"),
        ("11-24 00:00", "yesterday", "11-23 00:00", "11-24 00:00"),
    ],
)
def test_relative_windows_at_the_edges_of_the_calendar(now: str, text: str, start: str, end: str) -> None:
    """Weeks begin on Sunday, as OpenCost's do, and the month before March is February."""
    assert parse(text, now=at(now)) == Window(at(start), at(end))


def test_a_window_is_cut_at_now() -> None:
    """The last minute of the calendar has no mark after it; the future is cut off before that."""
    assert parse("2026-11-01,9999-12-31T23:59:59Z", now=NOW).end == NOW.replace(minute=40, second=0, microsecond=0)
    assert between("2026-11-01", "9999-12-31T23:59:59Z", now=NOW).end == NOW.replace(second=0, microsecond=0)


def test_now_may_be_in_any_zone() -> None:
    """The minute of now is taken in UTC wherever the clock is read."""
    tokyo = NOW.astimezone(timezone(timedelta(hours=9)))
    assert parse("today", now=tokyo) == parse("today", now=NOW)
    january = datetime(2027, 1, 1, 0, 30, tzinfo=UTC)
    assert str(parse("lastmonth", now=january)) == "2026-12-01T00:00:00Z,2027-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", "is not a window"),
        ("banana", "is not a window"),
        ("1", "is not a window"),
        ("1y", "is not a window"),
        ("-1h", "is not a window"),
        ("1.5h", "is not a window"),
        ("30m1h", "is not a window"),
        ("1M", "is not a window"),
        ("1795428000", "is not a window"),
        ("0h", "number above 0"),
        ("9999999h", "is too long a duration"),
        ("999999w", "before the calendar begins"),
        ("2026-11-23T10:00:00Z", "is not a window"),
        ("2026-11-23T10:00:00,2026-11-23T11:00:00", "Times need Z or an offset"),
        ("2026-13-23,2026-11-24", "'2026-13-23' in the window"),
        ("2026-02-30", "is not a time"),
        ("2026-11-23,", "'' in the window"),
        (",", "'' in the window"),
        ("yesterday,soon", "'soon' in the window"),
        ("2026-11-23,2026-11-24,2026-11-25", "is not a time"),
        ("2026-11-23T25:00:00Z,2026-11-24", "is not a time"),
        ("99999999999,2026-11-24", "not after its start|is not a time"),
        ("0001-01-01T00:00:00+14:00,2026-11-24", "is not a time"),
        ("2026-11-23T11:00:00Z,2026-11-23T10:00:00Z", "ends at 2026-11-23T10:00:00Z, not after its start"),
        ("2026-11-23T10:00:00Z,2026-11-23T10:00:00Z", "not after its start"),
        ("2027-01-01,2027-01-02", "lies in the future"),
        ("2026-11-24T07:41:00Z,2026-11-24T07:42:00Z", "lies in the future"),
        ("2026-11-25", "lies in the future"),
    ],
)
def test_what_cannot_be_a_window_is_refused(text: str, messages: str) -> None:
    """A window that cannot be resolved is a usage error, exit code 2, in one line that quotes or explains it."""
    with pytest.raises(UsageError, match=messages) as caught:
        parse(text, now=NOW)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    if "is not a window" in message:
        assert "lastmonth" in message


def test_today_at_midnight_is_not_a_window_yet() -> None:
    """Before the first mark after midnight, today has no length: it is refused, not requested."""
    for now in ("11-24 00:00", "11-24 00:04"):
        with pytest.raises(UsageError, match="lies in the future"):
            parse("today", now=at(now))
    assert parse("today", now=at("11-24 00:05")) == Window(at("11-24 00:00"), at("11-24 00:05"))


@pytest.mark.parametrize(
    "text", ["", "h", "0m", "00d", "1", "1s", "-1h", "1 h", "1.5h", "1234567m", "1h1h", "30m1h", "0h0m", "1M", "٣m"]
)
def test_what_cannot_be_a_duration_is_refused(text: str) -> None:
    """A step is a number above 0 with a unit, and nothing else."""
    with pytest.raises(UsageError, match="write a number above 0 and m, h, d or w"):
        duration(text)


def test_durations() -> None:
    """Units are minutes, hours, days and weeks, in either case."""
    assert duration("90m") == timedelta(minutes=90)
    assert duration(" 1H ") == timedelta(hours=1)
    assert duration("2w") == duration("14d")
    assert duration("1h30m") == timedelta(minutes=90)
    assert duration("1w2d12h5m") == timedelta(days=9, hours=12, minutes=5)
    with pytest.raises(UsageError, match="M would be a month"):
        duration("1M")


def test_a_window_is_of_utc_minutes() -> None:
    """A window is made only of full UTC minutes with the start before the end."""
    start, end = at("11-23 10:00"), at("11-23 11:00")
    assert str(Window(start, end)) == "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"
    assert Window(start, end).minutes == 60
    for bad in (start.replace(tzinfo=None), start.replace(second=1), start.astimezone(timezone(timedelta(hours=1)))):
        with pytest.raises(ValueError, match="whole UTC minutes"):
            Window(bad, end)
    with pytest.raises(UsageError, match="not after its start"):
        Window(end, start)


def test_steps_are_aligned_and_the_ends_are_clipped() -> None:
    """Hours are clock hours; the first and the last step are as long as the window lets them be."""
    window = Window(at("11-23 09:40"), at("11-23 11:10"))
    found = [str(step)[11:16] + str(step)[32:37] for step in window.steps(timedelta(hours=1))]
    assert found == ["09:4010:00", "10:0011:00", "11:0011:10"]
    assert list(window.steps(None)) == [window]
    assert list(window.steps(timedelta(days=7))) == [window]
    day = Window(at("11-23 00:00"), at("11-24 00:00"))
    assert [step.minutes for step in day.steps(timedelta(hours=1))] == [60.0] * 24
    # Five does not divide the day, so its steps are cut alike on every day but not at midnight.
    assert {step.minutes for step in list(day.steps(timedelta(hours=5)))[1:-1]} == {300.0}
    weeks = Window(at("11-01 00:00"), at("11-22 00:00"))
    assert [step.start.isoweekday() for step in weeks.steps(timedelta(weeks=1))] == [7, 7, 7]


minutes = st.integers(0, 60 * 24 * 365 * 60).map(
    lambda count: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=count)
)
lengths = st.integers(1, 60 * 24 * 20).map(lambda count: timedelta(minutes=count))
steps = st.sampled_from(["7m", "15m", "30m", "1h", "5h", "6h", "1d", "3d", "1w"]).map(duration)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(start=minutes, length=lengths, step=steps)
def test_steps_tile_the_window(start: datetime, length: timedelta, step: timedelta) -> None:
    """Steps begin where the window does, follow each other without gap or overlap, end where it does, and are cut at
    multiples of the step."""
    length = min(length, 400 * step)
    window = Window(start, start + length)
    found = list(window.steps(step))
    assert found[0].start == window.start
    assert found[-1].end == window.end
    assert all(before.end == after.start for before, after in pairwise(found))
    assert all(one.end - one.start <= step for one in found)
    assert all((one.start - SUNDAY) % step == timedelta(0) for one in found[1:])
    assert sum(one.minutes for one in found) == window.minutes


@settings(derandomize=True, max_examples=100, deadline=None)
@given(start=minutes, length=lengths, step=steps, cut=st.floats(0, 1))
def test_a_longer_window_has_the_same_steps(start: datetime, length: timedelta, step: timedelta, cut: float) -> None:
    """The full steps of a part of a window are steps of the window, so overlapping runs make the same requests."""
    length = min(length, 400 * step)
    complete = Window(start, start + length)
    shifted = start + int(cut * (length // timedelta(minutes=1) - 1)) * timedelta(minutes=1)
    full = {one for one in Window(shifted, complete.end).steps(step) if one.end - one.start == step}
    assert full <= set(complete.steps(step))


def floor(moment: datetime) -> datetime:
    """The mark at or before a time."""
    return moment.replace(minute=moment.minute // 5 * 5, second=0, microsecond=0)


def ceiling(moment: datetime) -> datetime:
    """The mark at or after a time."""
    return floor(moment) if floor(moment) == moment else floor(moment) + timedelta(minutes=5)


words = st.sampled_from(
    ["30m", "1h", "24h", "7d", "2w", "today", "yesterday", "week", "lastweek", "month", "lastmonth"]
)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(now=minutes.filter(lambda moment: moment.year > 1970), word=words)
def test_no_word_ends_in_the_future(now: datetime, word: str) -> None:
    """Whatever the clock says, a word's window lies before it, unless the word has no length yet."""
    try:
        window = parse(word, now=now)
    except UsageError:
        assert (now.hour, now.minute // 5) == (0, 0)
        return
    assert window.start < window.end <= now


@settings(derandomize=True, max_examples=200, deadline=None)
@given(start=minutes, length=lengths, offset=st.integers(-14 * 4, 14 * 4), ahead=st.integers(-3000, 3000))
def test_pairs_are_what_they_say_and_never_in_the_future(
    start: datetime, length: timedelta, offset: int, ahead: int
) -> None:
    """A pair in any offset is the same window as in UTC, widened to the marks and cut at the last one."""
    now = start + length + timedelta(minutes=ahead)
    zone = timezone(timedelta(minutes=15 * offset))
    text = f"{start.astimezone(zone).isoformat()},{(start + length).astimezone(zone).isoformat()}"
    last = floor(now)
    if last <= start:
        with pytest.raises(UsageError, match="lies in the future"):
            parse(text, now=now)
    else:
        assert parse(text, now=now) == Window(floor(start), min(ceiling(start + length), last))
    assert stamp(start.astimezone(UTC)).endswith(":00Z")


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.text(st.sampled_from("0123456789-:TZ+,/.hdmw "), max_size=45) | st.text(max_size=20))
def test_any_text_is_a_window_or_a_usage_error(text: str) -> None:
    """No text ends in anything but a window that is over, or a usage error."""
    with suppress(UsageError):
        assert parse(text, now=NOW).end <= NOW


@pytest.mark.parametrize(
    ("text", "start"),
    [
        # As `date -u +%s` prints it: 07:12:45.
        ("1795504365", "2026-11-24T07:12:45+00:00"),
        ("2026-11-24T07:12:45Z", "2026-11-24T07:12:45+00:00"),
        (" 2026-11-24T08:12:45.9+01:00 ", "2026-11-24T07:12:45.900000+00:00"),
        ("2026-11-24", "2026-11-24T00:00:00+00:00"),
        ("2026-11-24T07:41:30Z", "2026-11-24T07:41:30+00:00"),
        ("1h30m", "2026-11-24T06:11:30.000005+00:00"),
        ("now", "2026-11-24T07:41:30.000005+00:00"),
        ("yesterday", "2026-11-23T00:00:00+00:00"),
        ("lastmonth", "2026-10-01T00:00:00+00:00"),
        ("Week", "2026-11-22T00:00:00+00:00"),
    ],
)
def test_a_time_has_one_grammar_everywhere(text: str, start: str) -> None:
    """A time, how long ago, or a word for its beginning, for --since, --from and --to and functions alike."""
    assert moment(text, now=NOW).isoformat() == start
    assert since(text, now=NOW).isoformat() == start
    if text not in ("now", "2026-11-24T07:41:30Z"):
        found = between(text, "now", now=NOW)
        assert found.start <= since(text, now=NOW) < found.start + timedelta(minutes=1)
        assert found.end == at("11-24 07:41")


@pytest.mark.parametrize(
    "text", ["", "1M", "30", "07:12", "2026-11-24T07:12:45", "1795504365123", "12345678", "٣", "tomorrow"]
)
def test_what_is_no_time(text: str) -> None:
    """Anything but a time is refused, with the forms a time may have."""
    with pytest.raises(UsageError, match=r"--since .* is not a time; write RFC 3339 .*date -u \+%s"):
        since(text, now=NOW)


def test_since_the_future() -> None:
    """A time in the future is refused, and both times are named."""
    with pytest.raises(UsageError, match="lies in the future: it is 2026-11-24T07:41:31Z, and now is"):
        since("2026-11-24T07:41:31Z", now=NOW)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    st.datetimes(timezones=st.just(UTC)).filter(lambda moment: 1971 < moment.year < 2100),
    st.timedeltas(timedelta(), timedelta(days=9)),
    st.sampled_from(["1m", "5m", "10m"]).map(resolution),
)
def test_what_lies_between_two_moments_is_covered(began: datetime, length: timedelta, marks: timedelta) -> None:
    """The window holds both moments, begins and ends on marks, and is less than two marks longer than what it holds."""
    assume(began.year < 9999)
    window = covering(began, began + length, marks)
    assert window.start <= began
    assert began + length <= window.end
    assert window.end - window.start <= length + 2 * marks
    assert (window.start - SUNDAY) % marks == (window.end - SUNDAY) % marks == timedelta()


def test_marks_may_be_others() -> None:
    """A source that samples every ten minutes, or every minute, has its own marks."""
    assert parse("1h", now=NOW, resolution=resolution("10m")) == Window(at("11-24 06:40"), at("11-24 07:40"))
    assert parse("1h", now=NOW, resolution=resolution("1m")) == Window(at("11-24 06:41"), at("11-24 07:41"))
    for text in ("7m", "2d", "0m", "soon"):
        with pytest.raises(UsageError, match=r"does not divide a day|is not a duration"):
            resolution(text)


def test_a_step_is_a_multiple_of_the_marks() -> None:
    """A step off the marks is refused, since each of its windows would be undercounted."""
    assert check_step(duration("10m")) == timedelta(minutes=10)
    assert check_step(duration("7m"), resolution("1m")) == timedelta(minutes=7)
    with pytest.raises(UsageError, match=r"OpenCost samples every 5 minutes.*multiple"):
        check_step(duration("7m"))


def test_a_window_that_differs_from_its_text_is_reported() -> None:
    """Whenever a window is moved to the marks or cut at the last one, one sentence says so; else none."""
    messages: list[str] = []
    for text in ("2026-11-23T10:00Z,2026-11-23T11:00Z", "yesterday", "2026-11-23"):
        parse(text, now=NOW, on_result=messages.append)
    assert messages == []
    parse("1h", now=NOW, on_result=messages.append)
    shown = "2026-11-24T06:40:00Z,2026-11-24T07:40:00Z"
    assert messages == [f"The window is {shown}: it begins and ends on OpenCost's marks, every 5 minutes."]
