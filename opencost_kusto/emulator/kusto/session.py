"""Who runs a command, on which database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from duckdb_kql.server import Result

from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.emulator.kusto.service import Service


@dataclass(frozen=True, slots=True)
class Session:
    """What a command runs in; `answer` runs a `.show` command or a query, for commands that take either."""

    engine: Engine
    service: Service
    answer: Callable[[str], Result]
