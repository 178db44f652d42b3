"""The expected results: plain Python over the recorded JSON, without our run log, rows or KQL."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from tests.support.recordings import recording

VERSION = "1.112"
Record = dict[str, Any]


@cache
def allocation_hours() -> tuple[tuple[Record, ...], ...]:
    """The rows of each hour of the recorded day."""
    body = json.loads(recording(VERSION, "allocation_day_step1h.json"))
    return tuple(tuple(members.values()) for members in body["data"])


@cache
def workloads() -> tuple[Record, ...]:
    """All rows of the day's hours."""
    return tuple(row for hour in allocation_hours() for row in hour)


@cache
def asset_hours() -> tuple[tuple[Record, ...], ...]:
    """The assets of each hour of the recorded day."""
    bodies = (json.loads(recording(VERSION, f"assets_hours/{hour:02}.json")) for hour in range(24))
    return tuple(tuple(body["data"].values()) for body in bodies)


@cache
def assets() -> tuple[Record, ...]:
    """All assets of the day's hours."""
    return tuple(asset for hour in asset_hours() for asset in hour)


@cache
def samples() -> tuple[tuple[str, dict[str, str], float], ...]:
    """Name, labels and value of each sample of the recorded scrape."""
    lines = recording(VERSION, "metrics.txt").decode().splitlines()
    found = (re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line) for line in lines if not line.startswith("#"))
    return tuple(
        (one[1], dict(re.findall(r'(\w+)="([^"]*)"', one[2] or "")), float(one[3])) for one in found if one is not None
    )


def metric(name: str) -> list[tuple[dict[str, str], float]]:
    """Labels and values of one metric."""
    return [(labels, value) for each, labels, value in samples() if each == name]


def summed(
    rows: Iterable[Record], key: Callable[[Record], Any], value: Callable[[Record], float] | str = "totalCost"
) -> dict[Any, float]:
    """The sum of a value, or of a field, by key."""
    sums: dict[Any, float] = defaultdict(float)
    for row in rows:
        sums[key(row)] += row[value] if isinstance(value, str) else value(row)
    return dict(sums)


def total(rows: Iterable[Record], field: str = "totalCost") -> float:
    """The sum of a field."""
    return float(sum(row[field] for row in rows))


def compute(row: Record) -> float:
    """What a workload was charged for CPU, memory and GPUs."""
    return float(row["cpuCost"] + row["ramCost"] + row["gpuCost"])


def wasted(row: Record) -> float:
    """The money of a row that bought what was not used; a GPU without a known use wastes nothing."""
    if row["properties"]["container"] == "__unmounted__":
        return float(row["totalCost"])
    hours, waste = row["minutes"] / 60, 0.0
    for cost, used, charged in (
        ("cpuCost", "cpuCoreUsageAverage", "cpuCoreHours"),
        ("ramCost", "ramByteUsageAverage", "ramByteHours"),
        ("gpuCost", "gpuUsageAverage", "gpuHours"),
    ):
        use = row[used] if used in row else (row["gpuAllocation"] or {}).get(used)
        if row[charged] and use is not None:
            waste += row[cost] * max(0.0, 1 - use * hours / row[charged])
    return float(waste)


def namespace(row: Record) -> str:
    """The namespace of a workload."""
    return str(row["properties"]["namespace"])


def node(row: Record) -> str:
    """The node of a workload; empty for volumes that no pod mounts."""
    return str(row["properties"].get("node", ""))


def controller(row: Record) -> tuple[str, str]:
    """Namespace and controller of a workload, as the functions name what has none."""
    found = row["properties"]
    missing = "__unmounted__" if found["container"] == "__unmounted__" else "__unallocated__"
    return found["namespace"], found.get("controller") or missing


def label(*names: str) -> Callable[[Record], str]:
    """The value of the first of these labels that a workload carries."""

    def of(row: Record) -> str:
        labels = row["properties"].get("labels") or {}
        return str(next((labels[name] for name in names if labels.get(name)), "__unallocated__"))

    return of
