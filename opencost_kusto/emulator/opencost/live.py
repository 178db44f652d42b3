"""A live OpenCost: every request is computed from the model at the moment it arrives, and nothing is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from opencost_kusto.emulator.http import Reply, Request
from opencost_kusto.emulator.opencost import filters, metrics, query, refusals, windows
from opencost_kusto.emulator.opencost.allocation_json import allocation_set, summary_set
from opencost_kusto.emulator.opencost.model import ALWAYS, Cluster, Life, Namespace, uid
from opencost_kusto.emulator.opencost.numbers import bounds, encode, stamp
from opencost_kusto.emulator.opencost.replies import json_reply
from opencost_kusto.emulator.opencost.sampling import Sampling, Span
from opencost_kusto.emulator.opencost.versions import Version

Clock = Callable[[], datetime]
BUILT_IN_STORE: Final[Mapping[int, int]] = {600: 36, 3600: 49, 86400: 15}
"""How many windows of each length in seconds OpenCost's built-in store keeps, the unfinished one included."""

_COSTS: Final = {"/allocation", "/allocation/summary", "/assets"}


def utc_now() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class LiveOpenCost:
    """The responses of one cluster's OpenCost.

    `clock` is its time. With `keeps`, windows of other lengths are refused, and so are windows older than so many of
    their length.
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
        documents: dict[str, Callable[[], object]] = {
            "/clusterInfo": lambda: self._envelope(self._cluster_info()),
            "/clusterInfoMap": lambda: self._envelope(self._cluster_map()),
            "/installInfo": self._install_info,
        }
        if self.version.has_object_routes:
            documents["/allNamespaces"] = self._namespaces
        if path in documents:
            return self._json(documents[path]())
        if path == "/metrics":
            return self._metrics()
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
        costs = query.Costs(self.cluster, self.version, sampling)
        if path == "/assets":
            return self._assets(costs, parameters, window)
        try:
            asked = query.read(parameters, window, self.version)
        except filters.FilterError as refused:
            text, status = ("Invalid", 400) if path == "/allocation/summary" else ("invalid", 500)
            return refusals.error(self.version, f"{text} filter: {refused}", status=status)
        except query.QueryError as refused:
            return refusals.error(self.version, str(refused))
        return self._proportions(parameters, asked) or self._allocation(costs, asked, path)

    def _allocation(self, costs: query.Costs, asked: query.Query, path: str) -> Reply:
        forgotten = next(filter(None, (self._forgotten(window) for window in asked.sets)), None)
        if forgotten is not None:
            return forgotten
        sets = costs.sets(asked)
        if path == "/allocation":
            return self._json(self._envelope([allocation_set(rows, self.version) for rows in sets]))
        spans = [next(iter(rows.values())).window if rows else asked.window for rows in sets]
        summaries = [summary_set(rows, span, self.version) for rows, span in zip(sets, spans, strict=True)]
        step = int(asked.step * 1_000_000_000)
        return self._json(self._envelope({"step": step, "sets": summaries, "window": bounds(asked.window)}))

    def _proportions(self, parameters: Mapping[str, str], asked: query.Query) -> Reply | None:
        """Asset proportions are not computed here; without idle the server refuses them as well."""
        name = "includeProportionalAssetResourceCosts"
        if parameters.get(name) != "true":
            return None
        if not asked.include_idle:
            message = f"bad request - includeIdle must be set true if {name} is true"
            return refusals.error(self.version, message, status=400)
        return refusals.error(self.version, f"The emulator does not compute {name}.", status=501)

    def _assets(self, costs: query.Costs, parameters: Mapping[str, str], window: Span) -> Reply:
        text = parameters.get("filter", "")
        try:
            keeps = filters.parse(text, filters.ASSET_FIELDS) if text else None
        except filters.FilterError as refused:
            return refusals.bad_asset_filter(str(refused))
        return self._forgotten(window) or self._json(self._envelope(costs.assets(window, keeps)))

    def _forgotten(self, window: Span) -> Reply | None:
        """The refusal of a window that the built-in store does not have."""
        if not self.keeps:
            return None
        length = int(window.end - window.start)
        if length not in self.keeps or window.start % length:
            return refusals.error(self.version, f"failed to find MetricCollector for a window of {length} seconds")
        unfinished = math.floor(self.clock().timestamp() / length) * length
        if window.start < unfinished - (self.keeps[length] - 1) * length:
            return refusals.error(self.version, f"querying {stamp(window.start)}: start time is past limit")
        return None

    def _metrics(self) -> Reply:
        text = metrics.exposition(self.cluster, self.version, self.clock().timestamp(), self._cluster_info())
        escaping = "" if self.version.status_in_envelope else "; escaping=underscores"
        headers = {"Content-Type": f"text/plain; version=0.0.4; charset=utf-8{escaping}", "Vary": "Origin"}
        return Reply(200, headers, text.encode())

    def _envelope(self, data: object) -> dict[str, object]:
        status = {"status": "success"} if self.version.status_in_envelope else {}
        return {"code": 200, **status, "data": data}

    def _json(self, document: object) -> Reply:
        end = b"" if self.version.status_in_envelope or "code" not in document else b"\n"  # type: ignore[operator]
        return json_reply(encode(document) + end)

    def _cluster_info(self) -> dict[str, str]:
        info = {
            "account": self.cluster.account,
            "clusterProfile": "production",
            "errorReporting": "false",
            "id": self.cluster.id,
            "logCollection": "false",
            "name": self.cluster.id,
            "productAnalytics": "false",
            "provider": "Azure",
            "region": self.cluster.region,
            "remoteReadEnabled": "false",
            "thanosEnabled": "false",
            "valuesReporting": "false",
            "version": "1.30",
        }
        if not self.version.status_in_envelope:
            del info["thanosEnabled"]
        return info

    def _cluster_map(self) -> dict[str, dict[str, str]]:
        entry = {
            "id": self.cluster.id,
            "name": self.cluster.id,
            "profile": "production",
            "provider": "Azure",
            "account": self.cluster.account,
            "project": "",
            "region": self.cluster.region,
            "provisioner": "",
        }
        if not self.version.status_in_envelope:
            entry["version"] = ""
        return {self.cluster.id: entry}

    def _install_info(self) -> dict[str, object]:
        now = self.clock().timestamp()
        monitoring = (one for one in self.cluster.workloads if one.namespace == "monitoring")
        images = (container.name for one in monitoring for container in one.containers)
        pods = [pod for one in self.cluster.workloads for pod in one.pods_between(now, now + 1) if pod.life.start < now]
        nodes = [node for node in self.cluster.nodes if node.life.start < now <= node.life.end]
        started = datetime.fromtimestamp(self.cluster.life.start, UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
        return {
            "containers": [
                {
                    "containerName": name,
                    "image": f"registry.example.com/monitoring/{name}:1.0",
                    "startTime": started,
                }
                for name in images
            ],
            "clusterInfo": {"nodeCount": str(len(nodes)), "podCount": str(len(pods))},
            "version": self.version.reported,
        }

    def _namespaces(self) -> dict[str, object]:
        return {"items": [self._namespace(one) for one in self.cluster.namespaces]}

    def _namespace(self, namespace: Namespace) -> dict[str, Any]:
        """A Namespace as the Kubernetes API has it."""
        metadata = {
            "name": namespace.name,
            "uid": uid(f"{self.cluster.id}/namespace/{namespace.name}"),
            "creationTimestamp": stamp(self.cluster.life.start),
            "labels": dict(namespace.labels),
        }
        if namespace.annotations:
            metadata["annotations"] = dict(namespace.annotations)
        spec, status = {"finalizers": ["kubernetes"]}, {"phase": "Active"}
        return {"metadata": metadata, "spec": spec, "status": status}
