"""An OpenCost that forgets, on a clock that tests move.

What its store no longer has, it refuses as early releases do, or is silent about as later ones are (`modules/
collector-source/pkg/collector/metricsquerier.go` of opencost/opencost): derived, since no such store was recorded.
Its answers are derived: the recorded hour 2026-11-23T10Z of 1.112, by namespace (8 rows) and its assets (19 rows),
with the window asked for in the place of its own, and every cost as much larger as that is longer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from opencost_kusto.batch import RequestOptions, Run, SourceSettings
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
from tests.support.recorded import Emulator
from tests.support.recordings import recording

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
CLUSTER = "aks-shop-prod-weu"
NAMESPACES = RequestOptions(aggregate="namespace")
ROWS = {"allocation": 8, "assets": 19}
# What the built-in store keeps, by length of the window, the unfinished one included.
_KEPT = {10 * MINUTE: 36, HOUR: 49, DAY: 15}
_BODIES = {"/allocation": "allocation_hour_agg_namespace.json", "/assets": "assets_hour.json"}
_EMPTY = {"/allocation": b'{"code":200,"data":[{}]}', "/assets": b'{"code":200,"data":{}}'}


@dataclass
class Forgetful:
    """Answers of a built-in store at `now`; what it no longer has it refuses, or with `silent` answers as empty.

    `down` refuses everything; `keeps` replaces how many windows it keeps by length; windows in `idle` have no cost, and
    add none to those that hold them.
    `asked` lists what was asked of it.
    """

    now: datetime
    silent: bool = False
    down: bool = False
    keeps: dict[timedelta, int] = field(default_factory=lambda: dict(_KEPT))
    idle: set[Window] = field(default_factory=set)
    asked: list[tuple[str, Window]] = field(default_factory=list)

    def __call__(self, path: str, query: Mapping[str, str]) -> Reply | None:
        """The answer to a request."""
        if self.down:
            return text_reply("no\n", status=500)
        if path not in _BODIES:
            return None
        start, end = (datetime.fromisoformat(bound).astimezone(UTC) for bound in query["window"].split(","))
        window = Window(start, end)
        self.asked.append((path.removeprefix("/"), window))
        if window in self.idle:
            return json_reply(_EMPTY[path])
        if not self.has(window):
            return json_reply(_EMPTY[path]) if self.silent else _refusal(window)
        cost = window.minutes - sum(one.minutes for one in self.idle if start <= one.start and one.end <= end)
        body = _body(path, cost / 60).replace(b"2026-11-23T10:00:00Z", stamp(start).encode())
        return json_reply(body.replace(b"2026-11-23T11:00:00Z", stamp(end).encode()))

    def has(self, window: Window) -> bool:
        """Whether it remembers a window."""
        grain = window.end - window.start
        if grain not in self.keeps:
            return False
        unfinished = self.now - (self.now - datetime(1970, 1, 1, tzinfo=UTC)) % grain
        return window.start >= unfinished - (self.keeps[grain] - 1) * grain


@cache
def _body(path: str, hours: float) -> bytes:
    """The recorded hour's answer with costs of so many hours."""

    def scaled(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: scaled(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [scaled(each) for each in value]
        return round(value * hours, 5) if key.endswith("Cost") and isinstance(value, float) else value

    return json.dumps(scaled(json.loads(recording("1.112", _BODIES[path]))), separators=(",", ":")).encode()


def _refusal(window: Window) -> Reply:
    said = f'{{"code":500,"data":null,"message":"querying {stamp(window.start)}: start time is past limit"}}'
    return json_reply(said.encode(), status=500)


@dataclass
class World:
    """Both emulators, with our clients of them and our tables."""

    forgetful: Forgetful
    emulator: Emulator
    opencost: OpenCost
    kusto: Kusto

    def windows(self, table: str = "OpenCostAllocation") -> dict[Window, int]:
        """Rows in a table by window, asked past every fault."""
        return {
            Window(row["WindowStart"].astimezone(UTC), row["WindowEnd"].astimezone(UTC)): row["Rows"]
            for row in self.ask(f"{table} | summarize Rows = count() by WindowStart, WindowEnd")
        }

    def ask(self, text: str) -> list[dict[str, Any]]:
        """The rows of a query, asked past every fault once ingestion is done."""
        fault, self.emulator.kusto.fault = self.emulator.kusto.fault, None
        try:
            self.emulator.kusto.wait_idle()
            return self.kusto.query(text)
        finally:
            self.emulator.kusto.fault = fault


@contextmanager
def world(now: datetime, kept: Mapping[timedelta, int] | None = None, **forgetful: Any) -> Iterator[World]:
    """A world at a moment, its tables empty; `kept` is what the program knows of the store."""
    answers = Forgetful(now, **forgetful)
    with (
        Emulator(answers=answers, clock=lambda: answers.now, latency=0) as emulator,
        Kusto(emulator.kusto_url, emulator.database, auth="none", deadlines=Deadlines(query=30)) as kusto,
        OpenCost(emulator.opencost_url, cluster=CLUSTER, settings=SourceSettings(kept=kept), attempts=1) as opencost,
    ):
        for command in script.commands():
            kusto.command(command.text)
        yield World(answers, emulator, opencost, kusto)


def wanted(step: timedelta = HOUR, *datasets: str) -> Target:
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
