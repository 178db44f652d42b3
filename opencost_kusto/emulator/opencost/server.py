"""OpenCost on 127.0.0.1: computed responses, replaced or broken where a test wants it."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from typing import Final

from opencost_kusto.emulator.http import Endpoint, Reply, Request
from opencost_kusto.emulator.opencost import fleet, versions
from opencost_kusto.emulator.opencost.live import Clock, LiveOpenCost
from opencost_kusto.emulator.opencost.replies import text_reply
from opencost_kusto.times import utc_now

Responder = Callable[[str, Mapping[str, str]], Reply | None]
"""Given the decoded path and query, the reply; None leaves the request to the emulator."""

_LARGEST_UNCHUNKED: Final = 2048


class OpenCostEmulator(Endpoint):
    """One cluster's OpenCost on 127.0.0.1.

    Any window up to now is computed from a model of the cluster, which has fourteen days behind it when the emulator
    is made. `version` is the OpenCost release it responds as, `clock` its time, `keeps` what its built-in store
    keeps (`BUILT_IN_STORE`); without it, everything.

    `responder` replaces any response: it is given the decoded path and query, and what it returns is sent as an
    OpenCost would send it (`json_reply` and `text_reply` build such replies); it may raise `CloseConnection`.
    `requests` lists the requests; `fault` breaks the wire (see `http`). Raises UsageError for an unknown cluster or
    version, and for a port that is taken.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        cluster: str = fleet.NAMES[0],
        version: str = versions.DEFAULT,
        clock: Clock = utc_now,
        keeps: Mapping[int, int] | None = None,
        responder: Responder | None = None,
    ) -> None:
        self.live = LiveOpenCost(fleet.cluster(cluster, clock()), versions.version(version), clock, keeps or {})
        super().__init__(port)
        self.responder = responder

    def computed(self, request: Request) -> Reply:
        """The response to a GET request that `responder` left to the emulator."""
        return self.live.reply(request)

    def respond(self, request: Request) -> Reply:
        """The response, chunked and compressed where the true server would."""
        if request.method != "GET":
            refusal = text_reply("Method Not Allowed\n", status=405)
            return refusal._replace(headers={**refusal.headers, "Allow": "GET, OPTIONS"})
        reply = self.responder(request.path, dict(request.query)) if self.responder is not None else None
        reply = Reply(*reply) if reply is not None else self.computed(request)
        reply = reply._replace(headers={"Date": format_datetime(self.live.clock(), usegmt=True), **reply.headers})
        # The one path that compresses in a true OpenCost.
        squeezed = request.path == "/metrics" and "gzip" in request.headers.get("accept-encoding", "")
        if squeezed and isinstance(reply.body, bytes):
            headers = {**reply.headers, "Content-Encoding": "gzip"}
            reply = reply._replace(body=gzip.compress(reply.body, mtime=0), headers=headers)
        stated = any(name.lower() == "content-length" for name in reply.headers)
        if isinstance(reply.body, bytes) and len(reply.body) > _LARGEST_UNCHUNKED and not stated:
            # Of one chunk: OpenCost writes it at once (`WriteData` in core/pkg/protocol/http.go).
            return reply._replace(body=(reply.body,))
        return reply
