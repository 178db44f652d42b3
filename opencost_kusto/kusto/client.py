"""One Kusto database through Microsoft's SDK: queries, commands, uploads and queue messages, each with a deadline.

The door to the Kusto SDK. Nothing here knows a batch; `load` does. The SDK is imported when a client is made, because
it takes longer to import than a small sync takes to run.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from opencost_kusto.errors import KustoError, OpenCostKustoError, UsageError
from opencost_kusto.kusto.sdk_errors import translate
from opencost_kusto.kusto.signin import Auth, connection
from opencost_kusto.names import identity, variable
from opencost_kusto.retry import retrying, within

T = TypeVar("T")
Row = dict[str, Any]
# Of an entity's name: learn.microsoft.com/azure/data-explorer, "Entity names".
_LONGEST_ENTITY = 1024
_VALUE = re.compile(r'[("]')
_ADDRESS = re.compile(r"(https?)://([\w.-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?/?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The longest each hop may take, in seconds, retries included; our own, since the SDK has gaps.

    `query` is for queries and commands, `resources` for asking where to upload, `upload` for one blob to one
    container, `queue` for one message.
    """

    query: float = 120.0
    resources: float = 60.0
    upload: float = 300.0
    queue: float = 120.0


class Kusto:
    """A database to load into and ask.

    `uri` is the engine's address (`https://<cluster>.<region>.kusto.windows.net`, or a Fabric Eventhouse's query
    URI); the ingestion address is derived from it unless `ingest_uri` is given. Raises UsageError for a URI, database
    or way of signing in that cannot be used. Safe to use from several threads; close it, or use it as a context.
    """

    def __init__(
        self,
        uri: str,
        database: str,
        *,
        auth: Auth = "default",
        ingest_uri: str | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        self.uri = _checked(uri).replace("://ingest-", "://", 1)
        self.database = identity(database, variable("--database"), longest=_LONGEST_ENTITY)
        if not re.fullmatch(r"[\w .()-]+", self.database):
            raise UsageError(f"{self.database!r} is not the name of a Kusto database.")
        self.deadlines = deadlines or Deadlines()
        self.ingest_uri = _checked(ingest_uri) if ingest_uri else _ingest_address(self.uri)
        self._auth: Auth = auth
        self._lock = threading.Lock()
        self._query_client: Any = None
        self._ingest_client: Any = None
        # Finds a wrong way of signing in now, not at the first batch.
        connection(self.uri, auth)

    def __enter__(self) -> Kusto:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give connections back."""
        for client in (self._query_client, self._ingest_client):
            if client is not None:
                client.close()

    def query(self, text: str, *, fresh: bool = False) -> list[Row]:
        """The rows of a KQL query's first result; raises KustoError.

        `fresh` asks for strong consistency and no cached results, whatever the cluster's workload group says: for
        what proves. https://learn.microsoft.com/kusto/api/rest/request-properties
        """
        return self._ask("query", text, self._fresh() if fresh else {}, attempts=4)

    def command(self, text: str, *, retry: bool = True) -> list[Row]:
        """The rows of a management command's first result; raises KustoError.

        Without `retry` it is sent once, for a command that must not run twice.
        """
        return self._ask("command", text, {}, attempts=4 if retry else 1)

    def now(self) -> datetime:
        """The time by the clock of the database, in UTC; raises KustoError."""
        moment: datetime = self.query("print Now = now()", fresh=True)[0]["Now"]
        return moment.astimezone(UTC)

    def upload(self, path: Path, *, name: str, table: str, raw_bytes: int) -> Uploaded:
        """Upload a finished gzip file as a blob; raises KustoError when no container takes it.

        Each try opens the file afresh: the SDK does not rewind a stream that the first container refused.
        """
        from azure.kusto.ingest import FileDescriptor

        if path.stat().st_size == 0 or raw_bytes == 0:
            raise KustoError(f"{name} is empty; an empty blob would be queued and vanish, so it was not sent.")
        client = self._ingesting()
        containers = self._resources("containers to upload to", client._get_containers)
        self._resources("queues to announce blobs in", client._resource_manager.get_ingestion_queues)
        refused: KustoError | None = None
        for container in containers[:3]:
            source = uuid.uuid4()
            descriptor = FileDescriptor(str(path), raw_bytes, source)
            descriptor.stream_name = name

            def put(container: Any = container, descriptor: Any = descriptor) -> Any:
                with path.open("rb") as stream:
                    limit = int(self.deadlines.upload)
                    return client.upload_blob([container], descriptor, self.database, table, stream, None, limit, 1)

            try:
                blob = self._hop("upload", self.deadlines.upload, f"uploading {name}", put)
            except KustoError as error:
                refused = error
                continue
            return Uploaded(blob, str(source), name)
        raise refused or KustoError(f"No container took {name}.")

    def enqueue(self, uploaded: Uploaded, *, table: str, mapping: str, tag: str | None) -> None:
        """Queue a blob; raises KustoError.

        A tag lands once per table, however often the message arrives. Without one the blob may land more than once.
        """
        from azure.kusto.data.data_format import DataFormat
        from azure.kusto.ingest import IngestionProperties

        client = self._ingesting()
        what = tag or uploaded.name
        tags = None if tag is None else [tag]
        # Fresh each time: the SDK writes into the properties it is given.
        properties = IngestionProperties(
            database=self.database,
            table=table,
            data_format=DataFormat.MULTIJSON,
            ingestion_mapping_reference=mapping,
            ingest_by_tags=tags,
            ingest_if_not_exists=tags,
            additional_properties={},
        )

        def post() -> Any:
            return client.ingest_from_blob(uploaded.blob, ingestion_properties=properties)

        result = self._hop("queue", self.deadlines.queue, f"queueing {what}", post)
        if result is None:
            raise KustoError(
                f"Kusto's ingestion endpoint lists no queue, so {what} was uploaded but not queued. Run again."
            )

    def _fresh(self) -> dict[str, Any]:
        # Fabric has no such option.
        fabric = (urlsplit(self.uri).hostname or "").endswith(".fabric.microsoft.com")
        strong = {} if fabric else {"queryconsistency": "strongconsistency"}
        return {**strong, "query_results_cache_max_age": timedelta(0)}

    def _ask(self, kind: str, text: str, options: dict[str, Any], *, attempts: int) -> list[Row]:
        from azure.kusto.data import ClientRequestProperties as Properties

        def ask() -> list[Row]:
            properties = Properties()  # type: ignore[no-untyped-call]
            properties.set_option("servertimeout", timedelta(seconds=max(self.deadlines.query, 1)))
            for name, value in options.items():
                properties.set_option(name, value)
            client = self._querying()
            execute = client.execute_query if kind == "query" else client.execute_mgmt
            result = execute(self.database, text, properties)
            return [row.to_dict() for row in result.primary_results[0]] if result.primary_results else []

        # Up to the first value in it: ids are long, and cut in the middle they are no help.
        begins = " ".join(_VALUE.split(text, maxsplit=1)[0].split())
        what = f"the {kind} {begins[:80]} …"
        return retrying(
            lambda: self._hop("query", self.deadlines.query, what, ask), seconds=self.deadlines.query, attempts=attempts
        )

    def _resources(self, what: str, get: Callable[[], list[Any]]) -> list[Any]:
        def list_them() -> list[Any]:
            return self._hop("resources", self.deadlines.resources, f"asking for {what}", get)

        found = retrying(list_them, seconds=self.deadlines.resources, attempts=4)
        if not found:
            raise KustoError(
                f"Kusto's ingestion endpoint {self.ingest_uri} lists no {what}, so nothing was sent. "
                "Check that the address is the ingestion endpoint of a running cluster."
            )
        return found

    def _hop(self, hop: str, seconds: float, what: str, call: Callable[[], T]) -> T:
        """One exchange with the service, in time and with its errors translated."""

        def late() -> KustoError:
            return KustoError(
                f"Kusto did not finish {what} within {seconds:g} s.", transient=hop in ("resources", "query")
            )

        try:
            return within(seconds, call, late)
        except OpenCostKustoError:
            raise
        except Exception as error:
            raise translate(error, self.ingest_uri if hop != "query" else self.uri, what) from error

    def _querying(self) -> Any:
        with self._lock:
            if self._query_client is None:
                from azure.kusto.data import KustoClient

                self._query_client = KustoClient(connection(self.uri, self._auth))
            return self._query_client

    def _ingesting(self) -> Any:
        with self._lock:
            if self._ingest_client is None:
                from azure.kusto.ingest import QueuedIngestClient

                builder = connection(self.ingest_uri, self._auth)
                self._ingest_client = QueuedIngestClient(builder, auto_correct_endpoint=False)
            return self._ingest_client


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A blob in Kusto's own storage, and the id under which its ingestion can be looked up."""

    blob: Any
    source_id: str
    name: str


def _checked(uri: str) -> str:
    """The address without a slash; one that is more than an address may hold a secret, and is not repeated."""
    found = _ADDRESS.fullmatch(uri.strip())
    if found and int(found[3] or 0) < 1 << 16:
        return f"{found[1].lower()}://{found[2]}{':' if found[3] else ''}{found[3] or ''}"
    if re.fullmatch(r"[\w.-]*", uri.strip()):
        raise UsageError(
            f"{uri!r} is not the address of a Kusto cluster; write https://<cluster>.<region>.kusto.windows.net."
        )
    raise UsageError(
        "A Kusto address is https://<cluster>.<region>.kusto.windows.net: it carries no user, password, path or query, "
        "and is no connection string; choose how to sign in with --auth."
    )


def _ingest_address(uri: str) -> str:
    """`ingest-` before the host, but for addresses and for plain http, where one server does both."""
    if uri.startswith("http://"):
        return uri
    return uri.replace("://", "://ingest-", 1)
