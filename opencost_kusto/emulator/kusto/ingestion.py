"""The data management side: takes messages from the queue, waits as batching does, and has the engine ingest."""

from __future__ import annotations

import gzip
import json
import threading
import time
import zlib
from collections import deque
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from opencost_kusto.emulator.kusto.catalog import Failure, KustoRefusal
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.emulator.kusto.mapping import MalformedFile, parse_mapping, records, select
from opencost_kusto.emulator.kusto.storage import BlobNotFound, Message, Storage

_REQUIRED: Final = ("BlobPath", "DatabaseName", "TableName", "Id")


class Ingestion:
    """A thread between the storage and the engine; `latency` seconds pass between a message and its rows."""

    def __init__(self, engine: Engine, storage: Storage, latency: float) -> None:
        self.latency = latency
        self._engine = engine
        self._storage = storage
        self._waiting: deque[tuple[float, Message]] = deque()
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
            self._waiting.append((time.monotonic() + self.latency, message))
            message = self._receive()
        if not self._waiting:
            return False
        due, message = self._waiting[0]
        if due > time.monotonic():
            time.sleep(min(0.01, max(0.0, due - time.monotonic())))
            return True
        try:
            self._ingest(message)
            self._storage.done(message)
        except ConnectionError:
            # Tried again in the next round, as the service would; the tags keep that from landing twice.
            time.sleep(self._storage.poll_seconds)
            return True
        self._waiting.popleft()
        return True

    def _receive(self) -> Message | None:
        # A storage service that is being restarted by a test is asked again in the next round.
        with suppress(ConnectionError):
            return self._storage.receive()
        return None

    def _ingest(self, received: Message) -> None:
        try:
            message = json.loads(received.text)
            message = {name: message[name] for name in _REQUIRED} | message
        except (ValueError, KeyError, TypeError):
            # Not a message of an ingestion client: the service discards it, and no command tells.
            return
        try:
            self._land(message)
        except ConnectionError:
            raise
        except KustoRefusal as refused:
            self._fail(message, refused.code, str(refused))
        except BlobNotFound as missing:
            self._fail(message, "Download_SourceNotFound", f"The blob was not found: {missing}")
        except (MalformedFile, UnicodeDecodeError) as malformed:
            self._fail(message, "BadRequest_NoRecordsOrWrongFormat", f"The file was refused: {malformed}")
        except (OSError, EOFError, zlib.error) as corrupted:
            self._fail(message, "BadRequest_CorruptedArchive", f"The archive cannot be read: {corrupted}")

    def _land(self, message: dict[str, Any]) -> None:
        more = message.get("AdditionalProperties") or {}
        tags, keys = json.loads(more.get("tags", "[]")), tuple(json.loads(more.get("ingestIfNotExists", "[]")))
        if message["DatabaseName"] != self._engine.database:
            raise KustoRefusal(
                f"Database '{message['DatabaseName']}' was not found", code="BadRequest_DatabaseNotExist"
            )
        kind = str(more.get("format", "csv")).lower()
        if kind not in {"json", "multijson"}:
            raise KustoRefusal(f"Format '{kind}' is not served by this stand-in", code="BadRequest_FormatNotSupported")
        data = self._storage.blob(message["BlobPath"])
        if urlsplit(message["BlobPath"]).path.endswith(".gz"):
            data = gzip.decompress(data)
        if not data:
            raise KustoRefusal("The blob is empty", code="BadRequest_EmptyBlob")
        rows = records(data, kind)
        if not rows:
            raise MalformedFile("it has no records")
        # Under one lock: of two messages with one key the second finds the first one's extent.
        with self._engine.lock:
            name = message["TableName"]
            if name not in self._engine.tables:
                raise KustoRefusal(f"Table '{name}' was not found", code="BadRequest_TableNotExist")
            table = self._engine.tables[name]
            if any(extent.holds(keys) for extent in table.extents.values()):
                return
            if "ingestionMapping" in more:
                mapping = parse_mapping(more["ingestionMapping"])
            elif more.get("ingestionMappingReference") in table.mappings:
                mapping = table.mappings[more["ingestionMappingReference"]]
            else:
                reference = more.get("ingestionMappingReference")
                what = f"Mapping reference '{reference}' of table '{name}' was not found"
                raise KustoRefusal(what, code="BadRequest_MappingReferenceWasNotFound")
            sql, parameters, columns = select(table, mapping, rows)
            self._engine.insert(table, sql, parameters, tags, columns=columns)

    def _fail(self, message: dict[str, Any], code: str, details: str) -> None:
        properties = {
            name: value
            for name, value in (message.get("AdditionalProperties") or {}).items()
            if name != "authorizationContext"
        }
        path = message["BlobPath"].split("?")[0]
        failure = Failure(
            message["TableName"], path, details, code, json.dumps(properties), failed=self._engine.clock()
        )
        with self._engine.lock:
            self._engine.failures.append(failure)
