"""Queued ingestion: from the SDK's message to rows, or to a failure that shows."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from azure.kusto.data.data_format import DataFormat
from azure.kusto.data.exceptions import KustoApiError

from opencost_kusto.emulator import KustoEmulator, MemoryStorage
from tests.emulator.conftest import MAPPING, ROW, TABLE, Client, lines

# https://learn.microsoft.com/azure/data-explorer/error-codes, "Other non errors", as it was until 2022.
SKIPPED = ("Costs", "Skipped_IngestByTagAlreadyExists", "Permanent")


def test_a_row_is_returned_as_it_was_ingested(costs: Client) -> None:
    """Every type passes from JSON through the mapping and back through the SDK."""
    costs.land([ROW])
    [row] = costs.query("Costs | extend A = tostring(Labels.a)")
    assert row.pop("Timestamp") == datetime(2026, 11, 23, 10, tzinfo=UTC)
    assert {name: row[name] for name in ("Name", "Cost", "Count", "Spot", "A")} == {
        **{"Name": "web", "Cost": 0.25, "Count": 3, "Spot": True, "A": "b"}
    }


@pytest.mark.parametrize("row", [{}, dict.fromkeys(ROW), {"Nested": {"Name": "other"}}])
def test_what_is_absent_or_null_is_null(costs: Client, row: dict[str, Any]) -> None:
    """A path that leads nowhere and a JSON null are both null."""
    costs.land([row])
    [found] = costs.query("Costs | extend NoLabels = isnull(Labels), NoName = isempty(Name)")
    assert [found[name] for name in ("Timestamp", "Cost", "Count", "Spot")] == [None] * 4
    assert (found["NoLabels"], found["NoName"]) == (True, True)


def test_a_value_of_another_type_is_null(costs: Client) -> None:
    """What cannot be the column's type is null, and the rest of the row lands."""
    costs.land([{"Timestamp": "soon", "Name": {"deep": 1}, "Cost": "much", "Count": 1.5, "Spot": "perhaps"}])
    [found] = costs.query("Costs")
    assert [found[name] for name in ("Timestamp", "Cost", "Count", "Spot")] == [None] * 4
    assert found["Name"] == '{"deep":1}'


def test_times_are_utc_whatever_their_offset(costs: Client) -> None:
    """An offset is applied; seven decimals are understood."""
    costs.land([{"Timestamp": "2026-11-23T10:00:00+01:00"}, {"Timestamp": "2026-11-23T10:00:00.1234567Z"}])
    found = [row["Timestamp"] for row in costs.query("Costs | order by Timestamp asc")]
    assert found == [datetime(2026, 11, 23, 9, tzinfo=UTC), datetime(2026, 11, 23, 10, 0, 0, 123456, UTC)]


def test_paths_reach_into_records(costs: Client) -> None:
    """A mapping may use dots, brackets and indexes."""
    paths = {"Name": "$.a.b", "Cost": "$['x.y']", "Count": "$.list[1]"}
    entries = [{"column": column, "Properties": {"Path": path}} for column, path in paths.items()]
    costs.command(f".create-or-alter table Costs ingestion json mapping 'deep' ```{json.dumps(entries)}```")
    costs.send(lines([{"a": {"b": "n"}, "x.y": 0.5, "list": [1, 2]}]), mapping="deep")
    costs.emulator.wait_idle()
    assert costs.query("Costs | project Name, Cost, Count") == [{"Name": "n", "Cost": 0.5, "Count": 2}]


def test_rows_are_seen_only_after_the_message_was_read(costs: Client) -> None:
    """With ingestion paused, an upload and a queue message change nothing."""
    costs.emulator.pause()
    costs.send(lines([ROW]))
    assert costs.count() == 0
    with pytest.raises(TimeoutError):
        costs.emulator.wait_idle(0.05)
    costs.emulator.resume()
    costs.emulator.wait_idle()
    assert costs.count() == 1


def test_rows_are_visible_after_the_latency() -> None:
    """The batching time passes between message and rows, for all waiting messages at once."""
    with KustoEmulator(latency=2) as emulator:
        client = Client(emulator)
        client.command(TABLE)
        client.command(MAPPING)
        begun = time.monotonic()
        for _ in range(5):
            client.send(lines([ROW]))
        assert client.count() == 0
        emulator.wait_idle()
        assert time.monotonic() - begun > 2
        assert client.count() == 5
        client.close()


def test_a_tag_lands_once_in_its_table(costs: Client) -> None:
    """A second file with the same tag is skipped, which is listed as a failure; another table is another matter."""
    costs.command(".create table Other based-on Costs")
    costs.command(MAPPING.replace("table Costs", "table Other"))
    for _ in range(2):
        costs.land([ROW], tag="window/p0of1")
    costs.send(lines([ROW]), table="Other", tag="window/p0of1")
    costs.land([ROW], tag="window/p1of2")
    assert (costs.count(), costs.count("Other")) == (2, 1)
    assert [(one["Table"], one["ErrorCode"], one["FailureKind"]) for one in costs.failures()] == [SKIPPED]


def test_a_tag_is_free_again_when_its_extent_is_dropped(costs: Client) -> None:
    """Only the tags of living extents guard."""
    costs.land([ROW], tag="again")
    costs.command(".drop extents <| .show table Costs extents where tags has 'ingest-by:again'")
    costs.land([ROW], tag="again")
    assert costs.count() == 1


def test_racing_senders_of_one_tag_land_once(costs: Client) -> None:
    """Eight machines that send one batch at the same moment make one extent."""
    senders = [threading.Thread(target=costs.send, args=(lines([ROW] * 50),), kwargs={"tag": "race"}) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    costs.emulator.wait_idle()
    assert costs.count() == 50
    assert len(costs.command(".show table Costs extents")) == 1


@pytest.mark.parametrize(
    "poison", [b'{"Name": "cut', b"[1, 2]", b'{"Cost": NaN}', b'"text"', b'{"Name": "a"} trailing', b"\xff\xfe"]
)
def test_a_bad_record_fails_the_file(costs: Client, poison: bytes) -> None:
    """One malformed record among good ones, and no row lands; the failure names the blob, which has the source's id."""
    source = costs.send(lines([ROW, ROW]) + b"\n" + poison)
    costs.emulator.wait_idle()
    [failure] = costs.command(f'.show ingestion failures | where IngestionSourcePath contains "{source}"')
    assert failure["ErrorCode"] == "BadRequest_NoRecordsOrWrongFormat"
    assert (failure["Table"], failure["FailureKind"], failure["ShouldRetry"]) == ("Costs", "Permanent", False)
    assert costs.count() == 0


def test_json_leaves_bad_lines_out_in_silence(costs: Client) -> None:
    """The `json` format drops what `multijson` would refuse, and must not be used."""
    costs.send(lines([ROW]) + b'\n{"Name": "cut\n' + lines([ROW]), kind=DataFormat.JSON)
    costs.emulator.wait_idle()
    assert (costs.count(), costs.failures()) == (2, [])


@pytest.mark.parametrize("data", [json.dumps([ROW, ROW]), json.dumps(ROW, indent=2) * 2, json.dumps(ROW) * 2])
def test_multijson_takes_records_in_any_layout(costs: Client, data: str) -> None:
    """An array, indented records and records without a break between them are all two records."""
    costs.send(data.encode())
    costs.emulator.wait_idle()
    assert (costs.count(), costs.failures()) == (2, [])


@pytest.mark.parametrize("text", ["grün \u2028 \x85 \u0001", 'quote " and \\ back', "🜁"])
def test_any_text_survives(costs: Client, text: str) -> None:
    """Line separators that are legal inside JSON strings, quotes and planes beyond the first are returned unchanged."""
    costs.send(json.dumps({"Name": text}, ensure_ascii=False).encode())
    costs.emulator.wait_idle()
    assert costs.query("Costs | project Name") == [{"Name": text}]


def test_what_is_not_a_message_is_discarded(costs: Client) -> None:
    """A poisoned queue message stops nothing."""
    url = costs.emulator.storage.queues()[0].replace("?", "/messages?")
    for text in ("not base64", "bm90IGpzb24=", "e30="):
        body = f"<QueueMessage><MessageText>{text}</MessageText></QueueMessage>"
        assert requests.post(url, data=body, timeout=10).status_code == 201
    costs.land([ROW])
    assert (costs.count(), costs.failures()) == (1, [])


def test_a_missing_blob_fails(costs: Client) -> None:
    """A message whose blob is not there is a failure, not a silence."""
    costs.emulator.pause()
    costs.send(lines([ROW]))
    assert isinstance(costs.emulator.storage, MemoryStorage)
    costs.emulator.storage.blobs.clear()
    costs.emulator.resume()
    costs.emulator.wait_idle()
    assert [failure["ErrorCode"] for failure in costs.failures()] == ["Download_SourceNotFound"]


def test_a_missing_table_fails(costs: Client) -> None:
    """The failure says which table."""
    costs.send(lines([ROW]), table="Absent")
    costs.emulator.wait_idle()
    [failure] = costs.failures()
    assert (failure["ErrorCode"], failure["Table"]) == ("BadRequest_TableNotExist", "Absent")


def test_a_missing_mapping_fails(costs: Client) -> None:
    """The failure says which mapping."""
    costs.send(lines([ROW]), mapping="absent")
    costs.emulator.wait_idle()
    [failure] = costs.failures()
    assert failure["ErrorCode"] == "BadRequest_MappingReferenceWasNotFound"
    assert "absent" in failure["Details"]


def test_a_mapping_to_a_missing_column_fails(costs: Client) -> None:
    """Without a datatype no column is added, and the file is refused."""
    costs.command(
        '.create-or-alter table Costs ingestion json mapping "m" \'[{"column":"No","Properties":{"Path":"$.No"}}]\''
    )
    costs.send(lines([ROW]), mapping="m")
    costs.emulator.wait_idle()
    assert [failure["ErrorCode"] for failure in costs.failures()] == ["BadRequest_InvalidMapping"]


def test_a_file_without_a_record_fails(costs: Client) -> None:
    """An empty file is not a success."""
    costs.send(b"")
    costs.send(b"\n")
    costs.emulator.wait_idle()
    codes = [failure["ErrorCode"] for failure in costs.failures()]
    assert codes == ["BadRequest_EmptyBlob", "BadRequest_NoRecordsOrWrongFormat"]


def test_five_thousand_rows_land_quickly(costs: Client) -> None:
    """A large part is loaded in bulk."""
    begun = time.monotonic()
    costs.land([ROW] * 5000)
    assert costs.count() == 5000
    assert time.monotonic() - begun < 3


def test_rows_are_ingested_inline_at_once(costs: Client) -> None:
    """`.ingest inline` takes CSV by position, JSON by a mapping or names; it returns once the rows are visible."""
    costs.command('.ingest inline into table Costs <|\n2026-11-23,"a, ""b""",0.5,3,true,"{""k"": 1}"\n2026-11-24,c')
    properties = "with (format='multijson', ingestionMappingReference='Costs_mapping', tags='[\"drop-by:x\"]')"
    [made] = costs.command(f".ingest inline into table Costs {properties} <| {json.dumps({**ROW, 'Name': 'json'})}")
    costs.command(f".ingest inline into table Costs with (format='json') <| {json.dumps({'Name': 'by name'})}")
    found = costs.query("Costs | order by Name asc | project Name, Cost, K = tolong(Labels.k)")
    assert [tuple(row.values()) for row in found] == [
        ('a, "b"', 0.5, 1),
        ("by name", None, None),
        ("c", None, None),
        ("json", 0.25, None),
    ]
    [extent] = costs.command(f".show table Costs extents ({made['ExtentId']})")
    assert extent["Tags"] == "drop-by:x"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("Costs with (format='multijson') <| {", "malformed"),
        ("Costs with (format='multijson', ingestionMappingReference='no') <| {}", "'no'"),
        ("Costs with (format='parquet') <| x", "parquet"),
        ("Nowhere <| x", "'Nowhere'"),
    ],
)
def test_inline_data_that_cannot_be_read_is_an_error(costs: Client, command: str, message: str) -> None:
    """Unlike queued ingestion, the command itself fails."""
    with pytest.raises(KustoApiError, match=message):
        costs.command(f".ingest inline into table {command}")
    assert (costs.count(), costs.failures()) == (0, [])


@pytest.mark.parametrize(("size", "kept"), [(1 << 19, True), ((1 << 20) + 1, False)])
def test_a_dynamic_value_beyond_a_mebibyte_is_null(costs: Client, size: int, kept: bool) -> None:
    """https://learn.microsoft.com/kusto/query/scalar-data-types/dynamic: the row lands, and the value does not."""
    costs.land([{**ROW, "Labels": {"a": "x" * size}}])
    assert costs.query("Costs | project Name, Kept = isnotnull(Labels)") == [{"Name": "web", "Kept": kept}]
    assert costs.failures() == []
