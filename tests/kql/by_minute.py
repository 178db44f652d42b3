"""What windows cost by the minute, in plain Python: the design's rule with sets of minutes, without weights or KQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

SCHEDULED = (10, 60, 1440)
Costs = Counter[str]


@dataclass(frozen=True)
class Held:
    """One window that is held, in minutes from the start of a day, and what it cost by namespace.

    `own` is whether the cluster's own source answered it; `empty` is one that only the run log has, with no cost;
    `idle` is one that came with idle rows, which are nobody's cost.
    """

    start: int
    minutes: int
    costs: Costs = field(default_factory=Counter, compare=False)
    aggregate: str = "container"
    shared: bool = False
    own: bool = True
    empty: bool = False
    idle: bool = False

    @property
    def end(self) -> int:
        """The minute after the last."""
        return self.start + self.minutes

    def __contains__(self, minute: int) -> bool:
        return self.start <= minute < self.end

    @property
    def tier(self) -> int:
        """0 for scheduled windows, 1 for others that tile a day and are aligned, 2 for the rest."""
        if self.minutes > 1440 or 1440 % self.minutes or self.start % self.minutes:
            return 2
        return 0 if self.minutes in SCHEDULED else 1

    def level(self, group_by: str) -> tuple[int, bool, int]:
        """The lowest level counts: what has each word of group_by, of the cluster's own source, by tier."""
        words = self.aggregate.split(",")
        responder = words == ["container"] or set(group_by.split(",") if group_by else ()) <= set(words)
        return (2 if self.shared else 0 if responder else 1), not self.own, self.tier

    def fineness(self) -> tuple[bool, int, bool, str]:
        """Of one window at several aggregates the finest counts: rows per container, then the one of most words."""
        words = 0 if self.aggregate == "container" else -len(self.aggregate.split(",")) + 10
        return self.empty, words, self.idle, self.aggregate


def once(windows: Iterable[Held], group_by: str) -> list[Held]:
    """Of the windows of one level with the same bounds the finest."""

    def key(window: Held) -> tuple[object, ...]:
        return *window.level(group_by), window.start, window.minutes

    ordered = sorted(windows, key=lambda window: (*key(window), window.fineness()))
    return [next(same) for _, same in groupby(ordered, key)]


def scheduled(windows: list[Held]) -> dict[int, Costs]:
    """The cost of each minute by the scheduled windows of one level, each with its own minutes and its remainder."""
    owned = {window: set(range(window.start, window.end)) for window in windows}
    for inner in windows:
        for outer in windows:
            if outer.minutes > inner.minutes and inner.start in outer:
                owned[outer] -= set(range(inner.start, inner.end))
    owned = {window: own for window, own in owned.items() if own}
    rest = {window: Counter(window.costs) for window in owned}
    for inner in owned:
        around = [outer for outer in owned if outer.minutes > inner.minutes and inner.start in outer]
        if around:
            rest[min(around, key=lambda outer: outer.minutes)].subtract(inner.costs)
    return _of_minutes((own, _scaled(rest[window], 1 / len(own))) for window, own in owned.items())


def longest(windows: list[Held]) -> dict[int, Costs]:
    """The cost of each minute by the longest window that has it, the first of those of one length."""
    ordered = sorted(windows, key=lambda window: (-window.minutes, window.start))
    return _of_minutes((range(one.start, one.end), _scaled(one.costs, 1 / one.minutes)) for one in ordered)


def _of_minutes(found: Iterable[tuple[Iterable[int], Costs]]) -> dict[int, Costs]:
    """The first cost of each minute."""
    costs: dict[int, Costs] = {}
    for minutes, cost in found:
        for minute in minutes:
            costs.setdefault(minute, cost)
    return costs


def costs_by_minute(windows: Iterable[Held], group_by: str, minutes: range) -> Iterator[tuple[int, Costs]]:
    """The cost of each minute by namespace, in the order of the minutes."""
    levels = groupby(once(windows, group_by), lambda window: window.level(group_by))
    costs = [longest(list(same)) if tier else scheduled(list(same)) for (_, _, tier), same in levels]
    for minute in minutes:
        for level in costs:
            if minute in level:
                yield minute, level[minute]
                break


def costs_by_hour(windows: Iterable[Held], group_by: str, minutes: range) -> dict[tuple[int, str], float]:
    """The cost of the minutes by hour and namespace."""
    found: Counter[tuple[int, str]] = Counter()
    for minute, costs in costs_by_minute(list(windows), group_by, minutes):
        for namespace, cost in costs.items():
            found[minute // 60, namespace] += cost
    return dict(found)


def _scaled(costs: Costs, factor: float) -> Costs:
    return Counter({name: cost * factor for name, cost in costs.items()})
