"""`status`: what landed last, and what is missing, lost or failed, as the run log and the tables say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opencost_kusto.batch import RequestOptions, Run
from opencost_kusto.cli.status import status_document
from opencost_kusto.coverage.gaps import find_gaps
from opencost_kusto.coverage.interval_set import IntervalSet
from opencost_kusto.coverage.missing import missing_query
from opencost_kusto.coverage.status import DatasetStatus, status
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.schedule.tick import Lookback
from opencost_kusto.window import Window
from tests.support.store_world import CLUSTER, DAY, HOUR, MINUTE, StoreWorld, catch_up, target_of
from tests.support.world import NAMESPACES

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 12, 10, 9, 15, tzinfo=UTC)


@pytest.fixture
def here() -> Iterator[StoreWorld]:
    """A world at NOW."""
    with StoreWorld(NOW) as one:
        yield one


def load_missing(here: StoreWorld, back: timedelta, *datasets: str, step: timedelta = HOUR, **more: Any) -> None:
    """One catch-up at the world's moment."""
    now, horizon = here.store.now, Lookback(back)
    want = target_of(step, *datasets)
    run = Run(f"{now:%d%H%M}", now, "1.0")
    catch_up(
        here.opencost_client,
        here.kusto_client,
        want,
        horizon.period(now, step),
        run=run,
        closed=horizon.closed(now),
        **more,
    )


def of(here: StoreWorld, back: timedelta = 48 * HOUR, dataset: str = "allocation") -> DatasetStatus:
    """The status of one dataset at the world's moment."""
    (one,) = (one for one in status(here.kusto_client, now=here.store.now, back=back) if one.dataset == dataset)
    return one


def hour(number: int, count: int = 1) -> Window:
    """So many hours of the day of NOW."""
    start = NOW.replace(hour=number, minute=0)
    return Window(start, start + count * HOUR)


def test_a_set_of_minutes_has_gaps() -> None:
    """Intervals are merged where they touch, and what is between them is a gap."""
    minutes = IntervalSet([hour(4), hour(1), hour(2), hour(7, 2)])
    assert list(minutes) == [hour(1, 2), hour(4), hour(7, 2)]
    assert list(minutes.gaps(hour(0, 10))) == [hour(0), hour(3), hour(5, 2), hour(9)]
    assert list(minutes.gaps(hour(1, 2))) == []
    assert list(minutes.gaps(hour(2, 2))) == [hour(3)]
    assert list(minutes.gaps(hour(5))) == [hour(5)]
    assert (hour(1, 2) in minutes, hour(2, 2) in minutes, hour(8) in minutes) == (True, False, True)
    assert list(IntervalSet([]).gaps(hour(5))) == [hour(5)]


def test_a_complete_day_has_nothing_missing(here: StoreWorld) -> None:
    """Every hour has landed: the age is that of the last, and the last day is counted in full."""
    load_missing(here, 26 * HOUR, "allocation", "assets", "metrics", scrape=True)
    one = of(here)
    assert (one.source, one.until, one.age(NOW)) == (CLUSTER, hour(8).end, 15 * MINUTE)
    assert (one.missing, one.lost, one.failures) == ([], [], [])
    # The rows of windows that ended within the last day; the cost of its minutes, 45 of them in no window yet.
    assert (one.rows, one.day_rows) == (25 * 8, 24 * 8)
    assert one.day_cost == pytest.approx(23.75 * hourly(here), abs=1e-4)
    assert of(here, dataset="metrics").day_rows > 1000
    assert of(here, dataset="metrics").missing == []


def test_the_cost_of_a_dataset_without_entries_is_not_queried(here: StoreWorld) -> None:
    """Without assets, the query for what they cost, which takes longest, is not sent."""
    load_missing(here, 3 * HOUR, "allocation")
    here.kusto.requests.clear()
    assert of(here).day_cost
    sent = b"".join(request.body for request in here.kusto.requests)
    assert b"OpenCostWorkloadCost(" in sent
    assert b"OpenCostInfrastructureCost(" not in sent


def test_queued_rows_count_once_they_land(here: StoreWorld) -> None:
    """With --no-wait the run log has queued; rows in the tables prove the batch, and without them nothing landed."""
    load_missing(here, 3 * HOUR, "allocation", "metrics", scrape=True, policy=LoadPolicy(wait=False))
    here.kusto.wait_idle()
    one, scraped = of(here), of(here, dataset="metrics")
    assert (one.until, one.rows, one.missing) == (hour(8).end, 16, [])
    # The minute of the scrape, which is not over: nothing is said to be there of what is to come.
    assert (scraped.until, scraped.document(NOW)["age_seconds"]) == (NOW, 0.0)
    here.kusto_client.command(".clear table OpenCostAllocation data")
    assert of(here).until is None


def lines(one: DatasetStatus, now: datetime = NOW) -> list[str]:
    """What the command prints of a dataset."""
    document = status_document([one], now)
    return [" ".join(document.tables[0].cells()[0]), *document.lines]


def hourly(here: StoreWorld, table: str = "OpenCostAllocation") -> float:
    """The cost of one derived hour, as the table has it."""
    return float(
        here.query(f"{table} | where WindowMinutes == 60 | summarize C = sum(TotalCost) by WindowStart | take 1")[0][
            "C"
        ]
    )


def test_what_lies_between_is_missing(here: StoreWorld) -> None:
    """Two missing periods are reported with their bounds, and the command that loads them."""
    for window in (hour(0, 2), hour(4), hour(7, 2)):
        sync(here.opencost_client, here.kusto_client, SyncRequest(window, HOUR, ("allocation",), NAMESPACES))
    one = of(here)
    assert one.missing == [hour(2, 2), hour(5, 2)]
    period = "2026-12-10T02:00:00Z to 2026-12-10T04:00:00Z (2h 0m)"
    assert lines(one)[1] == f"missing: {CLUSTER} allocation {period}; backfill loads what OpenCost still has"
    # What was known before the time that is looked at counts: the stretch begins with it.
    assert of(here, 3 * HOUR).missing == [Window(NOW - 3 * HOUR, hour(7).start)]


def test_failures_are_reported_until_the_window_lands(here: StoreWorld) -> None:
    """A reason that several windows share is reported once; a window that landed later, or coarser, is no failure."""
    here.store.down = True
    load_missing(here, 3 * HOUR)
    (failure,) = of(here).failures
    assert (failure.window, failure.outcome, failure.windows) == (hour(8), "failed", 2)
    assert "500" in failure.reason
    assert of(here).until is None
    assert of(here).until is None
    assert " 2026-12-10T08:00:00Z to 2026-12-10T09:00:00Z (1h 0m) and 1 more: OpenCost" in lines(of(here))[-1]
    here.store.down = False
    here.store.now += MINUTE
    load_missing(here, 3 * HOUR)
    assert of(here).failures == []


def test_the_entry_written_last_counts(here: StoreWorld) -> None:
    """A machine whose clock is two hours ahead failed first; the later entry settles the window for every reader."""
    request = SyncRequest(hour(8), HOUR, ("allocation",), NAMESPACES)
    here.store.down = True
    sync(here.opencost_client, here.kusto_client, request, run=Run("ahead", NOW + 2 * HOUR, "1.0"))
    here.store.down, here.store.idle = False, {hour(8)}
    sync(here.opencost_client, here.kusto_client, request, run=Run("right", NOW, "1.0"))
    one = of(here)
    assert (one.failures, one.missing, one.empty_until) == ([], [], hour(8).end)
    source = here.opencost_client.source()
    assert find_gaps(here.kusto_client, [source], target_of(), hour(8), NOW)[0].due == []
    assert here.query(missing_query([source], target_of(), hour(8))) == []


def test_ten_minute_windows_landed_as_hours_are_neither_missing_nor_failed(here: StoreWorld) -> None:
    """The refusals of expired windows are in the run log and not reported; costs count each minute once."""
    here.store.now = NOW + 3 * HOUR
    for _ in range(2):
        load_missing(here, 12 * HOUR + 15 * MINUTE, step=10 * MINUTE)
    one = of(here)
    assert (one.missing, one.lost, one.failures) == ([], [], [])
    # Of 34 tens and seven hours, of which one holds four of the tens.
    assert one.day_cost == pytest.approx(12 * hourly(here), rel=1e-4)


def test_lost_windows_are_reported_as_lost(here: StoreWorld) -> None:
    """Days that have expired at every step are lost, not missing; once they are loaded, they are not lost."""
    here.store.keeps = {HOUR: 49, DAY: 3}
    load_missing(here, 5 * DAY, max_windows=None)
    one = of(here, 6 * DAY)
    # Hours are kept from nine o'clock of the 8th on, days from the 8th on.
    assert one.lost == [Window(datetime(2026, 12, 5, 10, tzinfo=UTC), datetime(2026, 12, 8, tzinfo=UTC))]
    assert (one.missing, one.failures) == ([], [])
    assert f"lost: {CLUSTER} allocation 2026-12-05T10:00:00Z to 2026-12-08T00:00:00Z (2d 14h)" in lines(one)
    here.store.keeps[DAY] = 15
    window = Window(datetime(2026, 12, 6, tzinfo=UTC), datetime(2026, 12, 7, tzinfo=UTC))
    later = Run("later", NOW + MINUTE, "1.0")
    sync(here.opencost_client, here.kusto_client, SyncRequest(window, None, ("allocation",), NAMESPACES), run=later)
    assert [interval.end - interval.start for interval in of(here, 6 * DAY).lost] == [14 * HOUR, DAY]


def test_some_types_of_assets_are_not_all(here: StoreWorld) -> None:
    """Disks alone settle nothing, and cost what disks cost; beside all assets they change neither."""
    disks, everything = (
        SyncRequest(hour(5, 4), HOUR, ("assets",), RequestOptions(filter_types=types)) for types in (("disk",), ())
    )
    sync(here.opencost_client, here.kusto_client, disks)
    one = of(here, dataset="assets")
    assert (one.batches, one.until, one.missing) == (4, None, [hour(5, 4)])
    here.kusto_client.command(".clear table OpenCostAssets data")
    sync(here.opencost_client, here.kusto_client, everything)
    complete = of(here, dataset="assets")
    assert (complete.until, complete.missing) == (hour(8).end, [])
    assert complete.day_cost == pytest.approx(4 * hourly(here, "OpenCostAssets"), rel=1e-6)
    sync(here.opencost_client, here.kusto_client, disks)
    assert of(here, dataset="assets").day_cost == pytest.approx(complete.day_cost)


def test_empty_hours_do_not_count_as_cost(here: StoreWorld) -> None:
    """An OpenCost whose Prometheus is down has no cost: nothing is missing, the age is that of the last cost."""
    here.store.idle = {hour(6), hour(7), hour(8)}
    load_missing(here, 5 * HOUR)
    one = of(here)
    assert (one.until, one.empty_until, one.age(NOW), one.empty_since_last) == (
        hour(5).end,
        hour(8).end,
        3 * HOUR + 15 * MINUTE,
        True,
    )
    assert "2026-12-10T06:00:00Z 3h 15m 2026-12-10T09:00:00Z 4" in lines(one)[0]
    assert (one.missing, one.document(NOW)["empty_until"]) == ([], "2026-12-10T09:00:00Z")
    here.store.now, here.store.idle = NOW + HOUR, set()
    load_missing(here, 2 * HOUR)
    assert "2026-12-10T09:00:00Z" not in lines(of(here), NOW + HOUR)[0].partition("h ")[2]


def test_minutes_between_two_commands_are_not_missing(here: StoreWorld) -> None:
    """`run` loads the minutes of a command: nothing requested those between two commands."""
    here.store.keeps |= {14 * MINUTE: 1000, 5 * MINUTE: 1000}
    eight = hour(8).start
    for start, minutes in ((3, 14), (20, 5), (41, 5)):
        window = Window(eight + start * MINUTE, eight + (start + minutes) * MINUTE)
        sync(here.opencost_client, here.kusto_client, SyncRequest(window, None, ("allocation",), NAMESPACES))
    one = of(here)
    assert (one.batches, one.until, one.missing) == (3, eight + 46 * MINUTE, [])
    sync(here.opencost_client, here.kusto_client, SyncRequest(hour(5), None, ("allocation",), NAMESPACES))
    sync(here.opencost_client, here.kusto_client, SyncRequest(hour(7), None, ("allocation",), NAMESPACES))
    assert of(here).missing == [hour(6)]


def test_a_window_longer_than_the_period_is_no_failure_of_it(here: StoreWorld) -> None:
    """A thousand days that OpenCost refused make the last two neither failed nor missing."""
    sync(here.opencost_client, here.kusto_client, SyncRequest(hour(7, 2), HOUR, ("allocation",), NAMESPACES))
    here.store.down = True
    sync(
        here.opencost_client,
        here.kusto_client,
        SyncRequest(Window(hour(9).start - 1000 * DAY, hour(9).start), None, ("allocation",)),
    )
    assert (of(here).failures, of(here).missing) == ([], [])
    assert len(of(here, 1000 * DAY + HOUR).failures) == 1


def test_deleted_rows_are_missing(here: StoreWorld) -> None:
    """The run log alone proves nothing."""
    load_missing(here, 5 * HOUR)
    here.kusto_client.command(".clear table OpenCostAllocation data")
    assert of(here).missing == [hour(5, 4)]


def command(here: StoreWorld, home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `opencost-kusto status` against the world's Kusto."""
    place = ["--kusto-uri", here.kusto.url, "--database", "OpenCost", "--auth", "none"]
    arguments = [sys.executable, "-m", "opencost_kusto", "status", *place]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT)}
    return lambda *more: subprocess.run(
        [*arguments, *more], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_prints_lines_and_json(tmp_path: Path) -> None:
    """Lines for people, a document for programs, and exit code 6 for what is too old."""
    with StoreWorld(datetime.now(UTC), currency="EUR") as here:
        load_missing(here, 5 * HOUR)
        run = command(here, tmp_path)
        lines = run("--max-age", "3h")
        assert lines.returncode == 0, lines.stderr
        assert lines.stdout.split()[:2] == ["Cluster", "Status"]
        assert lines.stdout.splitlines()[0].endswith("Cost, last day (EUR)")
        assert f" {CLUSTER}  " in lines.stdout
        (found,) = json.loads(run("-o", "json", "--catch-up", "4h").stdout)
        assert (found["cluster"], found["status"], found["wrong"]) == (CLUSTER, "ok", [])
        (document,) = found["datasets"]
        assert (document["dataset"], document["missing"], document["lost"]) == ("allocation", [], [])
        assert 0 < document["age_seconds"] < 2 * 3600
        assert document["day_cost"] > 1
        assert document["currency"] == "EUR"
        stopped = run("--max-age", "1m")
        assert (stopped.returncode, "Check why sync stopped" in stopped.stderr) == (6, True)


def test_an_opencost_without_prometheus_is_an_alert(tmp_path: Path) -> None:
    """When all of the last hours were empty `--max-age` fails, and says where to look."""
    with StoreWorld(datetime.now(UTC)) as here:
        begun = here.store.now.replace(minute=0, second=0, microsecond=0)
        here.store.idle = {Window(begun - n * HOUR, begun - (n - 1) * HOUR) for n in range(1, 5)}
        load_missing(here, 6 * HOUR + 15 * MINUTE)
        dry = command(here, tmp_path)("--max-age", "3h")
        assert (dry.returncode, "Check whether its Prometheus is running" in dry.stderr) == (6, True), dry.stderr
