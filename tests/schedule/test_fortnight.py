"""A fortnight in which OpenCost, Kusto and the scheduler fail at random while OpenCost's windows expire.

The clock is moved from tick to tick. The responses of OpenCost are derived (see `store_world`); where it refuses an
expired window it keeps days for four days only, so that some are lost. Some ticks are broken in the middle: by a Kusto
that refuses what it is sent, or by a scheduler that is killed. At the end, everything that OpenCost still had when the
scheduler could have requested it is in Kusto once, status names everything else, and a backfill loads what is left.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from opencost_kusto.batch import Run
from opencost_kusto.coverage.backfill import backfill, survey
from opencost_kusto.coverage.interval_set import IntervalSet
from opencost_kusto.coverage.retention import aligned, containing, fallbacks
from opencost_kusto.coverage.status import DatasetStatus, status
from opencost_kusto.emulator import Reply, Request
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.result import BatchResult
from opencost_kusto.schedule.tick import Lookback, tick
from opencost_kusto.window import Window
from tests.support.store_world import DAY, HOUR, MINUTE, ROWS, StoreWorld, target_of

START = datetime(2026, 12, 1, tzinfo=UTC)
_REFUSAL = b'{"error":{"code":"X","message":"No.","@type":"X","@message":"No.","@permanent":true}}'
_NO = Reply(400, {"Content-Type": "application/json"}, _REFUSAL)
_STORAGE_NO = Reply(403, {"x-ms-error-code": "AuthorizationFailure"}, b"")


class Killed(Exception):
    """The scheduler was killed in the middle of a tick."""


def outages(random: Random, days: int) -> set[datetime]:
    """The hours in which something is away, the last ones not among them."""
    away: set[datetime] = set()
    at = random.randint(3, 20)
    while at < days * 24 - 6:
        hours = random.choice([1, 2, 3, 7, 7, 15, 30, 60, 90])
        away |= {START + number * HOUR for number in range(at, min(at + hours, days * 24 - 6))}
        at += hours + random.randint(8, 70)
    return away


NO_WAIT = LoadPolicy(wait=False)


class Fortnight:
    """What happens, and the expected result: `expected` is the window with which each is to be in Kusto."""

    def __init__(self, here: StoreWorld, step: timedelta, days: int, every: int, random: Random) -> None:
        self.here, self.days, self.every, self.random = here, days, every, random
        self.want = target_of(step)
        self.horizon = Lookback(5 * DAY if step == HOUR else DAY, max_windows=1000)
        self.opencost, self.kusto, self.scheduler = (outages(random, days) for _ in range(3))
        self.expected: dict[Window, Window | None] = {}
        self.ticks: Counter[str] = Counter()

    def live(self) -> None:
        """A tick at ten past, every so many hours."""
        for number in range(2, self.days * 24, self.every):
            hour = Window(START + number * HOUR, START + (number + 1) * HOUR)
            now = hour.start + 10 * MINUTE
            self.here.store.now = now
            if hour.start in self.scheduler:
                self.ticks["none"] += 1
            elif hour.start in self.opencost or hour.start in self.kusto:
                self.here.store.down = hour.start in self.opencost
                self.here.kusto.fault = (lambda _: _NO) if hour.start in self.kusto else None
                self.tick(number, "away")
            elif number < self.days * 24 - 6 and self.random.random() < 0.25:
                self.tick(number, self.break_it())
            else:
                self.expect(now)
                assert self.tick(number, "good") in (0, 3, 7)
            self.here.store.down, self.here.kusto.fault = False, None

    def tick(self, number: int, kind: str) -> int | None:
        """One tick; its exit code, None when it raised."""
        self.ticks[kind] += 1
        run = Run(f"tick-{number}", self.here.store.now, "1.0")
        left = [self.random.randint(0, 3) if kind == "killed" else None]

        def on_result(_: BatchResult) -> None:
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed

        try:
            # Rows that nobody waits for must be found by the next tick.
            report = tick(
                [self.here.opencost_client],
                self.here.kusto_client,
                self.want,
                self.horizon,
                run=run,
                on_result=on_result,
                policy=NO_WAIT,
            )
        except (Killed, OpenCostKustoError):
            assert kind != "good"
            return None
        finally:
            fault, self.here.kusto.fault = self.here.kusto.fault, None
            self.here.kusto.wait_idle()
            self.here.kusto.fault = fault
        return report.exit_code

    def break_it(self) -> str:
        """Break the next tick in the middle, and say how."""
        kind = self.random.choice(["killed", "upload", "message", "query"])
        after = [self.random.randint(0, 4)]

        def hits(request: Request) -> bool:
            upload, message = request.method == "PUT", request.path.endswith("/messages")
            return {"upload": upload, "message": message, "query": request.path.endswith("/query")}[kind]

        def fault(request: Request) -> Reply | None:
            if not hits(request):
                return None
            after[0] -= 1
            return None if after[0] >= 0 else _NO if kind == "query" else _STORAGE_NO

        self.here.kusto.fault = None if kind == "killed" else fault
        return kind

    def expect(self, now: datetime) -> None:
        """Of each closed window that is first seen by a good tick: the finest one that OpenCost has at that moment."""
        span = self.horizon.period(now, self.want.step)
        for window in aligned(span.start, span.end, self.want.step):
            if window in self.expected:
                continue
            tried = [window, *(containing(window, step) for step in fallbacks(self.want.step))]
            closed = [one for one in tried if one.end <= self.horizon.closed(now)]
            found = next((one for one in closed if self.here.store.has(one)), None)
            if found is not None or len(closed) == len(tried):
                self.expected[window] = found

    def status(self) -> DatasetStatus:
        """What status says at the end of all of it."""
        (one,) = status(self.here.kusto_client, now=self.here.store.now, back=15 * DAY)
        return one


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "silent", "step", "days", "every"),
    [(1, False, HOUR, 14, 3), (2, True, HOUR, 14, 4), (4, False, 10 * MINUTE, 2, 1)],
    ids=["hours, refused", "hours, empty", "tens, refused"],
)
def test_a_fortnight(seed: int, silent: bool, step: timedelta, days: int, every: int) -> None:
    """Everything that could be had is in Kusto once, and everything else is named."""
    with StoreWorld(START, silent=silent) as here:
        here.store.keeps[DAY] = 15 if silent else 4
        fortnight = Fortnight(here, step, days, every, Random(seed))
        fortnight.live()
        kinds = check(fortnight, here.windows(), fortnight.status())
        assert kinds["as asked"] > 50, kinds
        assert kinds["coarser"] > 10, kinds
        assert (kinds["lost"] > 10) == (step == HOUR and not silent), kinds
        assert all(fortnight.ticks[kind] for kind in ("none", "away", "good")), fortnight.ticks

        now, closed = here.store.now, fortnight.horizon.closed(here.store.now)
        found = survey(
            [here.opencost_client], here.kusto_client, fortnight.want, Window(START, closed), now=now, closed=closed
        )
        filled = backfill(found, here.kusto_client, run=Run("backfill", now + MINUTE, "1.0"), policy=NO_WAIT)
        assert "failed" not in filled.counts
        end = fortnight.status()
        assert end.missing == []
        held = IntervalSet(here.windows())
        for window in aligned(START, closed, step):
            assert (window in held) != (window in IntervalSet(end.lost)), window
        assert set(here.windows().values()) == {ROWS["allocation"]}


def check(fortnight: Fortnight, held: dict[Window, int], printed: DatasetStatus) -> Counter[str]:
    """What is in Kusto against what could have been, and what status says of the rest; counts what became of it."""
    # Once: no window has a row twice, or half of its rows.
    assert set(held.values()) == {ROWS["allocation"]}
    there, lost, missing = IntervalSet(held), IntervalSet(printed.lost), IntervalSet(printed.missing)
    kinds = Counter[str]()
    for window in aligned(START + HOUR, fortnight.horizon.closed(fortnight.here.store.now), fortnight.want.step):
        expected = fortnight.expected.get(window)
        if expected is not None:
            # A tick that was broken in the middle may have brought it finer before.
            assert expected in held or window in held, (window, expected)
            kinds["as asked" if expected == window else "coarser"] += 1
        elif window not in there:
            assert window in lost or window in missing, window
            kinds["lost" if window in lost else "missing"] += 1
    return kinds
