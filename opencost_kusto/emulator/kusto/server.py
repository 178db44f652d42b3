"""A Kusto for the unmodified SDK, over plain http: engine, data management and storage behind one address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from opencost_kusto.emulator.http import Endpoint, Reply, Request
from opencost_kusto.emulator.kusto.storage import MemoryStorage, Storage
from opencost_kusto.errors import UsageError

_MISSING: Final = "The stand-in for Kusto needs DuckDB. Install it with: pip install 'opencost-kusto[demo]'"


class KustoEmulator(Endpoint):
    """Kusto on 127.0.0.1, in memory, without authentication.

    One address is engine, ingestion endpoint and, unless another `storage` is given, blob and queue service. A
    message becomes rows `latency` seconds after it was read from the queue. `storage` may be a `Storage`, or a
    function that is given the base URL and returns one. Raises UsageError when DuckDB is not installed.

    For tests: `pause()` and `resume()` hold ingestion, `wait_idle()` waits for it, `fault` breaks the wire (see
    `wire`), `requests` lists what was asked, `storage` is what was uploaded to.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        database: str = "OpenCost",
        storage: Storage | Callable[[str], Storage] | None = None,
        latency: float = 0.2,
    ) -> None:
        try:
            from opencost_kusto.emulator.kusto import rest
        except ImportError as missing:
            raise UsageError(_MISSING) from missing
        super().__init__(port)
        self.database = database
        given = storage(self.url) if callable(storage) else storage
        self.storage: Storage = given if given is not None else MemoryStorage(self.url)
        self.engine = rest.Engine(database)
        self._ingestion = rest.Ingestion(self.engine, self.storage, latency)
        self._rest = rest.Rest(self.engine, self.storage)

    @property
    def latency(self) -> float:
        """Seconds between reading a message and its rows; may be set at any time."""
        return self._ingestion.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._ingestion.latency = seconds

    def start(self) -> None:
        """Begin to answer and to ingest."""
        super().start()
        self._ingestion.start()

    def stop(self) -> None:
        """Close the port, stop ingestion and forget everything."""
        super().stop()
        self._ingestion.stop()
        self.engine.close()

    def pause(self) -> None:
        """Leave messages in the queue until `resume`; returns when no ingestion is under way."""
        self._ingestion.pause()

    def resume(self) -> None:
        """Take messages from the queue again."""
        self._ingestion.resume()

    def wait_idle(self, timeout: float = 10.0) -> None:
        """Wait until every message posted before this call is ingested or failed; raises TimeoutError."""
        self._ingestion.wait_idle(timeout)

    def respond(self, request: Request) -> Reply:
        """Answer as storage, engine or data management, by the path."""
        if isinstance(self.storage, MemoryStorage) and self.storage.serves(request):
            return self.storage.respond(request)
        return self._rest.respond(request)
