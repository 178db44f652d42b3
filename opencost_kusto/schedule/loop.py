"""The scheduler's loop: ticks, one after the other, until a signal arrives.

Ticks that were missed during a slow one are made up for by one. Each runs on a daemon thread, so one that does not end
within the grace can be abandoned: the next tick of any scheduler loads the windows that it has not reported as landed.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from opencost_kusto.cancel import Cancelled, CancelToken
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.schedule.trigger import Trigger
from opencost_kusto.times import utc_now

# Seconds in which an abandoned tick may release what it holds.
_RELEASE = 2.0
# Seconds after which the clock is read again: it may have been set, and a machine may have slept.
_CLOCK_CHECK = 60.0


@dataclass(frozen=True, slots=True)
class TickResult:
    """The outcome of a tick after so many seconds: a report, or the error that prevented one."""

    began: datetime
    seconds: float
    report: Report | None = None
    error: Exception | None = None

    @property
    def exit_code(self) -> int:
        """The report's, or the error's; 70 for an error that is not one of this package."""
        if self.report is not None:
            return self.report.exit_code
        return self.error.exit_code if isinstance(self.error, OpenCostKustoError) else OpenCostKustoError.exit_code


class Schedule:
    """Runs ticks until a signal arrives: `signal` is called with its number, from another thread.

    `tick` is given a function that passes results on to each of `on_result`; how it ended goes to each of `on_end`. A
    tick under way at a signal may take `grace` seconds more, unless a second signal comes; then `stop` is cancelled,
    and what it still reports is dropped. `abandoned` is whether this happened. `delay` returns the seconds to wait
    beyond the time of a tick, and is called before each.
    """

    def __init__(
        self,
        tick: Callable[[Callable[[BatchResult], None]], Report],
        *,
        on_result: Sequence[Callable[[BatchResult], None]] = (),
        on_end: Sequence[Callable[[TickResult], None]] = (),
        grace: float = 25.0,
        stop: CancelToken | None = None,
        clock: Callable[[], datetime] = utc_now,
        delay: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._tick = tick
        self._on_result = on_result
        self._on_end = on_end
        self._grace = grace
        self._stop = stop or CancelToken()
        self._clock = clock
        self._delay = delay
        # Numbers of signals, and None for the end of a tick.
        self._events: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._signal = 0
        self._last: TickResult | None = None
        self.abandoned = False

    def signal(self, number: int) -> None:
        """End: at once when no tick is under way."""
        self._events.put(number)

    def run(self, times: Trigger) -> int:
        """Tick at once, then at these times, until a signal: 0, or 128 + its number when a tick was abandoned."""
        due: datetime | None = self._clock()
        while self._idle_until(due and due + timedelta(seconds=self._delay())):
            began = self._clock()
            self._run_tick(began)
            if self._signal:
                break
            due = times.next_after(began)
        return 128 + self._signal if self.abandoned else 0

    def once(self) -> int:
        """Tick once: its exit code, or 128 + the number of the signal that arrived before its end."""
        if self._idle_until(self._clock() + timedelta(seconds=self._delay())):
            self._run_tick(self._clock())
        if self._signal or self._last is None:
            return 128 + self._signal
        return self._last.exit_code

    def _idle_until(self, due: datetime | None) -> bool:
        """Wait for the time, or without end where no tick follows; False when a signal arrived first."""
        while (left := _CLOCK_CHECK if due is None else (due - self._clock()).total_seconds()) > 0:
            with suppress(queue.Empty):
                self._signal = self._events.get(timeout=min(left, _CLOCK_CHECK)) or 0
                return False
        return True

    def _run_tick(self, began: datetime) -> None:
        """Run one tick to its end, or until it has been abandoned."""
        threading.Thread(target=self._ticking, args=(began,), name="tick", daemon=True).start()
        event = self._events.get()
        if event is None:
            return
        self._signal = event
        try:
            self.abandoned = self._events.get(timeout=self._grace) is not None
        except queue.Empty:
            self.abandoned = True
        if self.abandoned:
            self._stop.cancel()
            with suppress(queue.Empty):
                self._events.get(timeout=_RELEASE)

    def _ticking(self, began: datetime) -> None:
        clock = time.monotonic()
        report: Report | None = None
        failure: Exception | None = None
        try:
            report = self._tick(self._pass_on)
        except Cancelled:
            # Its resources are released; the outcome of an abandoned tick is not reported.
            pass
        except Exception as error:
            failure = error
        self._last = TickResult(began, time.monotonic() - clock, report, failure)
        for end in self._on_end:
            if not self.abandoned:
                end(self._last)
        self._events.put(None)

    def _pass_on(self, one: BatchResult) -> None:
        for on_result in self._on_result:
            if not self.abandoned:
                on_result(one)
