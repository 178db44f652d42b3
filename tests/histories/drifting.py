"""An OpenCost whose responses drift, and which keeps what it sent."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache
from typing import Any

from opencost_kusto.emulator import Reply, json_reply, text_reply
from opencost_kusto.window import Window, stamp
from tests.histories.steps import RESPONSES, Mode
from tests.support.recordings import recording

Costs = frozenset[tuple[str, float]]
"""The rows of a response, by name and cost."""
_DOCUMENTS = {
    "/clusterInfo": "clusterinfo.json",
    "/clusterInfoMap": "clusterinfomap.json",
    "/installInfo": "installinfo.json",
}
_EMPTY = b'{"code":200,"data":[{}]}'


class Drifting:
    """Responses derived from the recorded hour 2026-11-23T10Z of 1.112 by namespace, for any hour, at a fixed `now`.

    `mode` is how it responds. `sent` holds the rows of every response with rows, by window.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.mode: Mode = "first"
        self.sent: dict[Window, set[Costs]] = defaultdict(set)

    def __call__(self, path: str, query: Mapping[str, str]) -> Reply:
        """The response to a request, dated by OpenCost's clock."""
        reply = self._reply(path, query)
        dated = {"Date": format_datetime(self.now, usegmt=True)}
        return reply._replace(headers={**reply.headers, **dated})

    def _reply(self, path: str, query: Mapping[str, str]) -> Reply:
        if path in _DOCUMENTS:
            return json_reply(recording("1.112", _DOCUMENTS[path]))
        if path != "/allocation":
            return text_reply("404 page not found\n", status=404)
        if self.mode == "down":
            return json_reply(recording("1.112", "down_allocation.json"), status=500)
        start, end = (datetime.fromisoformat(bound).astimezone(UTC) for bound in query["window"].split(","))
        if self.mode == "empty":
            return json_reply(_EMPTY)
        body, costs = _response(self.mode if self.mode in RESPONSES else "first")
        if self.mode != "wrong window":
            self.sent[Window(start, end)].add(costs)
            moved = {b"2026-11-23T10:00:00Z": stamp(start).encode(), b"2026-11-23T11:00:00Z": stamp(end).encode()}
            # In one pass: the hour that begins at 11Z begins where the recorded one ends.
            body = re.sub(rb"2026-11-23T1[01]:00:00Z", lambda found: moved[found[0]], body)
        return json_reply(body)


@cache
def _response(mode: Mode) -> tuple[bytes, Costs]:
    """The body for the recorded hour, and its rows: four namespaces, one less, one more, dearer, or other names."""
    records = list(json.loads(recording("1.112", "allocation_hour_agg_namespace.json"))["data"][0].values())
    chosen = records[: {"shorter": 3, "longer": 5}.get(mode, 4)]
    if mode == "dearer":
        chosen = [_dearer(record) for record in chosen]
    if mode == "other":
        chosen = [record | {"name": f"{record['name']}-other"} for record in chosen]
    data = {record["name"]: record for record in chosen}
    costs = frozenset((record["name"], record["totalCost"]) for record in chosen)
    return json.dumps({"code": 200, "status": "success", "data": [data]}, separators=(",", ":")).encode(), costs


def _dearer(record: dict[str, Any]) -> dict[str, Any]:
    return {
        name: round(value * 1.01, 5) if name.endswith("Cost") and isinstance(value, float) else value
        for name, value in record.items()
    }
