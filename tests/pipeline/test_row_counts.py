"""A response with half of the rows of the window before, or whose rows all begin late, is noted in the run log."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import pytest

from opencost_kusto.emulator import Reply, json_reply
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.window import Window, stamp
from tests.support.recordings import recording
from tests.support.world import HOUR, NAMESPACES, World

ROWS = json.loads(recording("1.112", "allocation_hour_agg_namespace.json"))["data"][0]
STEP = timedelta(hours=1)


def hours(counts: Mapping[int, int], minutes: int = 60) -> Callable[[str, Mapping[str, str]], Reply | None]:
    """Derived from the recorded hour: as many rows in each hour of the day, each of its last minutes."""

    def respond(path: str, query: Mapping[str, str]) -> Reply | None:
        if path != "/allocation":
            return None
        start, end = query["window"].split(",")
        begun = stamp(datetime.fromisoformat(end) - timedelta(minutes=minutes))
        bounds = {"window": {"start": start, "end": end}, "start": begun, "end": end}
        some = dict(list(ROWS.items())[: counts[int(start[11:13])]])
        ran = {"minutes": minutes}
        rows = {
            name: row | bounds | ran | {"cpuCoreHours": row["cpuCores"] * minutes / 60} for name, row in some.items()
        }
        return json_reply(json.dumps({"code": 200, "data": [rows]}).encode())

    return respond


def requested(first: int, last: int) -> SyncRequest:
    """The hours from one to another of the recorded day."""
    day = HOUR.start.replace(hour=0)
    return SyncRequest(Window(day + first * STEP, day + last * STEP), STEP, ("allocation",), NAMESPACES)


@pytest.mark.parametrize(
    ("counts", "noted"),
    [
        ({10: 8, 11: 4, 12: 4}, [11]),
        ({10: 8, 11: 5, 12: 2}, [12]),
        ({10: 8, 11: 0, 12: 8}, [11]),
        ({10: 4, 11: 8, 12: 6}, []),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_half_of_the_rows_of_the_window_before_is_noted(
    counts: dict[int, int], noted: list[int], *, together: bool
) -> None:
    """In one run and in runs of one hour each, in the report and in the run log; nothing is refused."""
    with World(responder=hours(counts)) as world:
        requests = [requested(10, 13)] if together else [requested(at, at + 1) for at in counts]
        reports = [world.sync(request=one) for one in requests]
        assert [one.exit_code for one in reports] == [0] * len(requests)
        results = [result for one in reports for result in one.results]
        half = [one.window_start.hour for one in results if one.reason_code == "rows halved"]
        assert half == noted
        for one in results:
            assert any("rows, after" in note for note in one.notes) == (one.window_start.hour in noted)
        logged = world.query('OpenCostSyncRuns | where ReasonCode == "rows halved" | order by WindowStart asc')
        assert [stamp(row["WindowStart"])[11:13] for row in logged] == [f"{at}" for at in noted]


@pytest.mark.parametrize(("minutes", "noted"), [(60, None), (56, None), (55, "late start"), (10, "late start")])
def test_rows_that_all_begin_late_are_noted(minutes: int, noted: str | None) -> None:
    """The window lands, and the run log has the reason code for an alert."""
    with World(responder=hours({10: 8}, minutes)) as world:
        (one,) = world.sync(request=requested(10, 11)).results
        assert (one.outcome, one.reason_code) == ("landed", noted)
        assert [(row["Outcome"], row["ReasonCode"] or None) for row in world.log()] == [("landed", noted)]
