"""Which windows are covered, and by what: one answer for status, scheduler, backfill and confirmation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from opencost_kusto.coverage.interval_set import IntervalSet
from opencost_kusto.window import Window


@dataclass(frozen=True, slots=True)
class Cover:
    """The windows that cover a window, the longest first, and the parts of it that none of them has, oldest first."""

    by: tuple[Window, ...]
    missing: tuple[Window, ...]

    @property
    def complete(self) -> bool:
        """Whether each minute of the window is covered."""
        return not self.missing


def covers(due: Iterable[Window], held: Iterable[Window]) -> dict[Window, Cover]:
    """What covers each of the due windows, oldest first.

    A minute is covered by any held window that has it, whatever its length: a day covers its hours, and six windows of
    ten minutes cover an hour. Windows count in the order of their length, the longest first, then the earliest; one
    whose minutes all lie in those before it covers nothing. Of windows that nest, as those of a schedule do, each
    minute is therefore covered by one.
    """
    minutes, counted = IntervalSet([]), []
    for window in sorted(set(held), key=_longest_first):
        if window not in minutes:
            minutes.add(window)
            counted.append(window)
    pending = sorted(counted, reverse=True)
    begun: list[Window] = []
    found = {}
    for window in sorted(set(due)):
        while pending and pending[-1].start < window.end:
            begun.append(pending.pop())
        begun = [one for one in begun if one.end > window.start]
        by = sorted((one for one in begun if one.start < window.end), key=_longest_first)
        found[window] = Cover(tuple(by), tuple(minutes.gaps(window)))
    return found


def _longest_first(window: Window) -> tuple[float, Window]:
    return -window.minutes, window
