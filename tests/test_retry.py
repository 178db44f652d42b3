"""Retries: only where it helps, for as long as requested, and as late as the other side demands."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from opencost_kusto.errors import NotLandedError, OpenCostError, UsageError
from opencost_kusto.retry import retrying, within


class Script:
    """A call that raises what it was given, one after the other, and then returns 42."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.slept: list[float] = []

    def __call__(self) -> int:
        """Raise the next error, or return."""
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return 42

    def retried(self, seconds: float = 1000.0, attempts: int = 6) -> int:
        """Retry the call without really sleeping."""
        return retrying(self, seconds=seconds, attempts=attempts, sleep=self.slept.append)


def busy(retry_after: float | None = None) -> OpenCostError:
    """A transient error."""
    return OpenCostError("OpenCost is busy.", transient=True, retry_after=retry_after)


def test_a_call_that_succeeds_is_made_once() -> None:
    """A request with a response is not repeated."""
    script = Script()
    assert (script.retried(), script.calls, script.slept) == (42, 1, [])


def test_transient_errors_are_retried_with_growing_waits() -> None:
    """Waits begin at half a second, double, and have at most half a second of jitter."""
    script = Script(*(busy() for _ in range(5)))
    assert script.retried() == 42
    assert script.calls == 6
    for wait, least in zip(script.slept, (0.5, 1, 2, 4, 8), strict=True):
        assert least <= wait <= least + 0.5


def test_waits_are_bounded() -> None:
    """However often it fails, no wait is much longer than twenty seconds."""
    script = Script(*(busy() for _ in range(11)))
    script.retried(attempts=12)
    assert max(script.slept) <= 20.5


def test_retry_after_is_waited() -> None:
    """Retry-After is obeyed to the second, 0 too."""
    script = Script(busy(7.0), busy(0.0), busy())
    script.retried()
    assert script.slept[:2] == [7.0, 0.0]
    assert script.slept[2] >= 2


@pytest.mark.parametrize("error", [OpenCostError("no"), UsageError("no"), ValueError("no"), KeyboardInterrupt()])
def test_other_errors_are_raised_at_once(error: BaseException) -> None:
    """What will not go away, and what is not ours, is raised the first time."""
    script = Script(error)
    with pytest.raises(type(error)) as caught:
        script.retried()
    assert caught.value is error
    assert (script.calls, script.slept) == (1, [])


def test_the_last_error_is_raised_when_attempts_are_spent() -> None:
    """It gives up after the attempts it has, with the error it met last, not with tenacity's own."""
    errors = [busy() for _ in range(4)]
    script = Script(*errors)
    with pytest.raises(OpenCostError) as caught:
        script.retried(attempts=3)
    assert caught.value is errors[2]
    assert (script.calls, len(script.slept)) == (3, 2)


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 1), (5.0, 1), (60.0, 2)])
def test_it_never_waits_past_its_time(seconds: float, calls: int) -> None:
    """A wait that would end after the time allowed is not begun."""
    script = Script(busy(10.0), busy(100.0))
    with pytest.raises(OpenCostError):
        script.retried(seconds=seconds)
    assert script.calls == calls
    assert sum(script.slept) <= seconds


def late() -> BaseException:
    """What is raised for a call that takes too long."""
    return NotLandedError("Too late.")


def test_within_gives_the_result_or_the_error() -> None:
    """A call that is back in time is as if it had been called, None and errors included."""
    nothing: Callable[[], None] = lambda: None  # noqa: E731 - a function cannot be typed so.
    assert within(5, lambda: 42, late) == 42
    within(5, nothing, late)
    error = KeyError("x")
    with pytest.raises(KeyError) as caught:
        within(5, Script(error), late)
    assert caught.value is error


def test_within_gives_up_on_time() -> None:
    """A call that hangs is left alone on a daemon thread, which does not keep the process; later calls have others."""
    released, threads = threading.Event(), list[threading.Thread]()

    def hangs() -> None:
        threads.append(threading.current_thread())
        released.wait()

    begun = time.monotonic()
    with pytest.raises(NotLandedError, match="Too late"):
        within(0.05, hangs, late)
    assert time.monotonic() - begun < 2
    assert threads[0].daemon
    assert within(5, threading.current_thread, late) is not threads[0]
    released.set()


def test_calls_one_after_another_share_threads() -> None:
    """A thread is started only where none is idle, whether calls return or raise."""
    threads = set()
    for _ in range(20):
        threads.add(within(5, threading.current_thread, late))
        with pytest.raises(KeyError):
            within(5, Script(KeyError("x")), late)
    assert len(threads) <= 4


def test_threads_of_many_calls_at_once_end() -> None:
    """A few are kept for later calls."""
    together = threading.Barrier(12)

    def meets() -> threading.Thread:
        together.wait(20)
        return threading.current_thread()

    with ThreadPoolExecutor(12) as pool:
        threads = list(pool.map(lambda _: within(20, meets, late), range(12)))
    deadline = time.monotonic() + 20
    while sum(thread.is_alive() for thread in threads) > 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sum(thread.is_alive() for thread in threads) <= 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    """It does not wait for a thread that it does not have."""
    within(5, lambda: None, late)
    child, code = os.fork(), 1
    if not child:
        try:
            code = within(2, lambda: 7, late)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_within_of_no_time_at_all() -> None:
    """A deadline that has passed already does not make it wait for ever."""
    released = threading.Event()
    with pytest.raises(NotLandedError):
        within(-1, released.wait, late)
    released.set()
