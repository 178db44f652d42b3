"""`--replace`: a newer response replaces all rows that landed, in one transaction, or none."""

from __future__ import annotations

import json

from opencost_kusto.emulator import Reply, Request, json_reply
from opencost_kusto.emulator.kusto.catalog import Extent
from opencost_kusto.kusto.client import Deadlines
from opencost_kusto.schema.tables import ALLOCATION
from tests.faults.damage import copy
from tests.faults.ending import Ending, fault
from tests.faults.test_twice import at_once
from tests.faults.wire import THROTTLED, always, empty, kusto_refusal, many, once, shortened
from tests.support.recordings import recording
from tests.support.world import ROWS, World, check_consistent, result_of

# The first row of the hour's batch.
FIRST = f"RowNumber == 1 and BatchId startswith '{ALLOCATION.name}'"


def test_a_response_that_changed_replaces_the_first(changed: World) -> None:
    """The table holds the new rows and none of the old; the report has both counts, and no staging table is left."""
    (before,) = changed.collected()
    report = changed.sync(replace=True)
    one = result_of(report)
    assert (one.outcome, one.rows, report.exit_code) == ("landed", ROWS - 1, 0)
    assert one.notes[0].startswith("replaces 8 rows and 1.07")
    assert changed.count() == ROWS - 1
    assert len(changed.collected()) == 1
    assert changed.collected() != {before}
    assert not changed.staging
    assert len(changed.log()) == 2


def test_a_response_that_did_not_change_stays(changed: World) -> None:
    """Replacing rows by equal rows does nothing, and says that they already landed."""
    changed.opencost.responder = None
    before = changed.collected()
    report = changed.sync(replace=True)
    assert (result_of(report).outcome, result_of(report).reason, report.exit_code) == ("already landed", None, 0)
    assert changed.collected() == before


def test_a_window_that_never_landed_lands(changed: World) -> None:
    """Where there is nothing to replace, the batch is loaded like any other."""
    changed.command(f".clear table {ALLOCATION.name} data")
    report = changed.sync(replace=True)
    assert (result_of(report).outcome, result_of(report).notes) == ("landed", [])
    assert changed.count() == ROWS - 1


@fault(
    "OpenCost no longer has data for the window that is to be replaced",
    "already landed",
    says="OpenCost has no data for the window any more; the rows that landed are kept",
)
def test_an_empty_response_replaces_nothing(changed: World, ending: Ending) -> None:
    """Rows that landed are not replaced by a response without rows."""
    changed.opencost.responder = empty
    ending.result_of(changed.sync(replace=True))
    changed.settle(ROWS)


@fault("OpenCost is down when a window is to be replaced", "failed", exit_code=3, says="OpenCost responded … with 500")
def test_an_error_replaces_nothing(changed: World, ending: Ending) -> None:
    """A replacement that was requested and could not be made has failed, and the rows stay."""
    changed.opencost.responder = lambda path, _: json_reply(b"", status=500) if path == "/allocation" else None
    ending.failed(changed, changed.sync(replace=True), ROWS)


@fault(
    "The rows to be replaced share extents with rows of other batches", "landed", says="replaces 8 rows and … in cost"
)
def test_rows_of_other_batches_in_the_same_extent_stay(changed: World, ending: Ending) -> None:
    """Neighbours of the batch keep their rows, their ingestion time and the extent's tags."""
    others = f"{ALLOCATION.name} | where BatchId startswith 'other' | extend At = ingestion_time()"
    for batch in ("other/1", "other/2"):
        changed.command(copy(FIRST, BatchId=f'"{batch}"'))
    changed.kusto.engine.merge(changed.kusto.engine.table(ALLOCATION.name), list(extents(changed)))
    before, (tags,) = changed.query(others), [one.tags for one in extents(changed).values()]
    ending.result_of(changed.sync(replace=True))
    assert changed.query(others) == before
    assert len(before) == 2
    assert tags in [one.tags for one in extents(changed).values()]
    changed.settle(ROWS - 1 + 2)


def extents(world: World) -> dict[str, Extent]:
    """The extents of the table, by id."""
    return world.kusto.engine.tables[ALLOCATION.name].extents


@fault("Kusto merges the rows to be replaced during the replacement", "landed", says="replaces 8 rows and … in cost")
def test_extents_that_are_merged_under_way(changed: World, ending: Ending) -> None:
    """A replacement names rows and no extents, so a merge at any moment does it no harm."""
    changed.command(copy(FIRST, BatchId='"other"'))

    def merge(request: Request) -> None:
        if request.csl.startswith(".update table"):
            changed.kusto.engine.merge(changed.kusto.engine.table(ALLOCATION.name), list(extents(changed)))

    changed.kusto.fault = merge
    ending.result_of(changed.sync(replace=True))
    changed.settle(ROWS - 1 + 1)


@fault("The cluster does not support `.update table … move`", "landed", says="replaces 8 rows and … in cost")
def test_a_cluster_that_cannot_move(changed: World, ending: Ending) -> None:
    """Where extents cannot be moved, the staged rows are appended, in one transaction as well."""
    unknown = kusto_refusal(400, "Syntax error: unexpected 'move'.", permanent=True)
    changed.kusto.fault = always(lambda request: " delete D move " in request.csl, unknown)
    ending.result_of(changed.sync(replace=True))
    assert changed.query(f"{ALLOCATION.name} | distinct BatchRows | where isnotnull(BatchRows)") == [
        {"BatchRows": ROWS - 1}
    ]
    changed.settle(ROWS - 1)
    assert result_of(changed.sync()).outcome == "already landed"


@fault(
    "Kusto would delete other rows than were counted",
    "failed",
    exit_code=5,
    says="OpenCostAllocation held 8 rows of … and now 9: another run is replacing them, so this one changed nothing. "
    "Run again.",
)
def test_rows_added_between_count_and_change(changed: World, ending: Ending) -> None:
    """What would be deleted is counted first, and nothing is changed where it differs from what is deleted."""

    def add(request: Request) -> None:
        if request.csl.startswith(".update table"):
            changed.kusto.fault = None
            changed.command(copy(FIRST))

    changed.kusto.fault = add
    ending.result_of(changed.sync(replace=True))
    assert changed.count() == ROWS + 1
    assert not changed.staging
    assert result_of(changed.sync(replace=True)).outcome == "landed"
    changed.settle(ROWS - 1)


@fault(
    "Kusto is throttling the change of a replacement, once",
    "failed",
    exit_code=5,
    says="Kusto at … throttled the command .update table …",
)
def test_a_busy_kusto_is_not_sent_a_command_twice(changed: World, ending: Ending) -> None:
    """A command that must not run twice is sent once: the rows stay, and the next run replaces them."""
    changed.kusto.fault = once(lambda request: "whatif=false" in request.csl, THROTTLED)
    ending.failed(changed, changed.sync(replace=True, deadlines=Deadlines()), ROWS)
    assert not changed.staging
    assert result_of(changed.sync(replace=True)).outcome == "landed"
    changed.settle(ROWS - 1)


@fault("Two syncs with `--replace` replace one window at the same moment", "landed", "failed", exit_code=5)
def test_two_replacements_at_the_same_moment(changed: World, ending: Ending) -> None:
    """Whichever is first, the table holds one response once, and no run reports anything else."""
    changed.kusto.latency = 0.3
    for report in at_once(changed, replace=True):
        check_consistent(report)
        ending.among({result_of(report).outcome})
        assert report.exit_code in (0, ending.declared.exit_code)
    assert len(changed.collected()) == 1
    assert not changed.staging
    changed.settle(ROWS - 1)
    ending.seen.add("exit code")


@fault(
    "Another `--replace` overtakes this one with another response, between its change and its count",
    "failed",
    exit_code=5,
    says="OpenCostAllocation does not hold … after it was replaced. Run again.",
)
def test_a_replacement_is_overtaken(changed: World, ending: Ending) -> None:
    """The table ends with all of one response and nothing of the other, and the run that was overtaken fails."""
    one_row_more = json.loads(recording("1.112", "allocation_hour_agg_namespace.json"))
    one_row_more["data"][0]["zz"] = one_row_more["data"][0]["shop"] | {"name": "zz"}
    responses = [json_reply(json.dumps(one_row_more).encode()), shortened("/allocation", {})]
    changed.opencost.responder = lambda path, _: responses.pop() if path == "/allocation" else None

    def overtake(request: Request) -> Reply | None:
        if "whatif=false" not in request.csl:
            return None
        changed.kusto.fault = None
        reply = changed.kusto.respond(request)
        assert result_of(changed.sync(replace=True)).outcome == "landed"
        return reply

    changed.kusto.fault = overtake
    ending.result_of(changed.sync(replace=True, deadlines=Deadlines()))
    changed.settle(ROWS + 1)
    assert len(changed.collected()) == 1
    assert not changed.staging


@fault(
    "`--replace` with the response of another cluster of the same name",
    "failed",
    exit_code=5,
    says="OpenCost's response for … has hardly any row in common with the one that landed: it may be another cluster "
    "of the same name. Nothing was replaced. Choose another --cluster, or use --adopt.",
)
def test_another_cluster_replaces_nothing(changed: World, ending: Ending) -> None:
    """Rows that share hardly any key with the response replace nothing, unless the user adopts the cluster."""
    other = json_reply(many(0.5, ROWS))
    changed.opencost.responder = lambda path, _: other if path == "/allocation" else None
    ending.failed(changed, changed.sync(replace=True), ROWS)
    plain = result_of(changed.sync())
    assert (plain.outcome, plain.reason_code) == ("already landed", "other cluster")
    assert "may be another cluster of the same name" in plain.notes[-1]
    assert result_of(changed.sync(replace=True, adopt=True)).outcome == "landed"
    changed.settle(ROWS)


def test_replacing_needs_a_run_that_waits(changed: World) -> None:
    """Without a wait nothing is replaced, and no staging table is made."""
    report = changed.sync(replace=True, wait=False)
    assert (result_of(report).outcome, report.exit_code) == ("failed", 2)
    assert "run without --no-wait" in (result_of(report).reason or "")
    assert not changed.staging
    changed.settle(ROWS)
