"""Retry calls that may succeed, within a deadline."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.redact import redacted

T = TypeVar("T")
_tally, _tallying = [0], threading.Lock()
_observers: list[Callable[[Retry], None]] = []
_BACKOFF = tenacity.wait_exponential(multiplier=0.5, max=20) + tenacity.wait_random(0, 0.5)


def retrying(
    call: Callable[[], T],
    *,
    seconds: float,
    attempts: int = 6,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call until it succeeds, raises an error that is not transient, or time or attempts are spent.

    Waits are the server's `retry_after`, otherwise random up to a limit that doubles from one second to twenty. The
    last error is raised.
    """

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        requested = error.retry_after if isinstance(error, OpenCostKustoError) else None
        return _BACKOFF(state) if requested is None else requested

    retry = tenacity.Retrying(
        retry=_is_retried,
        wait=wait,
        stop=tenacity.stop_after_attempt(attempts) | tenacity.stop_before_delay(seconds),
        sleep=sleep,
        before_sleep=lambda state: _counted(state, attempts),
        reraise=True,
    )
    return retry(call)


def _is_retried(state: tenacity.RetryCallState) -> bool:
    """Whether another attempt may succeed."""
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, OpenCostKustoError):
        return False
    return error.transient and not (error.once and state.attempt_number > 1)


def retries() -> int:
    """The number of calls that this process has repeated."""
    return _tally[0]


@dataclass(frozen=True, slots=True)
class Retry:
    """A call that is repeated after so many seconds, because of an error; `attempt` counts from 1."""

    error: str
    seconds: float
    attempt: int
    attempts: int


@contextmanager
def observing(observer: Callable[[Retry], None]) -> Iterator[None]:
    """Within it, `observer` is called with each retry of this process, from any thread."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


def _counted(state: tenacity.RetryCallState, attempts: int) -> None:
    with _tallying:
        _tally[0] += 1
    error = state.outcome.exception() if state.outcome else None
    seconds = state.next_action.sleep if state.next_action else 0.0
    for observer in tuple(_observers):
        observer(Retry(redacted(error), seconds, state.attempt_number, attempts))


class _Caller(threading.Thread):
    """A daemon thread that makes one call after another; starting a thread takes longer than many a call."""

    def __init__(self) -> None:
        super().__init__(name="call", daemon=True)
        self.calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.start()

    def run(self) -> None:
        """Make the calls, until there are enough idle callers."""
        while (call := self.calls.get()) is not None:
            call()
            # Nothing that it returned is kept while the next call is waited for.
            del call

    def rest(self) -> None:
        """Wait for the next call, or end."""
        if len(_idle) < _MOST_IDLE:
            _idle.append(self)
        else:
            self.calls.put(None)


# Callers without a call; a forked process does not have the threads. A source needs three, and each keeps memory.
_idle: list[_Caller] = []
_MOST_IDLE = 4
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_idle.clear)


def within(seconds: float, call: Callable[[], T], late: Callable[[], BaseException]) -> T:
    """The call's result, or `late()` raised when it has none after `seconds`.

    The call runs on a daemon thread, because the libraries have calls without a timeout; a late one is abandoned, and
    ends with the process.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    running = threading.Lock()
    running.acquire()
    try:
        caller = _idle.pop()
    except IndexError:
        caller = _Caller()

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)
        caller.rest()
        running.release()

    caller.calls.put(run)
    if not running.acquire(timeout=max(seconds, 0.0)):
        raise late()
    if errors:
        raise errors[0]
    return results[0]
