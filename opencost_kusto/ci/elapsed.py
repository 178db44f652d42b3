"""The time that somebody asks about, and the window on OpenCost's marks around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from opencost_kusto.window import RESOLUTION, Window, covering


@dataclass(frozen=True, slots=True)
class Elapsed:
    """From when to when (aware), and how often OpenCost samples."""

    began: datetime
    ended: datetime
    resolution: timedelta = RESOLUTION

    @property
    def window(self) -> Window:
        """The window around it, from mark to mark; its end may not have come yet."""
        return covering(self.began, self.ended, self.resolution)

    def described(self, cost: float) -> Iterator[str]:
        """Sentences about what the window cost: the share of it by time, and whether that is worth little."""
        # A clock may have been set back meanwhile.
        length, minutes = max(self.ended - self.began, timedelta()), self.window.minutes
        share = length / timedelta(minutes=minutes)
        spent = f"{length / timedelta(minutes=1):.1f} of these {minutes:g} minutes"
        yield f"{spent} were asked about: {cost * share:.5f} by time."
        if length < 2 * self.resolution:
            every = self.resolution / timedelta(minutes=1)
            yield (
                f"OpenCost samples every {every:g} minutes: of less than {2 * every:g} minutes its cost is an estimate "
                "at best, and what ran between two samples may be missing."
            )
