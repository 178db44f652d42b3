"""`demo` and `emulator` as a user runs them: what they print, that it works, and how they end."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from opencost_kusto.cli import demo
from opencost_kusto.coverage.backfill import backfill, survey
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.emulator import CLUSTERS, Emulator, KustoEmulator
from opencost_kusto.emulator.kusto import translation
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.pipeline.request import SyncRequest, new_run
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.window import Window
from tests.support import forked
from tests.support.documents import README

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
MESSAGES = "This is a local emulator: "
SECONDS = 300
HOUR = timedelta(hours=1)
DATASETS = ("allocation", "assets")
# How these tests start the program, which is how it prints itself.
PROGRAM = f"{shlex.quote(sys.executable)} -m opencost_kusto"
Lines = list[str]


@contextmanager
def _started(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs until the block ends, and at most five minutes; its output as it is printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    command = [sys.executable, "-m", "opencost_kusto", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = threading.Timer(SECONDS, process.kill)
        deadline.start()
        try:
            yield process
        finally:
            deadline.cancel()
            process.kill()


def _until_up(process: subprocess.Popen[str], expected: int = 3) -> Lines:
    """What was printed until so many commands are there."""
    assert process.stdout is not None
    lines: Lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if len(_commands(lines)) == expected:
            return lines
    raise AssertionError("\n".join(lines))


def _commands(lines: Lines) -> Lines:
    """The commands that were printed, as they were printed."""
    return [line.strip() for line in lines if line.startswith(f"  {PROGRAM} ")]


def _stopped(process: subprocess.Popen[str]) -> str:
    """Interrupt the process as Ctrl-C does, and return its stderr once it has ended well."""
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, ""), errors
    assert "Traceback" not in errors
    return errors


def _run(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line as it was printed, as a shell would, in a fork of a process that has imported the program."""
    words = shlex.split(line)
    assert words[:3] == [sys.executable, "-m", "opencost_kusto"]
    return forked.run(words[3:], folder, {**os.environ, "PYTHONPATH": str(ROOT)})


def _shown() -> Lines:
    """What the README shows of the demo's output."""
    [block] = re.findall(r"^```\n(bootstrap: .*?)^```", README, re.MULTILINE | re.DOTALL)
    return str(block).splitlines()


def _shapes(lines: Lines) -> set[str]:
    """Lines without their numbers and times, and without the length of what is drawn."""
    return {re.sub(r"[\d,.:TZ-]*\d[\d,.:TZ-]*|[█─]+| +", "#", line).rstrip("# ") for line in lines}


def _assert_the_costs(text: str) -> None:
    """Cost by cluster, and by cluster and namespace: the largest first, with shares, bars and a total."""
    tables = re.split(r"^Cost by cluster.* from .* to .*, without idle$", text, flags=re.MULTILINE)[1:]
    assert len(tables) == 2
    totals = set()
    for table in tables:
        rows = re.findall(r"^  (\S+)(?: +(\S+))? +([\d,]+\.\d+) +(\d+\.\d) %   (█*)$", table, re.MULTILINE)
        assert {row[0] for row in rows} == set(CLUSTERS)
        costs = [float(row[2].replace(",", "")) for row in rows]
        assert costs == sorted(costs, reverse=True)
        [total] = re.findall(r"^  Total +([\d,]+\.\d\d) +100\.0 %$", table, re.MULTILINE)
        totals.add(total)
        assert sum(costs) == pytest.approx(float(total.replace(",", "")), abs=0.06)
        assert [len(row[4]) for row in rows] == [round(30 * cost / costs[0]) for cost in costs]
    assert len(totals) == 1


def test_queries_of_other_times_are_not_translated_again() -> None:
    """Most of the demo's time was once the translation of its queries: hours, what is missing, and a backfill of it."""
    with Emulator() as emulated, Kusto(emulated.kusto_url, emulated.database, auth="none") as kusto:
        bootstrap(kusto)
        now, end = emulated.now(), demo.last_day(emulated.now()).end
        translated = []
        for hours in (Window(end - 8 * HOUR, end - 4 * HOUR), Window(end - 4 * HOUR, end)):
            loaded = SyncRequest(Window(hours.start + HOUR, hours.end), HOUR, DATASETS)
            with OpenCost(emulated.opencost_url, cluster=CLUSTERS[0]) as opencost:
                assert sync(opencost, kusto, loaded).counts == {"landed": 6}
                found = survey([opencost], kusto, Target(HOUR, DATASETS), hours, now=now, closed=hours.end)
                assert backfill(found, kusto, run=new_run("backfill")).counts == {"landed": 2}
            translated.append(translation.kept())
            queries = sum(1 for one in emulated.kusto.requests if one.path == "/v2/rest/query")
        first, second = translated
        assert second - first < queries / 10


def test_the_demo_loads_fourteen_days_and_keeps_its_servers(tmp_path: Path) -> None:
    """Days before by day and the last day by the hour; a day that is left out is found, and nothing is missing then.

    `demo --keep` prints costs, and three commands that work as printed, and ends with 0 on Ctrl-C.
    """
    with _started(tmp_path, "demo", "--keep") as process:
        lines = _until_up(process)
        assert lines[0].startswith(MESSAGES)
        _assert_the_costs("\n".join(lines))
        assert _shapes(_shown()) <= _shapes(lines)
        _assert_what_is_loaded(lines)
        cost, sync, status = (_run(tmp_path, line) for line in _commands(lines))
        for done in (cost, sync, status):
            assert done.returncode == 0, done.stderr
        assert "Total" in cost.stdout
        # The metrics are of this moment, which may be the demo's.
        assert re.search(r": (4 already landed, 2 landed|[56] already landed.*); ", sync.stdout), sync.stdout
        assert all(cluster in status.stdout for cluster in CLUSTERS)
        assert _stopped(process) == "Stopped.\n"
    assert list(tmp_path.iterdir()) == []


def _assert_what_is_loaded(lines: Lines) -> None:
    """Each day and each of the last hours of both clusters once, the day that was left out among them."""
    output = "\n".join(lines)
    [url] = re.findall(r"^Kusto: (\S+), database OpenCost$", output, re.MULTILINE)
    [(start, end)] = set(re.findall(r"^Cost by cluster.* from (\S+)T\S* to (\S+), in", output, re.MULTILINE))
    with Kusto(url, "OpenCost", auth="none") as kusto:
        held = kusto.query("OpenCostAllocation | summarize dcount(BatchId) by Cluster, WindowMinutes")
        left = kusto.query(f"OpenCostMissingWindows(datetime({start}), datetime({end[:10]}), '', 1d)")
    assert {(row["Cluster"], row["WindowMinutes"]): row["dcount_BatchId"] for row in held} == {
        (cluster, minutes): count for cluster in CLUSTERS for minutes, count in ((60.0, 24), (1440.0, 14))
    }
    assert left == []
    [cluster, day] = re.findall(r"^gap: (\S+) has no allocation and assets of (\S+), left", output, re.MULTILINE)[0]
    assert cluster == CLUSTERS[1]
    assert start < day < end
    assert f"backfill: 2 batches of {cluster} in run backfill: 2 landed; " in output


def test_the_emulator_serves(tmp_path: Path) -> None:
    """`emulator` prints lines that bootstrap and fill its empty database, and ends with 0 on Ctrl-C."""
    with _started(tmp_path, "emulator") as process:
        lines = _until_up(process)
        assert lines[0].startswith(MESSAGES)
        bootstrap, sync, *more = _commands(lines)
        done = _run(tmp_path, bootstrap)
        assert done.returncode == 0, done.stderr
        assert "commands run." in done.stdout
        # With no options but the addresses: the hour that ends now.
        done = _run(tmp_path, re.sub(r" --window \S+ --step 1h", "", sync))
        assert done.returncode == 0, done.stderr
        assert re.search(r": 6 landed; \d{3,} rows$", done.stdout.splitlines()[-1]), done.stdout
        for line in more:
            done = _run(tmp_path, line)
            assert done.returncode == 0, done.stderr
            assert done.stdout, line
        _stopped(process)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """A port that another process has ends with exit code 2 and a sentence, not a traceback."""
    with KustoEmulator() as taken:
        port = taken.url.rpartition(":")[2]
        done = _run(tmp_path, f"{PROGRAM} emulator --kusto-port {port}")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"port {port} of 127.0.0.1 cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_emulator_responds_as_a_version(tmp_path: Path) -> None:
    """`--opencost-version` and `--opencost-store` set how OpenCost responds: 1.119 with its built-in store here."""
    with _started(tmp_path, "emulator", "--opencost-version", "1.119", "--opencost-store", "built-in") as process:
        _, sync, *_ = _commands(_until_up(process))
        endpoint = shlex.split(sync)[5].partition("=")[2]
        with requests.Session() as session:
            today = session.get(f"{endpoint}/allocation", params={"window": "1d", "aggregate": "cluster"}, timeout=20)
            odd = session.get(f"{endpoint}/allocation", params={"window": "30m"}, timeout=20)
        assert "status" not in today.json()
        assert (odd.status_code, "of a built-in store" in odd.text) == (501, True)
        _stopped(process)


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    """The versions that there are, and exit code 2."""
    done = _run(tmp_path, f"{PROGRAM} emulator --opencost-version 1.2")
    assert done.returncode == 2
    assert "does not have OpenCost 1.2. Choose one of 1.111, 1.112, 1.119." in done.stderr
