"""`--replace`: a batch takes the place of what its table holds of it, whole and in one transaction, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from opencost_kusto.emulator import Reply, Request, json_reply
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.load.replace import swap_command
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.schema.tables import ALLOCATION, SYNC_RUNS
from tests.faults.ending import Ending, fault
from tests.faults.lane import HOUR, ROWS, Lane, of
from tests.faults.test_twice import at_once
from tests.faults.wire import THROTTLED, once, shortened


def test_an_answer_that_changed_takes_the_place_of_the_first(changed: Lane) -> None:
    """The table holds the new rows and none of the old; the report says what went, and no staging table is left."""
    (before,) = changed.runs()
    report = changed.sync(replace=True)
    one = of(report)
    assert (one.outcome, one.rows, report.exit_code) == ("landed", ROWS - 1, 0)
    assert one.notes[0].startswith("takes the place of 8 rows and 1.07")
    assert changed.count() == ROWS - 1
    assert len(changed.runs()) == 1
    assert changed.runs() != {before}
    assert not changed.staging
    assert changed.count(SYNC_RUNS.name) == 2


def test_an_answer_that_did_not_change_stays(changed: Lane) -> None:
    """Replacing rows by the same rows does nothing, and says that they are there."""
    changed.opencost.answers = None
    before = changed.runs()
    report = changed.sync(replace=True)
    assert (of(report).outcome, of(report).reason, report.exit_code) == ("already landed", None, 0)
    assert changed.runs() == before


def test_a_window_that_never_landed_lands(changed: Lane) -> None:
    """Where there is nothing to replace, the batch is loaded like any other."""
    changed.command(f".clear table {ALLOCATION.name} data")
    report = changed.sync(replace=True)
    assert (of(report).outcome, of(report).notes) == ("landed", [])
    assert changed.count() == ROWS - 1


@fault(
    "OpenCost has forgotten the window that is to be replaced",
    "already landed",
    says="OpenCost has no data for the window any more; the rows that landed stay",
)
def test_nothing_takes_the_place_of_rows_when_opencost_has_forgotten(changed: Lane, ending: Ending) -> None:
    """Rows are not replaced by an empty answer: OpenCost forgets, and Kusto must not."""
    forgotten = json_reply(b'{"code":200,"data":[{}]}')
    changed.opencost.answers = lambda path, _: forgotten if path == "/allocation" else None
    ending.of(changed.sync(replace=True))
    changed.settle(ROWS)


@fault(
    "OpenCost is down when a window is to be replaced", "failed", exit_code=3, says="OpenCost responded to … with 500"
)
def test_an_answer_that_cannot_be_had_replaces_nothing(changed: Lane, ending: Ending) -> None:
    """A replacement that was asked for and could not be made has failed, and the rows stay."""
    changed.opencost.answers = lambda path, _: json_reply(b"", status=500) if path == "/allocation" else None
    ending.failed(changed, changed.sync(replace=True), ROWS)


@fault("Rows are there twice, and `--replace` is asked for", "landed", says="takes the place of 16 rows and … in cost")
def test_rows_that_landed_twice_are_there_once_again(changed: Lane, ending: Ending) -> None:
    """Duplicates that somebody made are replaced by the answer."""
    changed.opencost.answers = None
    changed.command(f".set-or-append {ALLOCATION.name} <| {ALLOCATION.name}")
    assert changed.count() == 2 * ROWS
    assert "sync --replace" in (of(changed.sync()).reason or "")
    ending.landed(changed, changed.sync(replace=True))


def merge(lane: Lane) -> None:
    """Put all rows of the table, with two neighbours of another batch and of none, into one tagged extent."""
    for batch in ("OpenCostAllocation/other", ""):
        lane.command(f'.set-or-append {ALLOCATION.name} <| {ALLOCATION.name} | take 1 | extend BatchId = "{batch}"')
    (old_extent,) = (one for one in lane.kusto.engine.tables[ALLOCATION.name].extents.values() if one.tags)
    tags = json.dumps(["ingest-by:OpenCostAllocation/other/p0of1", *old_extent.tags])
    extents = 'summarize count() by ExtentId = tostring(extent_id()), TableName = "'
    old, new = f'{ALLOCATION.name} | {extents}{ALLOCATION.name}"', f'Merged | {extents}Merged"'
    lane.command(
        f".create table Merged based-on {ALLOCATION.name}",
        f".set-or-append Merged with (tags='{tags}') <| {ALLOCATION.name}",
        f".replace extents in table {ALLOCATION.name} <| {{ {old} }}, {{ {new} }}",
        ".drop table Merged",
    )
    assert len(lane.kusto.engine.tables[ALLOCATION.name].extents) == 1


def neighbours_stay(lane: Lane) -> None:
    """The two neighbours and their tag are there beside the new rows."""
    by_batch = lane.query(f"{ALLOCATION.name} | summarize Rows = count() by BatchId = coalesce(BatchId, '')")
    assert sorted(row["Rows"] for row in by_batch) == [1, 1, ROWS - 1]
    tags = [tag for extent in lane.kusto.engine.tables[ALLOCATION.name].extents.values() for tag in extent.tags]
    # The batch's own tag came with its new rows, and is not kept with those of others.
    assert sorted(tag.rpartition("/")[0].count("/") for tag in tags) == [1, 3], tags
    assert "ingest-by:OpenCostAllocation/other/p0of1" in tags


@fault("Kusto has merged the rows to be replaced with others", "landed", says="takes the place of 8 rows and … in cost")
def test_rows_of_other_batches_in_the_same_extent_stay(changed: Lane, ending: Ending) -> None:
    """Neighbours of the batch keep their rows and their tags."""
    merge(changed)
    ending.of(changed.sync(replace=True))
    neighbours_stay(changed)


@fault(
    "Kusto copies fewer rows of other batches out of the way than there are",
    "failed",
    exit_code=5,
    says="1 of 2 rows of other batches were copied out of the way of …, so nothing was replaced. Run again.",
)
def test_neighbours_that_would_be_lost(changed: Lane, ending: Ending) -> None:
    """Rows of other batches are counted before anything is dropped."""
    merge(changed)

    def one_less(request: Request) -> Reply | None:
        if not request.csl.startswith(".set-or-append OpenCostReplacement"):
            return None
        shorter = json.loads(request.body)
        shorter["csl"] += " | take 1"
        return changed.kusto.respond(replace(request, body=json.dumps(shorter).encode()))

    changed.kusto.fault = one_less
    ending.of(changed.sync(replace=True))
    changed.settle(ROWS + 2)
    assert not changed.staging


@fault(
    "Kusto merges the rows to be replaced while they are swapped",
    "landed",
    says="takes the place of 8 rows and … in cost",
)
def test_extents_that_are_merged_under_way(changed: Lane, ending: Ending) -> None:
    """A swap whose extents Kusto merged in the meantime is begun anew, and lands."""

    def merge_once(request: Request) -> None:
        if request.csl.startswith(".replace extents"):
            changed.kusto.fault = None
            merge(changed)

    changed.kusto.fault = merge_once
    ending.of(changed.sync(replace=True))
    assert changed.kusto.fault is None
    neighbours_stay(changed)


@fault("Kusto is throttling the swap, once", "landed", says="takes the place of 8 rows and … in cost")
def test_a_busy_kusto_is_asked_again(changed: Lane, ending: Ending) -> None:
    """A swap that was throttled once is asked for again."""
    changed.kusto.fault = once(lambda request: request.csl.startswith(".replace"), THROTTLED)
    ending.of(changed.sync(replace=True, deadlines=Deadlines()))
    changed.settle(ROWS - 1)


@fault(
    "Two syncs with `--replace` replace one window at the same moment",
    "landed",
    says="takes the place of 8 rows and … in cost",
)
def test_two_replacements_at_the_same_moment(changed: Lane, ending: Ending) -> None:
    """Both swap one after the other, and the table ends with one answer, once."""
    changed.kusto.latency = 0.3
    for report in at_once(changed, replace=True):
        ending.of(report)
    changed.settle(ROWS - 1)
    assert len(changed.runs()) == 1
    assert not changed.staging


@fault(
    "Another `--replace` overtakes this one with another answer, between its swap and its count",
    "failed",
    exit_code=5,
    says="OpenCostAllocation does not hold what took its place; run with --replace again.",
)
def test_a_replacement_is_overtaken(changed: Lane, ending: Ending) -> None:
    """The table ends with all of one answer and nothing of the other, and who was overtaken says so."""
    answers = [json_reply(b'{"code":200,"data":[{"a":{"name":"a","totalCost":1}}]}'), shortened("/allocation", {})]
    changed.opencost.answers = lambda path, _: answers.pop() if path == "/allocation" else None

    def overtake(request: Request) -> Reply | None:
        if not request.csl.startswith(".replace extents"):
            return None
        changed.kusto.fault = None
        swapped = changed.kusto.respond(request)
        assert of(changed.sync(replace=True)).outcome == "landed"
        return swapped

    changed.kusto.fault = overtake
    ending.of(changed.sync(replace=True, deadlines=Deadlines()))
    changed.settle(1)
    assert not changed.staging


@pytest.mark.parametrize(
    ("uri", "more", "said"),
    [
        ("https://trd-x.z9.kusto.fabric.microsoft.com", {}, "is a Fabric Eventhouse, which cannot replace extents"),
        ("http://127.0.0.1:9", {"wait": False}, "cannot go with --no-wait"),
    ],
    ids=["Fabric", "nobody waits"],
)
def test_replacing_is_refused_where_it_cannot_be_proven(changed: Lane, uri: str, more: Any, said: str) -> None:
    """Where extents cannot be replaced, or nobody waits, --replace is refused before anything is asked."""
    asked = len(changed.opencost.requests)
    with (
        OpenCost(changed.opencost.url) as opencost,
        Kusto(uri, "OpenCost", auth="none" if uri.startswith("http:") else "cli") as kusto,
        pytest.raises(UsageError, match=said),
    ):
        sync(opencost, kusto, SyncRequest(HOUR), replace=True, **more)
    assert len(changed.opencost.requests) == asked


def test_extents_are_named_one_by_one() -> None:
    """The swap names what it drops and what it brings, so that one that is gone makes it fail."""
    assert swap_command(ALLOCATION, ["a"], ["b", "c"], "S") == (
        ".replace extents in table OpenCostAllocation <|"
        ' { datatable(ExtentId:guid, TableName:string)[guid(a), "OpenCostAllocation"] },'
        ' { datatable(ExtentId:guid, TableName:string)[guid(b), "S", guid(c), "S"] }'
    )
