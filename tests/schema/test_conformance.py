"""Every dataset against its recorded responses: what a declaration promises holds for whatever was recorded of it.

A dataset needs nothing in this file. Its recordings are found by the path that its table declares, in the index of each
folder of `tests/data`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache

import msgspec
import pytest

from opencost_kusto.batch import Batch, BatchContext, RequestOptions, Run, Source
from opencost_kusto.emulator import OpenCostEmulator, Reply
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.errors import UsageError
from opencost_kusto.extract import prometheus, responses
from opencost_kusto.extract.capabilities import Capabilities
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.extract.clusters import merges_clusters
from opencost_kusto.extract.query import parameters
from opencost_kusto.schema import micros
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.transform.flat import flatten
from opencost_kusto.transform.rows import Encoder
from opencost_kusto.window import Window, parse
from tests.support.mapped import engine_with_tables, landed
from tests.support.recordings import ALL_VERSIONS, Recorded, recorded

NOW = datetime(2026, 11, 24, 7, 41, tzinfo=UTC)
RUN = Run("run-1", NOW, "0.0.0", metadata={"team": "finops"})
SOURCE = Source("aks-shop-prod-weu", region="westeurope")
# Keys that columns read and no recording has: the recorded cloud has neither projects nor credits.
NEVER_RECORDED = {"assets": {"properties.project", "credit"}}
Row = dict[str, Json]

every_dataset = pytest.mark.parametrize("table", DATASETS.values(), ids=DATASETS)


def of(table: Table) -> list[Recorded]:
    """The successful recorded responses of a dataset, of every version."""
    return [one for version in ALL_VERSIONS for one in recorded(version) if (one.path, one.status) == (table.path, 200)]


def request(table: Table, one: Recorded) -> Batch | None:
    """The batch whose request is that of a recording; None where we never send such a request."""
    if table.records_at is None:
        minute = Window(NOW, NOW.replace(minute=NOW.minute + 1))
        return Batch(table, SOURCE.name, minute, RequestOptions(all_metrics=True), scraped=NOW)
    widened: list[str] = []
    query = one.query
    try:
        window = parse(query.get("window", ""), now=datetime(2027, 1, 2, tzinfo=UTC), on_result=widened.append)
        given = {
            option.field: option.default is False or option.parse(query[option.name])
            for option in table.options
            if option.name in query
        }
        # Of two clusters both are accepted, but for rows that OpenCost merged, and one idle cost for both.
        two = one.name.startswith("two_clusters")
        batch = Batch(table, SOURCE.name, window, RequestOptions(all_clusters=two, **given))
        Capabilities(one.version).check(batch)
    except UsageError:
        return None
    if two and (merges_clusters(batch) or given.get("include_idle")):
        return None
    return batch if parameters(batch) == query and not widened else None


@cache
def requested(table: Table) -> tuple[tuple[Recorded, Batch], ...]:
    """The recordings of a dataset that are responses to requests of ours."""
    found = ((one, request(table, one)) for one in of(table))
    return tuple((one, batch) for one, batch in found if batch is not None)


def records(table: Table, one: Recorded) -> list[bytes]:
    """The records of a recording, as JSON."""
    if table.records_at is None:
        return list(map(msgspec.json.encode, prometheus.samples(one.body)))
    return list(responses.records([one.body], table.records_at))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The emulator's tables and mappings, as the committed KQL makes them."""
    with engine_with_tables() as engine:
        yield engine


class Served:
    """A client of a server that responds to the path of one dataset with one recording after the other."""

    def __init__(self) -> None:
        self.now: tuple[str | None, Reply] = (None, Reply())
        self.server = OpenCostEmulator(responder=lambda path, _: self.now[1] if path == self.now[0] else None)

    def lines(self, one: Recorded, batch: Batch) -> tuple[Encoder, list[bytes], list[str]]:
        """The encoding of a recording: its encoder, its lines, and notes about the response."""
        kind = "application/json" if batch.table.records_at is not None else "text/plain; version=0.0.4"
        self.now = (batch.table.path, Reply(200, {"Content-Type": kind}, one.body))
        encoder, notes = Encoder(batch.table, BatchContext(RUN, SOURCE, batch)), list[str]()
        with OpenCost(self.server.url) as opencost:
            return encoder, list(encoder.lines(opencost.records(batch, lambda text, *_: notes.append(text)))), notes


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A server, started once."""
    made = Served()
    with made.server:
        yield made


@every_dataset
def test_a_dataset_is_recorded(table: Table) -> None:
    """At least one recording with records is a response to a request that we send."""
    assert any(records(table, one) for one, _ in requested(table))


@every_dataset
def test_every_recorded_key_has_a_column_or_a_reason(table: Table) -> None:
    """No key of any record of any recording is stored in Unmapped."""
    for one in of(table):
        batch = Batch(table, SOURCE.name, Window(NOW, NOW.replace(hour=8)))
        encoder = Encoder(table, BatchContext(RUN, SOURCE, batch))
        list(encoder.lines(records(table, one)))
        assert not encoder.unmapped, f"{one.version}/{one.name}: neither a column reads these, nor `ignored` lists them"


def has(record: Json, path: str) -> bool:
    """Whether a record has a key, whatever its value."""
    for name in path.split("."):
        if not isinstance(record, dict) or name not in record:
            return False
        record = record[name]
    return True


@every_dataset
def test_every_source_is_a_key_that_opencost_sends(table: Table) -> None:
    """A column whose source is misspelled would always be null; the exceptions are named here."""
    missing = {key.path for key in table.keys()}
    for one in of(table):
        for text in records(table, one) if missing else ():
            record = msgspec.json.decode(text)
            missing -= {path for path in missing if has(record, path)}
    assert missing == NEVER_RECORDED.get(table.dataset, set())


@every_dataset
def test_a_response_to_our_request_is_accepted_and_complete(table: Table, served: Served) -> None:
    """Each record of such a response becomes a row, with the columns of its table; the window is the one requested."""
    for one, batch in requested(table):
        encoder, lines, notes = served.lines(one, batch)
        assert len(lines) == len(records(table, one)) == encoder.rows, one
        assert not [note for note in notes if "window" in note], one
        for line in lines:
            assert line.endswith(b"}\n"), one
            row = flatten(table, line)
            assert list(row) == [column.name for column in table.columns], one
            assert (row["BatchId"], row["Source"], row["RunId"]) == (batch.id, SOURCE.name, RUN.id), one
            assert batch.all_clusters or row["Cluster"] == SOURCE.name, one


@every_dataset
def test_rows_prove_their_batch(table: Table, served: Served) -> None:
    """Each row has its number and a key of its own; only the last one has the batch's rows, cost and digest of keys."""
    totals = {"BatchRows", "BatchCost", "BatchKeys"}
    for one, batch in requested(table):
        encoder, lines, _ = served.lines(one, batch)
        found = [flatten(table, line) for line in lines]
        assert [row["RowNumber"] for row in found] == list(range(1, len(found) + 1)), one
        assert len({msgspec.json.encode([row[name] for name in table.key]) for row in found}) == len(found), one
        assert all(row[name] is None for row in found[:-1] for name in totals), one
        cost = sum(micros.from_cost(row[table.cost] or 0.0) for row in found) if table.cost else None
        for last in found[-1:]:
            assert (last["BatchRows"], last["BatchCost"], last["BatchKeys"]) == (len(found), cost, encoder.keys), one
        assert encoder.bytes == sum(map(len, lines)), one


@every_dataset
def test_the_mapping_makes_the_columns(table: Table, engine: Engine, served: Served) -> None:
    """The ingestion mapping finds in each version's longest response what `flatten` finds, value by value."""
    for version in ALL_VERSIONS:
        ours = [(one, batch) for one, batch in requested(table) if one.version == version]
        if ours:
            _, lines, _ = served.lines(*max(ours, key=lambda pair: len(pair[0].body)))
            assert landed(engine, table, lines) == [flatten(table, line) for line in lines], version
