"""The benchmark compares like with like, and its gates hold."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from opencost_kusto.extract import responses
from opencost_kusto.schema.columns import RowNumber, Total
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.transform.flat import flatten
from opencost_kusto.transform.rows import Encoder
from tests.bench import bench
from tests.bench.functions import GATED, names
from tests.bench.payloads import body, record_texts
from tests.bench.pipelines import ORIGIN, PIPELINES, plain_full, plain_row, requested_columns
from tests.bench.references import OWN

ROWS = 100


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server of responses with a hundred rows."""
    with bench.payload_server(ROWS) as url:
        yield f"{url}/{ROWS}"


@pytest.mark.parametrize("name", ["ours", "plain", "plain, our rows", "floor"])
def test_every_pipeline_makes_every_row(server: str, tmp_path: Path, name: str) -> None:
    """All pipelines write the same number of lines for one response."""
    pipeline, level, _ = PIPELINES[name]
    assert pipeline(server, tmp_path, level) == ROWS
    lines = [line for path in tmp_path.rglob("*.gz") for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert len(lines) == ROWS


def test_the_plain_reference_writes_our_rows() -> None:
    """The reference makes the columns our mapping makes, with the same values, so that the tables hold the same."""
    encoder = Encoder(ALLOCATION, ORIGIN)
    for record, line in zip(record_texts(ROWS), encoder.lines(record_texts(ROWS)), strict=True):
        proof = dict.fromkeys(one.name for one in ALLOCATION.columns if isinstance(one.source, RowNumber | Total))
        complete = json.loads(line)
        assert plain_row(json.loads(record), requested_columns()) | proof == flatten(ALLOCATION, line) | proof
        assert plain_full(json.loads(record), requested_columns()) | proof == complete | proof


def test_the_payloads_are_complete_responses() -> None:
    """A generated response decodes, has as many records, and its names ascend as in OpenCost's responses."""
    made = body(ROWS)
    decoded: Any = json.loads(made)
    assert [len(members) for members in decoded["data"]] == [ROWS]
    found = list(responses.records([made]))
    assert found == record_texts(ROWS)
    names = [msgspec.json.decode(record)["name"] for record in found]
    assert names == sorted(set(names))
    assert list(decoded["data"][0]) == names


@pytest.mark.bench
def test_the_gates_hold() -> None:
    """What the issue about speed agreed holds on this machine."""
    assert bench.main(["--rows", "10000", "--gates"]) == 0


def test_every_gate_is_of_a_function() -> None:
    """What has a gate or passes of its own is a function that ships."""
    assert {*GATED, *OWN} <= set(names())
