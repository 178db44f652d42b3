"""Make a history that fails smaller for as long as it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace

from tests.histories.steps import Backfill, Both, CommandRun, History, Replay, Step, Sync, Tick

# Concurrent steps do not end in the same way each time, so a smaller history is played more than once.
_PLAYS = 3


def shrunk(history: History, fails: Callable[[History], bool]) -> History:
    """The smallest history found by leaving out steps, switches and options, one at a time, that still fails."""
    smaller: History | None = history
    while smaller is not None:
        history = smaller
        smaller = next((one for one in _smaller(history) if any(fails(one) for _ in range(_PLAYS))), None)
    return history


def _smaller(history: History) -> Iterator[History]:
    """Histories with one thing less, the largest things first."""
    steps = history.steps
    for at in range(len(steps)):
        yield replace(history, steps=(*steps[:at], *steps[at + 1 :]))
    for name in history.switches:
        yield replace(history, switches={other: rate for other, rate in history.switches.items() if other != name})
    for at, step in enumerate(steps):
        for simpler in _simpler(step):
            yield replace(history, steps=(*steps[:at], simpler, *steps[at + 1 :]))


def _simpler(step: Step) -> Iterator[Step]:
    """The step with one option at its default, or one of two clients."""
    if isinstance(step, Both):
        yield from (step.one, step.other)
        yield from (Both(one, step.other) for one in _simpler(step.one))  # type: ignore[arg-type]
        yield from (Both(step.one, other) for other in _simpler(step.other))  # type: ignore[arg-type]
    elif isinstance(step, Sync | Tick | Backfill | Replay | CommandRun):
        defaults = {"skew": 0, "cancel": None, "spool": False, "replace": False, "wait": True}
        for field in fields(step):
            if field.name in defaults and getattr(step, field.name) != defaults[field.name]:
                yield replace(step, **{field.name: defaults[field.name]})  # type: ignore[arg-type]
