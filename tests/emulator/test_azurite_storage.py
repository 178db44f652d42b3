"""Ingestion through a real blob and queue service."""

from __future__ import annotations

import pytest

from opencost_kusto.emulator import KustoEmulator
from tests.emulator.conftest import MAPPING, ROW, TABLE, Client, lines
from tests.support.azurite import Azurite
from tests.support.azurite_storage import AzuriteStorage

pytestmark = pytest.mark.azurite


def test_rows_land_through_azurite(azurite: Azurite) -> None:
    """The SDK uploads and queues in Azurite, and the ingestion reads there; the tag still lands once."""
    with (
        AzuriteStorage(azurite.blob_url, azurite.queue_url) as storage,
        KustoEmulator(storage=storage, latency=0) as emulator,
    ):
        client = Client(emulator)
        client.command(TABLE)
        client.command(MAPPING)
        for _ in range(2):
            client.send(lines([ROW]), tag="once")
        client.send(b"{", tag="bad")
        emulator.wait_idle()
        assert client.count() == 1
        assert {one["ErrorCode"] for one in client.failures()} == {
            "Skipped_IngestByTagAlreadyExists",
            "BadRequest_NoRecordsOrWrongFormat",
        }
        assert not [request for request in emulator.requests if not request.csl]
        client.close()
