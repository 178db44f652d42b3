"""Records become rows: golden rows of the recorded hour, two OpenCosts by one code, and nulls remain nulls.

`python -m tests.transform.test_rows` writes the golden files anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencost_kusto.batch import Batch, BatchContext, RequestOptions, Run, Source
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.extract import prometheus, responses
from opencost_kusto.extract.record import RecordDecoder
from opencost_kusto.schema.columns import RECORD, Derived, FromContext, Json, RowNumber, Table, Unmapped
from opencost_kusto.schema.decoder import Decoded
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, METRICS, SYNC_RUNS, TABLES
from opencost_kusto.transform.flat import flatten
from opencost_kusto.transform.rows import Encoder
from opencost_kusto.window import Window
from tests.support.mapped import engine_with_tables, landed
from tests.support.recordings import VERSIONS, recording

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
FIRST = 5
# What differs between two answers of OpenCost 1.112 to one request, as its index says.
MOVING = {"Pvs", "LbAllocations", "GpuUsageAverage", "GpuEfficiency"}
HOUR = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
RUN = Run(
    id="run-1",
    collection_time=datetime(2026, 11, 24, 7, 41, 1, tzinfo=UTC),
    tool_version="0.0.0",
    scenario_name="nightly",
    metadata={"team": "finops", "motto": "sparen, ja – aber richtig"},
)
SOURCE = Source("aks-shop-prod-weu", region="westeurope", version="1.112.0")
NAMES = {"allocation": "allocation_hour.json", "assets": "assets_hour.json", "metrics": "metrics.txt"}

PROOF = {"RowNumber", "BatchRows", "BatchCost", "BatchKeys"}

Row = dict[str, Json]


def origin(table: Table, *, source: Source = SOURCE, options: RequestOptions | None = None) -> BatchContext:
    """The recorded hour, requested by a fixed run of a fixed source."""
    scraped = datetime(2026, 11, 24, 7, 41, 5, tzinfo=UTC) if table is METRICS else None
    return BatchContext(RUN, source, Batch(table, source.name, HOUR, options or RequestOptions(), scraped=scraped))


def records(table: Table, version: str, name: str) -> Iterator[bytes]:
    """The records of a recorded response, as JSON."""
    body = recording(version, name)
    return map(msgspec.json.encode, prometheus.samples(body)) if table is METRICS else responses.records([body])


def encoded(table: Table, version: str, name: str | None = None) -> tuple[Encoder, list[bytes]]:
    """The encoder of a recorded response, and its lines."""
    encoder = Encoder(table, origin(table))
    return encoder, list(encoder.lines(records(table, version, name or NAMES[table.dataset])))


def rows(table: Table, version: str, key: str, name: str | None = None) -> dict[str, Row]:
    """The rows of a recorded response, as the table holds them, by the value of one column."""
    found = [flatten(table, line) for line in encoded(table, version, name)[1]]
    assert len({row[key] for row in found}) == len(found)
    return {row[key]: row for row in found}


def row(table: Table, record: Row, *, source: Source = SOURCE, options: RequestOptions | None = None) -> Row:
    """The row of one record, as the table holds it."""
    [line] = Encoder(table, origin(table, source=source, options=options)).lines([msgspec.json.encode(record)])
    assert line.endswith(b"}\n")
    assert b"\n" not in line[:-1]
    return flatten(table, line)


def golden(table: Table) -> bytes:
    """What the golden file of a table holds: the first rows, and then a digest of all rows."""
    encoder, lines = encoded(table, "1.112")
    digest = hashlib.sha256(b"".join(lines)).hexdigest()
    last = {"sha256": digest, "rows": encoder.rows, "bytes": encoder.bytes, "micros": encoder.micros}
    return b"".join(lines[:FIRST]) + msgspec.json.encode(last) + b"\n"


@pytest.mark.parametrize("table", [ALLOCATION, ASSETS, METRICS], ids=lambda table: table.dataset)
def test_rows_of_the_recorded_hour_are_golden(table: Table) -> None:
    """The rows of the recorded hour equal their golden file, byte for byte; a change is made on purpose."""
    same = golden(table) == (GOLDEN / f"{table.dataset}.ndjson").read_bytes()
    assert same, "rows of the recorded hour changed; look at git diff after: python -m tests.transform.test_rows"


@pytest.mark.parametrize(
    ("table", "version", "count", "cost"),
    [
        (ALLOCATION, "1.112", 61, 1.07208),
        (ALLOCATION, "1.119", 61, 1.07217),
        (ASSETS, "1.112", 19, 1.34701),
        (ASSETS, "1.119", 20, 1.34618),
    ],
    ids=lambda value: getattr(value, "dataset", None),
)
def test_rows_and_sums_are_those_of_the_index(table: Table, version: str, count: int, cost: float) -> None:
    """Rows and cost of the recorded hour are what the index of the recordings says."""
    encoder, lines = encoded(table, version)
    assert (encoder.rows, round(encoder.cost or 0, 5)) == (count, cost)
    assert encoder.bytes == sum(map(len, lines))
    assert len(lines) == count
    assert encoder.micros == round(sum(flatten(table, line)["TotalCost"] for line in lines) * 1e6)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_recorded_day_costs_the_sum_of_the_index(version: str) -> None:
    """24 hourly sets by namespace have the sum of the index."""
    encoder, lines = encoded(ALLOCATION, version, "allocation_day_step1h_namespace.json")
    assert len(lines) == 24 * 8
    assert round(encoder.cost or 0, 5) == {"1.112": 26.43958, "1.119": 26.44127}[version]


def changed(table: Table, key: str) -> dict[str, list[tuple[Row, Row]]]:
    """The columns in which the same hour differs between the versions, with the rows where it does."""
    old, new = (rows(table, version, key) for version in VERSIONS)
    found: dict[str, list[tuple[Row, Row]]] = {}
    for name in old.keys() & new.keys():
        for column in old[name].keys() - PROOF:
            if old[name][column] != new[name][column]:
                found.setdefault(column, []).append((old[name], new[name]))
    return found


def test_both_versions_have_the_same_allocations_but_for_what_the_index_lists() -> None:
    """Row by row, two OpenCosts agree on the same hour, but for network, labels, GPU use and new columns."""
    old, new = (rows(ALLOCATION, version, "AllocationName") for version in VERSIONS)
    assert old.keys() == new.keys()
    found = changed(ALLOCATION, "AllocationName")
    assert found.keys() == {
        *("NetworkTransferBytes", "NetworkReceiveBytes"),
        *("NetworkCost", "NetworkCrossZoneCost", "NetworkInternetCost", "TotalCost"),
        *("Properties", "Labels", "Controller", "ControllerKind"),
        *("GpuRequestAverage", "GpuUsageAverage", "GpuUsageMax", "GpuEfficiency", "GpuAllocation", "GpuShared"),
        *("CpuCoreLimitAverage", "RamByteLimitAverage"),
    }
    for column in ("NetworkCost", "NetworkCrossZoneCost", "NetworkInternetCost", "TotalCost"):
        assert all(abs(before[column] - after[column]) <= 0.0005 for before, after in found[column])
    for column in ("NetworkTransferBytes", "NetworkReceiveBytes"):
        assert all(abs(before[column] - after[column]) <= 0.08 * after[column] for before, after in found[column])
    for column, sent in (("Controller", "cart"), ("ControllerKind", "replicaset")):
        assert [(before[column], after[column]) for before, after in found[column]] == [(sent, None)] * 2
        assert all(before["Pod"].startswith("cart-") for before, _ in found[column])
    # Keys that came are null before; that of the whole older row stays what it was, wherever the newer keeps it.
    for column in ("CpuCoreLimitAverage", "RamByteLimitAverage", "GpuAllocation", "GpuUsageMax", "GpuShared"):
        assert all(before[column] is None for before, _ in found[column])
    assert {before["Container"] for before, _ in found["GpuRequestAverage"]} == {"__unmounted__"}
    assert {before["Container"] for before, _ in found["GpuEfficiency"]} == {"trainer"}
    assert all(before["Labels"].items() <= after["Labels"].items() for before, after in found["Labels"])


def test_gpu_averages_are_found_where_each_version_has_them() -> None:
    """The trainer's GPU request is the same from both, though the newer OpenCost moved it into gpuAllocation."""
    for version in VERSIONS:
        found = rows(ALLOCATION, version, "AllocationName").values()
        [trainer] = [row for row in found if row["Container"] == "trainer"]
        assert trainer["GpuRequestAverage"] == 1.0
        assert trainer["GpuUsageAverage"] == pytest.approx(0.45, abs=0.03)
        assert (trainer["GpuShared"], trainer["GpuUsageMax"]) == {"1.112": (None, None), "1.119": (False, 0.59514)}[
            version
        ]


def test_both_versions_give_the_same_assets_but_for_what_the_index_lists() -> None:
    """An asset is cluster, type and name in both; only load balancers' costs, OS disks' ids and Local differ."""
    old, new = (rows(ASSETS, version, "AssetName") for version in VERSIONS)
    assert new.keys() - old.keys() == {"aks-shop-prod-weu/ClusterManagement/"}
    assert not old.keys() - new.keys()
    found = changed(ASSETS, "AssetName")
    assert found.keys() == {"Local", "ProviderID", "Cost", "TotalCost"}
    assert {before["Type"] for before, _ in found["Local"]} == {"Disk"}
    assert {after["Local"] for _, after in found["Local"]} == {True, False}
    for before, after in found["ProviderID"]:
        assert (before["Type"], before["StorageClass"], after["Local"]) == ("Disk", "__local__", True)
        assert after["ProviderID"].endswith("_osdisk")
    for column in ("Cost", "TotalCost"):
        assert {(before["Type"], before[column], after[column]) for before, after in found[column]} == {
            ("LoadBalancer", 0.005417, 0.005)
        }


@pytest.mark.parametrize("version", VERSIONS)
def test_cost_region_bytes_and_breakdown_of_recorded_assets(version: str) -> None:
    """Cost is without adjustment, Region is never missing, Bytes are of disks, a node's Breakdown is null."""
    for asset in rows(ASSETS, version, "AssetName").values():
        assert asset["Cost"] == asset["TotalCost"] - (asset["Adjustment"] or 0)
        assert asset["Region"] == "westeurope"
        assert (asset["Bytes"] is not None) == (asset["Type"] == "Disk")
        assert (asset["Breakdown"] is not None) == (asset["Type"] == "Disk")
        assert (asset["CpuBreakdown"] is not None) == (asset["Type"] == "Node")
        assert asset["AssetName"] == f"{asset['Cluster']}/{asset['Type']}/{asset['Name'] or ''}"
        # An absent adjustment is not an adjustment of 0.
        assert (asset["Adjustment"] is None) == (asset["Type"] == "ClusterManagement")


def test_cost_is_the_total_less_its_adjustment() -> None:
    """Cost + Adjustment = TotalCost, also where the adjustment is not 0; without a total there is no cost."""
    assert row(ASSETS, {"type": "Node", "totalCost": 3.5, "adjustment": -0.25})["Cost"] == 3.75
    assert row(ASSETS, {"type": "Node", "totalCost": 3.5})["Cost"] == 3.5
    assert row(ASSETS, {"type": "Node", "adjustment": 1.0})["Cost"] is None


def test_region_is_the_label_else_the_clusters() -> None:
    """The node's own region label wins, the newer spelling first; else the region of the cluster, else null."""
    beta = {"failure_domain_beta_kubernetes_io_region": "old"}
    both = {"topology_kubernetes_io_region": "new", **beta}
    assert row(ASSETS, {"labels": both})["Region"] == "new"
    assert row(ASSETS, {"labels": beta})["Region"] == "old"
    assert row(ASSETS, {"labels": {"a": "b"}})["Region"] == "westeurope"
    assert row(ASSETS, {"labels": None})["Region"] == "westeurope"
    assert row(ASSETS, {}, source=Source("x"))["Region"] is None


def test_flags_are_booleans_and_null_without_the_key() -> None:
    """OpenCost's 1.0 and 0.0 become true and false; an asset without the key has null."""
    assert row(ASSETS, {"preemptible": 1, "local": 0.0})["Preemptible"] is True
    assert row(ASSETS, {"preemptible": 1, "local": 0.0})["Local"] is False
    assert row(ASSETS, {})["Local"] is None


@pytest.mark.parametrize("properties", [None, {}, "absent"])
def test_rows_without_properties(properties: Json) -> None:
    """A row whose properties are null, empty or absent has nulls there and keeps its cost."""
    record = {"name": "__idle__", "properties": properties, "totalCost": 0.36398}
    if properties == "absent":
        del record["properties"]
    found = row(ALLOCATION, record)
    assert found["Properties"] == ({} if properties == {} else None)
    assert (found["AllocationName"], found["TotalCost"]) == ("__idle__", 0.36398)
    for column in ("Namespace", "Pod", "Services", "Labels", "ProviderID"):
        assert found[column] is None
    # The cluster is the source's name, whatever OpenCost says of the row.
    assert (found["Cluster"], found["ClusterReported"]) == ("aks-shop-prod-weu", None)


def test_window_and_times_that_are_the_string_null() -> None:
    """OpenCost writes an unset time as the string "null"; it is null, and the window is what was requested."""
    found = row(ALLOCATION, {"name": "a", "window": "null", "start": "null", "end": None})
    assert (found["Start"], found["End"]) == (None, None)
    assert (found["WindowStart"], found["WindowEnd"]) == ("2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z")
    assert row(ALLOCATION, {"window": {"start": "null", "end": "null"}})["Unmapped"] is None
    assert row(ASSETS, {"window": "null", "start": "2026-11-23T12:30:00+02:00"})["Start"] == "2026-11-23T10:30:00Z"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The emulator's tables and mappings, as the committed KQL makes them."""
    with engine_with_tables() as engine:
        yield engine


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"name": "a", "properties": None, "rawAllocationOnly": None, "gpuAllocation": None, "pvs": None},
        {"name": "a", "properties": {}, "rawAllocationOnly": {}, "start": "null", "totalCost": None},
        {"name": "a", "properties": {"labels": None, "services": ["b", "a"], "annotations": {}}, "news": [1, {"b": 2}]},
    ],
)
def test_the_mapping_finds_null_where_there_is_nothing(engine: Engine, record: Row) -> None:
    """An object that is missing, null or empty makes null columns of everything that would be inside it."""
    [line] = Encoder(ALLOCATION, origin(ALLOCATION)).lines([msgspec.json.encode(record)])
    [found] = landed(engine, ALLOCATION, [line])
    assert found == flatten(ALLOCATION, line)
    assert found["BatchId"] == origin(ALLOCATION).batch.id
    assert (found["Labels"], found["GpuShared"], found["CpuCoreUsageMax"]) == (None, None, None)


def test_a_record_stands_in_its_row_as_it_was_sent() -> None:
    """Nothing of a record is written anew, whatever its spacing and the spelling of its numbers."""
    record = b'{"name": "a","totalCost":1.50e-1,  "properties":{"labels":{"b":"\\u00fc"}}}'
    [line] = Encoder(ALLOCATION, origin(ALLOCATION)).lines([record])
    assert b'"%b":%b,"RowNumber":1' % (RECORD.encode(), record) in line
    assert not any(RECORD in (column.name for column in table.columns) for table in TABLES)


ODD = [
    b'{"name":"a","totalCost":3,"properties":null,"gpuAllocation":null,"rawAllocationOnly":null}',
    b'{"name":"b","totalCost":1.5,"gpuAllocation":{"gpuRequestAverage":null,"gpuUsageAverage":2}}',
    b'{"name":"c","gpuRequestAverage":1,"gpuUsageAverage":null,"properties":{"services":["y","x"],"cluster":"d"}}',
    b'{"name":"d","gpuAllocation":{},"start":"2026-11-23T10:00:00Z","end":null,"totalCost":1e2}',
    b'{"name":"e","totalCost":2,"pvBytes":18014398509481985,"news":{"x":1},"minutes":60.000}',
    b"{}",
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("table", [ALLOCATION, ASSETS], ids=lambda table: table.dataset)
def test_the_rows_of_checked_records_are_those_of_their_text(table: Table, version: str) -> None:
    """What the checks decoded makes the row, the totals and the digest that the text would make."""
    texts = [*records(table, version, NAMES[table.dataset]), *(ODD if table is ALLOCATION else ())]
    decode, results = RecordDecoder(table).decode, []
    checked = [decode(text)[1] for text in texts]
    assert sum(isinstance(one, Decoded) for one in checked) >= len(texts) - 1
    for each in (texts, checked):
        encoder = Encoder(table, origin(table))
        results.append(([flatten(table, line) for line in encoder.lines(each)], encoder.micros, encoder.keys))
    assert results[0] == results[1]


def digest(table: Table, *records: Row) -> str:
    """The digest of the keys of some records."""
    encoder = Encoder(table, origin(table))
    assert len(list(encoder.lines(map(msgspec.json.encode, records)))) == len(records)
    return encoder.keys


def test_the_digest_of_keys_does_not_depend_on_the_order() -> None:
    """The same keys in another order, or with other values beside them, have the same digest."""
    a, b, c = ({"name": name, "totalCost": 1.0} for name in "abc")
    assert digest(ALLOCATION, a, b, c) == digest(ALLOCATION, c, {**a, "totalCost": 2.5}, b)
    one, other = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}
    assert digest(METRICS, {"name": "m", "labels": one}) == digest(METRICS, {"name": "m", "labels": other})


@pytest.mark.parametrize(
    ("table", "records"),
    [
        (ALLOCATION, [{"name": "a"}, {"name": "c"}]),
        (ALLOCATION, [{"name": "a"}]),
        (ALLOCATION, [{"name": "a"}, {"name": "b"}, {"name": "b"}]),
        (ALLOCATION, [{"name": "a"}, {"name": "a"}, {"name": "b"}]),
        (ALLOCATION, [{"name": "ab"}, {"name": ""}]),
        (ALLOCATION, [{"name": "a"}, {}]),
    ],
)
def test_the_digest_covers_every_key_and_its_count(table: Table, records: list[Row]) -> None:
    """Another key, one fewer, or a duplicate makes another digest."""
    assert digest(table, {"name": "a"}, {"name": "b"}) != digest(table, *records)


@pytest.mark.parametrize(
    ("table", "record", "other"),
    [
        (ASSETS, {"type": "Node"}, {"type": "Disk"}),
        (ASSETS, {"properties": {"name": "a"}}, {"properties": {"name": "b"}}),
        (ASSETS, {"properties": {"providerID": "a"}}, {"properties": {"providerID": "b"}}),
        (ASSETS, {"properties": {"cluster": "a"}}, {"properties": {"cluster": "b"}}),
        (METRICS, {"name": "m", "labels": {"a": "1"}}, {"name": "m", "labels": {"a": "2"}}),
        (METRICS, {"name": "m", "labels": {"a": "1"}}, {"name": "n", "labels": {"a": "1"}}),
        (METRICS, {"name": "m", "labels": {}}, {"name": "m", "labels": {"pod": "p"}}),
    ],
)
def test_each_column_of_the_key_counts(table: Table, record: Row, other: Row) -> None:
    """Records that differ in one column of the key have digests of their own."""
    assert digest(table, record) != digest(table, other)


def test_a_batch_without_records_has_no_rows() -> None:
    """Nothing is encoded without a record, so no row has totals."""
    encoder = Encoder(ALLOCATION, origin(ALLOCATION))
    assert list(encoder.lines([])) == []
    assert (encoder.rows, encoder.bytes, encoder.micros) == (0, 0, 0)


def test_a_line_is_held_back_until_the_next_one_is_encoded() -> None:
    """The last line before an error is complete, and no line has totals without the end of the records."""
    encoder = Encoder(ALLOCATION, origin(ALLOCATION))
    lines = encoder.lines([b'{"name":"a"}', b'{"name":"b"}', b'{"name":3}'])
    assert flatten(ALLOCATION, next(lines))["BatchRows"] is None
    with pytest.raises(ContentError):
        next(lines)


@pytest.mark.parametrize("costs", [[1e16], [-1e16], [1e305], [8e12, 0.5, 8e12], [-8e12, -8e12]])
def test_a_cost_that_kusto_cannot_sum_is_refused(costs: list[float]) -> None:
    """A row's cost and the sum are within ±9e12, whose millionths fit a Kusto `long`."""
    records = (msgspec.json.encode({"name": f"a{number}", "totalCost": cost}) for number, cost in enumerate(costs))
    with pytest.raises(ContentError, match=r"a (cost|sum) of .* is more than Kusto") as caught:
        list(Encoder(ALLOCATION, origin(ALLOCATION)).lines(records))
    assert caught.value.code == ReasonCode.TOO_LARGE


@pytest.mark.parametrize("costs", [[9e12], [-9e12], [9e12, -9e12, 9e12]])
def test_a_cost_at_the_limit_is_counted(costs: list[float]) -> None:
    """The limit itself is counted to the millionth."""
    encoder = Encoder(ALLOCATION, origin(ALLOCATION))
    assert list(encoder.lines(msgspec.json.encode({"totalCost": cost}) for cost in costs))
    assert encoder.micros == sum(map(int, costs)) * 1_000_000


def test_what_columns_are_derived_from_is_comparable() -> None:
    """A column is derived once from the same values, so none of them is an object or list."""
    derived = [column for table in TABLES for column in table.columns if isinstance(column.source, Derived)]
    assert derived
    assert all(key.type != "dynamic" for column in derived for key in column.keys())


def test_rows_derived_from_other_values_differ() -> None:
    """One encoder derives each row's own values, also after many rows of other values and the same again."""
    encoder = Encoder(ALLOCATION, origin(ALLOCATION))
    starts = [f"2026-11-23T10:{second // 60 % 60:02}:{second % 60:02}Z" for second in (*range(3000), *range(3000))]
    lines = encoder.lines(msgspec.json.encode({"name": "a", "start": start}) for start in starts)
    assert [flatten(ALLOCATION, line)["Start"] for line in lines] == starts


def numbers(table: Table) -> list[str]:
    """The top-level keys of a table's records that are numbers copied as they are."""
    return [column.source for column in table.columns if column.type == "real" and isinstance(column.source, str)]


@pytest.mark.parametrize("table", [ALLOCATION, ASSETS], ids=lambda table: table.dataset)
def test_null_is_not_zero(table: Table) -> None:
    """A number that is null or missing is null in the row, and 0 is 0."""
    keys = [key for key in numbers(table) if "." not in key]
    assert len(keys) > 10
    columns = [column.name for column in table.columns if column.source in keys]
    null, missing, zero = (row(table, dict.fromkeys(keys)), row(table, {}), row(table, dict.fromkeys(keys, 0)))
    assert {null[column] for column in columns} == {missing[column] for column in columns} == {None}
    assert {zero[column] for column in columns} == {0}


def test_missing_cost_counts_as_nothing() -> None:
    """A row without a cost is a row nevertheless; the sum continues."""
    encoder = Encoder(ALLOCATION, origin(ALLOCATION))
    records = [b'{"name":"a","totalCost":null}', b'{"name":"b"}', b'{"name":"c","totalCost":0.00001}']
    assert len(list(encoder.lines(records))) == 3
    assert (encoder.rows, encoder.micros) == (3, 10)


def test_services_are_sorted_in_their_column_and_in_the_properties() -> None:
    """OpenCost's order changes between responses; ours does not, and nothing else of the properties changes."""
    properties = {"namespace": "shop", "services": ["web", "api", "ünter"], "labels": {"b": "1", "a": "2"}}
    found = row(ALLOCATION, {"name": "a", "properties": properties})
    assert found["Services"] == found["Properties"]["services"] == ["api", "web", "ünter"]
    assert found["Properties"] == {**properties, "services": ["api", "web", "ünter"]}
    assert list(found["Properties"]) == list(properties)
    assert row(ALLOCATION, {"properties": {"services": None}})["Services"] is None
    assert row(ALLOCATION, {"properties": {"services": []}})["Services"] == []


def test_two_responses_to_one_request_have_the_same_costs() -> None:
    """The same request a moment later returns the same row, but for what OpenCost does not reproduce."""
    name = "allocation_hour_agg_namespace"
    first, second = (rows(ALLOCATION, "1.112", "AllocationName", f"{name}{end}.json") for end in ("", "_again"))
    assert first.keys() == second.keys()
    for key, one in first.items():
        assert {column for column in one if one[column] != second[key][column]} <= MOVING


def test_bags_are_objects_not_strings() -> None:
    """Labels, Metadata and Properties are JSON objects in the row, for `dynamic` columns to open."""
    for table in (ALLOCATION, ASSETS, METRICS):
        found = [flatten(table, line) for line in encoded(table, "1.119")[1]]
        assert all(each["Metadata"] == RUN.metadata for each in found)
        assert {type(each["Labels"]) for each in found} <= {dict, type(None)}
        assert any(each["Labels"] for each in found)


def test_each_row_has_its_request() -> None:
    """Run, source, batch, window and options are on every row; one CollectionTime a run."""
    options = RequestOptions(aggregate="namespace,label:app", include_idle=True)
    found = row(ALLOCATION, {"name": "shop"}, options=options)
    assert found["Timestamp"] == found["WindowStart"] == "2026-11-23T10:00:00Z"
    assert found["CollectionTime"] == "2026-11-24T07:41:01Z"
    assert found["WindowMinutes"] == 60.0
    assert (found["Aggregate"], found["IncludeIdle"], found["ShareIdle"]) == ("namespace,label:app", True, False)
    assert (found["RunId"], found["ScenarioName"], found["Source"]) == ("run-1", "nightly", "aks-shop-prod-weu")
    assert found["BatchId"] == origin(ALLOCATION, options=options).batch.id


def test_a_batch_is_identified_by_its_request() -> None:
    """A batch's id changes with table, source, window and the options its dataset has, and with nothing else."""
    batch = Batch(ALLOCATION, "prod", HOUR)
    assert batch.id == Batch(ALLOCATION, "prod", HOUR, scraped=datetime.now(UTC)).id
    assert batch.id.startswith("OpenCostAllocation/prod/20261123T1000Z-20261123T1100Z/")
    later = Window(HOUR.end, HOUR.end.replace(hour=12))
    others = [
        Batch(ASSETS, "prod", HOUR),
        Batch(ALLOCATION, "test", HOUR),
        Batch(ALLOCATION, "prod", later),
        Batch(ALLOCATION, "prod", HOUR, RequestOptions(aggregate="pod")),
        Batch(ALLOCATION, "prod", HOUR, RequestOptions(include_idle=True)),
        Batch(ALLOCATION, "prod", HOUR, RequestOptions(share_idle=True)),
    ]
    assert len({batch.id, *(other.id for other in others)}) == 1 + len(others)
    # RequestOptions of another dataset do not matter.
    assert Batch(ALLOCATION, "prod", HOUR, RequestOptions(filter_types=("disk",), all_metrics=True)).id == batch.id
    assert Batch(ASSETS, "prod", HOUR, RequestOptions(aggregate="pod")).id == others[0].id
    assert Batch(ASSETS, "prod", HOUR, RequestOptions(filter_types=("disk",))).id != others[0].id
    assert (batch.aggregate, others[0].aggregate) == ("container", None)


def test_metrics_are_stamped_by_the_scrape() -> None:
    """A metrics row's Timestamp is the scrape, its Cluster the source, and labels people filter by are columns."""
    sample = {
        **{"name": "node_ram_hourly_cost", "family": "node_ram_hourly_cost", "type": "gauge", "help": "Cost."},
        **{"labels": {"node": "n1", "instance": "i1", "odd": "1"}, "value": 0.5, "timestamp": 1795428000.25},
    }
    found = row(METRICS, sample)
    assert found["Timestamp"] == "2026-11-24T07:41:05Z"
    assert (found["Node"], found["Instance"], found["Pod"]) == ("n1", "i1", None)
    assert found["Cluster"] == "aks-shop-prod-weu"
    assert found["Labels"] == sample["labels"]
    assert found["SampleTime"] == "2026-11-23T10:00:00.250000Z"
    assert (found["MetricValue"], found["Unmapped"]) == (0.5, None)
    assert row(METRICS, {**sample, "value": None, "raw": "NaN", "timestamp": None})["MetricValue"] is None


def test_an_unknown_key_is_kept_and_reported() -> None:
    """A key no column reads lands in Unmapped with its value, and the encoder has its name for the report."""
    encoder = Encoder(ALLOCATION, origin(ALLOCATION))
    record = {
        **{"name": "a", "totalCost": 1.5, "carbon": {"kg": 2}, "window": {}},
        # Properties are kept whole, so nothing in them is lost; the raw part is not, so it must be known.
        **{"properties": {"pod": "p", "floor": 3}, "rawAllocationOnly": {"cpuCoreUsageMax": 0.5, "moon": None}},
    }
    first, second = encoder.lines([msgspec.json.encode(record), b'{"name":"b"}'])
    found = flatten(ALLOCATION, first)
    assert found["Unmapped"] == {"carbon": {"kg": 2}, "rawAllocationOnly.moon": None}
    assert encoder.unmapped == {"carbon", "rawAllocationOnly.moon"}
    assert (found["AllocationName"], found["Pod"], found["CpuCoreUsageMax"]) == ("a", "p", 0.5)
    assert found["Properties"]["floor"] == 3
    assert (encoder.rows, encoder.micros) == (2, 1_500_000)
    assert flatten(ALLOCATION, second)["Unmapped"] is None


@pytest.mark.parametrize(
    ("table", "record", "parts"),
    [
        (ALLOCATION, {"name": "shop/web", "cpuCost": "much"}, ["'shop/web'", "cpuCost", "allocation"]),
        (ALLOCATION, {"name": "shop/web", "unknown": 1, "cpuCost": "much"}, ["'shop/web'", "cpuCost"]),
        (ALLOCATION, {"name": "shop/web", "properties": {"pod": 5}}, ["'shop/web'", "pod"]),
        (ALLOCATION, {"name": "shop/web", "properties": [1]}, ["'shop/web'"]),
        (ALLOCATION, {"name": "shop/web", "properties": {"services": "web"}}, ["'shop/web'"]),
        (ALLOCATION, {"name": "shop/web", "start": "yesterday"}, ["'shop/web'", "'yesterday' is not a time"]),
        (ALLOCATION, {"name": "shop/web", "end": "2026-11-23T10:00:00"}, ["'shop/web'", "has no time zone"]),
        (ASSETS, {"name": None, "totalCost": True}, ["a record", "totalCost", "assets"]),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(table: Table, record: Row, parts: list[str]) -> None:
    """A text where a number belongs ends in one sentence with the record and the key; nothing is counted."""
    encoder = Encoder(table, origin(table))
    with pytest.raises(ContentError) as caught:
        list(encoder.lines([msgspec.json.encode(record)]))
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert (encoder.rows, encoder.bytes, encoder.micros) == (0, 0, 0)


@pytest.mark.parametrize(
    "record", [b"", b"[]", b"null", b"3", b'{"name":', b'{"totalCost":NaN}', b'{"name":"\xff"}', b'{"a":' * 10**5]
)
def test_what_is_no_record_is_refused(record: bytes) -> None:
    """Anything that is not one JSON object is refused as content."""
    with pytest.raises(ContentError, match="cannot be used"):
        list(Encoder(ALLOCATION, origin(ALLOCATION)).lines([record]))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
reals = st.floats(min_value=-1e300, max_value=1e300)
jsons = st.recursive(
    st.none() | st.booleans() | reals | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
VALUES: dict[str, st.SearchStrategy[Json]] = {
    "real": st.none() | reals,
    "string": st.none() | texts,
    "bool": st.none() | st.booleans(),
    "long": st.none() | st.integers(-(2**63), 2**63 - 1),
    "dynamic": jsons,
    "datetime": st.none() | st.datetimes(timezones=st.just(UTC)).map(msgspec.to_builtins),
}


def any_record(table: Table) -> st.SearchStrategy[Row]:
    """Records with random values at the top-level keys that are copied, and some of the keys left out."""
    kinds = {column.source: VALUES[column.type] for column in table.columns if isinstance(column.source, str)}
    if table.cost:
        kinds[table.copied(table.cost)] = st.none() | st.floats(min_value=-9e12, max_value=9e12)
    return st.fixed_dictionaries({}, optional={key: kind for key, kind in kinds.items() if "." not in key})


def read_back(table: Table, record: Row) -> None:
    """Encode a record, read the row, and find each copied value again; what was requested is the same as ever."""
    found = row(table, record)
    assert list(found) == [column.name for column in table.columns]
    for column in table.columns:
        if isinstance(column.source, str) and "." not in column.source:
            assert found[column.name] == record.get(column.source), column.name
        elif isinstance(column.source, FromContext):
            assert found[column.name] is None or column.source.path
        elif isinstance(column.source, RowNumber):
            assert found[column.name] == 1
        elif isinstance(column.source, Unmapped):
            assert found[column.name] is None


def without(record: Row, *keys: str) -> Row:
    """A record without the keys that must be objects of a known shape."""
    return {key: value for key, value in record.items() if key not in keys}


@settings(derandomize=True, max_examples=60, deadline=None)
@given(any_record(ALLOCATION))
def test_allocations_read_back_equal(record: Row) -> None:
    """Whatever numbers, texts and objects an allocation has, its row has them too."""
    read_back(ALLOCATION, without(record, "gpuAllocation", "properties"))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(any_record(ASSETS))
def test_assets_read_back_equal(record: Row) -> None:
    """Whatever numbers, texts and objects an asset has, its row has them too."""
    read_back(ASSETS, without(record, "labels"))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(any_record(SYNC_RUNS))
def test_outcomes_read_back_equal(record: Row) -> None:
    """The rows of the run log read back like all others."""
    read_back(SYNC_RUNS, record)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.dictionaries(texts, texts), reals)
def test_samples_read_back_equal(labels: dict[str, str], value: float) -> None:
    """Labels of any name and value, and any number, are unchanged by a metrics row."""
    found = row(METRICS, {"name": "m", "labels": labels, "value": value})
    assert (found["Labels"], found["MetricValue"], found["Unmapped"]) == (labels, value, None)
    assert found["Pod"] == labels.get("pod")


def main(write: Callable[[Table], bytes] = golden) -> None:
    """Write the golden files."""
    for table in (ALLOCATION, ASSETS, METRICS):
        (GOLDEN / f"{table.dataset}.ndjson").write_bytes(write(table))


if __name__ == "__main__":
    main()
