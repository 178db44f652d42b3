"""The emulator of both ends: OpenCost computed from a model of two clusters, and Kusto on DuckDB.

For the demo and for tests, never for data that matters. Everything listens on 127.0.0.1 and is kept in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from typing import Self

from opencost_kusto.emulator.http import LOSE_REPLY, CloseConnection, Fault, Reply, Request
from opencost_kusto.emulator.kusto.behaviour import Behaviour
from opencost_kusto.emulator.kusto.server import Door, KustoEmulator
from opencost_kusto.emulator.kusto.storage import MemoryStorage, Message, Storage
from opencost_kusto.emulator.opencost.fleet import NAMES as CLUSTERS
from opencost_kusto.emulator.opencost.live import BUILT_IN_STORE, Clock
from opencost_kusto.emulator.opencost.replies import json_reply, text_reply
from opencost_kusto.emulator.opencost.server import OpenCostEmulator, Responder
from opencost_kusto.emulator.opencost.versions import DEFAULT as DEFAULT_VERSION
from opencost_kusto.emulator.opencost.versions import NAMES as VERSIONS
from opencost_kusto.times import utc_now

__all__ = [
    "BUILT_IN_STORE",
    "CLUSTERS",
    "DEFAULT_VERSION",
    "LOSE_REPLY",
    "VERSIONS",
    "Behaviour",
    "CloseConnection",
    "Door",
    "Emulator",
    "Fault",
    "KustoEmulator",
    "MemoryStorage",
    "Message",
    "OpenCostEmulator",
    "Reply",
    "Request",
    "Responder",
    "Storage",
    "json_reply",
    "text_reply",
]


class Emulator:
    """Both ends as a context: `opencosts`, one for each cluster, `opencost`, the first of them, and `kusto`.

    A port of 0 lets the system choose; the first cluster gets `opencost_port` and the second `second_port`. `version`,
    `clock` and `keeps` are those of `OpenCostEmulator`. `responder` and a given `opencost` are for one cluster alone.
    Raises UsageError when a port is taken, a version is unknown, or DuckDB is not installed.
    """

    def __init__(
        self,
        *,
        opencost_port: int = 0,
        second_port: int = 0,
        kusto_port: int = 0,
        database: str = "OpenCost",
        version: str = DEFAULT_VERSION,
        clock: Clock = utc_now,
        keeps: Mapping[int, int] | None = None,
        responder: Responder | None = None,
        opencost: OpenCostEmulator | None = None,
        storage: Storage | Callable[[str], Storage] | None = None,
        latency: float = 0.2,
    ) -> None:
        with ExitStack() as made:
            self.kusto = KustoEmulator(kusto_port, database=database, storage=storage, latency=latency)
            made.callback(self.kusto.stop)
            self.opencosts: list[OpenCostEmulator] = [] if opencost is None else [opencost]
            clusters = () if opencost is not None else CLUSTERS[:1] if responder is not None else CLUSTERS
            for cluster, port in zip(clusters, (opencost_port, second_port), strict=False):
                one = OpenCostEmulator(
                    port, cluster=cluster, version=version, clock=clock, keeps=keeps, responder=responder
                )
                self.opencosts.append(one)
                made.callback(one.stop)
            made.pop_all()
        self.database = database

    @property
    def opencost(self) -> OpenCostEmulator:
        """The first OpenCost."""
        return self.opencosts[0]

    def now(self) -> datetime:
        """The time of the first OpenCost."""
        return self.opencost.live.clock()

    @property
    def opencost_url(self) -> str:
        """The address of the first OpenCost."""
        return self.opencost.url

    @property
    def kusto_url(self) -> str:
        """The address of Kusto."""
        return self.kusto.url

    def __enter__(self) -> Self:
        for opencost in self.opencosts:
            opencost.start()
        self.kusto.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kusto.stop()
        for opencost in self.opencosts:
            opencost.stop()
