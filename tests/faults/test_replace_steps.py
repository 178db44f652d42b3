"""`--replace` is refused, cut or killed at each of its steps: the old rows or the new, never both, never neither."""

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
from opencost_kusto.load.holdings import Holding
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.load.replace import BatchReplacement
from opencost_kusto.load.spool import Spool
from opencost_kusto.load.staged import StagedBatch
from opencost_kusto.load.tracker import IngestionTracker
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.schema.tables import ALLOCATION, TABLES
from opencost_kusto.window import Window
from tests.faults.ending import Ending, fault
from tests.faults.wire import REFUSED, always, is_upload, storage_refusal
from tests.support.world import HOUR, NAMESPACES, ROWS, World, result_of

STAGING = "OpenCostReplacement"
REPLACE = LoadPolicy(replace=True)
# Each command of a replacement, by how it begins; what each must leave untouched is the table.
STEPS = {
    "sweeping": ".show tables",
    "making the staging table": ".create table",
    "its expiry": f".alter table {STAGING}",
    "its batching": f".alter-merge table {STAGING}",
    "its mapping": f".create-or-alter table {STAGING}",
    "counting the rows to replace": f"{ALLOCATION.name} | where BatchId == ",
    "asking what would change": f".update table {ALLOCATION.name} delete D move {STAGING}",
}


@fault(
    "Kusto refuses a step of `--replace`",
    "failed",
    exit_code=5,
    says="Kusto at … refused the …: Principal 'aadapp=a;b' is not authorized to do this.",
)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_fails(changed: World, step: str, ending: Ending) -> None:
    """When any step is refused, nothing has changed in the table, the batch has failed, and a later run replaces.

    No note says that rows were replaced.
    """
    changed.kusto.fault = lambda request: REFUSED if request.csl.startswith(STEPS[step]) else None
    report = changed.sync(replace=True, timeout=2)
    ending.failed(changed, report, ROWS)
    assert not [note for note in result_of(report).notes if "replaces" in note]
    changed.kusto.fault = None
    assert not changed.staging
    assert result_of(changed.sync(replace=True)).outcome == "landed"
    assert (changed.count(), changed.staging) == (ROWS - 1, [])


@fault(
    "The rows that `--replace` staged cannot be counted",
    "timed out",
    exit_code=6,
    says="not landed within … s of the last landing, and the reason cannot be read: Kusto at … refused the query …",
)
def test_staged_rows_cannot_be_counted(changed: World, ending: Ending) -> None:
    """Rows that were not counted replace nothing, and no staging table is left."""
    changed.kusto.fault = lambda request: REFUSED if request.csl.startswith(STAGING) else None
    ending.failed(changed, changed.sync(replace=True, timeout=1), ROWS)
    assert not changed.staging


@fault("The reply to the change is lost", "landed", says="replaces 8 rows and … in cost")
def test_the_reply_to_the_change_is_lost(changed: World, ending: Ending) -> None:
    """What counts is what the table holds: a change that was made is landed, whatever the reply."""

    def lose(request: Request) -> Reply | None:
        if "whatif=false" in request.csl:
            changed.kusto.fault = None
            changed.kusto.respond(request)
            return REFUSED
        return None

    changed.kusto.fault = lose
    ending.result_of(changed.sync(replace=True))
    changed.settle(ROWS - 1)


@fault("A staging table cannot be dropped", "landed", says="could not be dropped; it expires, or delete it by hand: …")
def test_a_staging_table_that_cannot_be_dropped_is_named(changed: World, ending: Ending) -> None:
    """The batch has landed, and a note names the table that is left, which expires."""
    changed.kusto.fault = lambda request: REFUSED if request.csl.startswith(".drop table") else None
    one = ending.result_of(changed.sync(replace=True))
    (left,) = changed.staging
    assert f"{left} could not be dropped" in one.notes[-1]
    policy = changed.kusto.engine.tables[left].policies["auto_delete"]
    assert policy["DeleteIfNotEmpty"]
    assert datetime.fromisoformat(policy["ExpiryDate"]) > datetime.now(UTC) + timedelta(days=1)


class Stopped(BaseException):
    """The process ends here, as at a signal."""


class Killed(Kusto):
    """Our client of a run that ends when it is about to send a text that begins so.

    What it sends after that is lost where the process was killed, and arrives where it was terminated.
    """

    def __init__(self, world: World, opens: str, *, arrives: bool) -> None:
        super().__init__(world.kusto.url, "OpenCost", auth="none")
        self._opens = opens
        self._arrives = arrives
        self.dead = False

    def query(self, text: str, *, fresh: bool = False) -> list[dict[str, Any]]:
        """Send a query, or end."""
        self._ends(text)
        return super().query(text, fresh=fresh)

    def command(self, text: str, *, retry: bool = True, creates: bool = False) -> list[dict[str, Any]]:
        """Send a command, or end."""
        self._ends(text)
        return super().command(text, retry=retry, creates=creates)

    def _ends(self, text: str) -> None:
        if (self.dead and not self._arrives) or (not self.dead and text.startswith(self._opens)):
            self.dead = True
            raise Stopped


@pytest.mark.parametrize("step", [*STEPS, "after the change"])
@fault("A run with `--replace` is killed at any of its steps; then run again", "landed", "already landed")
def test_a_run_is_killed_at_a_step(changed: World, step: str, ending: Ending) -> None:
    """A run that ends at any step leaves the old rows or the new, never both and never neither."""
    killed = Killed(changed, STEPS.get(step, ".drop table"), arrives=False)
    request = SyncRequest(HOUR, None, ("allocation",), NAMESPACES)
    with OpenCost(changed.opencost.url) as opencost, killed, pytest.raises(Stopped):
        sync(opencost, killed, request, policy=REPLACE)
    rows = changed.count()
    assert rows == (ROWS - 1 if step == "after the change" else ROWS)
    assert len(changed.collected()) == 1
    one = ending.result_of(changed.sync(replace=True))
    assert one.outcome == ("already landed" if rows < ROWS else "landed")
    assert changed.count() == ROWS - 1


@pytest.mark.parametrize("step", STEPS)
@fault("A run with `--replace` is interrupted at any of its steps; then run again", "landed")
def test_a_run_is_interrupted_at_a_step(changed: World, step: str, ending: Ending) -> None:
    """A run that still reaches Kusto drops its staging table on its way out."""
    interrupted = Killed(changed, STEPS[step], arrives=True)
    request = SyncRequest(HOUR, None, ("allocation",), NAMESPACES)
    with OpenCost(changed.opencost.url) as opencost, interrupted, pytest.raises(Stopped):
        sync(opencost, interrupted, request, policy=REPLACE)
    assert interrupted.dead
    assert not changed.staging
    assert changed.count() == ROWS
    ending.result_of(changed.sync(replace=True))
    changed.settle(ROWS - 1)


def test_a_run_that_ends_does_not_wait_for_a_kusto_that_hangs(world: World, tmp_path: Path) -> None:
    """Of several staging tables that cannot be dropped, only the first is waited for, until our deadline."""
    three = Window(HOUR.start, HOUR.start + timedelta(hours=3))
    hours = SyncRequest(three, timedelta(hours=1), ("allocation",), NAMESPACES)
    world.kusto.fault = always(is_upload, storage_refusal())
    with OpenCost(world.opencost.url) as opencost, world.client() as kusto:
        assert sync(opencost, kusto, hours, policy=LoadPolicy(spool=tmp_path)).counts == {"failed": 3}
    world.kusto.fault = lambda request: REFUSED._replace(delay=60) if request.csl.startswith(".drop") else None
    with (
        world.client(Deadlines(query=1)) as kusto,
        IngestionTracker(kusto, LoadPolicy(timeout=10, spool=tmp_path)) as tracker,
    ):
        for sealed in Spool(tmp_path).sealed():
            staged = StagedBatch(sealed.batch(TABLES), 0.0, sealed)
            assert list(tracker.replace(staged, sealed, Holding(7, None))) == []
        assert len(world.staging) == 3
        began = time.monotonic()
    assert len(world.staging) == 3
    assert time.monotonic() - began < 2


def test_what_a_killed_run_left_is_swept_a_day_later(changed: World) -> None:
    """A staging table of yesterday is dropped by the next replacement; one of this moment may be in use, and stays."""
    now = datetime.now(UTC)
    batch = Batch(ALLOCATION, "aks", HOUR, NAMESPACES)
    with changed.client() as kusto:
        old = BatchReplacement(kusto, batch, 7, now=now - timedelta(days=2))
        new = BatchReplacement(kusto, batch, 7, now=now)
        changed.command(*(f".create table {one.staging} (BatchId: string)" for one in (old, new)))
    assert result_of(changed.sync(replace=True)).outcome == "landed"
    assert changed.staging == [new.staging]
