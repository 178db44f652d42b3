"""The demo: the whole path on one machine, with fourteen days of two clusters, against the local emulator."""

from __future__ import annotations

import shlex
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

from opencost_kusto.batch import SourceSettings
from opencost_kusto.cli.reports import cost_shares, report_line
from opencost_kusto.cli.termination import Process
from opencost_kusto.coverage.backfill import backfill, survey
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.emulator import DEFAULT_VERSION, Emulator
from opencost_kusto.errors import KustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.insight import pictures
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.pipeline.fleet import sync_all
from opencost_kusto.pipeline.request import SyncRequest, new_run
from opencost_kusto.result import Report
from opencost_kusto.schema.tables import DATASETS, DEFAULT_DATASETS
from opencost_kusto.window import Window

_INTRO = (
    "This is a local emulator: OpenCost for two made-up clusters, and Kusto on DuckDB. Nothing leaves this machine."
)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
# The days of data that the clusters of the emulator have, and the one that is left out at first.
_DAYS, _LEFT_OUT = 14, 9
# The emulator's prices are those of OpenCost's default, in US dollars.
_SETTINGS = SourceSettings(currency="USD")
_PAST = tuple(name for name in DEFAULT_DATASETS if DATASETS[name].cadence == "step")


def last_day(now: datetime) -> Window:
    """The 24 hours up to the last full hour."""
    end = now.replace(minute=0, second=0, microsecond=0)
    return Window(end - 24 * _HOUR, end)


def last_days(now: datetime) -> Window:
    """The fourteen full days before today."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return Window(midnight - _DAYS * _DAY, midnight)


def demo(process: Process, *, keep: bool = False, folder: Path | None = None) -> None:
    """Start the emulator, bootstrap, load fourteen days of both clusters, and print what they cost.

    Raises KustoError when not everything landed. With `folder`, draws the dashboard into it; raises UsageError when
    that cannot be done. With `keep`, prints commands to try and waits.
    """
    if folder is not None:
        pictures.require()
    begun = time.monotonic()
    with Emulator() as emulated, Kusto(emulated.kusto_url, emulated.database, auth="none") as kusto:
        print(_INTRO, flush=True)
        print(f"bootstrap: {bootstrap(kusto).changed} commands run", flush=True)
        now = emulated.now()
        load(emulated, kusto, now)
        period = Window(last_days(now).start, last_day(now).end)
        for table in cost_shares(kusto, period, _SETTINGS.currency or ""):
            process.console.out("")
            process.console.rows(table)
        if folder is not None:
            # The last of the two weeks, so that there is a week before it to compare with.
            week = Window(last_days(now).end - 7 * _DAY, last_days(now).end)
            drawn = pictures.draw_dashboard(kusto, folder, week, on_page=lambda path: print(f"{path} is drawn."))
            print(f"\n{len(drawn)} pages of the dashboard are in {folder}.")
        print(f"\nDone in {time.monotonic() - begun:.1f} s.")
        if keep:
            _keep(emulated, process, examples(emulated))
        else:
            print(f"To try it yourself, run: {program()} demo --keep")


def load(emulated: Emulator, kusto: Kusto, now: datetime) -> None:
    """Load the days of both clusters and the last 24 hours; one day of one cluster is left out, found and filled.

    Raises KustoError when not everything landed.
    """
    days, hours = last_days(now), last_day(now)
    left_out = Window(days.start + _LEFT_OUT * _DAY, days.start + (_LEFT_OUT + 1) * _DAY)
    with ExitStack() as stack:
        first, second = opencosts = [
            stack.enter_context(OpenCost(one.url, cluster=one.live.cluster.id, settings=_SETTINGS))
            for one in emulated.opencosts
        ]
        _sync([first], kusto, SyncRequest(days, _DAY, _PAST), "days")
        for some in (Window(days.start, left_out.start), Window(left_out.end, days.end)):
            _sync([second], kusto, SyncRequest(some, _DAY, _PAST), "days")
        _sync(opencosts, kusto, SyncRequest(hours, _HOUR), "last-day")
        surveyed = survey(opencosts, kusto, Target(_DAY, _PAST), days, now=now, closed=days.end)
        for opencost, _, gaps in surveyed.found:
            for window in sorted({batch.window for batch in gaps.due}):
                missing = " and ".join(batch.table.dataset for batch in gaps.due if batch.window == window)
                print(f"gap: {opencost.cluster} has no {missing} of {window.start:%Y-%m-%d}, left out on purpose")
        _landed(backfill(surveyed, kusto, run=new_run("backfill")), "backfill")


def _sync(opencosts: list[OpenCost], kusto: Kusto, request: SyncRequest, run: str) -> None:
    _landed(sync_all(opencosts, kusto, request, run=new_run(run)), "sync")


def _landed(report: Report, command: str) -> None:
    """Print the sum of a report; raises KustoError when not everything landed."""
    print(f"{command}: {report_line(report)}", flush=True)
    if report.exit_code:
        raise KustoError(f"The demo did not land: {report.counts}.")


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
    with Emulator(
        opencost_port=opencost_port,
        second_port=second_opencost_port,
        kusto_port=kusto_port,
        version=version,
        keeps=keeps,
    ) as emulated:
        print(_INTRO)
        _keep(emulated, process, lines(emulated))


def program() -> str:
    """How this program was started, so that what is printed works where it is not on the PATH."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m opencost_kusto"
    found = shutil.which("opencost-kusto")
    same = found is not None and started.exists() and Path(found).resolve() == started.resolve()
    return "opencost-kusto" if same else shlex.quote(str(started))


def lines(emulated: Emulator) -> list[str]:
    """The commands that fill the emulator's empty database."""
    window = f"--window {last_day(emulated.now())} --step 1h"
    return [
        f"{program()} bootstrap {_database(emulated)}",
        f"{program()} sync {_sources(emulated)} {window} {_database(emulated)}",
        f"{program()} status {_database(emulated)}",
    ]


def examples(emulated: Emulator) -> list[str]:
    """Three commands to try on what the demo has loaded."""
    now = emulated.now()
    yesterday = last_days(now).end - _DAY
    window = Window(last_days(now).start, last_day(now).end)
    return [
        f"{program()} cost --by controller --window {window} --top 10 {_database(emulated)}",
        f"{program()} sync {_sources(emulated)} --window {yesterday:%Y-%m-%d} {_database(emulated)}",
        f"{program()} status --catch-up 14d {_database(emulated)}",
    ]


def _database(emulated: Emulator) -> str:
    return f"--kusto-uri {emulated.kusto_url} --database {shlex.quote(emulated.database)} --auth none"


def _sources(emulated: Emulator) -> str:
    return " ".join(f"--source {one.live.cluster.id}={one.url}" for one in emulated.opencosts)


def _keep(emulated: Emulator, process: Process, commands: list[str]) -> None:
    for one in emulated.opencosts:
        print(f"OpenCost of {one.live.cluster.id}: {one.url}")
    print(f"Kusto: {emulated.kusto_url}, database {emulated.database}")
    print("The servers stay up until Ctrl-C. In another terminal, try:")
    stop = threading.Event()
    # Ctrl-C is the regular end, and no interruption.
    with process.signals_to(lambda _: stop.set()):
        print("\n".join(f"  {line}" for line in commands), flush=True)
        stop.wait()
    print("Stopped.", file=sys.stderr)
