"""Makes the next items while this one is worked on: a thread, and a queue that is never long."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
# Answers that wait on disk while earlier ones are loaded: enough to keep OpenCost busy, and no more.
_AHEAD = 2
# Seconds after which somebody who waits looks up.
_HEEDED = 0.5


def prefetch(items: Iterable[T], heed: Callable[[], None] = lambda: None) -> Iterator[T]:
    """The items, made on another thread and a few ahead; what making one raises is raised here.

    `heed` is called again and again while an item is waited for, and may raise.
    """
    made: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(_AHEAD)
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
            heed()
            try:
                item, error = made.get(timeout=_HEEDED)
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
