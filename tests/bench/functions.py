"""Measures the shipped functions over the rows of a large cluster; with --gates, fails when one is slower or larger.

`python -m tests.bench.functions [--rows 500000] [--rounds 3] [--only NAME,…] [--gates [--margin PERCENT]]`. A cluster
of 10,000 containers on 600 nodes, by the hour. Each function runs in a process of its own, over a table that was loaded
there. It is held against two plain passes over the same rows, in processor seconds: count by batch, and sum by
namespace after a lookup on the batch. A function that has many lines, or reads assets or scrapes too, is held against
passes by its own keys over all that it reads (`tests.bench.references` says why), and both numbers are printed. What
parsing takes, measured on an empty range in turns with it, is left out. `--only day` measures what FOCUS answers for a
day of that cluster, whose pods all have traffic.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import msgspec

from opencost_kusto.database import functions
from opencost_kusto.database.functions import Function
from tests.bench.large_cluster import CONTAINERS, START, load, load_scrapes
from tests.bench.references import OWN, PLAIN
from tests.kql.database import Database
from tests.support.one_thread import one_thread

ROWS = 500_000
MOST, MOST_MEMORY = 3.0, 150.0
# What compares a period with the one before has the second half of the hours, so that both have rows.
OF_TWO_PERIODS = ("OpenCostTopMovers",)
# The functions with a gate: times the reference, its own where it has one, else the agreed one.
GATED = (
    *("OpenCostByNamespace", "OpenCostByCluster", "OpenCostByNode", "OpenCostHourlyCost", "OpenCostDailyCost"),
    *("OpenCostMonthToDate", "OpenCostHeldBatches", "OpenCostFreshness", "OpenCostCoverage"),
    *("OpenCostMissingWindows", "OpenCostByController", "OpenCostOfRun", "OpenCostRunDiff"),
    *("OpenCostEfficiency", "OpenCostAllocatedAgainstInfrastructure", "OpenCostReconcile"),
    *("OpenCostChargeback", "OpenCostFocus", "OpenCostFocus13", "OpenCostByLabel"),
    *("OpenCostIdleByNode", "OpenCostTopMovers", "OpenCostProof", "OpenCostCostRates", "OpenCostAnalysis"),
)
# Planning takes some times as long as running, so that on a busy machine the difference of two calls needs more rounds:
# what fails is measured up to twice again.
REPEATS, AGAIN = 2, 4
# What each row was compared with before batches were: the last of each name, of every column.
BEFORE = "row-wise guard, as before"
# Functions that return a row per container or asset and step are for adding up.
SUMMED = {
    "OpenCostWorkloadCost": "sum(TotalCost), sum(CpuCost), sum(RamCost) by Namespace",
    "OpenCostInfrastructureCost": "sum(TotalCost), sum(CpuCost) by Type",
    "OpenCostCosts": "sum(TotalCost), sum(CpuCost), sum(RamCost) by Dataset",
    **dict.fromkeys(
        ("OpenCostFocus", "OpenCostFocus13"),
        "sum(EffectiveCost), sum(ListUnitPrice * PricingQuantity), countif(isnotnull(Tags)) by ServiceName",
    ),
    "OpenCostCostRates": "sum(CostValue * Hours) by CostType",
    "OpenCostAnalysis": "sum(CostValue * Hours) by CostType",
    "OpenCostProof": "countif(IsComplete), sum(Rows), sum(Cost) by Dataset",
}
VALUES = {"label": '"team"', "runId": '"nightly"', "baselineRunId": '"nightly"', "dataset": '"allocation"'}
# A row per container and hour would be more than an answer may have.
DAILY = ("OpenCostFocus", "OpenCostFocus13")
OF_SCRAPES = ("OpenCostCostRates", "OpenCostAnalysis")
# What has no times to be called with: a call over all rows, and one over none.
WITHOUT_TIMES = {
    "OpenCostMonthToDate": ('OpenCostMonthToDate("", {end})', 'OpenCostMonthToDate("", datetime(2020-01-15))'),
    "OpenCostFreshness": ("OpenCostFreshness()", 'OpenCostFreshness("nobody")'),
    "OpenCostProof": ('OpenCostProof("", {start}, {end})', 'OpenCostProof("", {start}, {start})'),
    "OpenCostAnalysis": ("OpenCostAnalysis()", "OpenCostCostRates({start}, {start})"),
}


# https://learn.microsoft.com/kusto/concepts/query-limits#limit-on-result-set-size-result-truncation
MOST_ROWS, LARGEST_RESULT = 500_000, 64.0
DAY = "day"


class Measured(msgspec.Struct):
    """Processor seconds of a function, net of parsing, and of the plain passes; MB beside the loaded table.

    `own` is the seconds of the passes by the function's own keys, where it has such.
    """

    name: str
    seconds: float
    plain: float
    megabytes: float
    own: float | None = None

    @property
    def reference(self) -> float:
        """The seconds that the function is held against."""
        return self.plain if self.own is None else self.own


def measured(name: str, rows: int, rounds: int) -> Measured:
    """Load the table, then measure the plain passes and one call in turn."""
    hours = rows // CONTAINERS
    with Database() as database:
        load(database.install(), hours)
        # What a second thread waits costs the processor too, and differs from call to call.
        one_thread()
        if name in OF_SCRAPES:
            load_scrapes(database, hours // 2)
        text, nothing = call_of(name, hours), call_of(name, 0)
        cpu(database, nothing)
        begun = _memory("VmRSS")
        # Linux alone has it, and alone lets a process forget its peak.
        Path("/proc/self/clear_refs").write_text("5")
        cpu(database, text)
        grown = _memory("VmHWM") - begun
        own = OWN.get(name, ())
        turns = [[cpu(database, one) for one in (text, nothing, *PLAIN, *own)] for _ in range(rounds)]
        least = [min(seconds) for seconds in zip(*turns, strict=True)]
    return Measured(name, max(least[0] - least[1], 0.0), sum(least[2:4]), grown, sum(least[4:]) if own else None)


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
    start = START + timedelta(hours=hours / 2) if name in OF_TWO_PERIODS else START
    times = {"startTime": f"datetime({start.isoformat()})", "endTime": f"datetime({end.isoformat()})"}
    if name in WITHOUT_TIMES:
        call = WITHOUT_TIMES[name][0 if hours else 1].format(start=times["startTime"], end=times["endTime"])
        return f"{call} | summarize {SUMMED[name]}" if name in SUMMED else call
    function = next(one for one in functions.functions() if one.name == name)
    given = {**times, **VALUES}
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
    """The functions over facts of a period, of a run or of all times."""

    def fits(function: Function) -> bool:
        return any(one.name in ("startTime", "runId") and one.default is None for one in function.parameters)

    return [BEFORE, *(one.name for one in functions.functions() if fits(one) or one.name in WITHOUT_TIMES)]


def in_process(name: str, rows: int, rounds: int) -> Measured:
    """Measure one in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.functions", "--rows", str(rows), "--rounds", str(rounds)]
    made = subprocess.run([*command, "--one", name], check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(made.stdout, type=Measured)


def fails(found: Measured, margin: float) -> bool:
    """Whether a function passes its gate; those without one are there to be compared with."""
    too_much = found.seconds > MOST * found.reference * (1 + margin) or found.megabytes > MOST_MEMORY * (1 + margin)
    return found.name in GATED and too_much


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
    print(f"| {options.rows:,} rows | processor seconds | times two plain passes | times its own reference | MB more |")
    print("|---|---:|---:|---:|---:|")
    chosen = GATED if options.gates else names()
    for name in options.only.split(",") if options.only else chosen:
        found = in_process(name, options.rows, options.rounds)
        for _ in range(REPEATS if options.gates else 0):
            if fails(found, options.margin / 100):
                found = in_process(name, options.rows, AGAIN * options.rounds)
        wrong = options.gates and fails(found, options.margin / 100)
        failed = failed or wrong
        ratio = found.seconds / found.plain
        message = " FAILS" if wrong else ""
        own = f"{found.seconds / found.own:.1f}" if found.own else ""
        print(
            f"| {found.name} | {found.seconds:.2f} | {ratio:.1f} | {own} | {found.megabytes:.0f} |{message}", flush=True
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
