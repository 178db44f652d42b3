"""Measures what a tick of a fleet reads from Kusto when little is missing, with limits.

python -m tests.bench.ticks [--clusters 100] [--days 14]
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

from opencost_kusto.batch import RequestOptions
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.kusto.client import Kusto, Row
from opencost_kusto.load.run_log import null
from opencost_kusto.pipeline.request import new_run
from opencost_kusto.schedule.tick import Lookback, tick
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, SYNC_RUNS
from tests.bench.bench import Gate, at_most
from tests.bench.fleet import nameless
from tests.support.world import World

MOST_KILOBYTES = 40.0
_HOUR = timedelta(hours=1)


class Counting(Kusto):
    """A database that counts queries, and the bytes of their results as JSON."""

    requested = 0
    read = 0
    written = 0

    def query(self, text: str, *, fresh: bool = False) -> list[Row]:
        """The rows of a query, counted."""
        return self._counted(text, super().query(text, fresh=fresh))

    def command(self, text: str, *, retry: bool = True, creates: bool = False) -> list[Row]:
        """The rows of a command, counted."""
        return self._counted(text, super().command(text, retry=retry, creates=creates))

    def _counted(self, text: str, rows: list[Row]) -> list[Row]:
        self.requested += 1
        self.written += len(text)
        self.read += sum(len(json.dumps(row, default=str)) for row in rows)
        return rows


def history(table: Table, rows: str, values: dict[str, str], fixed: dict[str, str] | None = None) -> str:
    """The command that appends rows: expressions for some columns, literals for some, and nothing for the others."""
    others = [one for one in table.columns if one.name not in values]
    shape = ", ".join(f"{one.name}: {one.type}" for one in others)
    literals = ", ".join((fixed or {}).get(one.name, null(one.type)) for one in others)
    same = f"datatable(One: long, {shape})[1, {literals}]"
    made = ", ".join(f"{name} = {value}" for name, value in values.items())
    columns = ", ".join(one.name for one in table.columns)
    return (
        f".set-or-append {table.name} <| {rows} | extend One = 1 | extend {made} | join kind=inner ({same}) on One"
        f" | project {columns}"
    )


def landed(table: Table, clusters: int, first: datetime, hours: int) -> list[str]:
    """The commands after which each hour of each cluster has landed, by its table and by the run log."""
    options = json.dumps(RequestOptions().for_table(table))
    start = f"datetime({first:%Y-%m-%dT%H:%M:%SZ})"
    rows = (
        f"range N from 0 to {clusters * hours - 1} step 1 | extend C = N % {clusters}"
        f" | extend Begin = {start} + (N - C) / {clusters} * 1h"
    )
    shared = {
        "BatchId": f"strcat('{table.name}/', tostring(N))",
        "Source": "strcat('c', tostring(C))",
        "Cluster": "strcat('c', tostring(C))",
        "WindowStart": "Begin",
        "WindowEnd": "Begin + 1h",
        "WindowMinutes": "60.0",
        "CollectionTime": f"{start} + 30d",
    }
    numbers = {"RowNumber": "1", "BatchRows": "1", "BatchCost": "0", "TotalCost": "0.0"}
    log = {"TableName": f"'{table.name}'", "Outcome": "'landed'", "LoggedAt": f"{start} + 30d", "Rows": "1"}
    return [
        history(table, rows, {**shared, **numbers, "Timestamp": "Begin"}),
        history(SYNC_RUNS, rows, {**shared, **log}, {"Options": f"dynamic({options})"}),
    ]


def run_tick(clusters: int, days: int) -> Any:
    """A tick in which nothing is missing; returns the database that counted."""
    hours = 24 * days
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with World(responder=nameless) as world, ExitStack() as stack:
        kusto = stack.enter_context(Counting(world.kusto.url, "OpenCost", auth="none"))
        for table in (ALLOCATION, ASSETS):
            world.command(*landed(table, clusters, end - hours * _HOUR, hours))
        opencosts = [stack.enter_context(world.source(f"c{number}")) for number in range(clusters)]
        target, lookback = Target(_HOUR, ("allocation", "assets")), Lookback(timedelta(days=days), timedelta(minutes=1))
        report = tick(opencosts, kusto, target, lookback, run=new_run())
        if report.results:
            raise SystemExit(f"The tick ended with {report.counts}: {report.results[0]}")
        return kusto


def main() -> int:
    """Measure, print, and return 1 if the gate does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ticks", description=__doc__)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--days", type=int, default=14)
    options = parser.parse_args()
    found = run_tick(options.clusters, options.days)
    print(f"{found.requested} queries of {found.written / 1000:.1f} kB together")
    what = f"what a tick of {options.clusters} clusters with {options.days} days of history reads"
    gate: Gate = at_most(what, MOST_KILOBYTES, "kB", found.read / 1000)
    print(("holds: " if gate.holds else "FAILS: ") + gate.sentence)
    return 0 if gate.holds else 1


if __name__ == "__main__":
    sys.exit(main())
