"""The type of a table's records takes their order of keys, and then writes them as they were sent."""

from __future__ import annotations

import msgspec
import pytest

from opencost_kusto.extract import responses
from opencost_kusto.schema.shape import raw_paths, reordered, struct_of, tree
from opencost_kusto.schema.tables import ALLOCATION
from tests.support.recordings import VERSIONS, names, recording


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_allocations_encode_to_their_text(version: str) -> None:
    """Of every recorded hour, so that no record of OpenCost is read twice to find a duplicate key."""
    files = [name for name in names(version) if name.startswith(("allocation_hour.", "allocation_hour_idle."))]
    found = [record for name in files for record in responses.records([recording(version, name)])]
    root = tree(ALLOCATION, spelled=True)
    for record in found:
        root = reordered(root, msgspec.json.decode(record))
    struct = struct_of("Record", root)
    assert [msgspec.json.encode(msgspec.json.decode(record, type=struct)) for record in found] == found
    assert all(reordered(root, msgspec.json.decode(record)) is root for record in found)


def test_an_order_is_merged_with_others() -> None:
    """Keys stand as in the latest record, at any depth; what a column keeps has further keys, and nothing else has."""
    declared = tree(ALLOCATION, spelled=True)
    root = reordered(declared, {"end": "", "start": "", "gpuAllocation": {"x": 1, "isGPUShared": None}, "other": 1})
    assert declared == tree(ALLOCATION, spelled=True) != root
    order = list(root.below)
    assert order.index("end") < order.index("start") < order.index("gpuAllocation")
    assert "other" not in order
    inner = list(root.below["gpuAllocation"].below)
    assert inner.index("x") < inner.index("isGPUShared")
    assert "gpuAllocation.x" in raw_paths(root)
    assert reordered(root, {"end": "", "gpuAllocation": {"x": 2}}) is root
    assert list(reordered(root, {"start": "", "end": ""}).below) != order
    assert sorted(reordered(root, {"start": "", "end": ""}).below) == sorted(order)
