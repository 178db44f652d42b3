"""Prefetch items on a background thread through a bounded queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")
# Responses on disk while earlier ones are loaded: enough to request OpenCost without pause.
_CAPACITY = 2
# Seconds between checks for cancellation.
_CHECK_INTERVAL = 0.5


def prefetch(items: Iterable[T], check: Callable[[], None] = lambda: None) -> Iterator[T]:
    """Yield items that another thread produces ahead of time; raise what producing one raises.

    `check` is called regularly while waiting for an item, and may raise.
    """
    producer = _Producer(items)
    thread = threading.Thread(target=producer.run, daemon=True)
    thread.start()
    try:
        while True:
            check()
            try:
                item, error = producer.made.get(timeout=_CHECK_INTERVAL)
            except queue.Empty:
                continue
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        producer.stop.set()
        thread.join(timeout=5)


class _Producer(Generic[T]):
    """Puts items into a queue until they end, with None after the last, or one of them raises, or `stop` is set."""

    def __init__(self, items: Iterable[T]) -> None:
        self.made: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(_CAPACITY)
        self.stop = threading.Event()
        self._items = items

    def run(self) -> None:
        """Produce every item."""
        try:
            for item in self._items:
                self._put(item, None)
                if self.stop.is_set():
                    return
            self._put(None, None)
        except BaseException as error:
            self._put(None, error)

    def _put(self, item: T | None, error: BaseException | None) -> None:
        while not self.stop.is_set():
            with suppress(queue.Full):
                self.made.put((item, error), timeout=0.1)
                return
