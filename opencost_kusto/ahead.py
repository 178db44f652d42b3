"""Makes the next items while this one is worked on: a thread, and a queue that is never long."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
# Answers that wait on disk while earlier ones are loaded: enough to keep OpenCost busy, and no more.
_AHEAD = 2


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The items, made on another thread and a few ahead; what making one raises is raised here."""
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
            item, error = made.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stop.set()
        thread.join(timeout=5)
