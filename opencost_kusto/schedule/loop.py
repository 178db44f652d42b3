"""Ticks, again and again until the process is told to end. The door to APScheduler.

The scheduler decides when: missed ticks are made up for by one, and a slow one is not overtaken. Ticks run on a thread
that does not keep the process alive, so one that does not end within the grace can be abandoned: what it has not
reported landed, the next tick of anybody finds.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

from opencost_kusto.cancel import Cancelled, CancelToken
from opencost_kusto.errors import OpenCostKustoError, UsageError
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.window import ANCHOR

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Ticks ahead in which the longest pause of a crontab line is looked for.
_AHEAD = 100
# Seconds in which an abandoned tick may give back what it holds.
_MOMENT = 2.0


@dataclass(frozen=True, slots=True)
class TickResult:
    """How a tick ended: with a report, or with what went wrong before there could be one."""

    began: datetime
    seconds: float
    report: Report | None = None
    error: Exception | None = None

    @property
    def exit_code(self) -> int:
        """The report's, or the error's; 1 for an error that is not ours."""
        if self.report is not None:
            return self.report.exit_code
        return self.error.exit_code if isinstance(self.error, OpenCostKustoError) else 1


class Trigger:
    """When to tick: every so long after an aligned moment and the lag, or by a crontab line in UTC.

    Raises UsageError for a line that is no crontab.
    """

    def __init__(self, every: timedelta, lag: timedelta, cron: str | None = None) -> None:
        from apscheduler.triggers.cron import CronTrigger
        from apscheduler.triggers.interval import IntervalTrigger

        self.trigger: Any
        if cron is None:
            start = ANCHOR + lag
            self.trigger = IntervalTrigger(seconds=int(every.total_seconds()), start_date=start, timezone=UTC)
            return
        try:
            self.trigger = CronTrigger.from_crontab(crontab(cron), timezone=UTC)
        except ValueError as error:
            raise UsageError(
                f"--cron {cron!r} is no crontab line: {error}. Write five fields, such as 15 * * * *."
            ) from None

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The ticks from a moment on."""
        before: datetime | None = None
        while (fire := self.trigger.get_next_fire_time(before, before or moment)) is not None:
            yield fire
            before, moment = fire, fire

    def longest_pause(self, moment: datetime) -> timedelta:
        """The longest time between two of the next ticks; a day where there are not two."""
        fires = islice(self.after(moment), _AHEAD)
        return max((later - earlier for earlier, later in pairwise(fires)), default=timedelta(days=1))


def crontab(line: str) -> str:
    """A crontab line with its days of the week by name.

    APScheduler numbers them from Monday; every cron there is numbers them from Sunday, which is 0 and 7.
    """
    *others, days = line.split()
    return " ".join((*others, ",".join(map(_named, days.split(",")))))


def _named(days: str) -> str:
    found = re.fullmatch(r"(?:(\d)(?:-(\d))?|\*(?=/))(?:/(\d+))?", days)
    if found is None:
        return days
    first, last, step = int(found[1] or 0), found[2] or ("6" if found[3] else found[1]), int(found[3] or 1)
    return ",".join(_DAYS[first : int(last) + 1 : step]) or days


class Schedule:
    """Runs ticks and ends when told to.

    `tick` is given a function to tell outcomes to, which go to each of `tells`; how it ended goes to each of `ends`. An
    abandoned tick tells nobody anything any more; `stop` tells it to give back what it holds.
    `events` is where signals come in as their numbers, and ends of ticks as None.
    """

    def __init__(
        self,
        tick: Callable[[Callable[[BatchResult], None]], Report],
        *,
        tells: Sequence[Callable[[BatchResult], None]] = (),
        ends: Sequence[Callable[[TickResult], None]] = (),
        grace: float = 25.0,
        stop: CancelToken | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._tick = tick
        self._tells = tells
        self._ends = ends
        self._grace = grace
        self._stop = stop or CancelToken()
        self._clock = clock
        self._lock = threading.Lock()
        self._busy = False
        self._stopping = False
        self._last: TickResult | None = None
        self.abandoned = False
        self.events: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def run(self, times: Trigger) -> int:
        """Tick at once, then at these times, until told to end: 0 when no tick was abandoned, else 128 + the signal."""
        from apscheduler.executors.debug import DebugExecutor
        from apscheduler.schedulers.background import BackgroundScheduler

        # Runs ticks on the scheduler's own thread: one at a time, and a daemon.
        scheduler = BackgroundScheduler(executors={"default": DebugExecutor()}, timezone=UTC, daemon=True)
        how = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        scheduler.add_job(self._beat, **how)
        scheduler.add_job(self._beat, times.trigger, **how)
        scheduler.start()
        while (number := self.events.get()) is None:
            continue
        self._give_up_after_grace()
        if self.abandoned:
            return 128 + number
        scheduler.shutdown(wait=False)
        return 0

    def once(self) -> int:
        """One tick: its exit code, or 128 + the signal when it was abandoned."""
        thread = threading.Thread(target=self._beat, name="tick", daemon=True)
        thread.start()
        number = self.events.get()
        if number is not None:
            self._give_up_after_grace()
        if self.abandoned or self._last is None:
            return 128 + (number or 0)
        return self._last.exit_code

    def _give_up_after_grace(self) -> None:
        """Begin no tick any more, and wait for one that is under way."""
        with self._lock:
            self._stopping = True
            busy = self._busy
            # Ends of earlier ticks say nothing of the one that is under way.
            again = [self.events.get() for _ in range(self.events.qsize())]
        if busy:
            self.abandoned = any(again) or self._outlasted()
        if self.abandoned:
            self._stop.cancel()
            with suppress(queue.Empty):
                self.events.get(timeout=_MOMENT)

    def _outlasted(self) -> bool:
        """Wait for the tick under way: whether it outlasts the grace, or a second signal does not let it."""
        try:
            return self.events.get(timeout=self._grace) is not None
        except queue.Empty:
            return True

    def _beat(self) -> None:
        with self._lock:
            if self._stopping:
                return
            self._busy = True
        began, clock = self._clock(), time.monotonic()
        report: Report | None = None
        failure: Exception | None = None
        try:
            report = self._tick(self._told)
        except Cancelled:
            # It has given back what it held; nobody is told how an abandoned tick ended.
            pass
        except Exception as error:
            failure = error
        self._last = TickResult(began, time.monotonic() - clock, report, failure)
        for end in self._ends:
            if not self.abandoned:
                end(self._last)
        with self._lock:
            self._busy = False
            self.events.put(None)

    def _told(self, one: BatchResult) -> None:
        for on_result in self._tells:
            if not self.abandoned:
                on_result(one)


def ticking() -> bool:
    """Whether the scheduler's thread lives."""
    return any(thread.name == "APScheduler" for thread in threading.enumerate())
