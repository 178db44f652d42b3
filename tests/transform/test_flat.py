"""Rows are cut from their text as their table holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from opencost_kusto.errors import ContentError
from opencost_kusto.extract import responses
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.tables import ALLOCATION, ASSETS
from opencost_kusto.transform.flat import flattener
from opencost_kusto.transform.rows import Encoder, flatten
from tests.bench.pipelines import ORIGIN
from tests.support.recordings import recording


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


def test_what_is_no_row_is_refused() -> None:
    """A text that cannot be decoded raises as it does where rows are decoded."""
    with pytest.raises(ContentError):
        flattener(ALLOCATION)(b'{"Record":[1e999\n\n')
