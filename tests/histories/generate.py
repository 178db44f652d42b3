"""A history from a seed."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.histories.steps import (
    RESPONSES,
    Backfill,
    Both,
    Command,
    CommandRun,
    Damage,
    Harm,
    History,
    Hold,
    Kill,
    Mode,
    Release,
    Replay,
    Respond,
    Step,
    Sync,
    Tick,
)

# The hours that OpenCost has by its clock, 14:20, and one that has not ended.
FIRST, LAST = 12, 15
# The rates of the emulator's switches; those that make the client wait and try again are rare.
SWITCHES = {
    "lost": 0.2,
    "repeated": 0.4,
    "twice_at_once": 0.2,
    "late": 0.5,
    "out_of_order": 0.5,
    "unlisted_refusals": 0.2,
    "merges": 0.3,
    "compactions": 0.2,
    "stale_reads": 0.5,
    "cached_seconds": 5.0,
    "query_errors": 0.03,
    "permanent_query_errors": 0.05,
    "throttled": 0.03,
    "unanswered": 0.08,
}
_MODES: tuple[Mode, ...] = (*RESPONSES, "empty", "empty", "down", "wrong window")
_DAMAGE: tuple[Damage, ...] = ("missing", "gone", "gone", "doubled", "one doubled", "mixed", "untagged")


def generate(seed: int) -> History:
    """The history of a seed: up to seven steps about some hours, or up to ten about one, and up to four switches."""
    draw = random.Random(f"history {seed}")
    switches = {name: SWITCHES[name] for name in draw.sample(sorted(SWITCHES), draw.choice((0, 0, 1, 1, 2, 3, 4)))}
    if "late" in switches:
        switches["late_seconds"] = draw.choice((0.05, 0.3, 1.0))
    narrow = draw.random() < 0.5
    steps = [_step(draw, narrow) for _ in range(draw.randint(2, 10 if narrow else 7))]
    if not any(isinstance(one, Sync | Tick | Backfill | Both) for one in steps):
        steps.insert(0, _command(draw, narrow))
    runs = random.Random(f"run {seed}")
    return History(seed, tuple(_run(step, runs) for step in steps), switches)


def with_kill(seed: int, number: int) -> History:
    """The history of a seed with a process in it that gets a signal."""
    history, draw = generate(seed), random.Random(f"kill {seed}")
    steps, at = history.steps, draw.randint(0, len(history.steps))
    kill = Kill((FIRST, LAST - 1), number, draw.randint(4, 24), draw.random() < 0.3, draw.random() < 0.5)
    return replace(history, steps=(*steps[:at], kill, *steps[at:]))


def without_tags(history: History) -> History:
    """The history without ingest-by tags, where each cluster has one writer: two clients at a time are one."""
    return replace(history, steps=tuple(one.one if isinstance(one, Both) else one for one in history.steps), tags=False)


def _step(draw: random.Random, narrow: bool) -> Step:
    kind = draw.random()
    if kind < 0.5:
        return _command(draw, narrow)
    if kind < 0.58:
        return Both(_command(draw, narrow), _command(draw, narrow))
    if kind < 0.72:
        return Respond(draw.choice(_MODES))
    if kind < 0.86:
        return Harm(draw.choice(_DAMAGE), FIRST if narrow else draw.randrange(FIRST, LAST - 1))
    return Hold() if kind < 0.93 else Release(drain=draw.random() < 0.5)


def _run(step: Step, draw: random.Random) -> Step:
    """`run` of a command in place of some syncs of one hour, which it loads under the same id."""
    if isinstance(step, Both):
        return Both(_run(step.one, draw), _run(step.other, draw))  # type: ignore[arg-type]
    if isinstance(step, Sync) and step.hours[1] == step.hours[0] + 1 < LAST and step.wait and not step.replace:
        return CommandRun(step.hours[0], step.spool, step.cancel) if draw.random() < 0.4 else step
    return step


def _command(draw: random.Random, narrow: bool) -> Command:
    skew = draw.choice((0, 0, 0, 2, -2))
    cancel = draw.randint(1, 8) if draw.random() < 0.12 else None
    hours = (FIRST, FIRST + 1) if narrow else _hours(draw)
    kind = draw.random()
    if kind < 0.2 and not narrow:
        return Tick(skew, cancel)
    if kind < 0.3:
        return Backfill(hours, skew, cancel)
    if kind < 0.4:
        return Replay(cancel)
    replaces, spool = draw.random() < 0.3, draw.random() < 0.4
    # Where rows must be replaced a run has to wait, and says so.
    wait = draw.random() < (0.97 if replaces else 0.85)
    return Sync(hours, replaces, wait, spool, skew, cancel)


def _hours(draw: random.Random) -> tuple[int, int]:
    """One or two hours; seldom with the one that has not ended."""
    first = draw.randrange(FIRST, LAST - 1)
    end = LAST if draw.random() < 0.1 else LAST - 1
    return first, draw.randint(first + 1, end)
