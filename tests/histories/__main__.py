"""Play many histories: `python -m tests.histories --count 1000 --seed 0`.

Prints each history that fails with what must not be, shrunk to a literal for `test_histories.FOUND`. Exits with 1 where
one failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time

from tests.histories.generate import generate, without_tags
from tests.histories.play import finished
from tests.histories.shrink import shrunk
from tests.histories.steps import History


def main() -> int:
    """Play the histories of the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.histories", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many histories")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--no-shrink", action="store_true", help="print failing histories as they are")
    parser.add_argument("--no-tags", action="store_true", help="without ingest-by tags, one writer")
    chosen = parser.parse_args()

    def history(seed: int) -> History:
        return without_tags(generate(seed)) if chosen.no_tags else generate(seed)

    began, bad = time.monotonic(), 0
    seeds = range(chosen.seed, chosen.seed + chosen.count)
    with multiprocessing.get_context("spawn").Pool(chosen.jobs, maxtasksperchild=50) as pool:
        outcomes = zip(seeds, pool.imap(finished, map(history, seeds)), strict=True)
        for number, (seed, violations) in enumerate(outcomes, 1):
            if violations:
                bad += 1
                print(f"\nseed {seed}:", *violations, sep="\n  ", flush=True)
                found = history(seed)
                if not chosen.no_shrink:
                    found = shrunk(found, lambda one: bool(finished(one)))
                print(f"  {found!r},", flush=True)
            if number % 50 == 0:
                print(f"{number} histories, {bad} failed", file=sys.stderr, flush=True)
    print(f"{chosen.count} histories in {time.monotonic() - began:.0f} s: {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
