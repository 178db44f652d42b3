"""A computed OpenCost at a fixed moment, requested without a network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from opencost_kusto.emulator.http import Reply, Request
from opencost_kusto.emulator.opencost import fleet, versions
from opencost_kusto.emulator.opencost.live import LiveOpenCost

# The moment at which the live windows of 1.112 were recorded, so that its closed hours are in the fourteen days.
NOW = datetime(2026, 11, 24, 5, 46, 27, tzinfo=UTC)
Sets = list[dict[str, dict[str, Any]]]


@dataclass
class Requested:
    """An OpenCost whose clock stands; `now` may be moved."""

    version: str = "1.112"
    cluster: str = fleet.NAMES[0]
    now: datetime = NOW
    keeps: Mapping[int, int] | None = None

    def reply(self, target: str) -> Reply:
        """The reply to a GET of a path and query."""
        url = urlsplit(target)
        live = LiveOpenCost(
            fleet.cluster(self.cluster, NOW), versions.version(self.version), lambda: self.now, self.keeps or {}
        )
        return live.reply(Request("GET", target, url.path, tuple(parse_qsl(url.query, keep_blank_values=True)), {}))

    def body(self, target: str) -> bytes:
        """The body of a reply."""
        body = self.reply(target).body
        assert isinstance(body, bytes)
        return body

    def sets(self, start: str, end: str, **parameters: str) -> Sets:
        """The sets of /allocation for a window of the days before the moment, e.g. `23T10:00`."""
        more = "".join(f"&{name}={value}" for name, value in parameters.items())
        found: Sets = json.loads(self.body(f"/allocation?window={window(start, end)}{more}"))["data"]
        return found

    def cost(self, start: str, end: str, **parameters: str) -> float:
        """What all rows of a window cost."""
        return math.fsum(row["totalCost"] for one in self.sets(start, end, **parameters) for row in one.values())

    def assets(self, start: str, end: str) -> dict[str, dict[str, Any]]:
        """The assets of a window."""
        found: dict[str, dict[str, Any]] = json.loads(self.body(f"/assets?window={window(start, end)}"))["data"]
        return found


def window(start: str, end: str) -> str:
    """Two times of November 2026 as OpenCost takes them."""
    return ",".join(f"2026-11-{bound}:00Z" if bound.count(":") == 1 else f"2026-11-{bound}Z" for bound in (start, end))


@pytest.fixture
def opencost() -> Requested:
    """A computed OpenCost 1.112 of the first cluster."""
    return Requested()
