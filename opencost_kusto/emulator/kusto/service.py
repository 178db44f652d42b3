"""The databases behind an address, and what is common to them: the behaviour, the clock, the ingestion capacity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from opencost_kusto.emulator.kusto.behaviour import ALL_OFF, Behaviour, Chances
from opencost_kusto.emulator.kusto.catalog import KustoRefusal
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.emulator.kusto.ingestion import Ingestion
from opencost_kusto.emulator.kusto.session import IDLE, Capacity
from opencost_kusto.emulator.kusto.storage import Storage
from opencost_kusto.times import utc_now


class Service:
    """Engines by database, and the data management service that feeds them from a storage."""

    def __init__(
        self,
        databases: Sequence[str],
        storage: Storage,
        *,
        latency: float,
        behaviour: Behaviour = ALL_OFF,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.storage = storage
        self.engines: Mapping[str, Engine] = {name: Engine(name, clock=clock) for name in databases}
        self.ingestion = Ingestion(self.engines, storage, latency, Chances(behaviour))
        self.behave(behaviour)

    @property
    def chances(self) -> Chances:
        """Draws for the behaviour in force."""
        return self.ingestion.chances

    @property
    def capacity(self) -> Capacity:
        """How many blobs can be ingested at once, and how many are."""
        total = 1 if self.chances.behaviour.slot_seconds else IDLE.total
        return Capacity(total, int(self.ingestion.busy))

    def behave(self, behaviour: Behaviour) -> None:
        """Change the behaviour, with streams that begin anew."""
        self.ingestion.chances = Chances(behaviour)
        if behaviour.stale_reads:
            for engine in self.engines.values():
                engine.keep_history()

    def engine(self, database: object) -> Engine:
        """The engine of a database; raises KustoRefusal."""
        # Names of databases have no case: https://learn.microsoft.com/kusto/query/schema-entities/entity-names
        named = {name.lower(): engine for name, engine in self.engines.items()}
        found = named.get(database.lower()) if isinstance(database, str) else None
        if found is None:
            raise KustoRefusal(
                f"Entity not found: Database '{database}' could not be found",
                code="BadRequest_EntityNotFound",
                kind="Kusto.Data.Exceptions.EntityNotFoundException",
            )
        return found

    def may_ingest(self, principal: str) -> bool:
        """Whether a principal may ingest anywhere."""
        return any(engine.access.may_ingest_anywhere(principal) for engine in self.engines.values())

    def start(self) -> None:
        """Begin to ingest."""
        self.ingestion.start()

    def stop(self) -> None:
        """Stop ingestion and drop everything."""
        self.ingestion.stop()
        for engine in self.engines.values():
            engine.close()
