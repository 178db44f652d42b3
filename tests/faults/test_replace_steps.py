"""`--replace` is refused, broken or killed at each of its steps: the old rows or the new, never both, never neither."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opencost_kusto.batch import Batch
from opencost_kusto.emulator import Reply, Request
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.load.ingest import TableCount
from opencost_kusto.load.replace import BatchReplacement
from opencost_kusto.load.spool import Spool
from opencost_kusto.load.tracker import IngestionTracker
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.schema.tables import ALLOCATION, TABLES
from opencost_kusto.window import Window
from tests.faults.ending import Ending, fault
from tests.faults.lane import HOUR, NAMESPACES, ROWS, Lane, of
from tests.faults.wire import REFUSED, always, is_upload, storage_refusal

STAGING = "OpenCostReplacement"
# Each command of a replacement, by how it begins; what each must leave untouched is the table.
STEPS = {
    "sweeping": ".show tables",
    "making the staging table": ".create table",
    "its end": f".alter table {STAGING}",
    "its mapping": f".create-or-alter table {STAGING}",
    "verifying it": f"{STAGING}",
    "finding the extents": f"{ALLOCATION.name} | where BatchId == ",
    "swapping": ".replace extents",
}


@fault(
    "Kusto refuses a step of `--replace`",
    "failed",
    exit_code=5,
    says="Kusto at … refused the …: Principal is not authorized.",
)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_fails(changed: Lane, step: str, ending: Ending) -> None:
    """When any step is refused, nothing has changed in the table, the batch has failed, and a later run replaces."""
    changed.kusto.fault = lambda request: REFUSED if request.csl.startswith(STEPS[step]) else None
    ending.failed(changed, changed.sync(replace=True, timeout=2), ROWS)
    changed.kusto.fault = None
    assert not changed.staging
    assert of(changed.sync(replace=True)).outcome == "landed"
    assert (changed.count(), changed.staging) == (ROWS - 1, [])


@fault("The reply to the swap is lost", "landed", says="takes the place of 8 rows and … in cost")
def test_the_reply_to_the_swap_is_lost(changed: Lane, ending: Ending) -> None:
    """What counts is what the table holds: a swap that was done is landed, whatever came back."""

    def lose(request: Request) -> Reply | None:
        if request.csl.startswith(".replace extents"):
            changed.kusto.fault = None
            changed.kusto.respond(request)
            return REFUSED
        return None

    changed.kusto.fault = lose
    ending.of(changed.sync(replace=True))
    changed.settle(ROWS - 1)


@fault("A staging table cannot be dropped", "landed", says="could not be dropped and may be deleted by hand: …")
def test_a_staging_table_that_cannot_be_dropped_is_named(changed: Lane, ending: Ending) -> None:
    """The batch has landed, and a note says what was left; Kusto ends it by itself."""
    changed.kusto.fault = lambda request: REFUSED if request.csl.startswith(".drop table") else None
    one = ending.of(changed.sync(replace=True))
    (left,) = changed.staging
    assert f"{left} could not be dropped" in one.notes[-1]
    policy = changed.kusto.engine.tables[left].policies["auto_delete"]
    assert policy["DeleteIfNotEmpty"]
    assert datetime.fromisoformat(policy["ExpiryDate"]) > datetime.now(UTC) + timedelta(days=1)


class Stopped(BaseException):
    """The process ends here, as at a signal."""


class Killed(Kusto):
    """Our client of a run that ends when it is about to send a text that begins so.

    What it asks after that is unheard where the process was killed, and heard where it was told to end.
    """

    def __init__(self, lane: Lane, opens: str, *, heard: bool) -> None:
        super().__init__(lane.kusto.url, "OpenCost", auth="none")
        self._opens = opens
        self._heard = heard
        self.dead = False

    def query(self, text: str, *, fresh: bool = False) -> list[dict[str, Any]]:
        """Send a query, unless the run ends here."""
        self._end_at(text)
        return super().query(text, fresh=fresh)

    def command(self, text: str, *, retry: bool = True) -> list[dict[str, Any]]:
        """Send a command, unless the run ends here."""
        self._end_at(text)
        return super().command(text, retry=retry)

    def _end_at(self, text: str) -> None:
        if (self.dead and not self._heard) or (not self.dead and text.startswith(self._opens)):
            self.dead = True
            raise Stopped


@pytest.mark.parametrize("step", [*STEPS, "after the swap"])
@fault("A run with `--replace` is killed at any of its steps; then run again", "landed", "already landed")
def test_a_run_is_killed_at_a_step(changed: Lane, step: str, ending: Ending) -> None:
    """A run that ends at any step leaves the old rows or the new, never both and never neither."""
    killed = Killed(changed, STEPS.get(step, ".drop table"), heard=False)
    question = SyncRequest(HOUR, None, ("allocation",), NAMESPACES)
    with OpenCost(changed.opencost.url) as opencost, killed, pytest.raises(Stopped):
        sync(opencost, killed, question, replace=True)
    rows = changed.count()
    assert rows == (ROWS - 1 if step == "after the swap" else ROWS)
    assert len(changed.runs()) == 1
    one = ending.of(changed.sync(replace=True))
    assert one.outcome == ("already landed" if rows < ROWS else "landed")
    assert changed.count() == ROWS - 1


@pytest.mark.parametrize("step", STEPS)
@fault("A run with `--replace` is interrupted at any of its steps; then run again", "landed")
def test_a_run_is_interrupted_at_a_step(changed: Lane, step: str, ending: Ending) -> None:
    """A run that can still speak to Kusto drops its staging table on its way out."""
    interrupted = Killed(changed, STEPS[step], heard=True)
    question = SyncRequest(HOUR, None, ("allocation",), NAMESPACES)
    with OpenCost(changed.opencost.url) as opencost, interrupted, pytest.raises(Stopped):
        sync(opencost, interrupted, question, replace=True)
    assert interrupted.dead
    assert not changed.staging
    assert changed.count() == ROWS
    ending.of(changed.sync(replace=True))
    changed.settle(ROWS - 1)


def test_a_run_that_ends_does_not_wait_for_a_kusto_that_hangs(lane: Lane, tmp_path: Path) -> None:
    """Of several staging tables that cannot be dropped, one is waited for, by our own deadline."""
    three = Window(HOUR.start, HOUR.start + timedelta(hours=3))
    hours = SyncRequest(three, timedelta(hours=1), ("allocation",), NAMESPACES)
    lane.kusto.fault = always(is_upload, storage_refusal())
    with OpenCost(lane.opencost.url) as opencost, lane.client() as kusto:
        assert sync(opencost, kusto, hours, spool=tmp_path).counts == {"failed": 4}
    lane.kusto.fault = lambda request: REFUSED._replace(delay=60) if request.csl.startswith(".drop") else None
    with lane.client(Deadlines(query=1)) as kusto, IngestionTracker(kusto, wait=True, timeout=10, keep=True) as landing:
        for sealed in Spool(tmp_path).sealed():
            if sealed.table == ALLOCATION.name:
                assert list(landing.replace(sealed.batch(TABLES), sealed, 0.0, [], TableCount.of(sealed))) == []
        assert len(lane.staging) == 3
        began = time.monotonic()
    assert len(lane.staging) == 3
    assert time.monotonic() - began < 2


def test_what_a_killed_run_left_is_swept_a_day_later(changed: Lane) -> None:
    """A staging table of yesterday is dropped by the next replacement; one of this moment may be in use, and stays."""
    now = datetime.now(UTC)
    batch = Batch(ALLOCATION, "aks", HOUR, NAMESPACES)
    with changed.client() as kusto:
        old, new = BatchReplacement(kusto, batch, 7, now - timedelta(days=2)), BatchReplacement(kusto, batch, 7, now)
        changed.command(*old.commands(), *new.commands())
    assert of(changed.sync(replace=True)).outcome == "landed"
    assert changed.staging == [new.staging]
