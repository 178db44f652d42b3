"""Damage is never called landed, already landed or changed: it is repaired by replacement, or the batch fails."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from opencost_kusto.emulator.kusto.access import EMULATOR
from opencost_kusto.emulator.opencost.server import Responder
from opencost_kusto.errors import ReasonCode
from opencost_kusto.kusto.client import Deadlines
from opencost_kusto.pipeline.replay import replay
from opencost_kusto.schema.tables import ALLOCATION
from tests.faults.damage import DAMAGE, change, copy, delete
from tests.faults.ending import Ending, fault
from tests.faults.wire import REFUSED, always, doubling, down, empty, is_message, is_upload, shortened, storage_refusal
from tests.support.world import ROWS, World, result_of

MIXED = DAMAGE["two responses mixed"][0]


@pytest.fixture
def landed(world: World) -> World:
    """The hour has landed."""
    assert result_of(world.sync()).outcome == "landed"
    return world


def logged(world: World) -> list[str]:
    """The outcomes in the run log, oldest first."""
    return [row["Outcome"] for row in world.log()]


@fault("Rows of a batch are missing, doubled, mixed or overwritten", "landed", says="replaces … rows")
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_repaired(landed: World, kind: str, ending: Ending) -> None:
    """A plain sync replaces damage with the response at hand, says what it was, and the next run has nothing to say."""
    commands, message = DAMAGE[kind]
    landed.command(*commands)
    one = ending.result_of(landed.sync())
    assert message in one.notes[0]
    assert one.rows == landed.count() == ROWS
    assert len(landed.collected()) == 1
    assert not landed.staging
    again = result_of(landed.sync())
    assert (again.outcome, again.notes) == ("already landed", [])
    assert logged(landed) == ["landed", "landed", "already landed"]
    landed.settle(ROWS)


@fault(
    "A batch appears damaged because a policy hides rows of it",
    "failed",
    exit_code=5,
    says="a policy hides rows of it (row-level security or restricted view), so nothing was repaired.",
)
@pytest.mark.parametrize(
    "policy",
    [f'row_level_security enable "{ALLOCATION.name} | where RowNumber < 3"', "restricted_view_access true"],
    ids=["row-level security", "restricted view"],
)
def test_what_a_policy_hides_is_only_reported(landed: World, policy: str, ending: Ending) -> None:
    """Rows that cannot be seen are not replaced: the table may hold them all."""
    landed.command(
        f".add database OpenCost unrestrictedviewers ('{EMULATOR}')",
        delete("RowNumber > 2"),
        f".alter table {ALLOCATION.name} policy {policy}",
    )
    ending.result_of(landed.sync())
    assert logged(landed) == ["landed", "failed"]
    landed.settle(2)


@fault(
    "A table has restricted view access, and the identity is no UnrestrictedViewer",
    "failed",
    exit_code=5,
    says="is not authorized to read table 'OpenCostAllocation'. It needs … and for tables with restricted view access: "
    ".add database ['OpenCost'] unrestrictedviewers (…)",
)
def test_a_restricted_view_names_the_role_that_sees_it(landed: World, ending: Ending) -> None:
    """Nothing is sent while the table cannot be read; with the role that the message names, the batch lands."""
    landed.command(f".alter table {ALLOCATION.name} policy restricted_view_access true")
    ending.result_of(landed.sync())
    landed.command(f".add database OpenCost unrestrictedviewers ('{EMULATOR}')")
    assert result_of(landed.sync()).outcome == "already landed"
    landed.settle(ROWS)


@pytest.mark.parametrize(
    ("responder", "code"),
    [
        pytest.param(
            shortened,
            ReasonCode.DAMAGED,
            id="fewer rows",
            marks=fault(
                "A batch is damaged, and OpenCost's response has fewer rows",
                "failed",
                exit_code=5,
                says="holds … and OpenCost's response has fewer rows. To replace them anyway, run sync --replace.",
            ),
        ),
        pytest.param(
            empty,
            ReasonCode.DAMAGED,
            id="no rows",
            marks=fault(
                "A batch is damaged, and OpenCost no longer has data for the window",
                "failed",
                exit_code=5,
                says="holds … and OpenCost has no data for the window any more. If a spool holds the batch, replay it.",
            ),
        ),
        pytest.param(
            down,
            ReasonCode.DAMAGED,
            id="an error",
            marks=fault(
                "A batch is damaged, and OpenCost is down",
                "failed",
                exit_code=5,
                says="holds … and OpenCost could not be read to repair that: …",
            ),
        ),
    ],
)
def test_damage_that_cannot_be_repaired(landed: World, responder: Responder, code: ReasonCode, ending: Ending) -> None:
    """Without enough rows at hand the batch fails in every run, the rows remain, and the run log has the reason."""
    landed.command(*MIXED)
    landed.opencost.responder = responder
    for _ in range(2):
        ending.failed(landed, landed.sync(), ROWS)
    assert result_of(landed.sync()).reason_code == code
    assert logged(landed) == ["landed", "failed", "failed", "failed"]
    # What is there no longer is repaired once OpenCost has it again.
    landed.opencost.responder = None
    assert result_of(landed.sync()).outcome == "landed"
    landed.settle(ROWS)


def test_replace_repairs_with_fewer_rows(landed: World) -> None:
    """`--replace` puts fewer rows in the place of damage."""
    landed.command(*MIXED)
    landed.opencost.responder = shortened
    one = result_of(landed.sync(replace=True))
    assert (one.outcome, one.notes[0][:15]) == ("landed", "replaces 8 rows")
    landed.settle(ROWS - 1)
    assert len(landed.collected()) == 1


def test_rows_missing_are_not_a_shorter_response(landed: World) -> None:
    """A damaged batch with fewer rows left than OpenCost has now is repaired with all that OpenCost has now."""
    landed.command(delete("RowNumber in (1, 2)"))
    landed.opencost.responder = shortened
    assert result_of(landed.sync()).outcome == "landed"
    landed.settle(ROWS - 1)


@fault(
    "Rows are duplicated, and OpenCost no longer has all of them",
    "landed",
    says="8 duplicate rows were removed",
)
@pytest.mark.parametrize("responder", [shortened, empty, down])
def test_doubled_rows_are_deduplicated(landed: World, responder: Responder, ending: Ending) -> None:
    """Where all rows of one response are there, the table itself is enough to keep each once."""
    before = landed.query(f"{ALLOCATION.name} | order by RowNumber asc")
    landed.command(copy())
    landed.opencost.responder = responder
    ending.result_of(landed.sync())
    assert landed.query(f"{ALLOCATION.name} | order by RowNumber asc") == before
    landed.opencost.responder = None
    assert result_of(landed.sync()).outcome == "already landed"
    landed.settle(ROWS)


@pytest.mark.parametrize(
    "commands",
    [
        (copy("RowNumber <= 4"), delete("RowNumber == 5")),
        (copy("RowNumber <= 4"), delete("RowNumber == 8")),
        (copy(CollectionTime="CollectionTime + 1d"),),
        (copy(), change("RowNumber == 2", TotalCost="TotalCost + 1")),
    ],
    ids=["one missing", "the last missing", "two responses", "a cost altered"],
)
def test_incomplete_rows_are_not_deduplicated(landed: World, commands: tuple[str, ...]) -> None:
    """Doubled rows of a batch with others missing, or of two responses, are left unchanged, and the batch fails."""
    landed.command(*commands)
    rows = landed.count()
    landed.opencost.responder = empty
    report = landed.sync()
    assert (result_of(report).outcome, report.exit_code) == ("failed", 5)
    landed.settle(rows)


@fault(
    "A queue delivers a message twice, and both are ingested at the same moment",
    "landed",
    says="replaces 16 rows and … in cost: 16 rows instead of 8: some are missing or duplicated",
)
def test_two_copies_are_ingested_at_the_same_moment(world: World, ending: Ending) -> None:
    """A run that sees its own rows twice replaces them before it says that they landed."""
    world.kusto.fault = doubling(world.kusto)
    ending.landed(world, world.sync(deadlines=Deadlines()))
    assert not world.staging


@fault(
    "A queue delivers every message twice, those of the repair too",
    "failed",
    exit_code=5,
    says="OpenCostReplacement… holds 16 rows instead of 8: some are missing or duplicated, so nothing was replaced. "
    "Run again.",
)
def test_a_repair_is_doubled_itself(world: World, ending: Ending) -> None:
    """Doubled rows are never moved into the table; a run without the fault repairs it."""
    world.kusto.fault = doubling(world.kusto, times=2)
    ending.failed(world, world.sync(deadlines=Deadlines()), 2 * ROWS)
    assert not world.staging
    assert result_of(world.sync()).outcome == "landed"
    world.settle(ROWS)


@fault("The rows of a batch are deleted, and their tag stays", "landed")
@pytest.mark.parametrize("policy", [{}, {"replace": True}], ids=["", "replace"])
def test_deleted_rows_are_loaded_again(landed: World, policy: dict[str, Any], ending: Ending) -> None:
    """A tag without rows blocks nothing: the batch lands at once, under the next tag, and then remains."""
    for number in (2, 3):
        landed.command(delete("RowNumber > 0"))
        landed.kusto.requests.clear()
        ending.landed(landed, landed.sync(timeout=60, **policy))
        # Where the run log says that rows were sent, the tag is looked for before anything is sent again.
        assert len([request for request in landed.kusto.requests if is_message(request)]) == 1
        tags = {tag for extent in landed.kusto.engine.tables[ALLOCATION.name].extents.values() for tag in extent.tags}
        assert any(tag.endswith(f"~{number}") for tag in tags)
    assert result_of(landed.sync()).outcome == "already landed"


@fault("A tag without rows that the run log does not name keeps a batch out", "landed")
def test_a_tag_without_rows_and_without_a_log(landed: World, ending: Ending) -> None:
    """A tag that a killed run left is found while the batch is waited for, which is then sent under another one."""
    landed.command(delete("RowNumber > 0"), ".clear table OpenCostSyncRuns data")
    ending.landed(landed, landed.sync(timeout=60))


def test_deleted_rows_are_not_an_empty_window(landed: World) -> None:
    """A batch that was sent, was deleted and has expired in OpenCost is failed, and never empty."""
    landed.command(delete("RowNumber > 0"))
    landed.opencost.responder = empty
    report = landed.sync()
    assert (result_of(report).outcome, result_of(report).reason_code, report.exit_code) == ("failed", "not landed", 4)


def spooled(world: World, spool: Path) -> Path:
    """A spool that holds the hour, since storage refused it."""
    world.kusto.fault = always(is_upload, storage_refusal())
    assert result_of(world.sync(spool=spool)).outcome == "failed"
    world.kusto.fault = None
    return spool


@fault(
    "A batch is damaged when a spool that holds it is replayed", "landed", says="replaces … rows and … in cost: 8 rows"
)
def test_a_spool_repairs(world: World, tmp_path: Path, ending: Ending) -> None:
    """A response in a spool repairs what OpenCost no longer has."""
    spool = spooled(world, tmp_path / "spool")
    shutil.copytree(spool, tmp_path / "copy")
    assert result_of(world.sync()).outcome == "landed"
    world.command(*MIXED)
    world.opencost.responder = empty
    with world.client(Deadlines()) as kusto:
        ending.result_of(replay(tmp_path / "copy", kusto))
    world.settle(ROWS)
    assert len(world.collected()) == 1
    assert not list((tmp_path / "copy").iterdir())


@fault(
    "A repair is not permitted: the right to create tables is missing",
    "failed",
    exit_code=5,
    says="Kusto at … refused the command .create table …: Principal … is not authorized to do this. It needs …",
)
def test_a_repair_is_refused(landed: World, ending: Ending) -> None:
    """Damage that may not be repaired fails, and stays failed."""
    landed.command(*MIXED)
    landed.kusto.fault = lambda request: REFUSED if request.csl.startswith(".create table") else None
    for _ in range(2):
        ending.failed(landed, landed.sync(), ROWS)
    assert logged(landed) == ["landed", "failed", "failed"]


def test_a_repair_requires_waiting(landed: World) -> None:
    """Without waiting nothing is repaired, and the batch fails with what to do."""
    landed.command(*MIXED)
    report = landed.sync(wait=False)
    assert result_of(report).outcome == "failed"
    assert "run without --no-wait" in (result_of(report).reason or "")
    landed.settle(ROWS)
