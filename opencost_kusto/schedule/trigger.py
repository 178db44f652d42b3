"""The times of the scheduler: of an interval or of a crontab line. The door to APScheduler's triggers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

from opencost_kusto.errors import UsageError
from opencost_kusto.names import flag
from opencost_kusto.window import ANCHOR

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
# The number of ticks among which the longest pause of a crontab line is searched.
_SEARCHED = 100


class Trigger:
    """The times of ticks: at an interval after an aligned time and the lag, or by a crontab line in UTC.

    Raises UsageError for an invalid crontab line.
    """

    def __init__(self, every: timedelta, lag: timedelta, cron: str | None = None) -> None:
        from apscheduler.triggers.cron import CronTrigger
        from apscheduler.triggers.interval import IntervalTrigger

        self.trigger: Any
        if cron is None:
            start = ANCHOR + lag
            self.trigger = IntervalTrigger(seconds=int(every.total_seconds()), start_date=start, timezone=UTC)
            return
        try:
            self.trigger = CronTrigger.from_crontab(crontab(cron), timezone=UTC)
        except ValueError as error:
            raise UsageError(
                f"{flag('--cron')} {cron!r} is no crontab line: {error}. Write five fields, such as 15 * * * *."
            ) from None

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The ticks from a moment on."""
        before: datetime | None = None
        while (fire := self.trigger.get_next_fire_time(before, before or moment)) is not None:
            yield fire
            before, moment = fire, fire

    def next_after(self, moment: datetime) -> datetime | None:
        """The first tick after a moment; None when none follows."""
        return next(self.after(moment + timedelta.resolution), None)

    def longest_pause(self, moment: datetime) -> timedelta:
        """The longest time between two of the next ticks; a day where there are not two."""
        fires = islice(self.after(moment), _SEARCHED)
        return max((later - earlier for earlier, later in pairwise(fires)), default=timedelta(days=1))


def crontab(line: str) -> str:
    """A crontab line with its days of the week by name.

    APScheduler numbers them from Monday; every other cron numbers them from Sunday, which is 0 and 7.
    """
    *others, days = line.split()
    return " ".join((*others, ",".join(map(_by_name, days.split(",")))))


def _by_name(days: str) -> str:
    found = re.fullmatch(r"(?:(\d)(?:-(\d))?|\*(?=/))(?:/(\d+))?", days)
    if found is None:
        return days
    first, last, step = int(found[1] or 0), found[2] or ("6" if found[3] else found[1]), int(found[3] or 1)
    return ",".join(_DAYS[first : int(last) + 1 : step]) or days
