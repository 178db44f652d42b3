"""Measures whole commands, from their start to their exit, in processor seconds; with --margin, for a busy machine.

python -m tests.bench.commands [--rounds 5] [--margin PERCENT]

Processor seconds are those of the process alone: no server's, and no time that it waits. Of each command the least of
all rounds counts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator

from tests.bench.bench import Gate, at_most

MOST_START = 0.25


def processor_seconds(*words: str) -> float:
    """User and system seconds of a command that must succeed; its output goes nowhere."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}.")
    return used.ru_utime + used.ru_stime


def ours(*words: str) -> float:
    """Processor seconds of a command of the program."""
    return processor_seconds(sys.executable, "-m", "opencost_kusto", *words)


def starts(rounds: int, margin: float) -> Iterator[Gate]:
    """What the program takes to print its version and its help."""
    for word in ("--version", "--help"):
        found = min(ours(word) for _ in range(rounds))
        yield at_most(f"opencost-kusto {word}", MOST_START * (1 + margin), "processor seconds", found)


def main() -> int:
    """Measure, print, and return 1 if a gate does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.commands", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--margin", type=float, default=0, help="percent by which a time may miss, for noise")
    options = parser.parse_args()
    found = list(starts(options.rounds, options.margin / 100))
    for gate in found:
        print(("holds: " if gate.holds else "FAILS: ") + gate.sentence)
    return 0 if all(gate.holds for gate in found) else 1


if __name__ == "__main__":
    sys.exit(main())
