"""Measures whole commands, from their start to their exit, in processor seconds; with --margin, for a busy machine.

python -m tests.bench.commands [--rounds 5] [--margin PERCENT] [--python PATH]

`--python` is the interpreter of an environment with the program and its extra `fast` alone, as users install it; here,
extras bring libraries that the Kusto SDK imports where it finds them. Processor seconds are those of the process alone:
no server's, and no time that it waits. Of each command the least of all rounds counts.
"""

from __future__ import annotations

import argparse
import compileall
import os
import subprocess
import sys
from collections.abc import Iterator

import opencost_kusto
from tests.bench.bench import Gate, at_most, payload_server
from tests.bench.fleet import watched
from tests.support.world import World

MOST_START = 0.25
HOUR = "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"
# By the number of rows, how many times as fast as the seed's tool a sync is, and --output - is. Measured on 2026-11-30;
# 2, 4 and 3 times were requested. The seed's tool uploads nothing. Importing the unmodified SDK takes half of the time
# that a sync of 10,000 rows would have: all that is not this import is twice as fast.
LEAST_OVER_SEED = {10_000: 1.3, 100_000: 4.0}
LEAST_WITHOUT_SDK = {10_000: 2.0}
LEAST_OUTPUT_OVER_SEED = {100_000: 3.0}
MOST_GROWTH, MOST_PEAK = 10.0, 110.0


def processor_seconds(*arguments: str) -> float:
    """User and system seconds of a command that must succeed; its output goes nowhere."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}.")
    return used.ru_utime + used.ru_stime


def command(python: str, *arguments: str) -> tuple[str, ...]:
    """A command of the program; an environment of its own is used without what the folder or the user has."""
    isolated = () if python == sys.executable else ("-I",)
    return (python, *isolated, "-m", "opencost_kusto", *arguments)


def compile_as_installed() -> None:
    """Write bytecode for the program's modules, as pip does; a checkout may be run where Python must not write any."""
    compileall.compile_dir(os.path.dirname(opencost_kusto.__file__), quiet=1)


def megabytes(*arguments: str) -> float:
    """The peak memory of a command."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        most = watched(process.pid)
        process.wait()
    return most["VmHWM"] / 1024


def starts(python: str, rounds: int, margin: float) -> Iterator[Gate]:
    """What the program takes to print its version and its help."""
    for word in ("--version", "--help"):
        found = min(processor_seconds(*command(python, word)) for _ in range(rounds))
        yield at_most(f"opencost-kusto {word}", MOST_START * (1 + margin), "processor seconds", found)


def over_seed(python: str, server: str, kusto: str, rounds: int, margin: float) -> Iterator[Gate]:
    """A sync, and `--output -`, against the seed's tool, which takes turns with them."""
    for rows, least in LEAST_OVER_SEED.items():
        seed, sync, output = [], [], []
        for number in range(rounds):
            seed.append(processor_seconds(sys.executable, "-m", "tests.bench.seed", f"{server}/{rows}", os.devnull))
            request = command(python, *requesting(server, rows))
            sync.append(processor_seconds(*request, *into(kusto, f"bench-{rows}-{number}")))
            if rows in LEAST_OUTPUT_OVER_SEED:
                output.append(processor_seconds(*request, "--output", "-"))
        yield at_least(f"sync of {rows:,} rows against the seed's tool", least, min(seed) / min(sync), margin)
        if rows in LEAST_WITHOUT_SDK:
            importing = sdk_import(python, rounds)
            what = f"the same without the import of the SDK, {importing:.2f} of {min(sync):.2f} s"
            yield at_least(what, LEAST_WITHOUT_SDK[rows], min(seed) / (min(sync) - importing), margin)
        if output:
            wanted = LEAST_OUTPUT_OVER_SEED[rows]
            found = min(seed) / min(output)
            yield at_least(f"--output - of {rows:,} rows against the seed's tool", wanted, found, margin)


def sdk_import(python: str, rounds: int) -> float:
    """What importing the Kusto SDK takes beside `requests`, which the seed's tool imports too."""
    modules = ("requests", "requests, azure.kusto.data, azure.kusto.ingest")
    alone, together = (
        min(processor_seconds(python, "-I", "-c", f"import {names}") for _ in range(rounds)) for names in modules
    )
    return together - alone


def requesting(server: str, rows: int) -> tuple[str, ...]:
    """A sync of one hour with so many rows."""
    url = f"{server}/{rows}"
    return ("sync", "--endpoint", url, "--dataset", "allocation", "--window", HOUR, "--quiet")


def into(kusto: str, cluster: str) -> tuple[str, ...]:
    """The options of a database and of a cluster that is new to it."""
    target = ("--kusto-uri", kusto, "--database", "OpenCost", "--auth", "none", "--no-wait")
    return (*target, "--cluster", cluster)


def memory(python: str, server: str, kusto: str) -> Iterator[Gate]:
    """The memory of a complete sync, from the request to the upload of its blob, which does not grow with the rows."""
    small, large = (
        megabytes(*command(python, *requesting(server, rows), *into(kusto, f"memory-{rows}")))
        for rows in LEAST_OVER_SEED
    )
    yield at_most("growth of peak memory of a sync from 10,000 to 100,000 rows", MOST_GROWTH, "MB", large - small)
    yield at_most("peak memory of a sync of 100,000 rows", MOST_PEAK, "MB", large)


def at_least(what: str, least: float, found: float, margin: float) -> Gate:
    """A ratio of processor seconds that must reach a limit."""
    message = f"{what}: {found:.2f} times as fast; at least {least:g} times was agreed."
    return Gate(found >= least * (1 - margin), message)


def main() -> int:
    """Measure, print, and return 1 if a gate does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.commands", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--margin", type=float, default=0, help="percent by which a time may miss, for noise")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the program installed")
    options = parser.parse_args()
    margin, python = options.margin / 100, options.python
    compile_as_installed()
    found = list(starts(python, options.rounds, margin))
    # Nothing is ingested meanwhile: only what the commands take is measured.
    with World(latency=3600) as world, payload_server(*LEAST_OVER_SEED) as server:
        found += over_seed(python, server, world.kusto.url, options.rounds, margin)
        found += memory(python, server, world.kusto.url)
    for gate in found:
        print(("holds: " if gate.holds else "FAILS: ") + gate.sentence)
    return 0 if all(gate.holds for gate in found) else 1


if __name__ == "__main__":
    sys.exit(main())
