"""What a command runs in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from duckdb_kql.server import Result

from opencost_kusto.emulator.kusto.access import Access
from opencost_kusto.emulator.kusto.engine import Engine


class Capacity(NamedTuple):
    """How many blobs can be ingested at once, and how many are."""

    total: int
    consumed: int


IDLE: Final = Capacity(6, 0)


@dataclass(frozen=True, slots=True)
class Session:
    """The database of a command and who runs it; `run` runs a query or a `.show` command that another names."""

    engine: Engine
    principal: str
    run: Callable[[str], Result]
    capacity: Capacity = IDLE

    @property
    def access(self) -> Access:
        """The roles in the database."""
        return self.engine.access
