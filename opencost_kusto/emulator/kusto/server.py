"""A Kusto for the unmodified SDK, over plain http: engine, data management and storage behind one address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from opencost_kusto.emulator.http import Endpoint, Reply, Request
from opencost_kusto.emulator.kusto.access import EMULATOR
from opencost_kusto.emulator.kusto.behaviour import ALL_OFF, Behaviour
from opencost_kusto.emulator.kusto.storage import MemoryStorage, Storage
from opencost_kusto.errors import UsageError
from opencost_kusto.times import utc_now

if TYPE_CHECKING:
    from opencost_kusto.emulator.kusto.engine import Engine

_MISSING: Final = "The Kusto emulator needs DuckDB. Install the extra demo, as in pip install '.[demo]' from a clone."


class KustoEmulator(Endpoint):
    """Kusto on 127.0.0.1, in memory, without authentication.

    One address is engine, ingestion endpoint and, unless another `storage` is given, blob and queue service. A
    message becomes rows `latency` seconds after it was read from the queue. `storage` may be a `Storage`, or a
    function that is given the base URL and returns one. `database` is what `engine` is of; `more_databases` are
    others. `clock` is the service's clock, the machine's unless given. Raises UsageError when DuckDB is missing.

    `principals` maps bearer tokens to principals; a request without a known one is of an admin.

    For tests: `pause()` and `resume()` hold ingestion, `wait_idle()` waits for it, `fault` breaks the wire (see
    `http`), `behaviour` switches on what a Kusto may do, `requests` lists what was requested, `storage` is what was
    uploaded to.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        database: str = "OpenCost",
        more_databases: Sequence[str] = (),
        storage: Storage | Callable[[str], Storage] | None = None,
        latency: float = 0.2,
        behaviour: Behaviour = ALL_OFF,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        try:
            from opencost_kusto.emulator.kusto.rest import Rest
            from opencost_kusto.emulator.kusto.service import Service
        except ImportError as missing:
            raise UsageError(_MISSING) from missing
        super().__init__(port)
        self.database = database
        given = storage(self.url) if callable(storage) else storage
        self.storage: Storage = given if given is not None else MemoryStorage(self.url)
        self._service = Service(
            [database, *more_databases], self.storage, latency=latency, behaviour=behaviour, clock=clock
        )
        self._rest = Rest(self._service)
        self.principals: dict[str, str] = {}

    @property
    def engine(self) -> Engine:
        """The database this emulator was made for."""
        return self._service.engines[self.database]

    @property
    def behaviour(self) -> Behaviour:
        """What is switched on; setting it begins the random streams anew."""
        return self._service.chances.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self._service.behave(behaviour)

    @property
    def latency(self) -> float:
        """Seconds between reading a message and its rows; may be set at any time."""
        return self._service.ingestion.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._service.ingestion.latency = seconds

    @property
    def clock(self) -> Callable[[], datetime]:
        """The clock of the service; may be set at any time."""
        return self.engine.clock

    @clock.setter
    def clock(self, clock: Callable[[], datetime]) -> None:
        for engine in self._service.engines.values():
            engine.clock = clock

    def door(self, principal: str, *roles: str) -> Door:
        """Another address of the same service, whose requests are all a principal's, which gets roles in `database`.

        So an unmodified client has the rights of a principal without signing in. Roles are `admins`, `users`,
        `viewers`, `unrestrictedviewers`, `ingestors` and `monitors`; those of a table or function are granted by
        `.add table`. Raises ValueError for any other.
        """
        self.engine.access.grant(principal, roles)
        return Door(self, principal)

    def start(self) -> None:
        """Begin to respond and to ingest."""
        super().start()
        self._service.start()

    def stop(self) -> None:
        """Close the port, stop ingestion and drop everything."""
        super().stop()
        self._service.stop()

    def pause(self) -> None:
        """Leave messages in the queue until `resume`; returns when no ingestion is under way."""
        self._service.ingestion.pause()

    def resume(self) -> None:
        """Take messages from the queue again."""
        self._service.ingestion.resume()

    def wait_idle(self, timeout: float = 10.0) -> None:
        """Wait until every message posted before this call is ingested or failed; raises TimeoutError."""
        self._service.ingestion.wait_idle(timeout)

    def respond(self, request: Request) -> Reply:
        """Respond as storage, engine or data management, by the path."""
        if isinstance(self.storage, MemoryStorage) and self.storage.serves(request):
            return self.storage.respond(request)
        return self._rest.respond(request, self._principal(request))

    def respond_as(self, request: Request, principal: str) -> Reply:
        """Respond to a request as one of a principal."""
        return self._rest.respond(request, principal)

    def _principal(self, request: Request) -> str:
        """The principal of a request: by the bearer token, where one is known, else the emulator's own principal."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        return self.principals.get(token, EMULATOR)


class Door(Endpoint):
    """An address of an emulator's engine and data management for one principal; start it, or use it as a context."""

    def __init__(self, emulator: KustoEmulator, principal: str) -> None:
        super().__init__()
        self.principal = principal
        self._emulator = emulator

    def respond(self, request: Request) -> Reply:
        """Respond as the principal."""
        return self._emulator.respond_as(request, self.principal)
