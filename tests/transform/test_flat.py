"""Rows are cut from their text as their table holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest

from opencost_kusto.errors import ContentError, OpenCostKustoError
from opencost_kusto.extract import responses
from opencost_kusto.extract.record import RecordDecoder
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.decoder import Decoded
from opencost_kusto.schema.tables import ALLOCATION, ASSETS
from opencost_kusto.transform.flat import FlatRows, flatten, flattener
from opencost_kusto.transform.rows import Encoder, Write, joined
from tests.bench.pipelines import ORIGIN
from tests.support.recordings import VERSIONS, names, recording


def lines(table: Table, *files: str) -> Iterator[bytes]:
    """The rows of recorded responses."""
    for version, file in (name.split("/") for name in files):
        records = responses.records([recording(version, file)], table.records_at or "")
        yield from Encoder(table, ORIGIN).lines(records)


@pytest.mark.parametrize(
    ("table", "files"),
    [
        (ALLOCATION, ("1.111/allocation_hour.json", "1.112/allocation_hour.json", "1.119/allocation_hour.json")),
        (ALLOCATION, ("1.112/allocation_hour_idle.json", "1.112/allocation_day_namespace.json")),
        (ASSETS, ("1.112/assets_day.json",)),
    ],
    ids=["containers", "idle", "assets"],
)
def test_a_row_is_cut_as_it_is_decoded(table: Table, files: tuple[str, ...]) -> None:
    """Every column of every recorded row, in the same order and with the same value."""
    flat, rows = flattener(table), list(lines(table, *files))
    for line in rows:
        cut = flat(line)
        assert list(json.loads(cut).items()) == list(flatten(table, line).items())
        assert cut.count(b"\n") == 1
    assert rows


@pytest.mark.parametrize(
    "record",
    [
        b'{"name":"a","properties":{"namespace":"\\u00e4\\n%","labels":{"x":"y"}},"totalCost":1e-5}',
        b'{"name":"a"}',
        b'{"name":"a","properties":null,"gpuAllocation":null}',
        b'{"name":"a","properties":"none","totalCost":2}',
        b'{"name":"a","properties":[],"totalCost":2}',
        b'{\n "name": "a",\n "properties": {\n "labels": {"x": "y"}}}',
        b'{"name":"a","name":"b","properties":{"pod":"p"},"properties":{"node":"n"}}',
    ],
)
def test_odd_rows_are_what_they_are_decoded(record: bytes) -> None:
    """Escapes, missing objects, objects that are none, line breaks, and duplicate members."""
    line = b'{"Source":"s","Record":%b,"RowNumber":1}\n' % record
    cut = flattener(ALLOCATION)(line)
    assert json.loads(cut) == json.loads(json.dumps(flatten(ALLOCATION, line)))
    assert cut.count(b"\n") == 1


RECORDED = [
    (table, version, name)
    for table in (ALLOCATION, ASSETS)
    for version in VERSIONS
    for name in names(version)
    if name.startswith(f"{table.dataset}_") and name.endswith(".json")
]
# Records as OpenCost writes them, with null or nothing where there are values otherwise.
ODD = [
    b'"a":{"name":"a","properties":null,"totalCost":1}',
    b'"b":{"name":"b","properties":{},"gpuAllocation":null}',
    b'"c":{"name":"c","gpuAllocation":{},"rawAllocationOnly":{}}',
    b'"d":{"name":"d","gpuAllocation":{"isGPUShared":null},"rawAllocationOnly":{"cpuCoreUsageMax":null}}',
    b'"e":{"name":"e","gpuAllocation":{"isGPUShared":false,"gpuUsageAverage":0.5},"pvs":null,"lbAllocations":{}}',
    b'"f":{"name":"f","properties":{"services":["y","x"],"labels":null,"annotations":{}},"minutes":60}',
    b'"g":{"name":"g","minutes":60.000,"totalCost":1e2}',
    b'"h":{"name":"h","news":{"x":1},"properties":{"news":2}}',
    '"i":{"name":"é","properties":{"labels":{"a":"\\u00e9 ü"},"pod":""},"totalCost":-0.00001}'.encode(),
]


def exported(table: Table, body: bytes, write: Write, *, together: bool = True) -> list[bytes]:
    """The lines of a response, up to the record that is refused, if one is."""
    decoder, lines = RecordDecoder(table), list[bytes]()
    given = responses.records([body], table.records_at or "", decoder.decode_sets if together else None)
    read = (one if isinstance(one, Decoded) else decoder.decode(one)[1] for one in given)
    with suppress(OpenCostKustoError):
        lines.extend(Encoder(table, ORIGIN, write).lines(read))
    return lines


def cut(table: Table) -> Write:
    """Writes each row as it is cut from its text."""
    return lambda begin, record, rest: flattener(table)(joined(begin, record, rest))


@pytest.mark.parametrize(("table", "version", "name"), RECORDED)
def test_what_was_found_is_written_as_the_text_of_a_row_has_it(table: Table, version: str, name: str) -> None:
    """Every line of every recorded response, byte for byte."""
    body = recording(version, name)
    for together in (True, False):
        assert exported(table, body, FlatRows(table), together=together) == exported(
            table, body, cut(table), together=together
        )


@pytest.mark.parametrize("odd", [*ODD, b",".join(ODD)], ids=range(len(ODD) + 1))
def test_an_odd_record_is_written_as_the_text_of_its_row_has_it(odd: bytes) -> None:
    """What is null, missing or empty, in another order or another spelling, among other records and alone."""
    usual = b",".join(b'"%d":{"name":"%d","window":null,"totalCost":1.5}' % (number, number) for number in range(40))
    body = b'{"code":200,"data":[{%b},{%b,%b}]}' % (odd, odd, usual)
    found = exported(ALLOCATION, body, FlatRows(ALLOCATION))
    assert found == exported(ALLOCATION, body, cut(ALLOCATION))
    assert len(found) == 40 + 2 * odd.count(b'{"name"')


def test_what_is_no_row_is_refused() -> None:
    """A text that cannot be decoded raises as it does where rows are decoded."""
    with pytest.raises(ContentError):
        flattener(ALLOCATION)(b'{"Record":[1e999\n\n')
