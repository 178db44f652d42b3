"""An OpenCost 1.112 that answers with what a true one was recorded to answer, and nothing else.

What was recorded is the day 2026-11-23: every hour by container, by namespace and by namespace with idle, every
hour's assets, and other aggregates and idle options for the hour 10Z. A window wholly outside that day is answered
as by an OpenCost without data. A question about that day that was not recorded is refused with 501: an empty
answer would be a lie.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from opencost_kusto.emulator.http import CloseConnection, Endpoint, Reply, Request

Answers = Callable[[str, Mapping[str, str]], Reply | None]
"""Given the decoded path and query, the reply; None asks the recordings instead."""

_DAY: Final = (datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
_DEFAULT_AGGREGATE: Final = "cluster,node,namespace,pod,container"
_READ: Final = {
    "/allocation": {
        *("window", "aggregate", "step", "accumulate", "accumulateBy", "includeIdle", "shareIdle", "idleByNode"),
        *("includeAggregatedMetadata", "includeProportionalAssetResourceCosts"),
    },
    "/allocation/summary": {"window", "aggregate", "step", "accumulate"},
    "/assets": {"window", "filter"},
}
_WORD: Final = re.compile(r"\d+[mhdw]|today|yesterday|week|month|lastweek|lastmonth")
_STEP: Final = re.compile(r"(\d+)(s|m|h|d)")
_CHUNK: Final = 4096
_LARGEST_UNCHUNKED: Final = 2048

Key = tuple[str, frozenset[tuple[str, str]]]


class _Recording(NamedTuple):
    status: int
    content_type: str
    names: tuple[str, ...]
    are_sets: bool

    def body(self) -> bytes:
        bodies = [_body(name) for name in self.names]
        if not self.are_sets:
            return bodies[0]
        return b'{"code":200,"status":"success","data":[' + b",".join(bodies) + b"]}"


class OpenCostEmulator(Endpoint):
    """Recorded OpenCost on 127.0.0.1.

    `answers` replaces any answer: it is given the decoded path and query, and what it returns is sent as an
    OpenCost would send it (`json_reply` and `text_reply` build such replies); it may raise `CloseConnection`.
    `requests` lists what was asked; `fault` breaks the wire (see `wire`).
    """

    def __init__(self, port: int = 0, *, answers: Answers | None = None) -> None:
        super().__init__(port)
        self.answers = answers

    def respond(self, request: Request) -> Reply:
        """The given answer, else the recorded one, chunked and compressed where the true server would."""
        if request.method != "GET":
            refusal = text_reply("Method Not Allowed\n", status=405)
            return refusal._replace(headers={**refusal.headers, "Allow": "GET, OPTIONS"})
        reply = self.answers(request.path, dict(request.query)) if self.answers is not None else None
        reply = Reply(*reply) if reply is not None else _recorded(request)
        # The one path that compresses in a true OpenCost.
        squeezed = request.path == "/metrics" and "gzip" in request.headers.get("accept-encoding", "")
        if squeezed and isinstance(reply.body, bytes):
            headers = {**reply.headers, "Content-Encoding": "gzip"}
            reply = reply._replace(body=gzip.compress(reply.body, mtime=0), headers=headers)
        stated = any(name.lower() == "content-length" for name in reply.headers)
        if isinstance(reply.body, bytes) and len(reply.body) > _LARGEST_UNCHUNKED and not stated:
            return reply._replace(body=_chunks(reply.body))
        return reply


def json_reply(body: bytes, *, status: int = 200, delay: float = 0.0) -> Reply:
    """A reply with the headers of OpenCost's JSON answers."""
    return Reply(status, {"Content-Type": "application/json", "Vary": "Origin"}, body, delay)


def text_reply(text: str, *, status: int = 400, delay: float = 0.0) -> Reply:
    """A reply with the headers of OpenCost's plain error texts."""
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Vary": "Origin",
        "X-Content-Type-Options": "nosniff",
    }
    return Reply(status, headers, text.encode(), delay)


def _chunks(body: bytes) -> Iterator[bytes]:
    return (body[at : at + _CHUNK] for at in range(0, len(body), _CHUNK))


@cache
def _body(name: str) -> bytes:
    return gzip.decompress((files(__package__) / "recorded" / f"{name}.gz").read_bytes())


@cache
def _index() -> dict[Key, _Recording]:
    index: dict[Key, _Recording] = {}
    for entry in json.loads((files(__package__) / "recorded" / "index.json").read_text("utf-8")):
        key = entry["path"], frozenset((name, value) for name, value in entry["query"])
        names = tuple(entry.get("sets") or [entry["file"]])
        index[key] = _Recording(entry["status"], entry["type"], names, "sets" in entry)
    return index


def _recorded(request: Request) -> Reply:
    exact = _index().get((request.path, frozenset(request.query)))
    path = request.path.replace("/allocation/compute", "/allocation")
    query = _as_read(path, dict(request.query))
    found = exact or _index().get((path, frozenset(query.items())))
    if found is None:
        return _unrecorded(path, query) if path in _READ else text_reply("404 page not found\n", status=404)
    headers = (
        {"Vary": "Origin"}
        if found.content_type == "none"
        else {
            "Content-Type": found.content_type,
            "Vary": "Origin",
        }
    )
    return Reply(found.status, headers, found.body())


def _as_read(path: str, query: dict[str, str]) -> dict[str, str]:
    """The query as the server reads it: what it ignores is gone, and so is what says the default."""
    kept = {name: value for name, value in query.items() if name in _READ.get(path, set())}
    for name in ("accumulate", "includeIdle", "shareIdle", "idleByNode", "includeAggregatedMetadata"):
        if name in kept and kept[name] not in {"1", "t", "T", "true", "TRUE", "True"}:
            del kept[name]
        elif name in kept:
            kept[name] = "true"
    if kept.get("aggregate") in {"", _DEFAULT_AGGREGATE}:
        del kept["aggregate"]
    window = _window(kept.get("window", ""))
    if window is not None:
        kept["window"] = ",".join(bound.strftime("%Y-%m-%dT%H:%M:%SZ") for bound in window)
    if "step" in kept and (window is None or _sets(window, kept["step"]) == 1):
        del kept["step"]
    return kept


def _window(text: str) -> tuple[datetime, datetime] | None:
    first, comma, last = text.partition(",")
    if not comma:
        return None
    try:
        if first.isdigit() and last.isdigit():
            return datetime.fromtimestamp(int(first), UTC), datetime.fromtimestamp(int(last), UTC)
        form = "%Y-%m-%dT%H:%M:%SZ"
        return datetime.strptime(first, form).replace(tzinfo=UTC), datetime.strptime(last, form).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _sets(window: tuple[datetime, datetime], step: str) -> int:
    found = _STEP.fullmatch(step)
    if found is None or int(found[1]) == 0:
        return 1
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
    return -(-(window[1] - window[0]) // timedelta(seconds=int(found[1]) * unit))


def _unrecorded(path: str, query: Mapping[str, str]) -> Reply:
    text = query.get("window", "")
    window = _window(text)
    if window is None and not _WORD.fullmatch(text):
        return _illegal_window(path, text)
    if window is not None and window[0] >= window[1]:
        return _no_time(path, window)
    if path == "/allocation/summary" or (window is not None and window[0] < _DAY[1] and window[1] > _DAY[0]):
        asked = "&".join(f"{name}={value}" for name, value in sorted(query.items()))
        return text_reply(f"This stand-in has no recording of {path}?{asked}\n", status=501)
    count = _sets(window, query.get("step", "")) if window is not None else 1
    data = b"{}" if path == "/assets" else b"[" + b",".join([b"{}"] * count) + b"]"
    return json_reply(b'{"code":200,"status":"success","data":' + data + b"}")


def _illegal_window(path: str, text: str) -> Reply:
    if path == "/allocation/summary":
        raise CloseConnection
    line = f"Invalid 'window' parameter: illegal window: {text}\n"
    if path == "/allocation":
        line += '{"code":500,"status":"","data":null,"message":"Error: illegal window: [nil, nil)"}'
    return text_reply(line)


def _no_time(path: str, window: tuple[datetime, datetime]) -> Reply:
    """Start at or after the end, which each path refuses in its own way."""
    span = "[" + ", ".join(bound.strftime("%Y-%m-%dT%H:%M:%S+0000") for bound in window) + ")"
    if path == "/assets":
        what = f"computing node assets for {span}: illegal duration value for {span}"
        return text_reply(f"Error getting assets: error computing asset set: error {what}\n", status=500)
    if window[0] == window[1]:
        return json_reply(b'{"code":200,"status":"success","data":[]}')
    message = f'{{"code":500,"status":"","data":null,"message":"Error: illegal window: {span}"}}'
    return json_reply(message.encode(), status=500)
