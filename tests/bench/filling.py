"""Measures a backfill: what OpenCost's time is to it, and what a batch takes of the processor; with limits.

python -m tests.bench.filling [--margin PERCENT] [--python PATH]

`--python` is the interpreter of an environment that has the program installed, as for `tests.bench.commands`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from opencost_kusto.coverage.backfill import backfill, survey
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.emulator import Reply, Responder, json_reply
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.request import new_run
from opencost_kusto.window import Window, stamp
from tests.bench.bench import Gate, at_most
from tests.bench.commands import command, compile_as_installed, processor_seconds
from tests.support.recordings import recording
from tests.support.world import PATIENT, World

STEPS, RESPONSE_TAKES, LANDING_TAKES, MOST_OVER_OPENCOST = 144, 0.5, 5.0, 1.1
DAYS, MOST_MILLISECONDS = 30, 12.0
FIRST = datetime(2026, 10, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


def hours(seconds: float = 0.0) -> Responder:
    """An OpenCost that serves each hour like the recorded one, after some seconds."""
    body = recording("1.112", "allocation_hour.json")

    def responder(path: str, query: Any) -> Reply | None:
        if path != "/allocation":
            return None
        time.sleep(seconds)
        start, _, end = query["window"].partition(",")
        complete = body.replace(b"2026-11-23T11:00:00Z", end.encode()).replace(b"2026-11-23T10:", start[:14].encode())
        return json_reply(complete)

    return responder


def over_opencost() -> float:
    """How many times OpenCost's own time a backfill takes, where each batch lands some seconds later.

    An hour is loaded before: the import of the SDK is measured elsewhere, and the emulator translates each query once.
    """
    period = Window(FIRST, FIRST + STEPS * _HOUR)
    with (
        World(responder=hours(RESPONSE_TAKES), latency=LANDING_TAKES) as world,
        world.client(PATIENT) as kusto,
        world.source(timeout=60) as opencost,
    ):
        fill(opencost, kusto, Window(FIRST - _HOUR, FIRST))
        begun = time.perf_counter()
        fill(opencost, kusto, period)
        seconds = time.perf_counter() - begun
    return seconds / (STEPS * RESPONSE_TAKES)


def fill(opencost: OpenCost, kusto: Kusto, period: Window) -> None:
    """Load the hours of a period."""
    target, now = Target(_HOUR, ("allocation",)), period.end + _HOUR
    found = survey([opencost], kusto, target, period, now=now, closed=period.end)
    report = backfill(found, kusto, run=new_run(), policy=LoadPolicy(timeout=300))
    if report.counts != {"landed": found.expected}:
        raise SystemExit(f"The backfill ended with {report.counts}.")


def milliseconds(python: str) -> float:
    """Processor milliseconds of the whole command for each batch of a month of hours."""
    end = FIRST + timedelta(days=DAYS)
    with World(responder=hours()) as world:
        arguments = ("--endpoint", world.opencost.url, "--kusto-uri", world.kusto.url, "--database", "OpenCost")
        period = ("--from", stamp(FIRST), "--to", stamp(end), "--dataset", "allocation", "--step", "1h")
        backfilled = command(python, "backfill", *period, *arguments, "--auth", "none", "--quiet")
        seconds = processor_seconds(*backfilled)
        batches = int(world.query("OpenCostAllocation | distinct BatchId | count")[0]["Count"])
    if batches != DAYS * 24:
        raise SystemExit(f"The backfill loaded {batches} batches.")
    return 1000 * seconds / batches


def gates(python: str, margin: float) -> Iterator[Gate]:
    """What was agreed about a backfill."""
    limit = MOST_OVER_OPENCOST + (MOST_OVER_OPENCOST - 1) * margin
    what = f"a backfill of {STEPS} hours of {RESPONSE_TAKES:g} s that land {LANDING_TAKES:g} s later"
    yield at_most(what, limit, "times OpenCost's time", over_opencost())
    what = f"a backfill of {DAYS} days of hours"
    yield at_most(what, MOST_MILLISECONDS * (1 + margin), "ms of the processor a batch", milliseconds(python))


def main() -> int:
    """Measure, print, and return 1 if a gate does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.filling", description=__doc__)
    parser.add_argument("--margin", type=float, default=0, help="percent by which a time may miss, for noise")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the program installed")
    options = parser.parse_args()
    compile_as_installed()
    found = list(gates(options.python, options.margin / 100))
    for gate in found:
        print(("holds: " if gate.holds else "FAILS: ") + gate.sentence)
    return 0 if all(gate.holds for gate in found) else 1


if __name__ == "__main__":
    sys.exit(main())
