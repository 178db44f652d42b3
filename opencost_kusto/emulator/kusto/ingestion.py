"""The data management side: takes messages from the queue, waits as batching does, and has the engine ingest."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from opencost_kusto.emulator.kusto.behaviour import Chances
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.emulator.kusto.landing import land
from opencost_kusto.emulator.kusto.storage import Message, Storage


class Waiting(NamedTuple):
    """A message, when it is due, and whether the storage may delete it once it is ingested."""

    due: float
    message: Message
    is_last_copy: bool = True


class Ingestion:
    """A thread between the storage and the engines; `latency` seconds pass between a message and its rows."""

    def __init__(self, engines: Mapping[str, Engine], storage: Storage, latency: float, chances: Chances) -> None:
        self.latency = latency
        self.chances = chances
        self.busy = False
        self._engines = engines
        self._storage = storage
        self._waiting: list[Waiting] = []
        self._state = threading.Condition()
        self._running = True
        self._paused = False
        self._rounds_without_work = 0
        self._thread = threading.Thread(target=self._run, name="ingestion", daemon=True)

    def start(self) -> None:
        """Begin to read the queue."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the ingestion under way."""
        with self._state:
            self._running = False
            self._state.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def pause(self) -> None:
        """Leave messages in the queue; returns when no ingestion is under way."""
        with self._state:
            self._paused = True
            self._rounds_without_work = 0
            while self._rounds_without_work == 0 and self._thread.is_alive():
                self._state.wait(0.05)

    def resume(self) -> None:
        """Read the queue again."""
        with self._state:
            self._paused = False
            self._state.notify_all()

    def wait_idle(self, timeout: float) -> None:
        """Wait until every message is dealt with; raises TimeoutError."""
        deadline = time.monotonic() + timeout
        with self._state:
            self._rounds_without_work = 0
            # Two, as the first may have begun before this call and missed a message.
            while self._paused or self._rounds_without_work < 2:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"messages were still waiting after {timeout} s")
                self._state.wait(0.05)

    def _run(self) -> None:
        while True:
            with self._state:
                if not self._running:
                    return
                paused = self._paused
            worked = False if paused else self._round()
            with self._state:
                self._rounds_without_work = 0 if worked else self._rounds_without_work + 1
                self._state.notify_all()
                if not worked and self._running:
                    self._state.wait(self._storage.poll_seconds)

    def _round(self) -> bool:
        """Take what is in the queue and ingest what has waited long enough."""
        message = self._receive()
        while message is not None:
            self._accept(message)
            message = self._receive()
        if not self._waiting:
            return False
        due = [one for one in self._waiting if one.due <= time.monotonic()]
        if not due:
            time.sleep(min(0.01, max(0.0, min(one.due for one in self._waiting) - time.monotonic())))
            return True
        chosen = self.chances.choice("out_of_order", due) if self.chances.hit("out_of_order") else due[0]
        try:
            self._occupy_slot()
            land(chosen.message.text, self._engines, self._storage, self.chances)
            if chosen.is_last_copy:
                self._storage.done(chosen.message)
        except ConnectionError:
            # Tried again in the next round, as the service would; the tags keep that from landing twice.
            time.sleep(self._storage.poll_seconds)
            return True
        self._waiting.remove(chosen)
        return True

    def _accept(self, message: Message) -> None:
        """Put a message among the waiting ones: once, twice or never, and now or later."""
        due = time.monotonic() + self.latency
        if self.chances.hit("late"):
            due += self.chances.share("late") * self.chances.behaviour.late_seconds
        if self.chances.hit("lost"):
            self._storage.done(message)
            return
        if self.chances.hit("repeated"):
            self._waiting.append(Waiting(due, message, is_last_copy=False))
        self._waiting.append(Waiting(due, message))
        self._waiting.sort(key=lambda one: one.due)

    def _occupy_slot(self) -> None:
        """Hold the only slot for as long as a blob takes, or until the service stops."""
        until = time.monotonic() + self.chances.behaviour.slot_seconds
        with self._state:
            self.busy = True
            while self._running and (left := until - time.monotonic()) > 0:
                self._state.wait(left)
            self.busy = False

    def _receive(self) -> Message | None:
        # A storage service that is being restarted by a test is read again in the next round.
        with suppress(ConnectionError):
            return self._storage.receive()
        return None
