"""The path with Microsoft's storage emulator in the middle: unmodified SDK, true blobs and true queue messages."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.emulator import KustoEmulator
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.window import Window
from tests.support.azurite import Azurite
from tests.support.azurite_storage import AzuriteStorage
from tests.support.recorded import OpenCostEmulator

pytestmark = pytest.mark.azurite
HOUR = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
PATIENT = LoadPolicy(timeout=30)
ROWS = {"OpenCostAllocation": 61, "OpenCostAssets": 19}


def test_an_hour_lands_through_azurite(azurite: Azurite) -> None:
    """Bootstrap and sync land an hour whose blobs and messages lie in Azurite; a second sync sends none of it again."""
    with (
        AzuriteStorage(azurite.blob_url, azurite.queue_url) as storage,
        KustoEmulator(storage=storage, latency=0.05) as emulator,
        OpenCostEmulator() as server,
        Kusto(emulator.url, emulator.database, auth="none") as kusto,
        OpenCost(server.url) as opencost,
    ):
        assert bootstrap(kusto).changed > 0
        first = sync(opencost, kusto, SyncRequest(HOUR), policy=PATIENT)
        assert (first.counts, first.exit_code) == ({"landed": 3}, 0), first.results
        second = sync(opencost, kusto, SyncRequest(HOUR, None, ("allocation", "assets")), policy=PATIENT)
        assert (second.counts, second.exit_code) == ({"already landed": 2}, 0), second.results
        for table, rows in ROWS.items():
            assert kusto.query(f"{table} | count") == [{"Count": rows}]
        assert kusto.query("OpenCostMetrics | count")[0]["Count"] > 1000
        cost = kusto.query("OpenCostAllocation | summarize Cost = sum(TotalCost)")[0]["Cost"]
        assert round(cost, 5) == 1.07208
        # Nothing went through the stand-in's own storage.
        paths = {request.path for request in emulator.requests}
        assert paths <= {"/v1/rest/mgmt", "/v2/rest/query"}
        assert storage.receive() is None
