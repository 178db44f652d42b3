"""What a command runs in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from duckdb_kql.server import Result

from opencost_kusto.emulator.kusto.engine import Engine


class Capacity(NamedTuple):
    """How many blobs can be ingested at once, and how many are."""

    total: int
    consumed: int


IDLE: Final = Capacity(6, 0)


@dataclass(frozen=True, slots=True)
class Session:
    """The database of a command; `answer` runs a `.show` command or a query, for commands that take either."""

    engine: Engine
    answer: Callable[[str], Result]
    capacity: Capacity = IDLE
