"""Measures the shipped functions over the rows of a large cluster; with --gates, fails when one is slower or larger.

`python -m tests.bench.functions [--rows 500000] [--rounds 3] [--only NAME,…] [--gates [--margin PERCENT]]`. A cluster
of 10,000 containers on 600 nodes, by the hour. Each function runs in a process of its own, over a table that was loaded
there. It is held against two plain passes over the same rows, in processor seconds: count by batch, and sum by
namespace after a lookup on the batch. Where its lines are many, a pass that groups by as many keys stands beside them.
What parsing takes, measured on an empty range in turns with it, is left out. `--only day` measures what FOCUS answers
for a day of that cluster, whose pods all have traffic.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from opencost_kusto.database import functions
from opencost_kusto.database.functions import Function
from tests.kql.database import CLUSTER, COLLECTED, Database

CONTAINERS, NODES, NAMESPACES = 10_000, 600, 40
ROWS = 500_000
START = datetime(2026, 11, 1)
# Times two plain passes, which group 500,000 rows by 50 batches and by 40 namespaces and take 30 ms of a processor.
# Three holds where lines are as few. Controllers are 2,000 lines here; efficiency is worked out row by row, since what
# is wasted is never below zero; idle and chargeback set 30,000 pairs of node and hour against each other; FOCUS lists
# containers by day; labels are text, which Kusto and the emulator make from each row's bag. `OWN_KEYS` says what one
# plain summarize by such keys takes.
MOST_OVER_PLAIN = {
    "OpenCostByNamespace": 3.0,
    "OpenCostByCluster": 3.0,
    "OpenCostByNode": 3.0,
    "OpenCostHourlyCost": 4.0,
    "OpenCostDailyCost": 3.0,
    "OpenCostTopMovers": 4.0,
    "OpenCostByController": 5.0,
    "OpenCostOfRun": 5.0,
    "OpenCostEfficiency": 6.0,
    "OpenCostAllocatedAgainstInfrastructure": 5.0,
    "OpenCostReconcile": 6.0,
    "OpenCostIdleByNode": 6.0,
    "OpenCostChargeback": 6.0,
    "OpenCostFocus": 10.0,
    "OpenCostByLabel": 19.0,
}
MOST_MEMORY = 150.0
# What each row was compared with before batches were: the last of each name, of every column.
BEFORE = "row-wise guard, as before"
# Functions that return a row per container or asset and step are for adding up.
SUMMED = {
    "OpenCostWorkloadCost": "sum(TotalCost), sum(CpuCost), sum(RamCost) by Namespace",
    "OpenCostInfrastructureCost": "sum(TotalCost), sum(CpuCost) by Type",
    "OpenCostCosts": "sum(TotalCost), sum(CpuCost), sum(RamCost) by Dataset",
    "OpenCostFocus": "sum(EffectiveCost), sum(ListUnitPrice * PricingQuantity) by ServiceName",
    "OpenCostFocus13": "sum(EffectiveCost), sum(ListUnitPrice * PricingQuantity) by ServiceName",
}
PLAIN = (
    "OpenCostAllocation | summarize Rows = count() by BatchId",
    "OpenCostAllocation | lookup kind=inner (OpenCostSyncRuns | project BatchId, Share = 1.0) on BatchId"
    " | summarize sum(TotalCost * Share), sum(CpuCost * Share), sum(RamCost * Share), sum(GpuCost * Share),"
    " sum(PvCost * Share), sum(NetworkCost * Share), sum(LoadBalancerCost * Share), sum(CpuCoreHours * Share),"
    " sum(RamByteHours * Share), sum(GpuHours * Share) by Namespace",
)
_READ_AT_ONCE = "OpenCostAllocation | lookup kind=inner (OpenCostSyncRuns | project BatchId, Share = 1.0) on BatchId"
_SUMMED = "summarize sum(TotalCost * Share), sum(CpuCost * Share), sum(RamCost * Share), sum(GpuCost * Share)"
_NODES = f"{_READ_AT_ONCE} | {_SUMMED} by BatchId, Node, Namespace | count"
# A second reference, beside the agreed one: one plain pass that makes groups as many and as wide as the function needs.
OWN_KEYS = {
    "OpenCostByController": f"{_READ_AT_ONCE} | {_SUMMED} by Namespace, ControllerKind, Controller",
    "OpenCostEfficiency": f"{_READ_AT_ONCE} | {_SUMMED} by Namespace, ControllerKind, Controller, Container",
    "OpenCostIdleByNode": _NODES,
    "OpenCostReconcile": _NODES,
    "OpenCostChargeback": _NODES,
    "OpenCostFocus": f"{_READ_AT_ONCE} | {_SUMMED} by Node, Namespace, ControllerKind, Controller, Pod, Container,"
    " Day = startofday(WindowStart)",
    "OpenCostByLabel": f"{_READ_AT_ONCE} | {_SUMMED} by LabelsText = tostring(Labels) | count",
}
VALUES = {"label": '"team"', "runId": '"nightly"', "baselineRunId": '"nightly"', "dataset": '"allocation"'}
# A row per container and hour would be more than an answer may have.
DAILY = ("OpenCostFocus", "OpenCostFocus13")


# https://learn.microsoft.com/kusto/concepts/query-limits#limit-on-result-set-size-result-truncation
MOST_ROWS, LARGEST_RESULT = 500_000, 64.0
DAY = "day"


class Measured(msgspec.Struct):
    """Processor seconds of a function, net of parsing, and of the plain passes; MB beside the loaded table.

    `own` is the seconds of one plain pass by the function's own keys, where these are many.
    """

    name: str
    seconds: float
    plain: float
    megabytes: float
    own: float | None = None


def load(database: Database, hours: int, **more: str) -> None:
    """Rows of a cluster by container and hour with their assets, and a run log that knows each batch; more is SQL of
    columns of workloads.
    """
    batch = f"batch/{CLUSTER}/"
    for hour in range(hours):
        start = f"TIMESTAMP '{START}' + INTERVAL {hour} HOUR"
        workloads = {**_workloads(start, f"allocation/{batch}{hour:05}"), **more}
        _insert(database, "OpenCostAllocation", workloads, CONTAINERS)
        _insert(database, "OpenCostAssets", _assets(start, f"assets/{batch}{hour:05}"), 2 * NODES)
        for dataset in ("allocation", "assets"):
            log = {"BatchId": f"'{dataset}/{batch}{hour:05}'", "Dataset": f"'{dataset}'", "WindowStart": start}
            log |= {"WindowEnd": f"{start} + INTERVAL 1 HOUR", "Outcome": "'landed'", "Cluster": f"'{CLUSTER}'"}
            _insert(database, "OpenCostSyncRuns", {**log, **_run()}, 1)


def _run() -> dict[str, str]:
    collected = f"TIMESTAMP '{COLLECTED:%Y-%m-%dT%H:%M:%S}'"
    return {"CollectionTime": collected, "RunId": "'nightly'", "Source": f"'{CLUSTER}'", "Currency": "'EUR'"}


def _workloads(start: str, batch: str) -> dict[str, str]:
    """SQL of each column that functions read, for row `i` of an hour."""
    labels = ", ".join(f"'label_{at}', 'a value of some length ' || (i % {17 + at})" for at in range(9))
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


def measured(name: str, rows: int, rounds: int) -> Measured:
    """Load the table, then measure the plain passes and one call in turn."""
    hours = rows // CONTAINERS
    with Database() as database:
        load(database.install(), hours)
        text, nothing = call_of(name, hours), call_of(name, 0)
        cpu(database, nothing)
        begun = _memory("VmRSS")
        # Linux alone has it, and alone lets a process forget its peak.
        Path("/proc/self/clear_refs").write_text("5")
        cpu(database, text)
        grown = _memory("VmHWM") - begun
        own = [OWN_KEYS[name]] if name in OWN_KEYS else []
        turns = [[cpu(database, one) for one in (text, nothing, *PLAIN, *own)] for _ in range(rounds)]
        least = [min(seconds) for seconds in zip(*turns, strict=True)]
    return Measured(name, max(least[0] - least[1], 0.0), sum(least[2:4]), grown, least[4] if own else None)


def focus_day() -> tuple[int, float]:
    """Rows and MB of JSON that FOCUS returns for a day of the cluster, with step 1d."""
    with Database() as database:
        load(database.install(), 24, NetworkCost="0.001")
        end = START + timedelta(days=1)
        call = f'OpenCostFocus(datetime({START.isoformat()}), datetime({end.isoformat()}), "", 1d)'
        result = database.engine.query(call)
        return len(result.rows), len(json.dumps(result.rows, default=str)) / 1e6


def call_of(name: str, hours: int) -> str:
    """A function over so many hours, or the guard by row."""
    end = START + timedelta(hours=hours)
    if name == BEFORE:
        bounds = f"WindowStart < datetime({end.isoformat()}) and WindowEnd > datetime({START.isoformat()})"
        return (
            f"OpenCostAllocation | where {bounds} | summarize arg_max(CollectionTime, *) by BatchId, AllocationName"
            " | summarize Cost = sum(TotalCost) by Namespace"
        )
    function = next(one for one in functions.functions() if one.name == name)
    given = {"startTime": f"datetime({START.isoformat()})", "endTime": f"datetime({end.isoformat()})", **VALUES}
    values = [given[one.name] for one in function.parameters if one.default is None]
    # A run has no time to be asked without.
    values = [value if hours or value != VALUES["runId"] else '"nobody"' for value in values]
    if name in DAILY:
        values += ['""', "1d"]
    call = f"{name}({', '.join(values)})"
    return f"{call} | summarize {SUMMED[name]}" if name in SUMMED else call


def cpu(database: Database, text: str) -> float:
    """The processor seconds of a query."""
    begun = time.process_time()
    database.rows(text)
    return time.process_time() - begun


def _memory(field: str) -> float:
    """A figure of this process in MB, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def names() -> list[str]:
    """The functions over facts of a period or of a run."""

    def fits(function: Function) -> bool:
        return any(one.name in ("startTime", "runId") and one.default is None for one in function.parameters)

    skipped = {"OpenCostBatches", "OpenCostCostRates"}
    return [BEFORE, *(one.name for one in functions.functions() if fits(one) and one.name not in skipped)]


def in_processes(chosen: Iterable[str], rows: int, rounds: int) -> Iterable[Measured]:
    """Each in a process of its own, one after the other."""
    for name in chosen:
        command = [sys.executable, "-m", "tests.bench.functions", "--rows", str(rows), "--rounds", str(rounds)]
        made = subprocess.run([*command, "--one", name], check=True, stdout=subprocess.PIPE)
        yield msgspec.json.decode(made.stdout, type=Measured)


def fails(found: Measured, margin: float) -> bool:
    """Whether a function passes its gate; those without one are there to be compared with."""
    most = MOST_OVER_PLAIN.get(found.name)
    return most is not None and (
        found.seconds > most * found.plain * (1 + margin) or found.megabytes > MOST_MEMORY * (1 + margin)
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return 1 if a gate was requested and does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.functions", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of workloads")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--gates", action="store_true", help="fail when what was agreed does not hold")
    parser.add_argument("--margin", type=float, default=0, help="percent by which a number may miss, for noise")
    options = parser.parse_args(arguments)
    if options.one:
        print(msgspec.json.encode(measured(options.one, options.rows, options.rounds)).decode())
        return 0
    if options.only == DAY:
        rows, megabytes = focus_day()
        print(f"a day of {CONTAINERS:,} containers as FOCUS rows: {rows:,} rows, {megabytes:.1f} MB")
        return int(options.gates and (rows > MOST_ROWS or megabytes > LARGEST_RESULT))
    failed = False
    print(
        f"| {options.rows:,} rows | processor seconds | times two plain passes | times one by its own keys | MB more |"
    )
    print("|---|---:|---:|---:|---:|")
    for found in in_processes(options.only.split(",") if options.only else names(), options.rows, options.rounds):
        wrong = options.gates and fails(found, options.margin / 100)
        failed = failed or wrong
        ratio = found.seconds / found.plain
        said = " FAILS" if wrong else ""
        own = f"{found.seconds / found.own:.1f}" if found.own else ""
        print(f"| {found.name} | {found.seconds:.2f} | {ratio:.1f} | {own} | {found.megabytes:.0f} |{said}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
