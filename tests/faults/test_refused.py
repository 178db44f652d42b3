"""The engine refuses a blob, or its table is not what it should be."""

from __future__ import annotations

import gzip

from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.emulator import Request
from opencost_kusto.kusto.client import Deadlines
from opencost_kusto.schema.kql import create_mapping
from opencost_kusto.schema.tables import ALLOCATION, SYNC_RUNS
from tests.faults.ending import Ending, fault
from tests.faults.lane import ROWS, Lane, of
from tests.faults.wire import is_message, is_upload


@fault(
    "The mapping is missing",
    "failed",
    exit_code=5,
    says="Kusto refused a blob of … for good: Mapping reference … was not found. Mend that and run again.",
)
def test_the_mapping_is_missing(lane: Lane, ending: Ending) -> None:
    """What the engine says of a blob it refused is in the reason."""
    lane.command(f'.drop table {ALLOCATION.name} ingestion json mapping "{ALLOCATION.mapping}"')
    ending.failed(lane, lane.sync(timeout=60))
    lane.settle(0)


@fault(
    "The table lacks a column",
    "failed",
    exit_code=5,
    says="Kusto refused a blob of … for good: Mapping names column …, which the table has not. Mend that and run "
    "again.",
)
def test_a_column_is_missing(lane: Lane, ending: Ending) -> None:
    """A mapping that names a column the table has not refuses the blob as a whole; bootstrap mends the table."""
    columns = ", ".join(f"{one.name}: {one.type}" for one in ALLOCATION.columns if one.name != "PvCost")
    lane.command(
        f".drop table {ALLOCATION.name}",
        f".create-merge table {ALLOCATION.name} ({columns})",
        create_mapping(ALLOCATION),
    )
    ending.failed(lane, lane.sync(timeout=60))
    lane.settle(0)
    with lane.client(Deadlines()) as kusto:
        assert bootstrap(kusto).changed > 0
    assert of(lane.sync()).outcome == "landed"
    lane.settle(ROWS)


@fault(
    "One record of a blob cannot be read (a poisoned record)",
    "failed",
    exit_code=5,
    says="Kusto refused a blob of … for good: The file was refused: record … is malformed JSON… Mend that and "
    "run again.",
)
def test_a_poisoned_record(lane: Lane, ending: Ending) -> None:
    """One line damaged inside the gzip refuses the whole file: no row of it lands, and a later run lands all."""

    def poison(request: Request) -> None:
        if is_message(request):
            lane.kusto.fault = None
            for name, body in lane.storage.blobs.items():
                lines = gzip.decompress(body).splitlines(keepends=True)
                # Derived from what was sent: the end of one record is lost.
                lines[3] = lines[3][: len(lines[3]) // 2] + b"\n"
                lane.storage.blobs[name] = gzip.compress(b"".join(lines))

    lane.kusto.fault = poison
    ending.failed(lane, lane.sync(timeout=60))
    lane.settle(0)
    assert of(lane.sync()).outcome == "landed"
    lane.settle(ROWS)


@fault(
    "The table is dropped while rows are under way",
    "failed",
    exit_code=5,
    says="Kusto at … refused the query OpenCostAllocation … Run opencost-kusto bootstrap, which creates it",
)
def test_the_table_is_dropped_under_way(lane: Lane, ending: Ending) -> None:
    """A table that goes while its rows are in the queue is a batch that Kusto refused."""

    def drop(request: Request) -> None:
        if is_message(request):
            lane.kusto.fault = None
            lane.command(f".drop table {ALLOCATION.name}")

    lane.kusto.fault = drop
    ending.of(lane.sync(timeout=30))


@fault("Rows land, and the line about them in OpenCostSyncRuns does not", "landed", exit_code=7)
def test_the_run_ledger_is_missing(lane: Lane, ending: Ending) -> None:
    """Rows that are there are landed, and the exit code says that not all is well."""
    lane.command(f".drop table {SYNC_RUNS.name}")
    report = lane.sync(timeout=20)
    ending.of(report)
    assert of(report, SYNC_RUNS.name).outcome == "failed"
    lane.settle(ROWS)


@fault(
    "The table is missing",
    "failed",
    exit_code=5,
    says="Kusto at … refused the query OpenCostAllocation … Run opencost-kusto bootstrap, which creates it",
)
def test_the_table_is_missing(lane: Lane, ending: Ending) -> None:
    """A table that was never created is a failed batch that names it, and nothing is uploaded in vain."""
    lane.command(f".drop table {ALLOCATION.name}")
    ending.of(lane.sync(timeout=1))
    assert not [one for one in lane.kusto.requests if is_upload(one) and ALLOCATION.name in one.path]
