"""Requests records from OpenCost: one step, one GET, one response at a time.

Yields records as JSON text, whatever the dataset, and does not depend on rows or Kusto.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime

from opencost_kusto.batch import Batch, Source, SourceSettings
from opencost_kusto.errors import OpenCostError, ReasonCode, UsageError
from opencost_kusto.extract import prometheus, responses
from opencost_kusto.extract.capabilities import ASSET_FILTERS, Capabilities
from opencost_kusto.extract.checks import RecordChecks
from opencost_kusto.extract.clusters import ClusterFilter, check_idle, merges_clusters
from opencost_kusto.extract.dictionaries import Dictionaries, Note
from opencost_kusto.extract.documents import ClusterInfo
from opencost_kusto.extract.doors import Doors
from opencost_kusto.extract.filters import filtered, keeps
from opencost_kusto.extract.kubernetes.access import Entra
from opencost_kusto.extract.query import parameters
from opencost_kusto.extract.routes import parse, route
from opencost_kusto.extract.server import Server
from opencost_kusto.names import identity, variable
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.decoder import Decoded, text_of


class OpenCost(Dictionaries):
    """One OpenCost server.

    `cluster` is the name of the cluster, if it reports none. `connect_timeout` and `timeout` are seconds for
    connecting and for a whole response. `doors` are sign-in, certificates and proxy of this server; otherwise
    proxies and certificates are read from `environment`. `settings` are those of this source alone. `entra` returns
    tokens for kube:// endpoints of AKS where kubelogin is not installed. Raises UsageError for an endpoint that is no
    address, a cluster that is no name, and doors or an environment that cannot be used. One request at a time:
    OpenCost runs dozens of queries for each.
    """

    def __init__(
        self,
        endpoint: str = "http://localhost:9003",
        *,
        cluster: str | None = None,
        connect_timeout: float = 10.0,
        timeout: float = 600.0,
        attempts: int = 5,
        doors: Doors | None = None,
        settings: SourceSettings | None = None,
        entra: Entra | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        if not timeout > 0:
            raise UsageError(f"OpenCost cannot respond within {timeout:g} s; set a time above 0.")
        address = parse(endpoint)
        self.endpoint = str(address)
        self.cluster = None if cluster is None else identity(cluster, variable("--cluster"))
        self.timeout = timeout
        self.settings = settings or SourceSettings()
        # OpenCost's id for its cluster in its records, and whether it has records of several.
        self._own: str | None = None
        self._several = False
        self._prices: dict[str, float] = {}
        self._capabilities: Capabilities | None = None
        self._route = route(
            address,
            connect_timeout=connect_timeout,
            timeout=timeout,
            doors=doors,
            environment=environment,
            entra=entra,
        )
        self._server = Server(self._route, self.endpoint, timeout=timeout, attempts=attempts)

    def __enter__(self) -> OpenCost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections."""
        self._route.close()

    def source(self) -> Source:
        """The source that the server describes.

        Raises OpenCostError, ContentError for a document that is not OpenCost's, and UsageError if nothing names the
        cluster or OpenCost's id for it is no name.
        """
        attempts = None
        try:
            info = self._server.cluster_info()
        except OpenCostError:
            if self.cluster is None:
                raise
            # After all attempts for the first document, one for the next is enough.
            info, attempts = ClusterInfo(), 1
        self._own = info.id
        name = self.cluster or self._cluster_of_route() or info.id
        if not name:
            raise UsageError(
                f"OpenCost at {self.endpoint} does not say which cluster it serves; name it with --cluster."
            )
        found = self._capabilities = self._server.capabilities(self.settings.kept, attempts=attempts)
        fingerprint, prices = self._server.fingerprint(found)
        self._prices = prices or self._prices
        facts = (name, info.region, found.version, info.id, self.settings.currency, fingerprint or None)
        return Source(*facts, found.store, self.settings, self.route)

    @property
    def route(self) -> str | None:
        """The Service or the pod of a kube:// endpoint, and the route to it, as of the last request; None over HTTP."""
        return self._route.taken

    def capabilities(self) -> Capabilities:
        """The capabilities of the server, as of the last `source`, else requested once."""
        return self._capabilities or self._server.capabilities(self.settings.kept, attempts=1)

    def _cluster_of_route(self) -> str | None:
        cluster = self._route.cluster
        return None if cluster is None else identity(cluster, "The cluster of the kubeconfig's context")

    def hops(self) -> Iterable[tuple[str, Callable[[], str]]]:
        """The hops before OpenCost: the name of each, and a check that returns its result."""
        return self._route.hops()

    def reach(self) -> Source:
        """Read the server's cluster; raises what `source` does, and OpenCostError where a named one is not reached."""
        try:
            self._server.cluster_info()
        except OpenCostError as error:
            # Not every proxy lets this path through.
            if error.code not in (ReasonCode.NOT_FOUND, ReasonCode.FORBIDDEN):
                raise
        return self.source()

    def has(self, table: Table) -> bool:
        """Whether the server has a dataset: any response but 404 to a request without a window."""
        return self._server.has(table.path or "")

    def server_time(self) -> datetime | None:
        """The time (UTC) by OpenCost's clock at its last response; None before the first, or where it has no Date."""
        return self._route.server_date

    def records(self, batch: Batch, note: Note) -> Generator[bytes, None, None]:
        """The records of one batch, as they stream in. When the iterator ends, the response is complete.

        `note` is called with a sentence, and perhaps a reason code, for anything in the response that a reader should
        know. Raises UsageError for options that this version does not have, OpenCostError when the server cannot be
        reached or refuses, ContentError when its response cannot be trusted.
        """
        with closing(self._decoded(batch, note)) as records:
            yield from map(text_of, records)

    def _decoded(self, batch: Batch, note: Note) -> Generator[bytes | Decoded, None, None]:
        """The records of one batch, as `decoded`."""
        table = batch.table
        if table.path is None:
            raise UsageError(f"{table.name} is not a dataset of OpenCost.")
        if batch.requested.get("shareIdle"):
            self.capabilities().check(batch)
        kept = keeps(batch)
        if table.records_at is None:
            with self._route.get(table.path, parameters(batch)) as body:
                yield from prometheus.records(body, table, kept, note)
        else:
            yield from self._of_clusters(batch, kept, note)

    def _of_clusters(
        self, batch: Batch, kept: Callable[[bytes | Decoded], bool], note: Note
    ) -> Generator[bytes | Decoded, None, None]:
        """The records of a batch that are of the cluster, or the clusters, that it is to have."""
        table, merges = batch.table, merges_clusters(batch)
        if merges and not self._several:
            self._several = len(self._server.clusters()) > 1
        if self._several and merges:
            check_idle(batch, ", ".join(sorted(self._server.clusters())) or "by their rows")
        # A server that does not read the filter sends everything, so records are filtered here all the same.
        filters = filtered(batch) and self.capabilities().surely(ASSET_FILTERS)
        query = parameters(batch, by_cluster=self._several, filters=filters)
        version = None if self._capabilities is None else self._capabilities.version
        check = RecordChecks(batch, self._prices, version=version)
        clusters = ClusterFilter(batch, self._own, self._server.clusters, by_cluster=self._several and merges)
        try:
            with self._route.get(table.path or "", query) as body:
                for given in responses.records(body, table.records_at or "", check.decode_sets):
                    record, read = check(given)
                    if clusters.keeps(record) and kept(read):
                        yield read
        finally:
            self._several = self._several or clusters.several
        if not check.records and self._capabilities is not None:
            self._capabilities.explain_nothing(batch, self.server_time() or datetime.now(UTC), note)
        if clusters.otherwise is not None:
            # Nothing was kept: OpenCost's id for its cluster is not the one in Prometheus.
            self._own = clusters.otherwise
            yield from self._of_clusters(batch, kept, note)
            return
        if remark := clusters.remark():
            note(remark, ReasonCode.FOREIGN_CLUSTERS)
        for sentence, code in check.remarks():
            note(sentence, code)


def decoded(opencost: OpenCost, batch: Batch, note: Note) -> Generator[bytes | Decoded, None, None]:
    """The records of one batch, as `OpenCost.records`, each with what was found in it if it is as its table has it."""
    return opencost._decoded(batch, note)
