"""The demo: the whole path on one machine, with the last day of two clusters, against the local emulator."""

from __future__ import annotations

import shlex
import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from opencost_kusto.cli.reports import cost_bars, report_line
from opencost_kusto.cli.termination import Process
from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.emulator import DEFAULT_VERSION, Emulator
from opencost_kusto.errors import KustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.insight import pictures
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.pipeline.request import SyncRequest, new_run
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.schema.tables import DATASETS, DEFAULT_DATASETS
from opencost_kusto.window import Window

BY_TABLE = {
    table.name: f"{table.name} | summarize Rows = count()" + (f", Cost = sum({table.cost})" if table.cost else "")
    for table in map(DATASETS.__getitem__, DEFAULT_DATASETS)
}
BY_NAMESPACE = "OpenCostAllocation | summarize Cost = sum(TotalCost) by Namespace | order by Cost desc"
_SAID = "This is a local emulator: OpenCost for two made-up clusters, and Kusto on DuckDB. Nothing leaves this machine."
_HOUR = timedelta(hours=1)


def last_day(now: datetime) -> Window:
    """The 24 hours up to the last full hour."""
    end = now.replace(minute=0, second=0, microsecond=0)
    return Window(end - 24 * _HOUR, end)


def demo(process: Process, *, keep: bool = False, folder: Path | None = None) -> None:
    """Start the emulator, bootstrap, sync the last day of both clusters by the hour, and ask questions in KQL.

    Raises KustoError when not everything landed. With `folder`, draws each tile of the dashboard into it; raises
    UsageError when that cannot be done. With `keep`, prints the lines that reach the servers and waits.
    """
    if folder is not None:
        pictures.require()
    begun = time.monotonic()
    print(_SAID, flush=True)
    with Emulator() as emulated, Kusto(emulated.kusto_url, emulated.database, auth="none") as kusto:
        print(f"bootstrap: {bootstrap(kusto).changed} commands run")
        window = last_day(emulated.now())
        for one in emulated.opencosts:
            with OpenCost(one.url) as opencost:
                report = sync(opencost, kusto, SyncRequest(window, _HOUR), run=new_run("demo"))
            print(f"sync: {report_line(report)}")
            if report.exit_code:
                raise KustoError(f"The demo did not land: {report.counts}.")
        _answers(kusto)
        if folder is not None:
            print(f"\n{len(pictures.draw_dashboard(kusto, folder, window))} pictures of the dashboard are in {folder}.")
        print(f"\nDone in {time.monotonic() - begun:.1f} s.")
        if keep:
            _keep(emulated, process)


def emulator(
    process: Process,
    opencost_port: int = 0,
    second_opencost_port: int = 0,
    kusto_port: int = 0,
    *,
    version: str = DEFAULT_VERSION,
    keeps: Mapping[int, int] | None = None,
) -> None:
    """Run the emulator until Ctrl-C."""
    print(_SAID)
    with Emulator(
        opencost_port=opencost_port,
        second_port=second_opencost_port,
        kusto_port=kusto_port,
        version=version,
        keeps=keeps,
    ) as emulated:
        _keep(emulated, process)


def lines(emulated: Emulator) -> list[str]:
    """The commands that reach the emulator."""
    kusto = f"--kusto-uri {emulated.kusto_url} --database {shlex.quote(emulated.database)} --auth none"
    window = f"--window {last_day(emulated.now())} --step 1h"
    syncs = [f"opencost-kusto sync --endpoint {one.url} {window} {kusto}" for one in emulated.opencosts]
    return [f"opencost-kusto bootstrap {kusto}", *syncs, f"opencost-kusto status {kusto}"]


def _answers(kusto: Kusto) -> None:
    print(f"\n{'Table':<20} {'Rows':>6} {'Cost':>9}")
    for table, question in BY_TABLE.items():
        row = kusto.query(question)[0]
        print(f"{table:<20} {row['Rows']:>6} {row['Cost']:>9.2f}" if "Cost" in row else f"{table:<20} {row['Rows']:>6}")
    print(f"\n{BY_NAMESPACE}")
    costs = {row["Namespace"] or "": row["Cost"] for row in kusto.query(BY_NAMESPACE)}
    print("\n".join(cost_bars(costs)))


def _keep(emulated: Emulator, process: Process) -> None:
    print("The servers stay up until Ctrl-C. Reach them with:")
    stop = threading.Event()
    # Ctrl-C is how it is meant to end, so it is no interruption.
    with process.signals_to(lambda _: stop.set()):
        print("\n".join(f"  {line}" for line in lines(emulated)), flush=True)
        stop.wait()
    print("Stopped.", file=sys.stderr)
