"""One Kusto database through Microsoft's SDK: queries, commands, uploads and queue messages, each with a deadline.

This module does not depend on batches; `load` does.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.address import checked_address, checked_database, engine_address, ingest_address, is_fabric
from opencost_kusto.kusto.endpoint import APPLICATION, Endpoint, Row
from opencost_kusto.kusto.signin import ADVICE, Auth, credential
from opencost_kusto.kusto.storage import NO_DATABASE, Storage, Uploaded

__all__ = ["Deadlines", "Kusto", "Row", "Uploaded"]

# Sign-in methods that wait for a person.
_BY_HAND = ("interactive", "device-code")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The deadline of each hop in seconds, retries included; the SDK does not have one for every hop.

    `query` is for queries and commands, `resources` for reading the addresses of storage, `upload` for one blob to one
    container, `queue` for one message to one queue, `check` for the first query of a run.
    """

    query: float = 120.0
    resources: float = 60.0
    upload: float = 300.0
    queue: float = 60.0
    check: float = 30.0


class Kusto:
    """A database to load into and to query.

    `uri` is the engine's address (`https://<cluster>.<region>.kusto.windows.net`, or a Fabric Eventhouse's query
    URI); the ingestion address is derived from it unless `ingest_uri` is given. `trusted_hosts` are hosts that may
    receive a token although they are not Microsoft's: `kusto.example.com`, or `*.example.com` for all below it.
    Raises UsageError for an invalid URI, database or sign-in method. Safe to use from several threads;
    close it, or use it as a context.
    """

    def __init__(
        self,
        uri: str,
        database: str,
        *,
        auth: Auth = "default",
        ingest_uri: str | None = None,
        deadlines: Deadlines | None = None,
        trusted_hosts: Sequence[str] = (),
    ) -> None:
        self.uri = engine_address(uri)
        self.database = checked_database(database)
        self.auth: Auth = auth
        self.deadlines = deadlines or Deadlines()
        self.ingest_uri = checked_address(ingest_uri) if ingest_uri else ingest_address(self.uri)
        # Finds a wrong sign-in method now, not at the first batch.
        self._credential = credential(self.uri, auth)
        more: dict[str, Any] = {"trusted_hosts": trusted_hosts, "advice": ADVICE.get(auth, "")}
        self._engine = Endpoint(self.uri, self._credential, **more)
        self._ingestion = Endpoint(self.ingest_uri, self._credential, **more)
        self.storage = Storage(self._resources, self.ingest_uri)

    @property
    def signed_in_by(self) -> str:
        """The class of azure-identity that issued the last token; empty without a token."""
        return self._credential.provider if self._credential else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._engine.close()
        self._ingestion.close()
        self.storage.close()

    def query(self, text: str, *, fresh: bool = False) -> list[Row]:
        """The rows of a KQL query's first result; raises KustoError.

        `fresh` requests strong consistency and no cached results, whatever the cluster's workload group sets, for
        verification. https://learn.microsoft.com/kusto/api/rest/request-properties
        """
        options = self.fresh_options() if fresh else {}
        return self._engine.execute("query", self.database, text, seconds=self.deadlines.query, options=options)

    def fresh_options(self) -> dict[str, Any]:
        """The request options of a fresh query; Fabric has no consistency to choose."""
        strong = {} if is_fabric(self.uri) else {"queryconsistency": "strongconsistency"}
        return {"query_results_cache_max_age": timedelta(0), **strong}

    def command(self, text: str, *, retry: bool = True, creates: bool = False) -> list[Row]:
        """The rows of a management command's first result; raises KustoError.

        Without `retry` it is sent once, for a command that must not run twice. `creates`: its object is new, so that
        the error of a refusal names the smaller right that suffices.
        """
        seconds, attempts = self.deadlines.query, 4 if retry else 1
        return self._engine.execute("command", self.database, text, seconds=seconds, attempts=attempts, creates=creates)

    def now(self) -> datetime:
        """The time by the clock of the database, in UTC; raises KustoError."""
        moment: datetime = self.query("print Now = now()", fresh=True)[0]["Now"]
        return moment.astimezone(UTC)

    def connect(self) -> None:
        """Make the client of the engine, without sending anything."""
        self._engine.connect()

    def prepare(self) -> None:
        """Import the part of the SDK for uploads on a separate thread, for callers that wait for OpenCost."""
        threading.Thread(target=_import_ingestion, name="import", daemon=True).start()

    def check(self) -> None:
        """Sign in and send the database one query; raises KustoError with the reason in one sentence.

        Commands call it first, so that OpenCost is not requested for a database that cannot be reached.
        """
        seconds = 300.0 if self.auth in _BY_HAND else min(self.deadlines.check, self.deadlines.query)
        self._engine.execute("query", self.database, "print Ready = 1", seconds=seconds)

    def upload(self, path: Path, *, name: str, table: str, raw_bytes: int) -> Uploaded:
        """Upload a finished gzip file as a blob; raises KustoError when no container accepts it."""
        if path.stat().st_size == 0 or raw_bytes == 0:
            raise KustoError(f"{name} is empty; Kusto drops empty blobs, so it was not sent.")
        return self.storage.upload(path, name, table, raw_bytes, self.deadlines.upload)

    def enqueue(self, uploaded: Uploaded, *, table: str, mapping: str, tag: str | None) -> None:
        """Queue a blob; raises KustoError.

        A blob with a tag lands once per table, however often the message arrives. Without a tag, it may land more than
        once.
        """
        from azure.kusto.data.data_format import DataFormat
        from azure.kusto.ingest import BlobDescriptor, IngestionProperties
        from azure.kusto.ingest.ingestion_blob_info import IngestionBlobInfo

        def message(token: str) -> str:
            # A new object each time: the SDK modifies the properties.
            properties = IngestionProperties(
                database=self.database,
                table=table,
                data_format=DataFormat.MULTIJSON,
                ingestion_mapping_reference=mapping,
                ingest_by_tags=None if tag is None else [tag],
                ingest_if_not_exists=None if tag is None else [tag],
                additional_properties={},
            )
            blob = BlobDescriptor(uploaded.url, uploaded.raw_bytes, uploaded.source_id)
            info: Any = IngestionBlobInfo(blob, properties, token, APPLICATION, APPLICATION)
            return str(info.to_json())

        self.storage.post(message, f"the queue message for {tag or uploaded.name}", self.deadlines.queue)

    def _resources(self, command: str) -> list[Row]:
        """Send a command to the ingestion endpoint, which has no database but requires a right in this one."""
        seconds = self.deadlines.resources
        return self._ingestion.execute("command", NO_DATABASE, command, seconds=seconds, access=self.database)


def _import_ingestion() -> None:
    """Import the part of the SDK that queries do not need: about a quarter of a processor second."""
    for name in ("azure.storage.blob", "azure.storage.queue", "azure.kusto.ingest"):
        import_module(name)
