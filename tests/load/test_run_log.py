"""The run log: one synchronous command, every type of value, Kusto's clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from opencost_kusto.batch import Batch, Source
from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.load.run_log import write_run_log
from opencost_kusto.pipeline.request import new_run
from opencost_kusto.result import Outcome, batch_result
from opencost_kusto.schema.tables import ALLOCATION, SYNC_RUNS
from tests.faults.wire import DOWN, is_message, is_upload, once
from tests.support.world import HOUR, NAMESPACES, PATIENT, World

NAME = "a \"b\" \\ c\n'd' // é 中"
BATCH = Batch(ALLOCATION, NAME, HOUR, NAMESPACES)
RUN = new_run("run-1", "scenario", {"key": 'va"lue', "x": "\\"})
SOURCE = Source(NAME, currency="EUR", version="1.2", fingerprint={"uid": "u", "n": 1, "yes": True, "none": None})


def written(world: World, *results: Any) -> list[dict[str, Any]]:
    """Write results, and read what the table then holds."""
    with world.client(PATIENT) as kusto:
        write_run_log(kusto, RUN, [SOURCE], results)
    return world.log()


def test_every_value_is_stored_as_given(world: World) -> None:
    """Quotes, backslashes, line breaks, nulls, objects and moments are in the table as they were."""
    result = batch_result(BATCH, Outcome.FAILED, reason=NAME, rows=3, cost=0.1, bytes=9, response_keys="k", seconds=1.5)
    (row,) = written(world, result)
    texts = {"BatchId": BATCH.id, "Reason": NAME, "Outcome": "failed", "Currency": "EUR", "RunId": "run-1"}
    numbers = {"Rows": 3, "Cost": 0.1, "Bytes": 9, "DurationSeconds": 1.5, "WindowMinutes": 60.0}
    moments = {"WindowStart": HOUR.start, "WindowEnd": HOUR.end, "CollectionTime": RUN.collection_time}
    dynamic = {"Fingerprint": None, "Metadata": RUN.metadata}
    expected = texts | numbers | moments | dynamic
    assert {name: row[name] for name in expected} == expected
    assert list(row) == [column.name for column in SYNC_RUNS.columns]


def test_null_is_null(world: World) -> None:
    """What an entry does not have is null, and "" in text, as Kusto has no null text."""
    (row,) = written(world, batch_result(Batch(ALLOCATION, NAME, HOUR), Outcome.EMPTY))
    assert [row[name] for name in ("Rows", "Cost", "Bytes")] == [None] * 3
    assert [row[name] for name in ("Reason", "ReasonCode", "ResponseKeys")] == [""] * 3


def test_kustos_clock_orders_entries(world: World) -> None:
    """Two machines whose clocks differ by years agree on which entry is the latest."""
    result = batch_result(BATCH, Outcome.LANDED)
    for year in (2040, 2010):
        run = replace(RUN, id=f"{year}", collection_time=datetime(year, 1, 1, tzinfo=UTC))
        with world.client(PATIENT) as kusto:
            write_run_log(kusto, run, [SOURCE], [result])
    assert [row["RunId"] for row in world.log()] == ["2040", "2010"]
    assert all(abs(row["LoggedAt"] - world.kusto.engine.clock()).total_seconds() < 600 for row in world.log())


@pytest.mark.parametrize(("entries", "commands"), [(0, 0), (1, 1), (200, 1), (201, 2)])
def test_entries_go_in_few_commands(world: World, entries: int, commands: int) -> None:
    """A command holds at most two hundred entries; nothing is queued, and no entry has a tag."""
    assert len(written(world, *[batch_result(BATCH, Outcome.LANDED)] * entries)) == entries
    sent = [one for one in world.kusto.requests if one.csl.startswith(".set-or-append OpenCostSyncRuns")]
    assert len(sent) == commands
    assert not [one for one in world.kusto.requests if is_upload(one) or is_message(one)]
    assert not [tag for one in world.kusto.engine.tables[SYNC_RUNS.name].extents.values() for tag in one.tags]


def test_an_entry_is_written_again_after_an_error(world: World) -> None:
    """A copy of an entry is harmless, so the command is repeated."""
    world.kusto.fault = once(lambda one: one.csl.startswith(".set-or-append"), DOWN)
    assert len(written(world, batch_result(BATCH, Outcome.LANDED))) == 1


def test_columns_of_another_release_are_null(world: World) -> None:
    """A table that an older or newer release gave more columns takes entries; ingestion from a query goes by position.

    https://learn.microsoft.com/kusto/management/data-ingestion/ingest-from-query
    """
    world.command(f".create-merge table {SYNC_RUNS.name} (Older: real, Newer: string)")
    (row,) = written(world, batch_result(BATCH, Outcome.LANDED, rows=3))
    assert (row["Rows"], row["Older"], row["Newer"]) == (3, None, "")


def test_a_table_of_an_older_release_is_named() -> None:
    """A table without a column is no place for entries: the error says what to run."""
    with World(tables=False) as world:
        world.command(f".create table {SYNC_RUNS.name} (BatchId: string)")
        with pytest.raises(KustoError, match="Run opencost-kusto bootstrap") as raised:
            written(world, batch_result(BATCH, Outcome.LANDED))
    assert raised.value.code is ReasonCode.SCHEMA_DRIFT
