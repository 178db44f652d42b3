"""A period of time, and the window on OpenCost's marks that contains it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from opencost_kusto.window import RESOLUTION, Window, covering


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Start and end of a period (aware), and OpenCost's resolution."""

    began: datetime
    ended: datetime
    resolution: timedelta = RESOLUTION

    @property
    def window(self) -> Window:
        """The window that contains the period, from mark to mark; its end may be in the future."""
        return covering(self.began, self.ended, self.resolution)

    def described(self, costs: Mapping[str, float]) -> Iterator[str]:
        """Sentences about the cost of the window: the period's share by time, and a warning for a short period.

        `costs` are by a key whose amounts must not be added, such as the currency; "" is one without a name.
        """
        # The clock may have been set back.
        length, minutes = max(self.ended - self.began, timedelta()), self.window.minutes
        share = length / timedelta(minutes=minutes)
        spent = f"Elapsed: {length / timedelta(minutes=1):.1f} of the window's {minutes:g} minutes"
        shares = ", ".join(f"{cost * share:.5f} {name}".strip() for name, cost in costs.items())
        yield f"{spent}. Its share of the cost by time: {shares}."
        if length < 2 * self.resolution:
            every = self.resolution / timedelta(minutes=1)
            yield (
                f"OpenCost samples every {every:g} minutes. The cost of less than {2 * every:g} minutes is an "
                "estimate, and a pod that ran between two samples may be missing."
            )
