"""Requests records from OpenCost: one step, one GET, one response at a time.

Yields records as JSON text, whatever the dataset, and knows nothing of rows or Kusto.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import datetime

import msgspec

from opencost_kusto.batch import Batch, Source
from opencost_kusto.errors import ContentError, OpenCostError, UsageError
from opencost_kusto.extract import documents, prometheus, responses
from opencost_kusto.extract.address import parse
from opencost_kusto.extract.checks import RecordChecks
from opencost_kusto.extract.http import HttpRoute
from opencost_kusto.names import identity, variable
from opencost_kusto.retry import retrying
from opencost_kusto.schema.aggregate import CONTAINER_ROWS, spelled

# Families about OpenCost's own process and client library, not about costs.
_OWN_FAMILIES = ("go_", "process_", "promhttp_")


class OpenCost:
    """One OpenCost server.

    `cluster` names it where it does not say which cluster it serves. `connect_timeout` and `timeout` are seconds for
    connecting and for a whole response. `environment` is where proxies and certificates are read from. Raises
    UsageError for an endpoint that is no HTTP address, a cluster that is no name, and an environment that cannot be
    used. One request at a time: OpenCost runs dozens of queries for each.
    """

    def __init__(
        self,
        endpoint: str = "http://localhost:9003",
        *,
        cluster: str | None = None,
        connect_timeout: float = 10.0,
        timeout: float = 600.0,
        attempts: int = 5,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        if not timeout > 0:
            raise UsageError(f"OpenCost cannot answer within {timeout:g} s; give it a time above 0.")
        address = parse(endpoint)
        self.endpoint = str(address)
        self.cluster = None if cluster is None else identity(cluster, variable("--cluster"))
        self.timeout = timeout
        self._attempts = attempts
        self._route = HttpRoute(address, connect_timeout=connect_timeout, timeout=timeout, environment=environment)

    def __enter__(self) -> OpenCost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections."""
        self._route.close()

    def source(self) -> Source:
        """What the server says of itself.

        Raises OpenCostError, ContentError for a document that is not OpenCost's, and UsageError when nobody names the
        cluster or OpenCost's id for it is no name.
        """
        try:
            info = self._cluster_info()
        except OpenCostError:
            if self.cluster is None:
                raise
            info = documents.ClusterInfo()
        name = self.cluster or info.id
        if not name:
            raise UsageError(
                f"OpenCost at {self.endpoint} does not say which cluster it serves; name it with --cluster."
            )
        return Source(name, self.cluster, info.region, self._version(), info.id)

    def reach(self) -> None:
        """Ask the server who it is; raises what `source` does, and OpenCostError where a named one is not reached."""
        try:
            self._cluster_info()
        except OpenCostError as error:
            if error.transient:
                raise
        self.source()

    def server_time(self) -> datetime | None:
        """The time (UTC) by OpenCost's clock at its last response; None before the first, or where it has no Date."""
        return self._route.server_date

    def records(self, batch: Batch, note: Callable[[str], None]) -> Generator[bytes, None, None]:
        """The records of one batch, as they stream in. When the iterator ends, the response was whole.

        `note` is called with a sentence for anything in the response that a reader should know. Raises OpenCostError
        when the server cannot be reached or refuses, ContentError when its response cannot be trusted.
        """
        request = batch.table.request
        if request is None:
            raise UsageError(f"{batch.table.name} is not something OpenCost is asked for.")
        if request.answer == "exposition":
            yield from self._samples(batch, request.path, note)
            return
        wanted = set(batch.options.filter_types) if "filterTypes" in request.options else set()
        check = RecordChecks(batch.window)
        with self._route.get(request.path, parameters(batch)) as body:
            for record in responses.records(body):
                check(record)
                if not wanted or (msgspec.json.decode(record, type=_Typed).type or "").lower() in wanted:
                    yield record
        if check.undated:
            note(f"{check.undated} of {check.records} records do not say which window they are of")

    def _samples(self, batch: Batch, path: str, note: Callable[[str], None]) -> Iterator[bytes]:
        encode = msgspec.json.Encoder().encode
        not_numbers = 0
        with self._route.get(path, {}) as body:
            for sample in prometheus.samples(body):
                if not batch.options.all_metrics and sample.family.startswith(_OWN_FAMILIES):
                    continue
                not_numbers += sample.value is None
                yield encode(sample)
        if not_numbers:
            note(f"{not_numbers} samples are NaN or infinite, and null in {batch.table.name}")

    def _cluster_info(self) -> documents.ClusterInfo:
        return documents.cluster_info(self._document("/clusterInfo"), f"{self.endpoint}/clusterInfo")

    def _version(self) -> str | None:
        """The version, where the server says it: no run fails for want of it."""
        try:
            return documents.version(self._document("/installInfo"), f"{self.endpoint}/installInfo")
        except (OpenCostError, ContentError):
            return None

    def _document(self, path: str) -> bytes:
        def read() -> bytes:
            with self._route.get(path, {}) as body:
                return b"".join(body)

        return retrying(read, seconds=self.timeout, attempts=self._attempts)


class _Typed(msgspec.Struct):
    type: str | None = None


def parameters(batch: Batch) -> dict[str, str]:
    """The query of the GET for a batch, in the only spellings every OpenCost understands."""
    query = {"window": str(batch.window)}
    for name, value in batch.options.for_table(batch.table).items():
        if name == "aggregate" and value != CONTAINER_ROWS:
            query[name] = spelled(str(value))
        elif value is True:
            query[name] = "true"
    return query
