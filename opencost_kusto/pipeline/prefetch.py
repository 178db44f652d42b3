"""Prefetch items on a background thread through a bounded queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
# Responses on disk while earlier ones are loaded: enough to request OpenCost without pause.
_CAPACITY = 2
# Seconds between checks for cancellation.
_CHECK_INTERVAL = 0.5


def prefetch(items: Iterable[T], check: Callable[[], None] = lambda: None) -> Iterator[T]:
    """Yield items that another thread produces ahead; raise what producing one raises.

    `check` is called regularly while waiting for an item, and may raise.
    """
    made: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(_CAPACITY)
    stop = threading.Event()

    def put(item: tuple[T | None, BaseException | None]) -> None:
        while not stop.is_set():
            try:
                made.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def make() -> None:
        try:
            for item in items:
                put((item, None))
                if stop.is_set():
                    return
            put((None, None))
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            check()
            try:
                item, error = made.get(timeout=_CHECK_INTERVAL)
            except queue.Empty:
                continue
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stop.set()
        thread.join(timeout=5)
