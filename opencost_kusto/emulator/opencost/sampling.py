"""How OpenCost sees when something ran: by samples at multiples of its resolution.

It sends Prometheus a subquery over the window, so a sample stands at each multiple of five minutes from the window's
start to its end, both included. What was seen first and last is the start and the end; what was seen once counts for
half a resolution on each side. Windows off the five-minute marks therefore lose up to a resolution, as measured:
between two marks an hour of cost is nothing, and 60 minutes from :01 count for 55.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from opencost_kusto.emulator.opencost.model import Life

RESOLUTION: Final = 300
# Prometheus returns a series' last sample for five minutes.
_LOOKBACK: Final = 300
_SCRAPE: Final = 60


class Span(NamedTuple):
    """An interval of the epoch's seconds."""

    start: float
    end: float

    @property
    def minutes(self) -> float:
        """Its length in minutes."""
        return (self.end - self.start) / 60

    @property
    def hours(self) -> float:
        """Its length in hours."""
        return (self.end - self.start) / 3600


class Seen(NamedTuple):
    """From when to when OpenCost takes something to have run, and by how many samples."""

    start: float
    end: float
    samples: int

    @property
    def hours(self) -> float:
        """The hours it is charged for."""
        return (self.end - self.start) / 3600


@dataclass(frozen=True, slots=True)
class Sampling:
    """What Prometheus holds at `now`; `ends_now` is how newer versions end what still runs."""

    now: float
    outages: Sequence[Life] = ()
    ends_now: bool = False

    def seen(self, life: Life, window: Span) -> Seen | None:
        """What a window shows of a life; None when no sample falls into both."""
        if life.start >= self.now:
            return None
        horizon = math.floor(self.now / _SCRAPE) * _SCRAPE + _LOOKBACK
        first: float = _after(life.start, math.ceil(window.start / RESOLUTION) * RESOLUTION)
        last: float = math.floor(min(window.end, life.end, horizon) / RESOLUTION) * RESOLUTION
        for outage in self.outages:
            first = _after(outage.end, first) if outage.start <= first <= outage.end else first
            last = _before(outage.start) if outage.start <= last <= outage.end else last
        if first > last:
            return None
        start, end = (first, last) if first < last else (first - RESOLUTION / 2, last + RESOLUTION / 2)
        end = min(end, window.end, self.now) if self.ends_now else min(end, window.end)
        return Seen(max(start, window.start), end, self._samples(first, last))

    def scraped(self, life: Life, window: Span) -> Span | None:
        """The part of a window in which a life has raw samples, one a minute; None when it has none."""
        start = max(window.start, life.start, 0)
        end = min(window.end, life.end, self.now)
        first, last = math.ceil(start / _SCRAPE) * _SCRAPE, math.floor(end / _SCRAPE) * _SCRAPE
        if first > last or any(outage.start <= first and last <= outage.end for outage in self.outages):
            return None
        return Span(start, end)

    def _samples(self, first: float, last: float) -> int:
        count = int((last - first) // RESOLUTION) + 1
        for outage in self.outages:
            start, end = max(first, _after(outage.start - 1, 0)), min(last, outage.end)
            if start <= end:
                count -= int((end - start) // RESOLUTION) + 1
        return count


def _after(moment: float, mark: float) -> float:
    """The first mark that is after a moment and not before `mark`."""
    return mark if moment < mark else (math.floor(moment / RESOLUTION) + 1) * RESOLUTION


def _before(moment: float) -> float:
    """The last mark that is before a moment."""
    return moment if math.isinf(moment) else (math.ceil(moment / RESOLUTION) - 1) * RESOLUTION
