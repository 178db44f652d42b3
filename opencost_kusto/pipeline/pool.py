"""Advance many iterators on a few threads, each iterator by one thread at a time, through a bounded queue."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
# Responses on disk while earlier ones are loaded: enough to request OpenCost without pause.
_CAPACITY = 2
# Seconds between checks for cancellation.
_CHECK_INTERVAL = 0.5
# Seconds in which the threads of a cancelled run may release what they hold.
_GRACE = 5.0


class _Pool(Generic[T]):
    """Iterators in turn, and their items in a bounded queue with None at the end of each iterator."""

    def __init__(self, iterators: Sequence[Iterator[T]], capacity: int) -> None:
        self.stop = threading.Event()
        self.made: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(capacity)
        self.ready: queue.SimpleQueue[Iterator[T] | None] = queue.SimpleQueue()
        for iterator in iterators:
            self.ready.put(iterator)

    def work(self) -> None:
        """Advance the next iterator in turn, until the pool stops or one raises."""
        while (iterator := self.ready.get()) is not None and not self.stop.is_set():
            try:
                item = next(iterator, None)
            except BaseException as error:
                self._put(None, error)
                return
            self._put(item)
            if item is not None:
                self.ready.put(iterator)

    def _put(self, item: T | None, error: BaseException | None = None) -> None:
        while not self.stop.is_set():
            try:
                self.made.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return


def pooled(iterators: Sequence[Iterator[T]], workers: int = 1, check: Callable[[], None] = lambda: None) -> Iterator[T]:
    """Yield the items of all iterators as they are produced; raise what producing one raises.

    At most `workers` items are produced side by side, in turn: after an item, an iterator waits until each other one
    has had its turn. `check` is called regularly while waiting for an item, and may raise.
    """
    workers = min(workers, len(iterators))
    pool = _Pool(iterators, max(_CAPACITY, workers))
    threads = [threading.Thread(target=pool.work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield from _received(pool.made, len(iterators), check)
    finally:
        pool.stop.set()
        give_up = time.monotonic() + _GRACE
        for _ in threads:
            pool.ready.put(None)
        for thread in threads:
            thread.join(max(0.0, give_up - time.monotonic()))


def _received(
    made: queue.Queue[tuple[T | None, BaseException | None]], iterators: int, check: Callable[[], None]
) -> Iterator[T]:
    """The items of a queue until each iterator has ended, which None marks."""
    while iterators:
        check()
        try:
            item, error = made.get(timeout=_CHECK_INTERVAL)
        except queue.Empty:
            continue
        if error is not None:
            raise error
        if item is None:
            iterators -= 1
        else:
            yield item
    check()
