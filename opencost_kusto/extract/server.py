"""The self-description of a server: its cluster, its version and capabilities, and its identity."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from opencost_kusto.errors import ContentError, OpenCostError, ReasonCode
from opencost_kusto.extract import documents, fingerprint
from opencost_kusto.extract.capabilities import NAMESPACES, PROMETHEUS, Capabilities, handshake
from opencost_kusto.extract.routes import Route
from opencost_kusto.retry import retrying
from opencost_kusto.schema.columns import Json


class Server:
    """The small documents of one OpenCost, over its route; `timeout` is seconds for one with all its attempts."""

    def __init__(self, route: Route, endpoint: str, *, timeout: float, attempts: int) -> None:
        self._route = route
        self._endpoint = endpoint
        self._timeout = timeout
        self._attempts = attempts
        self._listed: frozenset[str] | None = None

    def cluster_info(self) -> documents.ClusterInfo:
        """Its cluster. Raises OpenCostError, and ContentError for a document that is not OpenCost's."""
        return documents.cluster_info(self._document("/clusterInfo"), f"{self._endpoint}/clusterInfo")

    def clusters(self) -> frozenset[str]:
        """The ids of all its clusters; none if it does not list them. Requested once."""
        if self._listed is None:
            try:
                self._listed = documents.cluster_ids(
                    self._document("/clusterInfoMap"), f"{self._endpoint}/clusterInfoMap"
                )
            except (OpenCostError, ContentError):
                self._listed = frozenset()
        return self._listed

    def capabilities(self, kept: Mapping[timedelta, int] | None, *, attempts: int | None = None) -> Capabilities:
        """The capabilities of its version; `kept` is the number of windows that its store keeps, if the user set it."""
        return handshake(self._version(attempts), lambda: self._document(PROMETHEUS, 1), kept)

    def fingerprint(self, can: Capabilities) -> tuple[dict[str, Json], dict[str, float]]:
        """The identity of its cluster by scheme, and the prices of its nodes, as far as both can be read now."""
        found: dict[str, Json] = {}
        prices: dict[str, float] = {}
        # Not every proxy lets these paths through, and costs do not need them.
        if can.can(NAMESPACES):
            with suppress(OpenCostError, ContentError), self._route.get("/allNamespaces", {}) as body:
                found |= fingerprint.of_namespaces(b"".join(body))
        with suppress(OpenCostError, ContentError), self._route.get("/metrics", {}) as body:
            scrape = fingerprint.of_metrics(body)
            prices = scrape.prices
            found |= scrape.fingerprint
        return found if fingerprint.UID in found else {**found, **self._route.fingerprint()}, prices

    def has(self, path: str) -> bool:
        """Whether any response but 404 comes to a request without a window."""
        try:
            with self._route.get(path, {}):
                return True
        except OpenCostError as error:
            return error.code not in (ReasonCode.NOT_FOUND, ReasonCode.UNREACHABLE, ReasonCode.TIMED_OUT)
        except ContentError:
            return True

    def _version(self, attempts: int | None) -> str | None:
        """The version, if the server reports it; a run does not fail without it."""
        try:
            return documents.version(self._document("/installInfo", attempts), f"{self._endpoint}/installInfo")
        except (OpenCostError, ContentError):
            return None

    def _document(self, path: str, attempts: int | None = None) -> bytes:
        def read() -> bytes:
            with self._route.get(path, {}) as body:
                return b"".join(body)

        return retrying(read, seconds=self._timeout, attempts=attempts or self._attempts)
