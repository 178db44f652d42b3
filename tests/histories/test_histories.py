"""Random histories find nothing: two hundred in the suite, thousands by `python -m tests.histories`."""

from __future__ import annotations

import ast
import signal
from collections import Counter

import pytest

from opencost_kusto.window import Window
from tests.histories.commands import HOUR, NOW
from tests.histories.generate import SWITCHES, generate, with_kill, without_tags
from tests.histories.holdings import Held
from tests.histories.play import finished
from tests.histories.shrink import shrunk
from tests.histories.steps import Backfill, Both, CommandRun, Harm, History, Hold, Release, Replay, Respond, Sync, Tick

# Histories in one test, so that work is shared among processes.
_TOGETHER = 10
# A history for each guard, which finds it where it is removed; then those that failed, as the entry point prints them.
FOUND = {
    "rows are missing": History(0, (Sync((12, 13)), Harm("missing", 12))),
    "rows are gone, their tag is left": History(0, (Sync((12, 13)), Harm("gone", 12), Sync((12, 13)))),
    "rows are doubled": History(0, (Sync((12, 13)), Harm("doubled", 12), Respond("shorter"), Sync((12, 13)))),
    "two responses are mixed": History(0, (Sync((12, 13)), Harm("mixed", 12), Respond("down"), Tick())),
    "a message arrives twice": History(0, (Sync((12, 13)),), {"repeated": 1.0}),
    "rows are queued, and OpenCost has none any more": History(
        0, (Hold(), Sync((12, 13), wait=False), Respond("empty"), Sync((12, 13)))
    ),
    "a command's window was damaged": History(0, (CommandRun(12), Harm("mixed", 12), CommandRun(12))),
    "the window has not ended": History(0, (Sync((14, 15)),)),
    "the machine's clock is wrong": History(0, (Sync((12, 13), skew=2),)),
    "results are cached": History(
        0, (Sync((12, 13)), Harm("gone", 12), Respond("down"), Sync((12, 13))), {"cached_seconds": 60.0}
    ),
}
# What tags prevent.
WITHOUT_TAGS = {
    "a message without a tag arrives twice": History(0, (Sync((12, 13)),), {"repeated": 1.0}, tags=False),
    "a blob that waited lands beside a later one": History(
        0, (Hold(), Sync((12, 13), wait=False), Sync((12, 13), wait=False), Release(drain=True)), tags=False
    ),
    "… of another response": History(
        0,
        (Hold(), Sync((12, 13), wait=False), Respond("longer"), Sync((12, 13), wait=False), Release(drain=True)),
        tags=False,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 200, _TOGETHER))
def test_random_histories_find_nothing(first: int) -> None:
    """What is reported landed is in the table, once and complete, after every run and when the queue is empty."""
    for seed in range(first, first + _TOGETHER):
        assert finished(generate(seed)) == [], generate(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 30, _TOGETHER))
def test_random_histories_without_tags_find_nothing(first: int) -> None:
    """Without ingest-by tags and with one writer, what a tag would have prevented is found and repaired."""
    for seed in range(first, first + _TOGETHER):
        assert finished(without_tags(generate(seed))) == [], without_tags(generate(seed))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("seed", range(3))
def test_histories_with_a_process_that_is_killed_find_nothing(seed: int, number: signal.Signals) -> None:
    """A run that ends by a signal, at whatever request, leaves nothing that a later run does not mend."""
    assert finished(with_kill(seed, number)) == [], with_kill(seed, number)


@pytest.mark.parametrize("history", (FOUND | WITHOUT_TAGS).values(), ids=[*FOUND, *WITHOUT_TAGS])
def test_earlier_failures_do_not_return(history: History) -> None:
    """What a removed guard breaks, and what failed once, passes."""
    assert finished(history) == []


def test_a_seed_is_a_history() -> None:
    """The same seed makes the same history, and some hundred seeds make every kind of step and every switch."""
    histories = [generate(seed) for seed in range(300)]
    assert histories == [generate(seed) for seed in range(300)]
    steps = {type(step) for history in histories for step in history.steps}
    assert steps == {Sync, Tick, Backfill, Replay, CommandRun, Both, Respond, Harm, Hold, Release}
    assert set(SWITCHES) <= {name for history in histories for name in history.switches}


def test_a_history_is_printed_as_python() -> None:
    """What the entry point prints can be pasted into a test."""
    history = generate(7)
    ast.parse(repr(history))
    assert eval(repr(history)) == history


def test_a_failing_history_is_shrunk() -> None:
    """What does not matter to a failure is left out: steps, switches, the other client, options."""
    history = History(
        1,
        (
            Tick(skew=2),
            Both(Sync((12, 14), replace=True, spool=True, skew=2), Replay()),
            Respond("down"),
            Harm("gone", 12),
            Sync((12, 13)),
        ),
        {"late": 0.5, "merges": 0.3},
    )

    def fails(one: History) -> bool:
        syncs = [step.one if isinstance(step, Both) else step for step in one.steps]
        return any(isinstance(step, Sync) and step.spool for step in syncs) and "merges" in one.switches

    assert shrunk(history, fails) == History(1, (Sync((12, 14), spool=True),), {"merges": 0.3})


@pytest.mark.parametrize(
    ("rows", "numbers", "runs", "message"),
    [
        ({"a": 1, "b": 1}, [1, 2], 1, ""),
        ({"a": 1}, [1], 1, "1 rows that are no response of OpenCost"),
        ({"a": 1, "b": 1}, [2, 3], 1, "rows numbered [2, 3]"),
        ({"a": 2, "b": 2}, [1, 1, 2, 2], 1, "rows numbered [1, 1, 2, 2]"),
        ({"a": 2}, [1, 2], 1, "2 rows that are no response of OpenCost"),
        ({"a": 1, "b": 1}, [1, 2], 2, "2 rows of 2 runs"),
    ],
)
def test_what_is_not_one_response_is_named(rows: dict[str, int], numbers: list[int], runs: int, message: str) -> None:
    """Rows are compared with what OpenCost sent, and not with what the program says."""
    counted = Counter({(name, 1.5): count for name, count in rows.items()})
    held = Held(Window(NOW - HOUR, NOW), counted, numbers, {NOW + number * HOUR for number in range(runs)})
    assert held.damage({frozenset({("a", 1.5), ("b", 1.5)})}) == message


@pytest.mark.parametrize(
    ("rows", "there"),
    [
        ({(1, "a", 1.5), (2, "b", 1.5)}, True),
        ({(1, "a", 1.5)}, False),
        ({(1, "a", 1.5), (3, "b", 1.5)}, False),
        ({(1, "a", 1.5), (2, "c", 1.5)}, False),
    ],
)
def test_a_response_is_found_beside_others(rows: set[tuple[int, str, float]], *, there: bool) -> None:
    """Without tags a response is complete in a table that holds more, where each of its rows is in it."""
    held = Held(Window(NOW - HOUR, NOW), responses={NOW: {(1, "a", 9.0)}, NOW + HOUR: rows})
    assert held.includes({frozenset({("a", 1.5), ("b", 1.5)})}, 2, 3.0) is there
