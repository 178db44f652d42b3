"""Rows of a cluster of 10,000 containers on 600 nodes, by the hour, made by SQL where they are held."""

from __future__ import annotations

from datetime import datetime

from tests.kql.database import CLUSTER, COLLECTED, Database

CONTAINERS, NODES, NAMESPACES = 10_000, 600, 40
START = datetime(2026, 11, 1)
LABELS = 9
_SAMPLES = ("container_cpu_allocation", "container_memory_allocation_bytes")
_PRICES = ("node_cpu_hourly_cost", "node_ram_hourly_cost")


def load(database: Database, hours: int, **more: str) -> None:
    """Rows of a cluster by container and hour with their assets, and a run log that knows each batch; more is SQL of
    columns of workloads.
    """
    for hour in range(hours):
        start = f"TIMESTAMP '{START}' + INTERVAL {hour} HOUR"
        workloads = {**_workloads(start, _batch("allocation", hour)), **more}
        _insert(database, "OpenCostAllocation", workloads, CONTAINERS)
        _insert(database, "OpenCostAssets", _assets(start, _batch("assets", hour)), 2 * NODES)
        for dataset in ("allocation", "assets"):
            log = {"BatchId": f"'{_batch(dataset, hour)}'", "Dataset": f"'{dataset}'", "WindowStart": start}
            log |= {"WindowEnd": f"{start} + INTERVAL 1 HOUR", "Outcome": "'landed'", "Cluster": f"'{CLUSTER}'"}
            _insert(database, "OpenCostSyncRuns", {**log, **_run()}, 1)


def load_scrapes(database: Database, hours: int) -> None:
    """A scrape an hour: CPU and memory of each container, and their prices on each node."""
    for hour in range(hours):
        start = f"TIMESTAMP '{START}' + INTERVAL {hour} HOUR"
        shared = {"Timestamp": start, "SampleTime": start, "BatchId": f"'{_batch('metrics', hour)}'", **_run()}
        shared |= {"Cluster": f"'{CLUSTER}'", "Node": f"'node-' || (i % {NODES})"}
        del shared["Currency"]
        of_names = [(name, rows) for names, rows in ((_SAMPLES, CONTAINERS), (_PRICES, NODES)) for name in names]
        total, before = sum(rows for _, rows in of_names), 0
        for name, rows in of_names:
            number = f"{before} + i + 1"
            numbered = {"RowNumber": number, "BatchRows": f"CASE WHEN {number} = {total} THEN {total} END"}
            _insert(database, "OpenCostMetrics", {**shared, **numbered, **_sample(name, rows)}, rows)
            before += rows


def _batch(dataset: str, hour: int) -> str:
    return f"{dataset}/batch/{CLUSTER}/{hour:05}"


def _run() -> dict[str, str]:
    collected = f"TIMESTAMP '{COLLECTED:%Y-%m-%dT%H:%M:%S}'"
    return {"CollectionTime": collected, "RunId": "'nightly'", "Source": f"'{CLUSTER}'", "Currency": "'EUR'"}


def _sample(name: str, rows: int) -> dict[str, str]:
    node = f"'node', 'node-' || (i % {NODES})"
    if rows == NODES:
        return {"MetricName": f"'{name}'", "MetricValue": "0.05", "Labels": f"json_object({node})"}
    pod = "'pod-' || i || '-6fcb8f86c8-wjj2q'"
    namespace = f"'ns-' || (i % {NAMESPACES})"
    return {
        **{"MetricName": f"'{name}'", "MetricValue": "0.1 + (i % 7)", "Namespace": namespace, "Pod": pod},
        "Container": "'main'",
        "Labels": f"json_object('container', 'main', 'pod', {pod}, 'namespace', {namespace}, {node})",
    }


def _workloads(start: str, batch: str) -> dict[str, str]:
    """SQL of each column that functions read, for row `i` of an hour."""
    labels = ", ".join(f"'label_{at}', 'a value of some length ' || (i % {17 + at})" for at in range(LABELS))
    cost = "((i * 7919) % 100003) / 1000000.0"
    return {
        **_facts(start, batch, CONTAINERS, cost),
        "AllocationName": f"'{CLUSTER}/node-' || (i % {NODES}) || '/ns/pod-' || i || '/main'",
        "Namespace": f"'ns-' || (i % {NAMESPACES})",
        "Node": f"'node-' || (i % {NODES})",
        "Pod": "'pod-' || i || '-6fcb8f86c8-wjj2q'",
        "Container": "'main'",
        "Controller": f"'deployment-' || (i % {CONTAINERS // 5})",
        "ControllerKind": "'deployment'",
        "Aggregate": "'container'",
        "IncludeIdle": "false",
        "ShareIdle": "false",
        "Labels": f"json_object('team', 'team-' || (i % 23), {labels})",
        "CpuCost": f"{cost} * 0.6",
        "RamCost": f"{cost} * 0.4",
        "GpuCost": "0.0",
        "PvCost": "0.0",
        "NetworkCost": "0.0",
        "LoadBalancerCost": "0.0",
        "SharedCost": "0.0",
        "ExternalCost": "0.0",
        "GpuHours": "0.0",
        "PvByteHours": "0.0",
        "NetworkTransferBytes": "i * 1000.0",
        "NetworkReceiveBytes": "i * 2000.0",
        **{f"{name}CostAdjustment": "0.0" for name in ("Cpu", "Ram", "Gpu", "Pv", "Network", "LoadBalancer")},
        **dict.fromkeys(("CpuCoreHours", "CpuCoreRequestAverage", "CpuCoreUsageAverage"), "0.1 + (i % 7)"),
        **dict.fromkeys(("RamByteHours", "RamByteRequestAverage", "RamByteUsageAverage"), "1e8 + i * 1000.0"),
    }


def _assets(start: str, batch: str) -> dict[str, str]:
    node, cost = f"i < {NODES}", "1.0 + (i % 5)"
    return {
        **_facts(start, batch, 2 * NODES, cost),
        "Type": f"CASE WHEN {node} THEN 'Node' ELSE 'Disk' END",
        "Name": f"CASE WHEN {node} THEN 'node-' || i ELSE 'pvc-' || i END",
        "NodeType": f"CASE WHEN {node} THEN 'Standard_D8s_v5' END",
        "Labels": "json_object('topology_kubernetes_io_zone', 'westeurope-1')",
        "Provider": "'Azure'",
        "Region": "'westeurope'",
        "Account": "'8f3a1c52-6b0e-4d7a-9c41-2e5d7b90a6f1'",
        "CpuCost": f"CASE WHEN {node} THEN 0.5 * ({cost}) END",
        "RamCost": f"CASE WHEN {node} THEN 0.5 * ({cost}) END",
        "GpuCost": "0.0",
        "CpuCoreHours": "8.0",
        "RamByteHours": "3e10",
        "ByteHours": f"CASE WHEN {node} THEN NULL ELSE 1e11 END",
        "Adjustment": "0.0",
        "Cost": cost,
    }


def _facts(start: str, batch: str, rows: int, cost: str) -> dict[str, str]:
    last = f"i = {rows} - 1"
    return {
        **{
            "Timestamp": start,
            "WindowStart": start,
            "WindowEnd": f"{start} + INTERVAL 1 HOUR",
            "WindowMinutes": "60.0",
        },
        **{"Minutes": "60.0", "Cluster": f"'{CLUSTER}'", "BatchId": f"'{batch}'", "RowNumber": "i + 1"},
        "BatchRows": f"CASE WHEN {last} THEN {rows} END",
        "BatchCost": f"CASE WHEN {last} THEN (SELECT sum(round(1e6 * ({cost}))) FROM range({rows}) AS r(i)) END",
        "TotalCost": cost,
        **{name: value for name, value in _run().items() if name != "Currency"},
    }


def _insert(database: Database, name: str, values: dict[str, str], rows: int) -> None:
    table = database.engine.table(name)
    select = f"SELECT {', '.join(values.values())} FROM range({rows}) AS r(i)"
    database.engine.insert(table, select, {}, [], columns=list(values))
