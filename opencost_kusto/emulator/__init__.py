"""The local stand-in for both ends: recorded OpenCost answers, and a Kusto on DuckDB.

For the demo and for tests; never for data anybody needs. Everything listens on 127.0.0.1 and lies in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from opencost_kusto.emulator.http import LOSE_REPLY, CloseConnection, Fault, Reply, Request
from opencost_kusto.emulator.kusto.server import KustoEmulator
from opencost_kusto.emulator.kusto.storage import MemoryStorage, Message, Storage
from opencost_kusto.emulator.opencost.replies import json_reply, text_reply
from opencost_kusto.emulator.opencost.server import Answers, OpenCostEmulator

__all__ = [
    "LOSE_REPLY",
    "Answers",
    "CloseConnection",
    "Emulator",
    "Fault",
    "KustoEmulator",
    "MemoryStorage",
    "Message",
    "OpenCostEmulator",
    "Reply",
    "Request",
    "Storage",
    "json_reply",
    "text_reply",
]


class Emulator:
    """Both stand-ins, as a context; `opencost` and `kusto` are the two, to be driven by tests.

    A port of 0 lets the system choose. Raises UsageError when a port is taken or DuckDB is not installed.
    """

    def __init__(
        self,
        *,
        opencost_port: int = 0,
        kusto_port: int = 0,
        database: str = "OpenCost",
        answers: Answers | None = None,
        storage: Storage | Callable[[str], Storage] | None = None,
        latency: float = 0.2,
    ) -> None:
        self.kusto = KustoEmulator(kusto_port, database=database, storage=storage, latency=latency)
        try:
            self.opencost = OpenCostEmulator(opencost_port, answers=answers)
        except BaseException:
            self.kusto.stop()
            raise
        self.database = database

    @property
    def opencost_url(self) -> str:
        """Where OpenCost answers."""
        return self.opencost.url

    @property
    def kusto_url(self) -> str:
        """Where Kusto answers."""
        return self.kusto.url

    def __enter__(self) -> Self:
        self.opencost.start()
        self.kusto.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kusto.stop()
        self.opencost.stop()
