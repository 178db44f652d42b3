"""A window is requested when it has ended and its costs are measured, by a clock that the tests move."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from opencost_kusto.batch import Run
from opencost_kusto.cancel import Cancelled, CancelToken
from opencost_kusto.ci.elapsed import Elapsed
from opencost_kusto.ci.settle import SETTLE, settle_time, settled
from opencost_kusto.cli.window_options import WhenOptions
from opencost_kusto.errors import OpenCostError, UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.window import Window
from tests.support.recorded import Emulator

WINDOW = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
MINUTE = timedelta(minutes=1)


@dataclass(slots=True)
class Time:
    """A clock that stands still but for sleeping; each sleep is cut short once, as by a clock that was set back."""

    now: datetime
    slept: list[float] = field(default_factory=list)
    short: float = 0.0

    def sleep(self, seconds: float) -> None:
        """Advance by the requested time, once by less."""
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds - self.short)
        self.short = 0.0


def settle_at(time: Time, settle: timedelta) -> tuple[Run, list[str]]:
    """What `settled` gives, and what it says."""
    messages: list[str] = []
    run = Run("r", WINDOW.start, "1")
    return settled(run, WINDOW, settle, now=lambda: time.now, sleep=time.sleep, on_result=messages.append), messages


def test_it_waits_until_the_window_is_over_and_settled() -> None:
    """The wait is what is missing to the end and the time to settle, and the run begins after it."""
    time = Time(WINDOW.end - timedelta(seconds=20))
    run, messages = settle_at(time, 2 * MINUTE)
    assert time.slept == [140.0]
    assert run.collection_time == WINDOW.end + 2 * MINUTE
    assert messages == ["Waiting until 11:02:00Z for OpenCost to measure the window that ends at 11:00Z."]


def test_nothing_is_requested_before_the_end() -> None:
    """Without a time to settle, OpenCost is still requested only once the window has ended."""
    time = Time(WINDOW.end - timedelta(seconds=20))
    run, _ = settle_at(time, timedelta())
    assert run.collection_time == WINDOW.end


def test_a_sleep_that_ends_early_is_followed_by_another() -> None:
    """A clock that is set back during the sleep does not make the request too early."""
    time = Time(WINDOW.end, short=5.0)
    run, _ = settle_at(time, MINUTE)
    assert time.slept == [60.0, 5.0]
    assert run.collection_time == WINDOW.end + MINUTE


def test_what_is_long_over_is_not_waited_for() -> None:
    """A window that has settled is requested at once, and nothing is said."""
    time = Time(WINDOW.end + 3 * MINUTE)
    run, messages = settle_at(time, 2 * MINUTE)
    assert (time.slept, messages, run.collection_time) == ([], [], time.now)


def test_times_to_settle() -> None:
    """A duration, or 0; the default is two minutes."""
    assert settle_time(SETTLE) == 2 * MINUTE
    assert settle_time(" 0 ") == timedelta()
    assert settle_time("1h") == 60 * MINUTE
    for text in ("", "-1m", "0m", "soon", "90s"):
        with pytest.raises(UsageError, match=r"--settle .* is not a duration; write 0"):
            settle_time(text)


def test_only_a_window_with_since_waits_for_its_end() -> None:
    """With --since the window ends at the next mark; any other is requested at once, unchanged."""
    now = WINDOW.end - timedelta(seconds=20)
    assert WhenOptions(since=f"{WINDOW.start.timestamp():.0f}").interval(lambda: now) == WINDOW
    elapsed = WhenOptions(since="1h", opencost_resolution="10m").elapsed(lambda: now)
    assert elapsed == Elapsed(now - 60 * MINUTE, now, 10 * MINUTE)
    assert WhenOptions().elapsed() is None
    hour = WhenOptions().interval(lambda: now)
    assert hour == Window(WINDOW.start - 5 * MINUTE, WINDOW.end - 5 * MINUTE)
    run = Run("r", now, "1")
    assert WhenOptions().ready(run, SyncRequest(hour), [], CancelToken(), print) is run


class Impatient(CancelToken):
    """A token that is cancelled where a run would wait."""

    def sleep(self, seconds: float | None = None) -> None:
        """End the wait before it begins."""
        raise Cancelled(seconds)


def test_the_wait_begins_only_where_opencost_can_be_reached() -> None:
    """With --since the cluster is requested before the wait, which begins where one of several servers responds."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    request, run = SyncRequest(Window(now, now + 60 * MINUTE)), Run("r", now, "1")
    with (
        Emulator() as servers,
        OpenCost("http://127.0.0.1:9", cluster="a", attempts=1) as unreachable,
        OpenCost(servers.opencost_url, cluster="b") as reachable,
    ):
        for opencosts, error in (
            ([unreachable], OpenCostError),
            ([unreachable, unreachable], OpenCostError),
            ([unreachable, reachable], Cancelled),
        ):
            with pytest.raises(error):
                WhenOptions(since="1h").ready(run, request, opencosts, Impatient(), print)
