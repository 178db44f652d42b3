"""Kusto's own blob containers and queues, for queued ingestion.

The protocol is documented: https://learn.microsoft.com/kusto/api/netfx/kusto-ingest-client-rest. The SDK's ingest
client would open a new connection for each blob and each message, upload the rest of a stream that the first container
refused, and queue nothing if no queue is listed.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.endpoint import APPLICATION, Row, exchanged
from opencost_kusto.kusto.network import Environment
from opencost_kusto.kusto.sdk_errors import Exchange, status_of

# Bytes of a block; an upload needs the memory of one block, whatever the size of the blob.
BLOCK = 2 << 20
# Seconds before the addresses are refreshed; Microsoft's clients refresh them every hour too.
_REFRESHED_AFTER = 3600.0
_TRIES = 3
_BLOBS = "blobs"
_KINDS = (_BLOBS, "queue messages")
# The identity token and the addresses are those of the cluster, not of a database.
NO_DATABASE = "NetDefaultDB"


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A blob in Kusto's own storage, and the source id of its ingestion; `url` is a secret."""

    url: str
    source_id: str
    name: str
    raw_bytes: int

    def __repr__(self) -> str:
        return f"Uploaded({self.name!r}, source_id={self.source_id!r})"


@dataclass(slots=True)
class _Resources:
    """The signed addresses, and a client for each that was used."""

    containers: list[str]
    queues: list[str]
    token: str
    read_at: float


@dataclass(frozen=True, slots=True)
class Reached:
    """A storage host, its purpose, its response time, and the error if it did not respond."""

    host: str
    kind: str
    seconds: float
    error: KustoError | None = None


class Storage:
    """The storage of one cluster, with connections that stay open until this is closed.

    `command` sends a command to the ingestion endpoint. Safe to use from several threads.
    """

    def __init__(
        self,
        command: Callable[[str], list[Row]],
        uri: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = command
        self._uri = uri
        self._clock = clock
        self._lock = threading.Lock()
        self._resources: _Resources | None = None
        self._clients: dict[str, Any] = {}
        self._transports: dict[str, Any] = {}

    def close(self) -> None:
        """Close the connections."""
        for transport in self._transports.values():
            transport.close()

    def resources(self) -> tuple[list[str], list[str]]:
        """The signed addresses of containers and queues; raises KustoError if none is listed."""
        found = self._current()
        return list(found.containers), list(found.queues)

    def reach(self, seconds: float) -> Iterator[Reached]:
        """Try each storage host once for blobs and once for messages.

        A refusal is a response: the signatures allow uploads and messages, and nothing else. Raises KustoError only if
        the addresses cannot be read.
        """
        for kind in _KINDS:
            yield from self._reach(kind, seconds)

    def ready(self, seconds: float) -> None:
        """Raise KustoError unless a host for blobs and one for messages respond."""
        for kind in _KINDS:
            error: KustoError | None = None
            for reached in islice(self._reach(kind, seconds), _TRIES):
                error = reached.error
                if error is None:
                    break
            if error is not None:
                raise error

    def _reach(self, kind: str, seconds: float) -> Iterator[Reached]:
        current = self._current()
        addresses, probe = (current.containers, self._has_blob) if kind == _BLOBS else (current.queues, self._has_queue)
        for host, address in {urlsplit(address).netloc: address for address in addresses}.items():
            exchange = Exchange(self._uri, kind, storage=f"Storage {host}")
            began, error = time.monotonic(), None
            try:
                exchanged(exchange, seconds, partial(_responds, partial(probe, address)), late=False)
            except KustoError as unreached:
                error = unreached
            yield Reached(host, kind, time.monotonic() - began, error)

    def _has_blob(self, container: str) -> None:
        self._container(container).get_blob_client("opencost-kusto-doctor").exists()

    def _has_queue(self, queue: str) -> None:
        self._queue(queue).get_queue_properties()

    def upload(self, path: Path, name: str, table: str, raw_bytes: int, seconds: float) -> Uploaded:
        """Upload a file as a blob in blocks; raises KustoError if no container accepts it."""
        source = str(uuid.uuid4())
        # For a blob that it could not ingest, Kusto shows the name, but not the source id.
        blob = f"{table}__{source}__{name}"

        def put(container: str) -> str:
            client = self._container(container).get_blob_client(blob)
            with path.open("rb") as stream:
                client.upload_blob(stream, length=path.stat().st_size, overwrite=True, max_concurrency=1)
            url: str = client.url
            return url

        exchange = Exchange(self._uri, f"the upload of {name}", storage="Kusto's storage")
        url = self._first(self._current().containers, put, exchange, seconds)
        return Uploaded(url, source, name, raw_bytes)

    def post(self, message: Callable[[str], str], what: str, seconds: float) -> None:
        """Send a message, created with the identity token, to a queue; raises KustoError if no queue accepts it."""
        current = self._current()
        text = message(current.token)
        exchange = Exchange(self._uri, what, storage="Kusto's queue")
        self._first(current.queues, lambda queue: self._queue(queue).send_message(text), exchange, seconds)

    def _first(self, addresses: list[str], call: Callable[[str], Any], exchange: Exchange, seconds: float) -> Any:
        """The result of the first address that works. It stays the first, so that its connection is reused."""
        refused: KustoError | None = None
        for address in addresses[:_TRIES]:
            try:
                return exchanged(exchange, seconds, partial(call, address), late=False)
            except KustoError as error:
                refused = error
                with self._lock:
                    if address in addresses:
                        addresses.remove(address)
                        addresses.append(address)
        raise refused or KustoError(f"No address accepted {exchange.what}.")

    def _current(self) -> _Resources:
        with self._lock:
            found = self._resources
            if found is None or self._clock() - found.read_at > _REFRESHED_AFTER:
                found = self._resources = self._read()
                self._clients.clear()
            return found

    def _read(self) -> _Resources:
        rows = self._command(".get ingestion resources")

        def listed(kind: str, what: str) -> list[str]:
            found = [str(row["StorageRoot"]) for row in rows if row["ResourceTypeName"] == kind]
            if not found:
                raise KustoError(
                    f"Kusto's ingestion endpoint {self._uri} lists no {what}, so nothing was sent. "
                    "Check that the address is the ingestion endpoint of a running cluster."
                )
            # Spreads concurrent runs over the accounts.
            return random.sample(found, len(found))

        containers = listed("TempStorage", "containers to upload to")
        queues = listed("SecuredReadyForAggregationQueue", "queues to announce blobs in")
        token = self._command(".get kusto identity token")[0]["AuthorizationContext"]
        return _Resources(containers, queues, str(token), self._clock())

    def _container(self, address: str) -> Any:
        from azure.storage.blob import ContainerClient, ExponentialRetry

        sizes: Mapping[str, Any] = {"max_single_put_size": BLOCK, "max_block_size": BLOCK}
        return self._client(address, ContainerClient.from_container_url, ExponentialRetry, **sizes)

    def _queue(self, address: str) -> Any:
        from azure.storage.queue import ExponentialRetry, QueueClient, TextBase64EncodePolicy

        policy = {"message_encode_policy": TextBase64EncodePolicy()}
        return self._client(address, QueueClient.from_queue_url, ExponentialRetry, **policy)

    def _client(self, address: str, make: Callable[..., Any], retry: Callable[..., Any], **more: Any) -> Any:
        """The client of an address, created once; the clients of one server share its connections."""
        from azure.core.pipeline.transport import RequestsTransport

        with self._lock:
            if address not in self._clients:
                server = "/".join(address.split("/")[:3])
                environment = Environment.of(server)
                if server not in self._transports:
                    self._transports[server] = RequestsTransport(
                        use_env_settings=False, connection_verify=environment.verify
                    )
                policy = retry(initial_backoff=1, increment_base=2, retry_total=2, random_jitter_range=1)
                self._clients[address] = make(
                    address,
                    transport=self._transports[server],
                    retry_policy=policy,
                    proxies=environment.proxies,
                    user_agent=APPLICATION,
                    **more,
                )
            return self._clients[address]


def _responds(probe: Callable[[], None]) -> None:
    """Send a request, and accept a refusal as a response."""
    try:
        probe()
    except Exception as error:
        if status_of(error) is None:
            raise
