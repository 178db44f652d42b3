"""Which windows are covered, and by what: a table of cases, and random windows against sets of minutes."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from opencost_kusto.coverage.cover import Cover, covers
from opencost_kusto.window import Window

START = datetime(2026, 12, 10, tzinfo=UTC)
Span = tuple[int, int]


def window(span: Span) -> Window:
    """A window between two minutes of the day."""
    return Window(*(START + timedelta(minutes=minute) for minute in span))


def minutes(one: Window) -> set[int]:
    """Its minutes of the day."""
    start = (one.start - START) // timedelta(minutes=1)
    return set(range(start, start + int(one.minutes)))


TENS = [(at, at + 10) for at in range(0, 60, 10)]


@pytest.mark.parametrize(
    ("held", "by", "missing"),
    [
        pytest.param([], [], [(0, 60)], id="nothing"),
        pytest.param([(0, 60)], [(0, 60)], [], id="itself"),
        pytest.param([(0, 60), (0, 60)], [(0, 60)], [], id="itself twice"),
        pytest.param([(0, 1440)], [(0, 1440)], [], id="the day around it"),
        pytest.param([(0, 60), (0, 1440)], [(0, 1440)], [], id="the longer one first"),
        pytest.param(TENS, TENS, [], id="tiles"),
        pytest.param([*TENS, (0, 60)], [(0, 60)], [], id="tiles inside it cover nothing more"),
        pytest.param(TENS[1:3], TENS[1:3], [(0, 10), (30, 60)], id="a hole before and after"),
        pytest.param([(0, 30), *TENS[1:4]], [(0, 30), (30, 40)], [(40, 60)], id="a shorter one for the rest"),
        pytest.param([(-20, 5), (55, 90)], [(55, 90), (-20, 5)], [(5, 55)], id="across its bounds"),
        pytest.param([(0, 40), (20, 60)], [(0, 40), (20, 60)], [], id="crossing"),
        pytest.param([(0, 30), (30, 60), (20, 40)], [(0, 30), (30, 60)], [], id="one inside two that touch"),
        pytest.param([(30, 90), (0, 30), (20, 40)], [(30, 90), (0, 30)], [], id="the longer of them is later"),
        pytest.param([(-60, 0), (60, 120)], [], [(0, 60)], id="beside it"),
    ],
)
def test_what_covers_an_hour(held: list[Span], by: list[Span], missing: list[Span]) -> None:
    """An hour is covered by any windows that have its minutes, the longest first."""
    hour = window((0, 60))
    expected = Cover(tuple(map(window, by)), tuple(map(window, missing)))
    for order in (held, held[::-1]):
        assert covers([hour], map(window, order)) == {hour: expected}
    assert expected.complete == (not missing)


@pytest.mark.parametrize("seed", range(20))
def test_covers_are_those_of_the_minutes(seed: int) -> None:
    """Whatever is due and held: what is missing is what no window has, and no window is there for nothing."""
    dice = random.Random(seed)

    def some(count: int) -> list[Window]:
        starts = [(dice.randrange(600), dice.choice([5, 10, 30, 60, 300])) for _ in range(count)]
        return [window((start, start + length)) for start, length in starts]

    due, held = some(30), some(dice.choice([0, 5, 40]))
    everything = set[int]().union(*map(minutes, held))
    found = covers(due, held)
    assert list(found) == sorted(set(due))
    for one, cover in found.items():
        assert set[int]().union(*map(minutes, cover.missing)) == minutes(one) - everything
        assert set[int]().union(*map(minutes, cover.by)) & minutes(one) == minutes(one) & everything
        assert list(cover.by) == sorted(cover.by, key=lambda each: (-each.minutes, each))
        assert all(minutes(each) & minutes(one) for each in cover.by)
