"""A process gets SIGTERM while it waits for something: it releases what it holds, and says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from opencost_kusto.emulator import Reply
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.pipeline.sync import sync
from tests.faults.ending import Ending, fault
from tests.faults.test_crash import MESSAGES
from tests.faults.wire import is_message, many, shortened
from tests.support.recorded import OpenCostEmulator
from tests.support.world import HOUR, NAMESPACES, ROWS, World


def terminated(world: World, tmp: Path, waits: Callable[[], bool], *more: str) -> tuple[int, str]:
    """The exit code and the stderr of a sync of the hour that gets SIGTERM once it waits."""
    hour = f"{HOUR.start:%Y-%m-%dT%H:%MZ},{HOUR.end:%Y-%m-%dT%H:%MZ}"
    command = [sys.executable, "-m", "opencost_kusto", "sync", "--auth", "none"]
    command += [] if "--source" in more else ["--endpoint", world.opencost.url]
    command += ["--kusto-uri", world.kusto.url, "--database", "OpenCost", "--aggregate", "namespace"]
    command += ["--dataset", "allocation", "--window", hour, *more]
    environment = os.environ | {"TMPDIR": str(tmp)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        while not waits():
            assert process.poll() is None
            time.sleep(0.02)
        process.terminate()
        _, message = process.communicate(timeout=30)
    assert not list(tmp.iterdir())
    return process.returncode, message.decode()


@fault(
    "The process gets SIGTERM while OpenCost is silent in the middle of its response; then run again",
    "landed",
    exit_code=143,
    says=MESSAGES,
)
def test_a_run_is_terminated_while_opencost_is_silent(world: World, tmp_path: Path, ending: Ending) -> None:
    """Half a response is removed from disk, and the process does not wait for the rest."""
    silent, over = threading.Event(), threading.Event()

    def half() -> Iterator[bytes]:
        yield many(0.5, 50_000)[:2_000_000]
        silent.set()
        over.wait(30)

    world.opencost.responder = lambda path, _: Reply(200, {}, half()) if path == "/allocation" else None
    began = time.monotonic()
    ending.process(*terminated(world, tmp_path, silent.is_set))
    over.set()
    assert time.monotonic() - began < 20
    world.opencost.responder = None
    ending.again(world.sync())
    world.settle(ROWS)


@fault(
    "The process gets SIGTERM while `--replace` waits for its staged rows; then run again",
    "landed",
    exit_code=143,
    says=MESSAGES,
)
def test_a_replacement_is_terminated(changed: World, tmp_path: Path, ending: Ending) -> None:
    """The staging table is dropped before the exit, the old rows remain, and a later run replaces them."""
    changed.kusto.pause()
    before = len([one for one in changed.kusto.requests if is_message(one)])

    def waits() -> bool:
        return len([one for one in changed.kusto.requests if is_message(one)]) > before and bool(changed.staging)

    ending.process(*terminated(changed, tmp_path, waits, "--replace"))
    assert not changed.staging
    changed.settle(ROWS)
    ending.again(changed.sync(replace=True))
    changed.settle(ROWS - 1)


@fault(
    "The process gets SIGTERM while several sources are replaced at once; then run again",
    "landed",
    exit_code=143,
    says=MESSAGES,
)
def test_replacements_side_by_side_are_terminated(changed: World, tmp_path: Path, ending: Ending) -> None:
    """Every source drops its staging table before the exit, and the old rows remain."""
    changed.opencost.responder = None
    request = SyncRequest(HOUR, None, ("allocation",), NAMESPACES)
    with OpenCostEmulator() as second:
        with OpenCost(second.url, cluster="other") as other, changed.client() as kusto:
            assert sync(other, kusto, request).exit_code == 0
        second.responder = changed.opencost.responder = shortened
        changed.kusto.pause()
        named = (f"aks-shop-prod-weu={changed.opencost.url}", f"other={second.url}")
        sources = [word for source in named for word in ("--source", source)]
        ending.process(*terminated(changed, tmp_path, lambda: len(changed.staging) == 2, "--replace", *sources))
    assert not changed.staging
    changed.settle(2 * ROWS)
    ending.again(changed.sync(replace=True))
    changed.settle(2 * ROWS - 1)
