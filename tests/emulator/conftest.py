"""A Kusto emulator and the unmodified SDK that talks to it."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from azure.kusto.data import ClientRequestProperties, KustoClient, KustoConnectionStringBuilder
from azure.kusto.data.data_format import DataFormat
from azure.kusto.ingest import IngestionProperties, QueuedIngestClient, StreamDescriptor

from opencost_kusto.emulator import KustoEmulator

MAPPING = """
.create-or-alter table Costs ingestion json mapping "Costs_mapping"
```
[
  {"column": "Timestamp", "Properties": {"Path": "$.Timestamp"}},
  {"column": "Name", "Properties": {"Path": "$.Name"}},
  {"column": "Cost", "Properties": {"Path": "$.Cost"}},
  {"column": "Count", "Properties": {"Path": "$.Count"}},
  {"column": "Spot", "Properties": {"Path": "$.Spot"}},
  {"column": "Labels", "Properties": {"Path": "$.Labels"}}
]
```
"""
TABLE = """
.create-merge table Costs (Timestamp: datetime, Name: string, Cost: real, Count: long, Spot: bool, Labels: dynamic)
"""
ROW = {"Timestamp": "2026-11-23T10:00:00Z", "Name": "web", "Cost": 0.25, "Count": 3, "Spot": True, "Labels": {"a": "b"}}


class Client:
    """What a user of the SDK does, in one line each, against one emulator."""

    def __init__(self, emulator: KustoEmulator, url: str = "") -> None:
        self.emulator = emulator
        self.kusto = KustoClient(KustoConnectionStringBuilder.with_no_authentication(url or emulator.url))
        self.ingest = QueuedIngestClient(KustoConnectionStringBuilder.with_no_authentication(url or emulator.url))

    def close(self) -> None:
        """Give connections back."""
        self.kusto.close()  # type: ignore[no-untyped-call]
        self.ingest.close()

    def command(self, text: str) -> list[dict[str, Any]]:
        """Run a management command."""
        return [row.to_dict() for row in self.kusto.execute_mgmt("OpenCost", text).primary_results[0]]

    def query(self, text: str, **parameters: str) -> list[dict[str, Any]]:
        """Run a query."""
        properties = ClientRequestProperties()  # type: ignore[no-untyped-call]
        for name, value in parameters.items():
            properties.set_parameter(name, value)
        return [row.to_dict() for row in self.kusto.execute_query("OpenCost", text, properties).primary_results[0]]

    def count(self, table: str = "Costs") -> int:
        """How many rows a table has."""
        return int(self.query(f"{table} | count")[0]["Count"])

    def send(
        self,
        data: bytes,
        *,
        table: str = "Costs",
        database: str = "OpenCost",
        mapping: str = "Costs_mapping",
        tag: str | None = None,
        kind: DataFormat = DataFormat.MULTIJSON,
    ) -> str:
        """Upload and queue one gzip'd file; returns its source id."""
        properties = IngestionProperties(
            database=database,
            table=table,
            data_format=kind,
            ingestion_mapping_reference=mapping,
            ingest_by_tags=[tag] if tag else None,
            ingest_if_not_exists=[tag] if tag else None,
            additional_properties={},
        )
        stream = StreamDescriptor(io.BytesIO(gzip.compress(data)), is_compressed=True, size=len(data))
        return str(self.ingest.ingest_from_stream(stream, properties).source_id)

    def land(self, rows: Sequence[dict[str, Any]], tag: str | None = None) -> None:
        """Send rows and wait until they are dealt with."""
        self.send(lines(rows), tag=tag)
        self.emulator.wait_idle()

    def failures(self) -> list[dict[str, Any]]:
        """What the engine refused to ingest."""
        return self.command(".show ingestion failures")


def lines(rows: Sequence[dict[str, Any]]) -> bytes:
    """Newline-delimited JSON."""
    return "\n".join(json.dumps(row) for row in rows).encode()


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of an empty database that ingests at once."""
    with KustoEmulator(latency=0) as emulator:
        client = Client(emulator)
        yield client
        client.close()


@pytest.fixture
def costs(client: Client) -> Client:
    """A client of a database with one table, Costs, and its mapping."""
    client.command(TABLE)
    client.command(MAPPING)
    return client
