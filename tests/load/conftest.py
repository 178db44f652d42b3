"""What tests of loading share: a world, and batches that are sealed and not sent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from opencost_kusto.load.sealed import SealedBatch
from opencost_kusto.load.spool import Spool
from opencost_kusto.load.staged import StagedBatch
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.schema.tables import TABLES
from opencost_kusto.window import Window
from tests.faults.wire import always, is_upload, storage_refusal
from tests.support.world import HOUR, NAMESPACES, World


@pytest.fixture
def world() -> Iterator[World]:
    """Both emulators with the tables."""
    with World() as world:
        yield world


def staged(world: World, folder: Path, hours: int = 1) -> list[tuple[StagedBatch, SealedBatch]]:
    """Batches of so many hours, sealed in a spool and not sent, oldest first."""
    window = Window(HOUR.start, HOUR.start + timedelta(hours=hours))
    world.kusto.fault = always(is_upload, storage_refusal())
    report = world.sync(request=SyncRequest(window, timedelta(hours=1), ("allocation",), NAMESPACES), spool=folder)
    assert report.counts == {"failed": hours}
    world.kusto.fault = None
    world.kusto.requests.clear()
    found = sorted(Spool(folder).sealed(), key=lambda one: one.window.start)
    return [(StagedBatch(one.batch(TABLES), 0.0, one), one) for one in found]
