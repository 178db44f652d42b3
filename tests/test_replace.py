"""`--replace`: a batch takes the place of what its table holds of it, whole and in one transaction, or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opencost_kusto.batch import Batch
from opencost_kusto.emulator import Fault, Reply, Request, json_reply
from opencost_kusto.errors import UsageError
from opencost_kusto.extract import OpenCost
from opencost_kusto.kusto import Deadlines, Kusto
from opencost_kusto.question import Question
from opencost_kusto.replace import Replacement, swap_command
from opencost_kusto.spool import ROWS_PER_PART
from opencost_kusto.sync import sync
from opencost_kusto.tables import ALLOCATION, SYNC_RUNS
from tests.recordings import recording
from tests.test_faults import HOUR, NAMESPACES, ROWS, THROTTLED, Lane, honest, kusto_refusal, of, storage_refusal

STAGING = "OpenCostReplacement"
REFUSED = kusto_refusal(400, "Principal is not authorized.", permanent=True)


@pytest.fixture
def lane() -> Iterator[Lane]:
    """Both stand-ins with our tables; OpenCost has changed its answer since the hour landed: one namespace less."""
    with Lane() as lane:
        lane.create()
        assert of(lane.sync()).outcome == "landed"
        lane.opencost.answers = shortened
        yield lane


def shortened(path: str, _: Any) -> Reply | None:
    """Derived from the recorded hour: one namespace less."""
    if path != "/allocation":
        return None
    answer = json.loads(recording("1.112", "allocation_hour_agg_namespace.json"))
    answer["data"][0].popitem()
    return json_reply(json.dumps(answer, separators=(",", ":")).encode())


def staging(lane: Lane) -> list[str]:
    """The staging tables there are."""
    return [name for name in lane.kusto.engine.tables if name.startswith(STAGING)]


def runs(lane: Lane) -> set[datetime]:
    """The runs whose rows the table holds: those of one, or two answers are mixed."""
    with lane.client(Deadlines()) as kusto:
        return {row["CollectionTime"] for row in kusto.query(f"{ALLOCATION.name} | distinct CollectionTime")}


def test_an_answer_that_changed_takes_the_place_of_the_first(lane: Lane) -> None:
    """The table holds the new rows and none of the old; the report says what went, and no staging table is left."""
    (before,) = runs(lane)
    report = lane.sync(replace=True)
    honest(report)
    one = of(report)
    assert (one.outcome, one.rows, report.exit_code) == ("landed", ROWS - 1, 0)
    assert one.notes[0].startswith("takes the place of 8 rows and 1.07")
    assert lane.count() == ROWS - 1
    assert len(runs(lane)) == 1
    assert runs(lane) != {before}
    assert not staging(lane)
    assert lane.count(SYNC_RUNS.name) == 2


def test_an_answer_that_did_not_change_stays(lane: Lane) -> None:
    """Replacing rows by the same rows does nothing, and says that they are there."""
    lane.opencost.answers = None
    before = runs(lane)
    report = lane.sync(replace=True)
    assert (of(report).outcome, of(report).reason, report.exit_code) == ("already there", None, 0)
    assert runs(lane) == before


def test_a_window_that_never_landed_lands(lane: Lane) -> None:
    """Where there is nothing to replace, the batch is loaded like any other."""
    with lane.client() as kusto:
        kusto.command(f".clear table {ALLOCATION.name} data")
    report = lane.sync(replace=True)
    assert (of(report).outcome, of(report).notes) == ("landed", [])
    assert lane.count() == ROWS - 1


def test_nothing_takes_the_place_of_rows_when_opencost_has_forgotten(lane: Lane) -> None:
    """Rows are not replaced by an empty answer: OpenCost forgets, and Kusto must not."""
    lane.opencost.answers = lambda path, _: json_reply(b'{"code":200,"data":[{}]}') if path == "/allocation" else None
    report = lane.sync(replace=True)
    assert of(report).outcome == "already there"
    assert "the rows that landed stay" in (of(report).reason or "")
    assert lane.count() == ROWS


def test_an_answer_that_cannot_be_had_replaces_nothing(lane: Lane) -> None:
    """A replacement that was asked for and could not be made has failed, and the rows stay."""
    lane.opencost.answers = lambda path, _: json_reply(b"", status=500) if path == "/allocation" else None
    report = lane.sync(replace=True)
    honest(report)
    assert (of(report).outcome, report.exit_code, lane.count()) == ("failed", 3, ROWS)


def test_rows_that_landed_twice_are_there_once_again(lane: Lane) -> None:
    """Duplicates that somebody made are replaced by the answer."""
    lane.opencost.answers = None
    with lane.client() as kusto:
        kusto.command(f".set-or-append {ALLOCATION.name} <| {ALLOCATION.name}")
    assert lane.count() == 2 * ROWS
    assert "sync --replace" in (of(lane.sync()).reason or "")
    assert of(lane.sync(replace=True)).outcome == "landed"
    assert lane.count() == ROWS


def merged(lane: Lane) -> None:
    """Put all rows of the table, with two neighbours of another batch and of none, into one tagged extent."""
    with lane.client() as kusto:
        for batch in ("OpenCostAllocation/other", ""):
            kusto.command(
                f'.set-or-append {ALLOCATION.name} <| {ALLOCATION.name} | take 1 | extend BatchId = "{batch}"'
            )
        tags = '["ingest-by:OpenCostAllocation/other/p0of1"]'
        kusto.command(f".create table Merged based-on {ALLOCATION.name}")
        kusto.command(f".set-or-append Merged with (tags='{tags}') <| {ALLOCATION.name}")
        old = f"{ALLOCATION.name} | summarize count() by ExtentId = tostring(extent_id())"
        new = 'Merged | summarize count() by ExtentId = tostring(extent_id()), TableName = "Merged"'
        kusto.command(f".replace extents in table {ALLOCATION.name} <| {{ {old} }}, {{ {new} }}")
        kusto.command(".drop table Merged")
    assert len(lane.kusto.engine.tables[ALLOCATION.name].extents) == 1


def test_rows_of_other_batches_in_the_same_extent_stay(lane: Lane) -> None:
    """Kusto merges extents: neighbours of the batch keep their rows and their tags."""
    merged(lane)
    one = of(lane.sync(replace=True))
    assert one.outcome == "landed", one.reason
    assert lane.count() == ROWS - 1 + 2
    with lane.client() as kusto:
        by_batch = kusto.query(f"{ALLOCATION.name} | summarize Rows = count() by BatchId = coalesce(BatchId, '')")
    assert sorted(row["Rows"] for row in by_batch) == [1, 1, ROWS - 1]
    tags = {tag for extent in lane.kusto.engine.tables[ALLOCATION.name].extents.values() for tag in extent.tags}
    assert "ingest-by:OpenCostAllocation/other/p0of1" in tags


def test_extents_that_are_merged_under_way(lane: Lane) -> None:
    """A swap whose extents Kusto merged in the meantime is begun anew, and lands."""
    once = [True]

    def fault(request: Request) -> None:
        if request.csl.startswith(".replace extents") and once.pop() if once else False:
            lane.kusto.fault = None
            merged(lane)

    lane.kusto.fault = fault
    assert of(lane.sync(replace=True)).outcome == "landed"
    assert not once
    assert lane.count() == ROWS - 1 + 2


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


@pytest.mark.parametrize("step", STEPS)
def test_a_step_fails(lane: Lane, step: str) -> None:
    """When any step is refused, nothing has changed in the table, the batch has failed, and a later run replaces."""
    lane.kusto.fault = lambda request: REFUSED if request.csl.startswith(STEPS[step]) else None
    report = lane.sync(replace=True, timeout=2)
    honest(report)
    assert of(report).outcome in ("failed", "timed out")
    assert "not authorized" in (of(report).reason or "")
    assert report.exit_code in (5, 6)
    assert lane.count() == ROWS
    lane.kusto.fault = None
    assert not staging(lane)
    assert of(lane.sync(replace=True)).outcome == "landed"
    assert (lane.count(), staging(lane)) == (ROWS - 1, [])


def test_the_reply_to_the_swap_is_lost(lane: Lane) -> None:
    """What counts is what the table holds: a swap that was done is landed, whatever came back."""

    def fault(request: Request) -> Reply | None:
        if request.csl.startswith(".replace extents"):
            lane.kusto.fault = None
            lane.kusto.respond(request)
            return REFUSED
        return None

    lane.kusto.fault = fault
    report = lane.sync(replace=True)
    assert (of(report).outcome, report.exit_code, lane.count()) == ("landed", 0, ROWS - 1)


def test_a_staging_table_that_cannot_be_dropped_is_named(lane: Lane) -> None:
    """The batch has landed, and a note says what was left; Kusto ends it by itself."""
    lane.kusto.fault = lambda request: REFUSED if request.csl.startswith(".drop table") else None
    report = lane.sync(replace=True)
    lane.kusto.fault = None
    (left,) = staging(lane)
    assert of(report).outcome == "landed"
    assert f"{left} could not be dropped" in of(report).notes[-1]
    policy = lane.kusto.engine.tables[left].policies["auto_delete"]
    assert policy["DeleteIfNotEmpty"]
    assert datetime.fromisoformat(policy["ExpiryDate"]) > datetime.now(UTC) + timedelta(days=1)


class Stopped(BaseException):
    """The process ends here, as at a signal."""


@pytest.mark.parametrize("step", [*STEPS, "after the swap"])
def test_a_run_is_killed_at_a_step(lane: Lane, step: str) -> None:
    """A run that ends at any step leaves the old rows or the new, never both and never neither."""
    opens = STEPS.get(step, ".drop table")
    killed = Killed(lane, opens)
    question = Question(HOUR, None, ("allocation",), NAMESPACES)
    with OpenCost(lane.opencost.url) as opencost, killed, pytest.raises(Stopped):
        sync(opencost, killed, question, replace=True)
    rows = lane.count()
    assert rows == (ROWS - 1 if step == "after the swap" else ROWS)
    assert len(runs(lane)) == 1
    assert of(lane.sync(replace=True)).outcome == ("already there" if rows < ROWS else "landed")
    assert lane.count() == ROWS - 1


class Killed(Kusto):
    """Our client of a run that ends when it is about to send a text that begins so, and sends nothing after."""

    def __init__(self, lane: Lane, opens: str) -> None:
        super().__init__(lane.kusto.url, "OpenCost", auth="none")
        self._opens = opens
        self._dead = False

    def _ask(self, kind: str, text: str) -> list[dict[str, Any]]:
        self._dead = self._dead or text.startswith(self._opens)
        if self._dead:
            raise Stopped
        return super()._ask(kind, text)


def test_what_a_killed_run_left_is_swept_a_day_later(lane: Lane) -> None:
    """A staging table of yesterday is dropped by the next replacement; one of this moment may be in use, and stays."""
    now = datetime.now(UTC)
    batch = Batch(ALLOCATION, "aks", HOUR, NAMESPACES)
    with lane.client() as kusto:
        old, new = Replacement(kusto, batch, 7, now - timedelta(days=2)), Replacement(kusto, batch, 7, now)
        for one in (old, new):
            for command in one.commands():
                kusto.command(command)
    assert of(lane.sync(replace=True)).outcome == "landed"
    assert staging(lane) == [new.staging]


def test_a_busy_kusto_is_asked_again(lane: Lane) -> None:
    """A swap that was throttled once is asked for again."""
    times = [True]
    lane.kusto.fault = lambda request: (
        THROTTLED if request.csl.startswith(".replace") and times and times.pop() else None
    )
    assert of(lane.sync(replace=True, deadlines=Deadlines())).outcome == "landed"
    assert lane.count() == ROWS - 1


@pytest.mark.parametrize(
    ("uri", "more", "said"),
    [
        ("https://trd-x.z9.kusto.fabric.microsoft.com", {}, "is a Fabric Eventhouse, which cannot replace extents"),
        ("http://127.0.0.1:9", {"wait": False}, "cannot go with --no-wait"),
    ],
    ids=["Fabric", "nobody waits"],
)
def test_replacing_is_refused_where_it_cannot_be_proven(lane: Lane, uri: str, more: Any, said: str) -> None:
    """Where extents cannot be replaced, or nobody waits, --replace is refused before anything is asked."""
    asked = len(lane.opencost.requests)
    with (
        OpenCost(lane.opencost.url) as opencost,
        Kusto(uri, "OpenCost", auth="none" if uri.startswith("http:") else "cli") as kusto,
        pytest.raises(UsageError, match=said),
    ):
        sync(opencost, kusto, Question(HOUR), replace=True, **more)
    assert len(lane.opencost.requests) == asked


def test_extents_are_named_one_by_one() -> None:
    """The swap names what it drops and what it brings, so that one that is gone makes it fail."""
    assert swap_command(ALLOCATION, ["a"], ["b", "c"], "S") == (
        ".replace extents in table OpenCostAllocation <|"
        ' { datatable(ExtentId:guid, TableName:string)[guid(a), "OpenCostAllocation"] },'
        ' { datatable(ExtentId:guid, TableName:string)[guid(b), "S", guid(c), "S"] }'
    )


def many(cost: float) -> bytes:
    """Made up after the recorded shape, since no recording is so long: an answer that is cut into two parts."""
    rows = (f'"n{number:06}":{{"name":"n{number:06}","totalCost":{cost}}}' for number in range(ROWS_PER_PART + 10))
    return f'{{"code":200,"data":[{{{",".join(rows)}}}]}}'.encode()


def second_upload_fails() -> Fault:
    """Storage takes the first blob and refuses the others."""
    taken = [False]

    def fault(request: Request) -> Reply | None:
        if request.method != "PUT":
            return None
        first, taken[0] = not taken[0], True
        return None if first else storage_refusal()

    return fault


def test_a_batch_that_landed_in_part_is_completed_by_replacement(lane: Lane) -> None:
    """Half of one answer is there and another comes: the table ends with all of the new and nothing of the old."""
    with lane.client() as kusto:
        kusto.command(f".clear table {ALLOCATION.name} data")
    lane.opencost.answers = lambda path, _: json_reply(many(0.5)) if path == "/allocation" else None
    lane.kusto.fault = second_upload_fails()
    assert of(lane.sync()).outcome == "failed"
    lane.settle(ROWS_PER_PART)
    lane.opencost.answers = lambda path, _: json_reply(many(0.25)) if path == "/allocation" else None
    report = lane.sync(timeout=60, deadlines=Deadlines())
    honest(report)
    assert of(report).outcome == "landed", of(report).reason
    assert of(report).notes[0].startswith(f"takes the place of {ROWS_PER_PART} rows")
    lane.settle(ROWS_PER_PART + 10)
    assert len(runs(lane)) == 1
    # What a run has seen whole is not taken for a half, however short it is against another answer.
    longer = many(0.25).replace(b"}]}", b',"z":{"name":"z","totalCost":1}}]}')
    lane.opencost.answers = lambda path, _: json_reply(longer) if path == "/allocation" else None
    one = of(lane.sync(deadlines=Deadlines()))
    assert one.outcome == "already there"
    assert "changed since: +1 rows and +1.000000 in cost. sync --replace" in (one.reason or "")
