"""The process ends at any moment: what it reported landed, and a run after it leaves each row once."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Deadlines
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.replay import replay
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, SYNC_RUNS
from opencost_kusto.window import Window
from tests.faults.ending import Ending, fault
from tests.support.world import HOUR, NAMESPACES, World

HOURS = Window(HOUR.start, HOUR.start + timedelta(hours=2))
REQUEST = SyncRequest(HOURS, timedelta(hours=1), ("allocation", "assets"), NAMESPACES)
# With and without a spool, by SIGTERM and by SIGKILL: 52 in all.
MOMENTS = 13
MESSAGES = (
    "opencost-kusto: Interrupted by SIGTERM. Batches not reported as landed may still arrive. Run the command again."
)
# A batch: its dataset and the start of its hour.
Rows = dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, what it wrote, and how many seconds it took."""

    exit_code: int
    seconds: float
    stdout: str
    stderr: str

    @property
    def reported(self) -> set[tuple[str, str]]:
        """The batches that were reported landed or already landed."""
        found = re.findall(r" (allocation|assets) (\S+) 60m (landed|already landed)[:.]", self.stderr)
        return {(dataset, start) for dataset, start, _ in found}


class Launcher:
    """Starts runs that end at a moment, in a process that has imported everything; files lie in `folder`."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._folder = folder
        self.tmp = folder / "tmp"
        self.tmp.mkdir()
        command = [sys.executable, "-m", "tests.faults.launcher"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, cwd=Path(__file__).parents[2], **pipes)

    def close(self) -> None:
        """End the process, which ends when there is nothing more to do."""
        self._process.communicate(timeout=30)

    def run(self, number: int = 0, after: float = 0.0, *more: str) -> Ended:
        """One `sync`, which gets a signal after so many seconds unless the signal is 0."""
        world, start, end = self._world, f"{HOURS.start:%Y-%m-%dT%H:%MZ}", f"{HOURS.end:%Y-%m-%dT%H:%MZ}"
        arguments = ["sync", "--endpoint", world.opencost.url, "--kusto-uri", world.kusto.url, "--database", "OpenCost"]
        arguments += ["--auth", "none", "--window", f"{start},{end}", "--step", "1h", "--aggregate", "namespace"]
        arguments += ["--dataset", "allocation", "--dataset", "assets", *more]
        out, err = self._folder / "stdout", self._folder / "stderr"
        requested = {"arguments": arguments, "signal": number, "after": after, "tmp": str(self.tmp)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(requested | {"stdout": str(out), "stderr": str(err)}), file=self._process.stdin, flush=True)
        ended = json.loads(self._process.stdout.readline())
        return Ended(ended["exit_code"], ended["seconds"], out.read_text(), err.read_text())


@contextmanager
def launcher(world: World, folder: Path) -> Iterator[Launcher]:
    """A launcher, ended at the end."""
    launcher = Launcher(world, folder)
    try:
        yield launcher
    finally:
        launcher.close()


def there(world: World) -> Rows:
    """The rows of each batch that the tables hold."""
    found: Rows = {}
    for table in (ALLOCATION, ASSETS):
        for row in world.query(f"{table.name} | summarize Rows = count() by WindowStart"):
            found[table.dataset, f"{row['WindowStart']:%Y-%m-%dT%H:%M:%SZ}"] = row["Rows"]
    return found


def run_again(world: World, spool: Path | None, ending: Ending) -> None:
    """What a user does after a crash: replay where there is a spool, and sync; neither fails."""
    with OpenCost(world.opencost.url) as opencost, world.client(Deadlines()) as kusto:
        if spool is not None:
            replayed = replay(spool, kusto, policy=LoadPolicy(timeout=20))
            assert replayed.exit_code == 0, replayed.results
        ending.again(sync(opencost, kusto, REQUEST, policy=LoadPolicy(timeout=20, spool=spool)))


def swept(world: World, spool: Path) -> bool:
    """Whether nothing is left in a spool a day later."""
    yesterday = time.time() - 25 * 3600
    for path in (*spool.glob("*/*"), *spool.glob("*")):
        os.utime(path, (yesterday, yesterday))
    with world.client() as kusto:
        assert replay(spool, kusto).results == []
    return not list(spool.iterdir())


def clear(world: World) -> None:
    """Let the tables be empty again."""
    world.command(*(f".clear table {name} data" for name in (ALLOCATION.name, ASSETS.name, SYNC_RUNS.name)))


def look(world: World, complete: Rows, ended: Ended) -> None:
    """What was reported landed is in the table at once; once all is idle each batch is complete or absent."""
    assert ended.reported <= there(world).keys()
    world.kusto.wait_idle()
    found = there(world)
    assert found.items() <= complete.items()
    assert ended.reported <= found.keys()


@pytest.mark.slow
@pytest.mark.parametrize("with_spool", [False, True], ids=["", "spool"])
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(
            signal.SIGTERM,
            id="SIGTERM",
            marks=fault(
                "The process gets SIGTERM at any moment; then run again",
                *("landed", "already landed"),
                exit_code=143,
                says=MESSAGES,
            ),
        ),
        pytest.param(
            signal.SIGKILL,
            id="SIGKILL",
            marks=fault(
                "The process is killed (SIGKILL) at any moment; then run again",
                *("landed", "already landed"),
                exit_code=137,
            ),
        ),
    ],
)
def test_a_run_is_ended_at_any_moment(
    world: World, tmp_path: Path, number: int, with_spool: bool, ending: Ending
) -> None:
    """Nothing it reported is missing, no batch is partly loaded, and another run leaves each row once."""
    spool = tmp_path / "spool" if with_spool else None
    options = ["--spool", str(spool)] if spool else []
    moments = random.Random(f"{number}{with_spool}")
    ends: list[int] = []
    # Long enough that what is reported before it is there is caught.
    world.kusto.latency = 0.3
    with launcher(world, tmp_path) as start:
        first = start.run(0, 0.0, *options)
        assert first.exit_code == 0, first.stderr
        complete = there(world)
        assert len(complete) == 4 == len(first.reported)
        for _ in range(MOMENTS):
            clear(world)
            ended = start.run(number, moments.uniform(0, first.seconds * 1.1), *options)
            ends.append(ended.exit_code)
            look(world, complete, ended)
            if number == signal.SIGTERM:
                assert not list(start.tmp.iterdir())
            if ended.exit_code in (0, -signal.SIGTERM):
                # At its end, when all was done; or before the program had said a word.
                assert len(ended.reported) == 4 or not (ended.exit_code == 0 or ended.stderr)
            elif ended.stderr == "opencost-kusto: Interrupted by SIGTERM.\n":
                # Before the command had begun, so nothing may land still.
                assert not ended.reported
            else:
                # As the shell says it.
                ending.process(ended.exit_code if ended.exit_code > 0 else 128 - ended.exit_code, ended.stderr)
            run_again(world, spool, ending)
            assert there(world) == complete
            assert spool is None or swept(world, spool)
    assert len([code for code in ends if code != 0]) > MOMENTS // 2
