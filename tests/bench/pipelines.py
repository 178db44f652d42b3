"""The pipelines that are compared, each from the socket to gzip'd part files, and a process that runs one of them.

`ours` is the package's own. `plain` is what one writes without thinking of speed: the columns of the table by requests,
json, a dict for each row and gzip. `plain, our rows` is that with rows like ours, which hold the record whole and leave
the columns to the mapping; it shows how much of the difference is theirs. `floor` is the least that streaming can do:
read, split into raw records, gzip.
"""

from __future__ import annotations

import gzip
import json
import resource
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import requests

from opencost_kusto.batch import Batch, BatchContext, Run, Source
from opencost_kusto.extract import responses
from opencost_kusto.extract.client import OpenCost, decoded
from opencost_kusto.load.policy import GZIP_LEVEL
from opencost_kusto.load.spool import Spool
from opencost_kusto.schema.columns import RECORD
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.transform.rows import Encoder
from opencost_kusto.window import Window

_SOURCE = Source("bench")
_RUN = Run("bench", datetime(2026, 11, 23, 12, tzinfo=UTC), "0")
_WINDOW = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
BATCH = Batch(ALLOCATION, _SOURCE.name, _WINDOW)
ORIGIN = BatchContext(_RUN, _SOURCE, BATCH)


class Measured(msgspec.Struct):
    """One run: seconds by the clock and of the processor, rows, bytes of files, and the process's peak memory in MB."""

    seconds: float
    cpu: float
    rows: int
    size: int
    peak: float


def ours(url: str, folder: Path, level: int) -> int:
    """The package: records as they stream, encoded and spooled; the number of rows."""
    encoder = Encoder(ALLOCATION, ORIGIN)
    with OpenCost(url) as opencost:
        Spool(folder, level=level).write(BATCH, encoder.lines(decoded(opencost, BATCH, lambda *_: None)))
    return encoder.rows


def plain(url: str, folder: Path, level: int) -> int:
    """The plain reference: the complete response as dicts, a dict for each row; the number of rows."""
    return _plain(url, folder, level, plain_row)


def plain_our_rows(url: str, folder: Path, level: int) -> int:
    """The same with rows like ours."""
    return _plain(url, folder, level, plain_full)


def _plain(url: str, folder: Path, level: int, row: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]) -> int:
    reply = requests.get(f"{url}/allocation", params={"window": str(_WINDOW)}, timeout=600)
    requested = requested_columns()
    count = 0
    with gzip.open(folder / "part-0.ndjson.gz", "wt", compresslevel=level, encoding="utf-8") as file:
        for members in reply.json()["data"]:
            for record in members.values():
                file.write(json.dumps(row(record, requested)) + "\n")
                count += 1
    return count


def floor(url: str, folder: Path, level: int) -> int:
    """The least work: the records as OpenCost sent them, compressed; the number of records."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, 31)
    count = 0
    with (
        requests.get(f"{url}/allocation", params={"window": str(_WINDOW)}, stream=True, timeout=600) as reply,
        (folder / "part-0.ndjson.gz").open("wb") as file,
    ):
        for record in responses.records(reply.iter_content(1 << 16)):
            file.write(compressor.compress(record + b"\n"))
            count += 1
        file.write(compressor.flush())
    return count


def requested_columns() -> dict[str, Any]:
    """What every row of the batch says alike."""
    return {
        "Timestamp": "2026-11-23T10:00:00Z",
        "CollectionTime": "2026-11-23T12:00:00Z",
        "Source": _SOURCE.name,
        "WindowStart": "2026-11-23T10:00:00Z",
        "WindowEnd": "2026-11-23T11:00:00Z",
        "WindowMinutes": BATCH.window.minutes,
        "RunId": _RUN.id,
        "ScenarioName": None,
        "Metadata": {},
        "Aggregate": BATCH.aggregate,
        "BatchId": BATCH.id,
        "IncludeIdle": False,
        "ShareIdle": False,
        "Cluster": _SOURCE.name,
    }


def plain_full(record: dict[str, Any], requested: dict[str, Any]) -> dict[str, Any]:
    """A row like ours: the record as it is, what was requested, and the few columns that are derived."""
    properties = record.get("properties") or {}
    gpu = record.get("gpuAllocation") or {}
    if properties.get("services"):
        properties["services"].sort()
    derived = {
        "Start": record.get("start"),
        "End": record.get("end"),
        "GpuRequestAverage": record.get("gpuRequestAverage", gpu.get("gpuRequestAverage")),
        "GpuUsageAverage": record.get("gpuUsageAverage", gpu.get("gpuUsageAverage")),
    }
    shared = {name: value for name, value in (requested | derived).items() if value is not None}
    return {**shared, RECORD: record}


def plain_row(record: dict[str, Any], requested: dict[str, Any]) -> dict[str, Any]:
    """The columns of OpenCostAllocation, written out by hand."""
    properties = record.get("properties") or {}
    raw = record.get("rawAllocationOnly") or {}
    gpu = record.get("gpuAllocation") or {}
    services = sorted(properties["services"]) if properties.get("services") else None
    return {
        "Timestamp": requested["Timestamp"],
        "CollectionTime": requested["CollectionTime"],
        "Source": requested["Source"],
        "AllocationName": record.get("name"),
        "WindowStart": requested["WindowStart"],
        "WindowEnd": requested["WindowEnd"],
        "WindowMinutes": requested["WindowMinutes"],
        "Namespace": properties.get("namespace"),
        "Node": properties.get("node"),
        "Container": properties.get("container"),
        "Pod": properties.get("pod"),
        "Controller": properties.get("controller"),
        "ControllerKind": properties.get("controllerKind"),
        "CpuCores": record.get("cpuCores"),
        "CpuCoreHours": record.get("cpuCoreHours"),
        "CpuCost": record.get("cpuCost"),
        "CpuEfficiency": record.get("cpuEfficiency"),
        "RamBytes": record.get("ramBytes"),
        "RamByteHours": record.get("ramByteHours"),
        "RamCost": record.get("ramCost"),
        "RamEfficiency": record.get("ramEfficiency"),
        "GpuCount": record.get("gpuCount"),
        "GpuHours": record.get("gpuHours"),
        "GpuCost": record.get("gpuCost"),
        "NetworkCost": record.get("networkCost"),
        "LoadBalancerCost": record.get("loadBalancerCost"),
        "PvCost": record.get("pvCost"),
        "TotalCost": record.get("totalCost"),
        "TotalEfficiency": record.get("totalEfficiency"),
        "ExternalCost": record.get("externalCost"),
        "SharedCost": record.get("sharedCost"),
        "Properties": {**properties, "services": services} if services else properties,
        "RunId": requested["RunId"],
        "ScenarioName": requested["ScenarioName"],
        "Metadata": requested["Metadata"],
        "Cluster": requested["Cluster"],
        "Aggregate": requested["Aggregate"],
        "BatchId": requested["BatchId"],
        "IncludeIdle": requested["IncludeIdle"],
        "ShareIdle": requested["ShareIdle"],
        "Start": record.get("start"),
        "End": record.get("end"),
        "Minutes": record.get("minutes"),
        "ProviderID": properties.get("providerID"),
        "Services": services,
        "Labels": properties.get("labels"),
        "Annotations": properties.get("annotations"),
        "NamespaceLabels": properties.get("namespaceLabels"),
        "NamespaceAnnotations": properties.get("namespaceAnnotations"),
        "CpuCoreRequestAverage": record.get("cpuCoreRequestAverage"),
        "CpuCoreLimitAverage": record.get("cpuCoreLimitAverage"),
        "CpuCoreUsageAverage": record.get("cpuCoreUsageAverage"),
        "CpuCoreUsageMax": raw.get("cpuCoreUsageMax"),
        "CpuCostAdjustment": record.get("cpuCostAdjustment"),
        "CpuCostIdle": record.get("cpuCostIdle"),
        "RamByteRequestAverage": record.get("ramByteRequestAverage"),
        "RamByteLimitAverage": record.get("ramByteLimitAverage"),
        "RamByteUsageAverage": record.get("ramByteUsageAverage"),
        "RamByteUsageMax": raw.get("ramByteUsageMax"),
        "RamCostAdjustment": record.get("ramCostAdjustment"),
        "RamCostIdle": record.get("ramCostIdle"),
        "GpuRequestAverage": record.get("gpuRequestAverage", gpu.get("gpuRequestAverage")),
        "GpuUsageAverage": record.get("gpuUsageAverage", gpu.get("gpuUsageAverage")),
        "GpuUsageMax": raw.get("gpuUsageMax"),
        "GpuShared": gpu.get("isGPUShared"),
        "GpuAllocation": record.get("gpuAllocation"),
        "GpuEfficiency": record.get("gpuEfficiency"),
        "GpuCostAdjustment": record.get("gpuCostAdjustment"),
        "GpuCostIdle": record.get("gpuCostIdle"),
        "NetworkTransferBytes": record.get("networkTransferBytes"),
        "NetworkReceiveBytes": record.get("networkReceiveBytes"),
        "NetworkCrossZoneCost": record.get("networkCrossZoneCost"),
        "NetworkCrossRegionCost": record.get("networkCrossRegionCost"),
        "NetworkInternetCost": record.get("networkInternetCost"),
        "NetworkCostAdjustment": record.get("networkCostAdjustment"),
        "LoadBalancerCostAdjustment": record.get("loadBalancerCostAdjustment"),
        "LbAllocations": record.get("lbAllocations"),
        "PvBytes": record.get("pvBytes"),
        "PvByteHours": record.get("pvByteHours"),
        "PvCostAdjustment": record.get("pvCostAdjustment"),
        "Pvs": record.get("pvs"),
        "ProportionalAssetResourceCosts": record.get("proportionalAssetResourceCosts"),
        "SharedCostBreakdown": record.get("sharedCostBreakdown"),
        "Unmapped": None,
        "ClusterReported": properties.get("cluster"),
    }


Pipeline = Callable[[str, Path, int], int]
# By name: the pipeline, its gzip level, and whether isal may be used.
PIPELINES: dict[str, tuple[Pipeline, int, bool]] = {
    "ours": (ours, GZIP_LEVEL, False),
    "ours, isal": (ours, GZIP_LEVEL, True),
    "floor": (floor, GZIP_LEVEL, False),
    "plain": (plain, GZIP_LEVEL, False),
    "plain, our rows": (plain_our_rows, GZIP_LEVEL, False),
    "plain, gzip 6": (plain, 6, False),
}


def measured(name: str, url: str) -> Measured:
    """One run, into a folder that is removed after."""
    pipeline, level, _ = PIPELINES[name]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        begun, worked = time.perf_counter(), time.process_time()
        rows = pipeline(url, Path(folder), level)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - worked
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.gz"))
    return Measured(seconds, cpu, rows, size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _urls() -> Iterator[str]:
    for line in sys.stdin:
        yield line.strip()


def main() -> None:
    """Run the pipeline named by the first argument once for each address on stdin; `sdk` loads the Kusto SDK first."""
    name = sys.argv[1]
    if not PIPELINES[name][2]:
        sys.modules["isal"] = None  # type: ignore[assignment]
    if "sdk" in sys.argv[2:]:
        from azure.kusto.ingest import QueuedIngestClient

        assert QueuedIngestClient.__name__
    for url in _urls():
        print(msgspec.json.encode(measured(name, url)).decode(), flush=True)


if __name__ == "__main__":
    main()
