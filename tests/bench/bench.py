"""Measures the pipelines side by side and prints a table; with --gates, fails when one is slower or larger than agreed.

`python -m tests.bench.bench [--rows 1000,10000,100000] [--rounds 5] [--json FILE] [--gates [--margin PERCENT]]`. Every
pipeline runs in a process of its own and all take turns in each round. Gates judge the clock, since we encode and
compress side by side and the clock is what a user sees, and processor seconds, which leave out what working side by
side gains. Of each pipeline the shortest time counts, since others on the machine only ever add to it. The table shows
the ratios within each round.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import IO, Any, cast

import msgspec

from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.emulator import KustoEmulator, Reply, json_reply
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.window import Window
from tests.bench.pipelines import PIPELINES, Measured
from tests.support.recorded import OpenCostEmulator
from tests.support.recordings import recording

STEPS, RESPONSE_TAKES = 48, 0.2
# Measured on 2026-11-30, on a quiet machine. Other work on it moves the ratio by the clock, that in processor seconds
# hardly.
LEAST_OVER_PLAIN, LEAST_OVER_PLAIN_CPU = 4.0, 2.5
MOST_OVER_FLOOR, MOST_OVER_OPENCOST = 4.0, 1.15
MOST_GROWTH, MOST_PEAK = 10.0, 110.0
COMMAND = "whole command"
Times = dict[str, list[float]]


class Spread(msgspec.Struct):
    """A median, with the least and the most that was measured."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """The spread of some values."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}–{self.most:.2f})"


class Ratio(Spread):
    """The ratio within each round, and that of the shortest times, which is printed as best."""

    shortest: float

    def __str__(self) -> str:
        return f"{super().__str__()}, best {self.shortest:.2f}"


class Gate(msgspec.Struct):
    """One thing that was agreed: whether it holds, and the sentence that says so."""

    holds: bool
    sentence: str


class Results(msgspec.Struct):
    """All that was measured: seconds, file sizes and ratios by rows and pipeline, memory in MB by rows, and more."""

    rounds: int
    seconds: dict[int, dict[str, Spread]] = {}
    cpu: dict[int, dict[str, Spread]] = {}
    megabytes: dict[int, dict[str, float]] = {}
    over_plain: dict[int, dict[str, Ratio]] = {}
    over_plain_cpu: dict[int, dict[str, Ratio]] = {}
    over_floor: dict[int, dict[str, Ratio]] = {}
    peak: dict[int, float] = {}
    peak_plain: dict[int, float] = {}
    backfill: float | None = None
    gates: list[Gate] = []


@contextmanager
def payload_server(*rows: int) -> Iterator[str]:
    """Run a server of responses with so many rows in a process of its own; yield its address."""
    command = [sys.executable, "-m", "tests.bench.payloads", *map(str, rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield cast(IO[str], server.stdout).readline().strip()
        finally:
            server.kill()


@contextmanager
def _worker(name: str, *more: str) -> Iterator[Callable[[str], Measured]]:
    """A process that runs one pipeline on request."""
    command = [sys.executable, "-m", "tests.bench.pipelines", name, *more]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = cast(IO[str], process.stdin), cast(IO[str], process.stdout)

        def run(url: str) -> Measured:
            stdin.write(url + "\n")
            stdin.flush()
            return msgspec.json.decode(stdout.readline(), type=Measured)

        try:
            yield run
        finally:
            stdin.close()
            process.wait(timeout=10)


def names() -> list[str]:
    """The pipelines that can run here."""
    fast = importlib.util.find_spec("isal") is not None
    return [name for name, (_, _, isal) in PIPELINES.items() if fast or not isal]


def take_turns(server: str, rows: int, rounds: int, pipelines: list[str], command: bool) -> tuple[Times, Times, Times]:
    """Clock seconds, processor seconds and megabytes of each pipeline by round, after one that does not count."""
    seconds: Times = {}
    cpu: Times = {}
    sizes: Times = {}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(_worker(name)) for name in pipelines}
        for round_ in range(rounds + 1):
            for name, run in workers.items():
                measured = run(f"{server}/{rows}")
                if measured.rows != rows:
                    raise SystemExit(f"{name} made {measured.rows} rows of {rows}.")
                if round_:
                    seconds.setdefault(name, []).append(measured.seconds)
                    cpu.setdefault(name, []).append(measured.cpu)
                    sizes.setdefault(name, []).append(measured.size / 1e6)
            if round_ and command:
                seconds.setdefault(COMMAND, []).append(_command(f"{server}/{rows}"))
    return seconds, cpu, sizes


def _command(url: str) -> float:
    """Seconds from starting `sync --output` to its end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "opencost_kusto", "sync", "--endpoint", url, "--dataset", "allocation"]
        window = "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"
        begun = time.perf_counter()
        subprocess.run([*command, "--window", window, "--output", folder], check=True, capture_output=True)
        return time.perf_counter() - begun


def ratios(above: list[float], below: list[float]) -> Ratio:
    """The ratio within each round, and of the shortest times."""
    found = [one / other for one, other in zip(above, below, strict=True)]
    return Ratio(median(found), min(found), max(found), min(above) / min(below))


def measure_rows(results: Results, server: str, rows: int, rounds: int, pipelines: list[str], command: bool) -> None:
    """One interleaved run at one size."""
    seconds, cpu, sizes = take_turns(server, rows, rounds, pipelines, command)
    results.seconds[rows] = {name: Spread.of(values) for name, values in seconds.items()}
    results.cpu[rows] = {name: Spread.of(values) for name, values in cpu.items()}
    results.megabytes[rows] = {name: median(values) for name, values in sizes.items()}
    results.over_plain[rows] = {name: ratios(seconds["plain"], seconds[name]) for name in pipelines}
    results.over_plain_cpu[rows] = {name: ratios(cpu["plain"], cpu[name]) for name in pipelines}
    results.over_floor[rows] = {name: ratios(seconds[name], seconds["floor"]) for name in pipelines}


def peak(server: str, rows: int, name: str = "ours") -> float:
    """Peak memory in MB of a fresh process that makes one run; ours with the Kusto SDK loaded."""
    with _worker(name, *(["sdk"] if name == "ours" else [])) as run:
        return run(f"{server}/{rows}").peak


def backfill() -> float:
    """Seconds in which sync loads 48 steps from an OpenCost that takes 200 ms for each; one request at a time."""
    body = recording("1.112", "allocation_hour.json")
    lock = threading.Lock()
    served = overlaps = 0

    def responder(path: str, query: Any) -> Reply | None:
        nonlocal served, overlaps
        if path != "/allocation":
            return None
        served += 1
        overlaps += not lock.acquire(blocking=False)
        # Derived from the recorded hour: that of another one.
        start, _, end = query["window"].partition(",")
        complete = body.replace(b"2026-11-23T11:00:00Z", end.encode()).replace(b"2026-11-23T10:", start[:14].encode())

        def sent() -> Iterator[bytes]:
            try:
                time.sleep(RESPONSE_TAKES)
                yield complete[: 1 << 15]
                # The lock goes before the last piece: with that the client may ask again.
            finally:
                if lock.locked():
                    lock.release()
            yield complete[1 << 15 :]

        return json_reply(b"")._replace(body=sent())

    first = datetime(2026, 11, 1, tzinfo=UTC)
    requested = SyncRequest(Window(first, first + timedelta(hours=STEPS)), timedelta(hours=1), ("allocation",))
    with (
        OpenCostEmulator(responder=responder) as there,
        KustoEmulator(latency=0.02) as emulated,
        OpenCost(there.url) as opencost,
        Kusto(emulated.url, emulated.database, auth="none") as kusto,
    ):
        bootstrap(kusto)
        begun = time.perf_counter()
        report = sync(opencost, kusto, requested, policy=LoadPolicy(timeout=60))
        seconds = time.perf_counter() - begun
    if report.exit_code or served != STEPS:
        raise SystemExit(f"OpenCost was requested {served} times and ended with {report.counts}.")
    if overlaps:
        raise SystemExit(f"{overlaps} requests of the backfill began while another was being answered.")
    return seconds


def at_least(what: str, least: float, measure: Callable[[int], Ratio], rounds: int, margin: float) -> Gate:
    """A ratio that must reach a limit; measured once more, with more rounds, before it fails on a noisy machine."""
    found = measure(rounds)
    if found.shortest < least:
        found = measure(rounds + 2)
    return Gate(found.shortest >= least * (1 - margin), f"{what}: {found} times; at least {least:g} was agreed.")


def at_most(what: str, most: float, unit: str, found: float) -> Gate:
    """A number that must not pass a limit."""
    return Gate(found <= most, f"{what}: {found:.2f} {unit}; at most {most:g} was agreed.")


def gates(results: Results, server: str, rows: int, large: int, rounds: int, margin: float) -> Iterator[Gate]:
    """What was agreed about speed, one by one; uses what was measured already.

    `margin` is the part by which a time may miss what was agreed before a gate fails: noise, on a shared machine.
    """
    given = iter([results.over_plain[rows]["ours"]])

    def over_plain(again: int) -> Ratio:
        return next(given, None) or _again(server, rows, again, "plain", "ours")

    of_floor = iter([results.over_floor[rows]["ours"]])

    of_processor = iter([results.over_plain_cpu[rows]["ours"]])

    def over_plain_cpu(again: int) -> Ratio:
        return next(of_processor, None) or _again(server, rows, again, "plain", "ours", cpu=True)

    def over_floor(again: int) -> Ratio:
        found = next(of_floor, None) or _again(server, rows, again, "ours", "floor")
        return Ratio(1 / found.median, 1 / found.most, 1 / found.least, 1 / found.shortest)

    yield at_least("plain reference / ours, equal gzip level", LEAST_OVER_PLAIN, over_plain, rounds, margin)
    named = "plain reference / ours, in processor seconds"
    yield at_least(named, LEAST_OVER_PLAIN_CPU, over_plain_cpu, rounds, margin)
    yield at_least("floor / ours", 1 / MOST_OVER_FLOOR, over_floor, rounds, margin)
    growth = results.peak[large] - results.peak[rows]
    yield at_most(f"growth of peak memory from {rows:,} to {large:,} rows", MOST_GROWTH, "MB", growth)
    yield at_most(f"peak memory at {large:,} rows, Kusto SDK loaded", MOST_PEAK, "MB", results.peak[large])
    limit = MOST_OVER_OPENCOST * STEPS * RESPONSE_TAKES
    seconds = results.backfill or 0.0
    if seconds > limit:
        seconds = backfill()
    limit += (MOST_OVER_OPENCOST - 1) * STEPS * RESPONSE_TAKES * margin
    yield at_most(f"a backfill of {STEPS} steps of {RESPONSE_TAKES:g} s", limit, "s", seconds)


def _again(server: str, rows: int, rounds: int, above: str, below: str, *, cpu: bool = False) -> Ratio:
    seconds, worked, _ = take_turns(server, rows, rounds, [above, below], False)
    taken = worked if cpu else seconds
    return ratios(taken[above], taken[below])


def table(results: Results) -> str:
    """The results as Markdown."""
    lines = [
        "| rows | pipeline | seconds | processor seconds | plain / it | plain / it, cpu | it / floor | MB of gzip |",
        "|---:|---|---|---|---|---|---|---:|",
    ]
    for rows, seconds in results.seconds.items():
        for name, spread in seconds.items():
            ratio, floor = results.over_plain[rows].get(name, ""), results.over_floor[rows].get(name, "")
            worked, of_cpu = results.cpu[rows].get(name, ""), results.over_plain_cpu[rows].get(name, "")
            size = results.megabytes[rows].get(name)
            cells = (f"{rows:,}", name, spread, worked, ratio, of_cpu, floor, f"{size:.2f}" if size else "")
            lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "| peak memory, MB, fresh process | " + " | ".join(f"{rows:,} rows" for rows in results.peak) + " |"]
    lines.append("|---|" + "---:|" * len(results.peak))
    lines.append("| ours, Kusto SDK loaded | " + " | ".join(f"{value:.0f}" for value in results.peak.values()) + " |")
    if results.peak_plain:
        lines.append("| plain | " + " | ".join(f"{value:.0f}" for value in results.peak_plain.values()) + " |")
    if results.backfill is not None:
        least = STEPS * RESPONSE_TAKES
        lines.append(
            f"Backfill of {STEPS} steps of {RESPONSE_TAKES:g} s: {results.backfill:.2f} s, ",
        )
        lines[-1] += f"{results.backfill / least:.2f} times what OpenCost took."
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return 1 if a gate was requested and does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench", description=__doc__)
    parser.add_argument("--rows", default="1000,10000,100000", help="sizes of the answers")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured, in turn")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--gates", action="store_true", help="fail when what was agreed does not hold")
    parser.add_argument("--margin", type=float, default=0, help="percent by which a time may miss, for noise")
    options = parser.parse_args(arguments)
    sizes = [int(size) for size in options.rows.split(",")]
    gated = 10_000 if 10_000 in sizes else sizes[0]
    large = max(sizes) if max(sizes) > gated else 5 * gated
    results = Results(options.rounds)
    with payload_server(*dict.fromkeys([*sizes, large])) as server:
        for rows in sizes:
            pipelines = ["ours", "floor", "plain"] if options.gates else names()
            measure_rows(results, server, rows, options.rounds, pipelines, command=not options.gates)
        for rows in (gated, large):
            results.peak[rows] = peak(server, rows)
            if not options.gates:
                results.peak_plain[rows] = peak(server, rows, "plain")
        results.backfill = backfill()
        print(table(results), flush=True)
        if options.gates:
            results.gates = list(gates(results, server, gated, large, options.rounds, options.margin / 100))
            for gate in results.gates:
                print(("holds: " if gate.holds else "FAILS: ") + gate.sentence)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    return 0 if all(gate.holds for gate in results.gates) else 1


if __name__ == "__main__":
    sys.exit(main())
