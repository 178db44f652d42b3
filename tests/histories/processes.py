"""Runs the command line in a process of its own, and sends it a signal when Kusto gets a request."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from opencost_kusto.batch import Batch
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.window import Window, stamp
from tests.histories.commands import CLUSTER, HOUR, window_of
from tests.histories.steps import Kill
from tests.support.world import NAMESPACES, World

# Seconds in which a process ends, or gets its signal anyway.
_LONGEST = 60.0
_LANDED = re.compile(r" allocation (\S+) 60m (?:landed|already landed)[:.]")


@dataclass(frozen=True, slots=True)
class Killed:
    """How a process ended, how it may have, and which batches it printed as landed."""

    exit_code: int
    expected: tuple[int, ...]
    stderr: str
    landed: list[str]


def killed(step: Kill, world: World, spool: Path, *, tags: bool = True) -> Killed:
    """Run `sync` to its signal, or to an end before it."""
    window = window_of(step.hours)
    command = [sys.executable, "-m", "opencost_kusto", "sync", "--auth", "none", "--endpoint", world.opencost.url]
    command += ["--cluster", CLUSTER, "--kusto-uri", world.kusto.url, "--database", "OpenCost", "--step", "1h"]
    command += ["--window", f"{stamp(window.start)},{stamp(window.end)}", "--dataset", "allocation"]
    command += ["--aggregate", str(NAMESPACES.for_table(ALLOCATION)["aggregate"]), "--timeout", "10"]
    command += ["--spool", str(spool)] if step.spool else []
    command += ["--replace"] if step.replace else []
    command += [] if tags else ["--no-tags"]
    before, give_up = len(world.kusto.requests), time.monotonic() + _LONGEST
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while len(world.kusto.requests) < before + step.at and time.monotonic() < give_up and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(step.number)
        _, message = process.communicate(timeout=_LONGEST)
    by_signal = -signal.SIGKILL if step.number == signal.SIGKILL else 128 + step.number
    # Before the signal a run may have ended well, or as one whose batches failed.
    return Killed(
        process.returncode, (by_signal, 0, 3, 4, 5, 6, 7), message, [*map(_batch_id, _LANDED.findall(message))]
    )


def _batch_id(start: str) -> str:
    begin = datetime.fromisoformat(start)
    return Batch(ALLOCATION, CLUSTER, Window(begin, begin + HOUR), NAMESPACES).id
