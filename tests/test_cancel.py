"""Cancelling wakes whoever waits, at once and for good."""

from __future__ import annotations

import threading

import pytest

from opencost_kusto.cancel import Cancelled, CancelToken


@pytest.mark.parametrize("seconds", [None, 3600.0])
def test_a_wait_ends_when_it_is_cancelled(seconds: float | None) -> None:
    """A wait of an hour, or without end, raises in the thread that waits; so does every wait and check after it."""
    token, ended, waits = CancelToken(), threading.Event(), threading.Event()

    def wait() -> None:
        waits.set()
        with pytest.raises(Cancelled):
            token.sleep(seconds)
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    waits.wait()
    assert not token.cancelled
    token.cancel()
    assert ended.wait(60)
    for once_more in (token.check, token.sleep):
        with pytest.raises(Cancelled):
            once_more()


def test_a_wait_that_is_not_cancelled_ends() -> None:
    """Without a cancellation nothing is raised."""
    token = CancelToken()
    token.sleep(0.001)
    token.check()
    assert not token.cancelled
