"""The engine refuses a blob, or its table is not what it should be."""

from __future__ import annotations

import gzip

from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.emulator import Request
from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.client import Deadlines
from opencost_kusto.schema.kql import create_mapping
from opencost_kusto.schema.tables import ALLOCATION, SYNC_RUNS
from tests.faults.ending import Ending, fault
from tests.faults.wire import is_message, is_upload
from tests.support.world import ROWS, World, result_of


@fault(
    "The mapping is missing",
    "failed",
    exit_code=5,
    says="OpenCostAllocation has no mapping OpenCostAllocation_mapping, so nothing was sent. "
    "Run opencost-kusto bootstrap.",
)
def test_the_mapping_is_missing(world: World, ending: Ending) -> None:
    """A mapping that is missing is found before anything is sent, and bootstrap makes it."""
    world.command(f'.drop table {ALLOCATION.name} ingestion json mapping "{ALLOCATION.mapping}"')
    ending.failed(world, world.sync(timeout=60))
    assert not world.storage.blobs
    world.settle(0)
    with world.client(Deadlines()) as kusto:
        assert bootstrap(kusto).changed > 0
    assert result_of(world.sync()).outcome == "landed"


@fault(
    "The table does not have a column",
    "failed",
    exit_code=5,
    says="Kusto did not ingest …: Mapping names column …, which the table has not. Correct that and run again.",
)
def test_a_column_is_missing(world: World, ending: Ending) -> None:
    """A mapping with a column that the table does not have refuses the blob in full; bootstrap adds the column."""
    columns = ", ".join(f"{one.name}: {one.type}" for one in ALLOCATION.columns if one.name != "PvCost")
    world.command(
        f".drop table {ALLOCATION.name}",
        f".create-merge table {ALLOCATION.name} ({columns})",
        create_mapping(ALLOCATION),
    )
    ending.failed(world, world.sync(timeout=60))
    world.settle(0)
    with world.client(Deadlines()) as kusto:
        assert bootstrap(kusto).changed > 0
    assert result_of(world.sync()).outcome == "landed"
    world.settle(ROWS)


@fault(
    "One record of a blob cannot be read (a poisoned record)",
    "failed",
    exit_code=5,
    says="Kusto did not ingest …: The file was refused: record … is malformed JSON… Correct that and run again.",
)
def test_a_poisoned_record(world: World, ending: Ending) -> None:
    """One damaged line inside the gzip refuses the file: no row of it lands, and a later run lands all."""

    def poison(request: Request) -> None:
        if is_message(request):
            world.kusto.fault = None
            for name, body in world.storage.blobs.items():
                lines = gzip.decompress(body).splitlines(keepends=True)
                # Derived from what was sent: the end of one record is lost.
                lines[3] = lines[3][: len(lines[3]) // 2] + b"\n"
                world.storage.blobs[name] = gzip.compress(b"".join(lines))

    world.kusto.fault = poison
    ending.failed(world, world.sync(timeout=60))
    world.settle(0)
    assert result_of(world.sync()).outcome == "landed"
    world.settle(ROWS)


@fault(
    "The table is dropped while rows are queued",
    "failed",
    exit_code=5,
    says="Kusto at … refused the query OpenCostAllocation … Run opencost-kusto bootstrap, which creates it.",
)
def test_the_table_is_dropped_under_way(world: World, ending: Ending) -> None:
    """A table that is dropped while rows are queued is a failed batch, without waiting for the deadline."""

    def drop(request: Request) -> None:
        if is_message(request):
            world.kusto.fault = None
            world.command(f".drop table {ALLOCATION.name}")

    world.kusto.fault = drop
    ending.result_of(world.sync(timeout=600))


@fault("Rows land, and the run log cannot be written", "landed", exit_code=7)
def test_the_run_log_is_missing(world: World, ending: Ending) -> None:
    """Rows that landed are landed, and exit code and document say that the run log failed."""

    def narrow(request: Request) -> None:
        if is_message(request):
            world.kusto.fault = None
            world.command(f".drop table {SYNC_RUNS.name}")
            world.command(f".create table {SYNC_RUNS.name} (BatchId: string, Outcome: string)")

    world.kusto.fault = narrow
    report = world.sync(timeout=20)
    one = result_of(report)
    ending.among({one.outcome})
    ending.process(report.exit_code, "")
    assert isinstance(report.run_log, KustoError)
    assert "Run opencost-kusto bootstrap" in str(report.document()["run_log"])
    world.settle(ROWS)


@fault(
    "The table is missing",
    "failed",
    exit_code=5,
    says="Kusto at … refused the query OpenCostAllocation … Run opencost-kusto bootstrap, which creates it.",
)
def test_the_table_is_missing(world: World, ending: Ending) -> None:
    """A table that was never created is a failed batch that names it, and nothing is uploaded."""
    world.command(f".drop table {ALLOCATION.name}")
    ending.result_of(world.sync(timeout=1))
    assert not [one for one in world.kusto.requests if is_upload(one)]
