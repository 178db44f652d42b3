"""A live OpenCost: every request is computed from the model at the moment it arrives, and nothing is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from opencost_kusto.emulator.http import Reply, Request
from opencost_kusto.emulator.opencost import cluster_documents, filters, metrics, query, refusals, windows
from opencost_kusto.emulator.opencost.allocation import Allocation
from opencost_kusto.emulator.opencost.allocation_json import allocation_set, summary_set
from opencost_kusto.emulator.opencost.model import ALWAYS, Cluster, Life
from opencost_kusto.emulator.opencost.numbers import bounds, encode
from opencost_kusto.emulator.opencost.replies import json_reply
from opencost_kusto.emulator.opencost.sampling import Sampling, Span
from opencost_kusto.emulator.opencost.versions import Version
from opencost_kusto.times import utc_now

Clock = Callable[[], datetime]
BUILT_IN_STORE: Final[Mapping[int, int]] = {600: 36, 3600: 49, 86400: 15}
"""How many windows of each length in seconds OpenCost's built-in store keeps, the unfinished one included."""

_COSTS: Final = {"/allocation", "/allocation/summary", "/assets"}


@dataclass(frozen=True, slots=True)
class LiveOpenCost:
    """The responses of one cluster's OpenCost.

    `clock` is its time. With `keeps`, it is one with a built-in store: a window older than so many of its length is
    empty, as in OpenCost's source, where a bucket that is gone is no error (modules/collector-source,
    pkg/collector/collectorprovider.go and metricsquerier.go). Other lengths, for which it takes the bucket of the
    nearest length, are not computed here.
    """

    cluster: Cluster
    version: Version
    clock: Clock = utc_now
    keeps: Mapping[int, int] = field(default_factory=dict)

    def reply(self, request: Request) -> Reply:
        """The response to a GET request. Raises CloseConnection where the server closes without one."""
        path = request.path.replace("/allocation/compute", "/allocation")
        if path in _COSTS:
            return self._costs(path, dict(request.query))
        if path == "/clusterInfo":
            return self._data(cluster_documents.info(self.cluster, self.version))
        if path == "/clusterInfoMap":
            return self._data(cluster_documents.cluster_map(self.cluster, self.version))
        if path == "/installInfo":
            now = self.clock().timestamp()
            return json_reply(encode(cluster_documents.installation(self.cluster, self.version, now)))
        if path == "/allNamespaces" and self.version.has_object_routes:
            return json_reply(encode(cluster_documents.namespaces(self.cluster)))
        if path == "/metrics":
            return self._metrics()
        if path == "/diagnostics/requestQueue" and not self.keeps:
            # A route of the Prometheus behind it, which the built-in store has not.
            return json_reply(encode({"queuedRequests": [], "outboundRequests": 0}))
        if path == "/customCost/status":
            return self._custom_cost()
        return Reply(200, {"Vary": "Origin"}) if path == "/healthz" else refusals.not_found()

    def _costs(self, path: str, parameters: Mapping[str, str]) -> Reply:
        now = self.clock()
        window = windows.parse(parameters.get("window", ""), now)
        if window is None:
            return refusals.illegal_window(self.version, path, parameters.get("window", ""))
        if window.start > window.end or (path == "/assets" and window.start == window.end):
            return refusals.empty_window(self.version, path, window)
        prehistory = Life(ALWAYS, self.cluster.life.start)
        sampling = Sampling(now.timestamp(), (prehistory, *self.cluster.outages), self.version.ends_now)
        costs = query.Costs(self.cluster, self.version, sampling, self._has)
        if path == "/assets":
            return self._assets(costs, parameters, window)
        try:
            wanted = query.read(parameters, window, self.version)
        except filters.FilterError as refused:
            text, status = ("Invalid", 400) if path == "/allocation/summary" else ("invalid", 500)
            return refusals.error(self.version, f"{text} filter: {refused}", status=status)
        except query.QueryError as refused:
            return refusals.error(self.version, str(refused))
        return self._proportions(parameters, wanted) or self._allocation(costs, wanted, path)

    def _allocation(self, costs: query.Costs, wanted: query.Query, path: str) -> Reply:
        odd = next(filter(None, map(self._odd, wanted.sets)), None)
        if odd is not None:
            return odd
        sets = costs.sets(wanted)
        if path == "/allocation":
            return self._data([allocation_set(rows, self.version) for rows in sets])
        summaries = [
            summary_set(rows, span, self.version) for rows, span in zip(sets, _spans(sets, wanted), strict=True)
        ]
        step = int(wanted.step * 1_000_000_000)
        return self._data({"step": step, "sets": summaries, "window": bounds(wanted.window)})

    def _proportions(self, parameters: Mapping[str, str], wanted: query.Query) -> Reply | None:
        """Asset proportions are not computed here; without idle the server refuses them as well."""
        name = "includeProportionalAssetResourceCosts"
        if parameters.get(name) != "true":
            return None
        if not wanted.include_idle:
            message = f"bad request - includeIdle must be set true if {name} is true"
            return refusals.error(self.version, message, status=400)
        return refusals.error(self.version, f"The emulator does not compute {name}.", status=501)

    def _assets(self, costs: query.Costs, parameters: Mapping[str, str], window: Span) -> Reply:
        text = parameters.get("filter", "")
        try:
            keeps = filters.parse(text, filters.ASSET_FIELDS) if text else None
        except filters.FilterError as refused:
            return refusals.bad_asset_filter(str(refused))
        return self._odd(window) or self._data(costs.assets(window, keeps))

    def _has(self, window: Span) -> bool:
        """Whether there is a bucket of a window: any with a Prometheus, else the last of its length."""
        if not self.keeps:
            return True
        length = int(window.end - window.start)
        unfinished = math.floor(self.clock().timestamp() / length) * length
        return window.start >= unfinished - (self.keeps[length] - 1) * length

    def _odd(self, window: Span) -> Reply | None:
        """The refusal of a window that is no bucket of the built-in store."""
        length = int(window.end - window.start)
        if not self.keeps or (length in self.keeps and window.start % length == 0):
            return None
        message = f"The emulator does not compute a window of {length} seconds of a built-in store."
        return refusals.error(self.version, message, status=501)

    def _metrics(self) -> Reply:
        info = cluster_documents.info(self.cluster, self.version)
        text = metrics.exposition(self.cluster, self.version, self.clock().timestamp(), info)
        escaping = "" if self.version.status_in_envelope else "; escaping=underscores"
        headers = {"Content-Type": f"text/plain; version=0.0.4; charset=utf-8{escaping}", "Vary": "Origin"}
        return Reply(200, headers, text.encode())

    def _custom_cost(self) -> Reply:
        """The state of custom costs, which are off; older versions send it as text."""
        never = dict.fromkeys(("lastRun", "nextRun", "created"), "0001-01-01T00:00:00Z")
        reply = self._data({"enabled": False, "domains": None, **never})
        if not self.version.status_in_envelope:
            return reply
        body = encode({"code": 200, "data": {"enabled": False, "domains": None, **never}})
        return Reply(200, {"Content-Type": "text/plain; charset=utf-8", "Vary": "Origin"}, body)

    def _data(self, data: object) -> Reply:
        """Data in the envelope of the version."""
        if self.version.status_in_envelope:
            return json_reply(encode({"code": 200, "status": "success", "data": data}))
        return json_reply(encode({"code": 200, "data": data}) + b"\n")


def _spans(sets: Sequence[Mapping[str, Allocation]], wanted: query.Query) -> list[Span]:
    """The window of each set; a set without rows has the one of its place."""
    steps = list(wanted.sets)
    return [next(iter(rows.values())).window if rows else steps[at] for at, rows in enumerate(sets)]
