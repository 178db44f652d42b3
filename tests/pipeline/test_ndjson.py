"""Rows of a dry run never take the place of others, nor come to stand among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from opencost_kusto.errors import UsageError
from opencost_kusto.pipeline.ndjson import LineWriter
from opencost_kusto.schema.tables import ALLOCATION, ASSETS


def test_a_file_that_is_there_is_neither_replaced_nor_added_to(tmp_path: Path) -> None:
    """A second dry run into the same folder is refused before it begins, and names the file that is in the way."""
    with LineWriter(str(tmp_path), [ALLOCATION]) as write:
        write(ALLOCATION, b"first\n")
    with pytest.raises(UsageError, match=r"OpenCostAllocation\.ndjson is there already"):
        LineWriter(str(tmp_path), [ALLOCATION]).__enter__()
    with LineWriter(str(tmp_path), [ASSETS]) as write:
        write(ASSETS, b"others\n")
    assert (tmp_path / "OpenCostAllocation.ndjson").read_bytes() == b"first\n"


def test_a_file_that_comes_in_the_meantime_stays(tmp_path: Path) -> None:
    """What another run writes after this one has begun is not replaced either."""
    with LineWriter(str(tmp_path), [ALLOCATION]) as write:
        (tmp_path / "OpenCostAllocation.ndjson").write_bytes(b"other\n")
        with pytest.raises(UsageError, match="File exists"):
            write(ALLOCATION, b"ours\n")
    assert (tmp_path / "OpenCostAllocation.ndjson").read_bytes() == b"other\n"
