"""The world with an OpenCost whose built-in store keeps some windows only, on a clock that tests move.

It refuses a window that it no longer has, as early releases do, or answers without a record, as later ones do
(`modules/collector-source/pkg/collector/metricsquerier.go` of opencost/opencost): derived, since no such store was
recorded. Its responses are derived: the recorded hour 2026-11-23T10Z of 1.112, by namespace (8 rows) and its assets
(19 rows), with the requested window instead of its own, and costs in proportion to the length.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Self

from opencost_kusto.batch import Run, SourceSettings
from opencost_kusto.coverage.catch_up import MAX_WINDOWS, CatchUp, load
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.coverage.missing import find_all
from opencost_kusto.database import script
from opencost_kusto.emulator import Reply, json_reply, text_reply
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.identity import Identity
from opencost_kusto.pipeline.loading import Loading
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.window import Window, stamp
from tests.support.recordings import recording
from tests.support.world import NAMESPACES, World

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
CLUSTER = "aks-shop-prod-weu"
EVERYTHING = [command.text for command in script.commands()]
ROWS = {"allocation": 8, "assets": 19}
# What the built-in store keeps, by length of the window, the unfinished one included.
_KEPT = {10 * MINUTE: 36, HOUR: 49, DAY: 15}
_BODIES = {"/allocation": "allocation_hour_agg_namespace.json", "/assets": "assets_hour.json"}
_EMPTY = {"/allocation": b'{"code":200,"data":[{}]}', "/assets": b'{"code":200,"data":{}}'}


@dataclass
class BuiltInStore:
    """Responses of a built-in store at `now`; an expired window is refused, or with `silent` empty.

    `down` refuses everything; `keeps` replaces how many windows it keeps by length; windows in `idle` have no cost, and
    add none to those that hold them. `requested` lists the requests.
    """

    now: datetime
    silent: bool = False
    down: bool = False
    keeps: dict[timedelta, int] = field(default_factory=lambda: dict(_KEPT))
    idle: set[Window] = field(default_factory=set)
    requested: list[tuple[str, Window]] = field(default_factory=list)

    def __call__(self, path: str, query: Mapping[str, str]) -> Reply | None:
        """The response to a request."""
        if self.down:
            return text_reply("no\n", status=500)
        if path not in _BODIES:
            return None
        start, end = (datetime.fromisoformat(bound).astimezone(UTC) for bound in query["window"].split(","))
        window = Window(start, end)
        self.requested.append((path.removeprefix("/"), window))
        if window in self.idle:
            return json_reply(_EMPTY[path])
        if not self.has(window):
            return json_reply(_EMPTY[path]) if self.silent else _refusal(window)
        cost = window.minutes - sum(one.minutes for one in self.idle if start <= one.start and one.end <= end)
        body = _body(path, cost / 60).replace(b"2026-11-23T10:00:00Z", stamp(start).encode())
        return json_reply(body.replace(b"2026-11-23T11:00:00Z", stamp(end).encode()))

    def has(self, window: Window) -> bool:
        """Whether it still has a window."""
        length = window.end - window.start
        if length not in self.keeps:
            return False
        unfinished = self.now - (self.now - datetime(1970, 1, 1, tzinfo=UTC)) % length
        return window.start >= unfinished - (self.keeps[length] - 1) * length


@cache
def _body(path: str, hours: float) -> bytes:
    """The recorded hour's response with costs of so many hours."""

    def scaled(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: scaled(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [scaled(each) for each in value]
        return round(value * hours, 5) if key.endswith("Cost") and isinstance(value, float) else value

    return json.dumps(scaled(json.loads(recording("1.112", _BODIES[path]))), separators=(",", ":")).encode()


def _refusal(window: Window) -> Reply:
    message = f'{{"code":500,"data":null,"message":"querying {stamp(window.start)}: start time is past limit"}}'
    return json_reply(message.encode(), status=500)


class StoreWorld(World):
    """The world with a built-in store, all tables and functions, and a client of each server.

    `kept` is what the program is told that the store keeps; the other options are those of BuiltInStore.
    """

    def __init__(
        self, now: datetime, kept: Mapping[timedelta, int] | None = None, currency: str | None = None, **store: Any
    ) -> None:
        self.store = BuiltInStore(now, **store)
        super().__init__(responder=self.store, clock=lambda: self.store.now)
        self._settings = SourceSettings(kept=kept, currency=currency)

    def __enter__(self) -> Self:
        super().__enter__()
        self.kusto_client = self._stack.enter_context(self.client(Deadlines(query=30)))
        self.opencost_client = self._stack.enter_context(
            OpenCost(self.opencost.url, cluster=CLUSTER, settings=self._settings, attempts=1)
        )
        return self

    def create(self, texts: Sequence[str] = EVERYTHING) -> None:
        """Create tables and functions, as bootstrap does."""
        super().create(texts)

    def query(self, text: str) -> list[dict[str, Any]]:
        """Rows of a query, past every fault, once ingestion is done."""
        self.kusto.wait_idle()
        return super().query(text)

    def windows(self, table: str = "OpenCostAllocation") -> dict[Window, int]:
        """Rows in a table by window."""
        return {
            Window(row["WindowStart"].astimezone(UTC), row["WindowEnd"].astimezone(UTC)): row["Rows"]
            for row in self.query(f"{table} | summarize Rows = count() by WindowStart, WindowEnd")
        }


def target_of(step: timedelta = HOUR, *datasets: str) -> Target:
    """Datasets by namespace in windows of a step; allocation when none is named."""
    return Target(step, datasets or ("allocation",), NAMESPACES)


def catch_up(
    opencost: OpenCost,
    kusto: Kusto,
    target: Target,
    period: Window,
    *,
    run: Run,
    closed: datetime,
    max_windows: int | None = MAX_WINDOWS,
    scrape: bool = False,
    on_result: Callable[[BatchResult], None] = lambda _: None,
    policy: LoadPolicy | None = None,
) -> Report:
    """Load the missing windows of one source, as a tick does for several."""
    identity = Identity(kusto, opencost.source(), run)
    identity.hold_if_read()
    (found,) = find_all(kusto, [identity.source], target, period, run.collection_time)
    with Loading(kusto, run, policy, on_result=on_result) as loading:
        load([CatchUp(opencost, identity, found, target, run, closed, max_windows)], loading, scrape=scrape)
    loading.log()
    return loading.report
