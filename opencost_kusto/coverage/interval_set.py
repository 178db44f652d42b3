"""Sets of minutes, given as windows that may overlap."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import datetime

from opencost_kusto.window import Window


class IntervalSet:
    """A set of minutes; iterates as windows without a gap, oldest first."""

    def __init__(self, windows: Iterable[Window]) -> None:
        self._starts: list[datetime] = []
        self._ends: list[datetime] = []
        for window in sorted(windows):
            self.add(window)

    def add(self, window: Window) -> None:
        """Add the minutes of a window."""
        # What lies from `first` to `last` touches the window, and becomes one with it.
        first, last = bisect_left(self._ends, window.start), bisect_right(self._starts, window.end)
        self._starts[first:last] = [min([window.start, *self._starts[first:last]])]
        self._ends[first:last] = [max([window.end, *self._ends[first:last]])]

    def __contains__(self, window: Window) -> bool:
        """Whether every minute of the window is in the set."""
        at = bisect_right(self._starts, window.start) - 1
        return at >= 0 and window.end <= self._ends[at]

    def __iter__(self) -> Iterator[Window]:
        """The windows of consecutive minutes, oldest first."""
        return map(Window, self._starts, self._ends)

    def gaps(self, window: Window) -> Iterator[Window]:
        """The parts of a window whose minutes are not in the set, oldest first."""
        start = window.start
        for at in range(max(bisect_right(self._starts, start) - 1, 0), len(self._starts)):
            if self._starts[at] >= window.end:
                break
            if self._starts[at] > start:
                yield Window(start, self._starts[at])
            start = max(start, self._ends[at])
        if start < window.end:
            yield Window(start, window.end)
