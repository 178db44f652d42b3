"""Measure a fleet: many clusters in one run, with the environment of the image.

python -m tests.bench.fleet [--clusters 300] [--files 256]
python -m tests.bench.fleet --hours 24 --clusters 1000 --files 1024    a simulated day: what each hour and all take
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from opencost_kusto.emulator import Reply, Request, text_reply
from opencost_kusto.window import Window
from tests.bench.bench import Gate, at_most
from tests.support.documents import ROOT
from tests.support.world import World

MOST_MEGABYTES, MOST_THREADS, MOST_REQUESTS = 90.0, 40.0, 4.0
_BATCHES = "OpenCostSyncRuns | where Outcome == 'landed' | distinct BatchId | count"
_DAY = datetime(2026, 11, 23, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run took: peak memory, most threads and open files, requests to Kusto and its storage by kind."""

    exit_code: int
    megabytes: float
    threads: int
    files: int
    seconds: float
    requests: Counter[str]
    blob_bytes: int
    message: str


def nameless(path: str, _: object) -> Reply | None:
    """An OpenCost that does not identify its cluster, so that one server can stand for many."""
    return text_reply("404 page not found\n", status=404) if path in ("/allNamespaces", "/metrics") else None


def kind(request: Request) -> str:
    """What a request to Kusto is: a blob, a message, a query or a command."""
    if request.csl:
        return "command" if request.csl.startswith(".") else "query"
    return "blob" if request.method == "PUT" else "message"


def image_environment() -> dict[str, str]:
    """What the Dockerfile sets for the memory of the process."""
    text = (ROOT / "opencost_kusto" / "deploy" / "Dockerfile").read_text("utf-8")
    return dict(re.findall(r"(MALLOC_\w+)=(\S+)", text))


def run_fleet(world: World, clusters: int, files: int, hour: int = 10, *more: str) -> Measured:
    """Sync one hour of many clusters by the command line, with a limit of open files."""
    start = _DAY + timedelta(hours=hour)
    window = str(Window(start, start + timedelta(hours=1)))
    command = [sys.executable, "-m", "opencost_kusto", "sync", "--window", window, "--step", "1h"]
    command += ["--dataset", "allocation", "--aggregate", "namespace", "--auth", "none", *more]
    command += ["--kusto-uri", world.kusto.url, "--database", "OpenCost", "--quiet"]
    for number in range(clusters):
        command += ["--source", f"c{number:04}={world.opencost.url}"]
    world.kusto.requests.clear()
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **image_environment()},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )
    most = watched(process.pid)
    try:
        message = process.communicate(timeout=3600)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Measured(
        process.returncode,
        most["VmHWM"] / 1024,
        most["Threads"],
        most["files"],
        time.perf_counter() - begun,
        Counter(map(kind, world.kusto.requests)),
        sum(len(one.body) for one in world.kusto.requests if kind(one) == "blob"),
        message,
    )


def watched(pid: int) -> Counter[str]:
    """The most that a process is seen to have; a thread keeps watching until the process ends."""
    most: Counter[str] = Counter()

    def look() -> None:
        folder = Path(f"/proc/{pid}")
        while True:
            try:
                status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
                found = {name: int(status[name].split()[0]) for name in ("VmHWM", "Threads")}
                found["files"] = sum(1 for _ in (folder / "fd").iterdir())
            except (OSError, KeyError):
                return
            for name, value in found.items():
                most[name] = max(most[name], value)
            time.sleep(0.05)

    threading.Thread(target=look, daemon=True).start()
    return most


def gates(clusters: int, files: int, margin: float) -> list[Gate]:
    """What was agreed of many clusters in one run."""
    with World(responder=nameless) as world:
        found = run_fleet(world, clusters, files)
    print(found.requests, f"{found.seconds:.1f} s, {found.files} files", found.message[-500:])
    each = found.requests.total() / clusters
    return [
        Gate(found.exit_code == 0, f"{clusters} clusters with {files} open files end with {found.exit_code}"),
        at_most(f"peak memory of {clusters} clusters", MOST_MEGABYTES * (1 + margin), "MB", found.megabytes),
        at_most(f"threads of {clusters} clusters", MOST_THREADS, "threads", found.threads),
        at_most("requests to Kusto and its storage for a cluster", MOST_REQUESTS, "requests", each),
    ]


def day(clusters: int, files: int, hours: int) -> list[Gate]:
    """Sync hour after hour of a day, allocation and assets; print what each takes, and what all take."""
    sums: Counter[str] = Counter()
    codes, most = set(), {"megabytes": 0.0, "threads": 0.0, "files": 0.0, "seconds": 0.0}
    with World(responder=nameless) as world:
        for hour in range(hours):
            found = run_fleet(world, clusters, files, hour, "--dataset", "assets")
            requested = found.requests["query"] + found.requests["command"]
            taken = {
                "batches": int(world.query(_BATCHES)[0]["Count"]) - sums["batches"],
                "queries and commands": requested,
                "blobs": found.requests["blob"],
                "bytes of blobs": found.blob_bytes,
            }
            sums.update(taken)
            codes.add(found.exit_code)
            own = {name: round(getattr(found, name), 1) for name in most}
            most = {name: max(most[name], own[name]) for name in most}
            print(f"hour {hour}:", taken, own, flush=True)
    print(f"{hours} hours of {clusters} clusters:", dict(sums), "at most:", most)
    return [Gate(codes == {0}, f"{hours} hours of {clusters} clusters end with {sorted(codes)}")]


def main() -> int:
    """Measure, print, and return 1 if a gate does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fleet", description=__doc__)
    parser.add_argument("--clusters", type=int, default=300)
    parser.add_argument("--files", type=int, default=256)
    parser.add_argument("--hours", type=int, help="Sync this many hours of a day, and print what they take.")
    parser.add_argument("--margin", type=float, default=0, help="percent of memory by which another machine may differ")
    options = parser.parse_args()
    if options.hours:
        found = day(options.clusters, options.files, options.hours)
    else:
        found = gates(options.clusters, options.files, options.margin / 100)
    for gate in found:
        print(("holds: " if gate.holds else "FAILS: ") + gate.sentence)
    return 0 if all(gate.holds for gate in found) else 1


if __name__ == "__main__":
    sys.exit(main())
