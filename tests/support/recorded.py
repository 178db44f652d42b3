"""An OpenCost 1.112 that sends recorded responses, and both ends with it.

For tests that compare figures with those of the recorded day 2026-11-23: every hour by container, by namespace and by
namespace with idle, every hour's assets, and other aggregates and idle options for the hour 10Z. A window wholly
outside that day is empty. A request about that day that was not recorded is refused with 501: an empty response would
say that there was no cost.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec

from opencost_kusto import emulator
from opencost_kusto.emulator import Reply, Request, json_reply, text_reply
from opencost_kusto.emulator.opencost import refusals, versions, windows
from opencost_kusto.emulator.opencost.sampling import Span
from tests.support.recordings import DATA, recording

_VERSION: Final = "1.112"
_DAY: Final = Span(datetime(2026, 11, 23, tzinfo=UTC).timestamp(), datetime(2026, 11, 24, tzinfo=UTC).timestamp())
_DEFAULT_AGGREGATE: Final = "cluster,node,namespace,pod,container"
_TRUE: Final = {"1", "t", "T", "true", "TRUE", "True"}
_READ: Final = {
    "/allocation": {
        *("window", "aggregate", "step", "accumulate", "accumulateBy", "includeIdle", "shareIdle", "idleByNode"),
        *("includeAggregatedMetadata", "includeProportionalAssetResourceCosts"),
    },
    "/allocation/summary": {"window", "aggregate", "step", "accumulate"},
    "/assets": {"window", "filter"},
}
_ROW: Final = re.compile(r"\| (\S+) \| `(/[^`]*)` \| (\d+) \| ([^|]+?) \|")
# Each is a day of hourly sets: every set serves its hour as well.
_STEPPED: Final = (
    "allocation_day_step1h.json",
    "allocation_day_step1h_namespace.json",
    "allocation_day_step1h_idle_namespace.json",
)
_COMPLETE: Final = re.compile(
    r"allocation_hour(|_idle(?!_full).*|_agg_(?!full|.*again).*|_parc_noidle|_metadata_namespace)\.json"
    r"|allocation_(day|day_namespace|summary)\.json"
    r"|assets_(day|filter_.*)\.(json|txt)"
    r"|(metrics|healthz|customcost_status)\.txt|(clusterinfo|clusterinfomap|installinfo)\.json"
)

Key = tuple[str, frozenset[tuple[str, str]]]


class _Recording(NamedTuple):
    status: int
    content_type: str
    name: str
    hour: int | None = None

    def body(self) -> bytes:
        if self.hour is None:
            return recording(_VERSION, self.name)
        return b'{"code":200,"status":"success","data":[' + bytes(_sets(self.name)[self.hour]) + b"]}"


class _Envelope(msgspec.Struct):
    data: list[msgspec.Raw]


class OpenCostEmulator(emulator.OpenCostEmulator):
    """An OpenCost emulator whose responses are recorded instead of computed.

    Each is of a cluster of its own: `uid` is that of the namespace kube-system, which was not recorded.
    """

    @cached_property
    def uid(self) -> str:
        """A uid that no other emulator has."""
        return str(uuid.uuid4())

    def computed(self, request: Request) -> Reply:
        """The recorded response to a request."""
        if request.path == "/allNamespaces":
            items = [{"metadata": {"name": "kube-system", "uid": self.uid}}]
            return json_reply(msgspec.json.encode({"items": items}))
        exact = _index().get((request.path, frozenset(request.query)))
        path = request.path.replace("/allocation/compute", "/allocation")
        query = _as_read(path, dict(request.query))
        found = exact or _index().get((path, frozenset(query.items())))
        if found is None and path == "/assets" and (filtered := _filtered(query)) is not None:
            return filtered
        if found is None:
            return _unrecorded(path, query) if path in _READ else refusals.not_found()
        headers = {"Vary": "Origin"}
        if found.content_type != "none":
            headers["Content-Type"] = found.content_type
        return Reply(found.status, headers, found.body())


def become(opencost: emulator.OpenCostEmulator, cluster: str) -> None:
    """Make a server be of the cluster of that name from now on: each name has a uid of its own."""
    assert isinstance(opencost, OpenCostEmulator)
    opencost.uid = str(uuid.uuid5(uuid.NAMESPACE_DNS, cluster))


@contextmanager
def another_cluster(opencost: emulator.OpenCostEmulator) -> Iterator[None]:
    """Within it, a server is of a cluster that it was not of before."""
    assert isinstance(opencost, OpenCostEmulator)
    before, opencost.uid = opencost.uid, str(uuid.uuid4())
    try:
        yield
    finally:
        opencost.uid = before


class Emulator(emulator.Emulator):
    """Both ends, with recorded responses of OpenCost."""

    def __init__(
        self,
        *,
        responder: emulator.Responder | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        **options: Any,
    ) -> None:
        super().__init__(opencost=OpenCostEmulator(responder=responder, clock=clock), **options)


@cache
def _sets(name: str) -> list[msgspec.Raw]:
    return msgspec.json.decode(recording(_VERSION, name), type=_Envelope).data


def _hour(hour: int) -> str:
    start = datetime(2026, 11, 23, hour, tzinfo=UTC)
    return ",".join(bound.strftime("%Y-%m-%dT%H:%M:%SZ") for bound in (start, start + timedelta(hours=1)))


@cache
def _index() -> dict[Key, _Recording]:
    """What was recorded, by path and query; a recording of the exact request wins over a set of a longer one."""
    index: dict[Key, _Recording] = {}
    rows = _ROW.findall((DATA / f"opencost-{_VERSION}" / "INDEX.md").read_text("utf-8"))
    for name, request, status, content_type in rows:
        if name in _STEPPED:
            options = request.split("&step=1h")[1]
            for hour in range(24):
                key = _key(f"/allocation?window={_hour(hour)}{options}")
                index[key] = _Recording(200, content_type, name, hour)
            index[_key(request)] = _Recording(int(status), content_type, name)
    for hour in range(24):
        name = f"assets_hours/{hour:02}.json"
        index[_key(f"/assets?window={_hour(hour)}")] = _Recording(200, "application/json", name)
    for name, request, status, content_type in rows:
        if _COMPLETE.fullmatch(name):
            index[_key(request)] = _Recording(int(status), content_type, name)
    return index


def _filtered(query: dict[str, str]) -> Reply | None:
    """Recorded assets of several types, which were recorded of one type and without a filter: derived from the latter.

    None where the window was not recorded, or the filter is no list of types.
    """
    types = re.fullmatch(r'assetType:("[a-z]+"(?:,"[a-z]+")*)', query.get("filter", ""))
    complete = _index().get(("/assets", frozenset({("window", query.get("window", ""))})))
    if types is None or complete is None:
        return None
    document = msgspec.json.decode(complete.body())
    wanted = types[1].replace('"', "").split(",")
    document["data"] = {key: one for key, one in document["data"].items() if one["type"].lower() in wanted}
    return json_reply(msgspec.json.encode(document))


def _key(request: str) -> Key:
    url = urlsplit(request)
    return url.path, frozenset(parse_qsl(url.query, keep_blank_values=True))


def _as_read(path: str, query: dict[str, str]) -> dict[str, str]:
    """The query as the server reads it: what it ignores is gone, and so is what says the default."""
    kept = {name: value for name, value in query.items() if name in _READ.get(path, set())}
    for name in ("accumulate", "includeIdle", "shareIdle", "idleByNode", "includeAggregatedMetadata"):
        if kept.get(name, "true") in _TRUE:
            kept |= {name: "true"} if name in kept else {}
        else:
            del kept[name]
    if kept.get("aggregate") in {"", _DEFAULT_AGGREGATE}:
        del kept["aggregate"]
    window = _pair(kept.get("window", ""))
    if window is not None:
        bounds = (datetime.fromtimestamp(bound, UTC) for bound in window)
        kept["window"] = ",".join(bound.strftime("%Y-%m-%dT%H:%M:%SZ") for bound in bounds)
    if "step" in kept and (window is None or windows.step(kept["step"], window) >= window.end - window.start):
        del kept["step"]
    return kept


def _pair(text: str) -> Span | None:
    return windows.parse(text, datetime.now(UTC)) if "," in text else None


def _unrecorded(path: str, query: Mapping[str, str]) -> Reply:
    text, version = query.get("window", ""), versions.version(_VERSION)
    window = windows.parse(text, datetime.now(UTC))
    if window is None:
        return refusals.illegal_window(version, path, text)
    if window.start > window.end or (path == "/assets" and window.start == window.end):
        return refusals.empty_window(version, path, window)
    inside = "," in text and window.start < _DAY.end and window.end > _DAY.start and window.start < window.end
    if path == "/allocation/summary" or inside:
        requested = "&".join(f"{name}={value}" for name, value in sorted(query.items()))
        return text_reply(f"There is no recording of {path}?{requested}\n", status=501)
    length, step = window.end - window.start, windows.step(query.get("step", ""), window)
    count = int(-(-length // step)) if step and "," in text else int(length > 0)
    data = b"{}" if path == "/assets" else b"[" + b",".join([b"{}"] * count) + b"]"
    return json_reply(b'{"code":200,"status":"success","data":' + data + b"}")
