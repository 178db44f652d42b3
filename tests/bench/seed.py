"""The tool that people use today, in our words: requests, the whole answer as dictionaries, 35 columns, one JSON array.

`python -m tests.bench.seed URL FILE`. Its steps are those of the live exporter (Azure/telescope, cost_analysis).
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

import requests


def row(name: str, one: dict[str, Any], collected: str, metadata: dict[str, str]) -> dict[str, Any]:
    """A record as a flat row."""
    properties, window = one.get("properties", {}), one.get("window", {})
    return {
        "Timestamp": window.get("start"),
        "CollectionTime": collected,
        "Source": "opencost",
        "AllocationName": name,
        "WindowStart": window.get("start"),
        "WindowEnd": window.get("end"),
        "WindowMinutes": one.get("minutes", 0),
        "Namespace": properties.get("namespace", ""),
        "Node": properties.get("node", ""),
        "Container": properties.get("container", ""),
        "Pod": properties.get("pod", ""),
        "Controller": properties.get("controller", ""),
        "ControllerKind": properties.get("controllerKind", ""),
        "CpuCores": one.get("cpuCores", 0),
        "CpuCoreHours": one.get("cpuCoreHours", 0),
        "CpuCost": one.get("cpuCost", 0),
        "CpuEfficiency": one.get("cpuEfficiency", 0),
        "RamBytes": one.get("ramBytes", 0),
        "RamByteHours": one.get("ramByteHours", 0),
        "RamCost": one.get("ramCost", 0),
        "RamEfficiency": one.get("ramEfficiency", 0),
        "GpuCount": one.get("gpuCount", 0),
        "GpuHours": one.get("gpuHours", 0),
        "GpuCost": one.get("gpuCost", 0),
        "NetworkCost": one.get("networkCost", 0),
        "LoadBalancerCost": one.get("loadBalancerCost", 0),
        "PvCost": one.get("pvCost", 0),
        "TotalCost": one.get("totalCost", 0),
        "TotalEfficiency": one.get("totalEfficiency", 0),
        "ExternalCost": one.get("externalCost", 0),
        "SharedCost": one.get("sharedCost", 0),
        "Properties": properties,
        "RunId": "bench",
        "ScenarioName": "",
        "Metadata": metadata,
    }


def main() -> None:
    """Write the rows of one hour."""
    url, file = sys.argv[1:]
    window = {"window": "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z", "aggregate": "container"}
    response = requests.get(f"{url}/allocation", params=window, timeout=600)
    response.raise_for_status()
    collected = datetime.now(UTC).isoformat()
    rows = [row(name, one, collected, {}) for step in response.json()["data"] for name, one in step.items()]
    with open(file, "w", encoding="utf-8") as out:
        json.dump(rows, out, indent=2)


if __name__ == "__main__":
    main()
