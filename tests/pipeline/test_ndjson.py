"""Rows of a dry run never replace others, and are never added to them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from opencost_kusto.emulator import Reply
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.pipeline.export import export
from opencost_kusto.pipeline.ndjson import LineWriter, files_in
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.schema.tables import ALLOCATION, ASSETS
from opencost_kusto.window import Window
from tests.support.recorded import OpenCostEmulator


def test_an_existing_file_is_neither_replaced_nor_added_to(tmp_path: Path) -> None:
    """A second dry run into the same folder is refused before it begins, and names the existing file."""
    with LineWriter(files_in(tmp_path, [ALLOCATION])) as write:
        write(ALLOCATION, b"first\n")
    with pytest.raises(UsageError, match=r"OpenCostAllocation\.ndjson already exists"):
        LineWriter(files_in(tmp_path, [ALLOCATION])).__enter__()
    with LineWriter(files_in(tmp_path, [ASSETS])) as write:
        write(ASSETS, b"others\n")
    assert (tmp_path / "OpenCostAllocation.ndjson").read_bytes() == b"first\n"


def test_a_file_that_another_run_writes_is_kept(tmp_path: Path) -> None:
    """What another run writes after this one has begun is not replaced either."""
    writer = LineWriter(files_in(tmp_path, [ALLOCATION]))
    writer.__enter__()(ALLOCATION, b"ours\n")
    (tmp_path / "OpenCostAllocation.ndjson").write_bytes(b"other\n")
    with pytest.raises(UsageError, match="already exists"):
        writer.__exit__(None)
    assert (tmp_path / "OpenCostAllocation.ndjson").read_bytes() == b"other\n"


def test_a_file_has_its_name_once_it_is_complete(tmp_path: Path) -> None:
    """Until the end, or where an error ends it, the rows are in .part; the next run overwrites that."""
    final, part = tmp_path / "OpenCostAllocation.ndjson", tmp_path / "OpenCostAllocation.ndjson.part"
    writer = LineWriter(files_in(tmp_path, [ALLOCATION]))
    writer.__enter__()(ALLOCATION, b"half\n")
    assert (part.exists(), final.exists()) == (True, False)
    writer.__exit__(KeyboardInterrupt)
    assert (part.read_bytes(), final.exists()) == (b"half\n", False)
    with LineWriter(files_in(tmp_path, [ALLOCATION])) as write:
        write(ALLOCATION, b"whole\n")
    assert (final.read_bytes(), part.exists()) == (b"whole\n", False)


def test_no_part_of_a_response_is_written() -> None:
    """A response that breaks off in the middle leaves no row of it, and the batches before it are kept."""
    lines: list[bytes] = []

    def responder(path: str, _: object) -> Reply | None:
        # The last line of the exposition has no value.
        return Reply(200, {"Content-Type": "text/plain"}, b"a 1\nb 2\nc\n") if path == "/metrics" else None

    hour = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
    with OpenCostEmulator(responder=responder) as servers, OpenCost(servers.url) as opencost:
        request = SyncRequest(hour, None, ("assets", "metrics"))
        report = export(opencost, request, lambda _, line: lines.append(line))
    assert [str(one.outcome) for one in report.results] == ["written", "failed"]
    assert len(lines) == 19
