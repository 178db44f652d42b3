"""What is missing is found, loaded once, and loaded coarser where OpenCost no longer has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opencost_kusto.batch import Batch, RequestOptions, Source
from opencost_kusto.coverage.gaps import Target, find_gaps
from opencost_kusto.coverage.retention import aligned, check_step, containing, fallbacks
from opencost_kusto.emulator import Reply
from opencost_kusto.errors import KustoError, UsageError
from opencost_kusto.pipeline.request import SyncRequest, new_run
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.result import Report
from opencost_kusto.schedule.tick import Lookback
from opencost_kusto.schema.tables import ALLOCATION, BUILT_IN_STORE
from opencost_kusto.window import Window
from tests.support.store_world import CLUSTER, DAY, HOUR, MINUTE, StoreWorld, catch_up, target_of
from tests.support.world import NAMESPACES

NOW = datetime(2026, 12, 10, 9, 15, tzinfo=UTC)
NOON = datetime(2026, 12, 10, 12, 15, tzinfo=UTC)
TEN = 10 * MINUTE


@pytest.fixture
def here() -> Iterator[StoreWorld]:
    """A world at NOW."""
    with StoreWorld(NOW) as one:
        yield one


def load_missing(here: StoreWorld, want: Target, back: timedelta, *, lag: timedelta = TEN, **more: Any) -> Report:
    """One catch-up at the world's moment."""
    horizon = Lookback(back, lag)
    now = here.store.now
    # The clock of the run is the world's, not the machine's.
    run = new_run()
    moment = type(run)(run.id, now, run.tool_version)
    span = horizon.period(now, want.step)
    return catch_up(here.opencost_client, here.kusto_client, want, span, run=moment, closed=horizon.closed(now), **more)


def hours(first: datetime, count: int, step: timedelta = HOUR) -> list[Window]:
    """So many windows of a step from a moment on."""
    return [Window(first + n * step, first + (n + 1) * step) for n in range(count)]


def kinds(report: Report) -> dict[str, int]:
    """How many batches ended with each outcome, without those that a longer window stands for."""
    return {outcome: count for outcome, count in report.counts.items() if outcome != "expired"}


def test_windows_are_complete_and_aligned() -> None:
    """Bounds between two windows are moved inwards, and a day begins at midnight."""
    start = datetime(2026, 12, 9, 22, 30, 30, tzinfo=UTC)
    assert list(aligned(start, NOW, HOUR)) == hours(datetime(2026, 12, 9, 23, tzinfo=UTC), 10)
    assert list(aligned(start, NOW, DAY)) == []
    assert list(aligned(start - 2 * DAY, NOW, DAY)) == hours(datetime(2026, 12, 8, tzinfo=UTC), 2, DAY)
    assert list(aligned(NOW, NOW, TEN)) == []


def test_a_finer_window_lies_in_one_coarser_one() -> None:
    """The last ten minutes of a day lie in its last hour, and that in the day."""
    last = Window(datetime(2026, 12, 9, 23, 50, tzinfo=UTC), datetime(2026, 12, 10, tzinfo=UTC))
    hour = Window(datetime(2026, 12, 9, 23, tzinfo=UTC), last.end)
    day = Window(datetime(2026, 12, 9, tzinfo=UTC), last.end)
    assert (containing(last, HOUR), containing(last, DAY), containing(hour, DAY)) == (hour, day, day)
    assert (fallbacks(TEN), fallbacks(HOUR), fallbacks(DAY), fallbacks(15 * MINUTE)) == (
        [HOUR, DAY],
        [DAY],
        [],
        [HOUR, DAY],
    )


def test_a_step_that_does_not_tile_a_day_is_refused() -> None:
    """Seven minutes would be cut anew each day."""
    assert check_step(TEN) == TEN
    with pytest.raises(UsageError, match="7 minutes do not tile a day"):
        check_step(7 * MINUTE)


def test_missing_windows_are_loaded_oldest_first_and_once(here: StoreWorld) -> None:
    """Two hours are missing in the middle: they are requested in order, and then nothing is."""
    eight = datetime(2026, 12, 10, 1, tzinfo=UTC)
    for window in (*hours(eight, 3), *hours(eight + 5 * HOUR, 3)):
        assert (
            sync(
                here.opencost_client, here.kusto_client, SyncRequest(window, None, ("allocation",), NAMESPACES)
            ).exit_code
            == 0
        )
    here.store.requested.clear()
    report = load_missing(here, target_of(), 8 * HOUR + 15 * MINUTE)
    assert [window for _, window in here.store.requested] == hours(eight + 3 * HOUR, 2)
    assert (kinds(report), report.exit_code) == ({"landed": 2}, 0)
    assert here.windows() == dict.fromkeys(hours(eight, 8), 8)
    assert load_missing(here, target_of(), 8 * HOUR + 15 * MINUTE).results == []


def test_only_closed_windows_are_requested(here: StoreWorld) -> None:
    """At a quarter past, with a lag of twenty minutes, the last hour is not closed yet."""
    load_missing(here, target_of(), 3 * HOUR, lag=20 * MINUTE)
    assert list(here.windows()) == hours(datetime(2026, 12, 10, 7, tzinfo=UTC), 1)
    load_missing(here, target_of(), 3 * HOUR, lag=15 * MINUTE)
    assert max(here.windows()).end == datetime(2026, 12, 10, 9, tzinfo=UTC)


def test_each_dataset_is_caught_up_by_its_missing_windows(here: StoreWorld) -> None:
    """For an hour whose allocation has landed only the assets are requested."""
    load_missing(here, target_of(), 3 * HOUR)
    here.store.requested.clear()
    report = load_missing(here, target_of(HOUR, "allocation", "assets", "metrics"), 3 * HOUR, scrape=True)
    assert [name for name, _ in here.store.requested] == ["assets"] * 2
    assert Counter(one.dataset for one in report.results) == {"assets": 2, "metrics": 1}
    assert here.windows("OpenCostAssets") == dict.fromkeys(hours(datetime(2026, 12, 10, 7, tzinfo=UTC), 2), 19)


def test_other_options_are_another_request(here: StoreWorld) -> None:
    """Hours by namespace do not settle hours by pod."""
    load_missing(here, target_of(), 3 * HOUR)
    span = Lookback(3 * HOUR).period(NOW, HOUR)
    by_pod = Target(HOUR, ("allocation",), RequestOptions(aggregate="pod"))
    source = Source(CLUSTER)
    assert len(find_gaps(here.kusto_client, [source], by_pod, span, NOW)[0].due) == 2
    assert find_gaps(here.kusto_client, [Source("another")], target_of(), span, NOW)[0].expected == 2
    assert len(find_gaps(here.kusto_client, [Source("another")], target_of(), span, NOW)[0].due) == 2
    assert find_gaps(here.kusto_client, [source], target_of(), span, NOW)[0].due == []


def test_windows_of_another_step_settle_the_minutes_they_hold(here: StoreWorld) -> None:
    """Six tens are an hour, an hour is its tens, and five tens are no hour."""
    load_missing(here, target_of(TEN), HOUR + 25 * MINUTE)
    assert len(here.windows()) == 7
    here.store.requested.clear()
    load_missing(here, target_of(HOUR), 2 * HOUR + 15 * MINUTE)
    assert [window for _, window in here.store.requested] == hours(datetime(2026, 12, 10, 7, tzinfo=UTC), 1)
    load_missing(here, target_of(TEN), 2 * HOUR + 15 * MINUTE)
    assert len(here.windows()) == 8


def test_rows_prove_themselves_without_the_run_log(here: StoreWorld) -> None:
    """Where the run log was lost the table still proves that a batch is complete, and nothing is requested again."""
    load_missing(here, target_of(), 2 * HOUR)
    here.kusto_client.command(".clear table OpenCostSyncRuns data")
    assert load_missing(here, target_of(), 2 * HOUR).results == []


def test_deleted_rows_are_loaded_again(here: StoreWorld) -> None:
    """An entry in the run log is not enough: the rows must be in the table."""
    load_missing(here, target_of(), 2 * HOUR)
    here.kusto_client.command(".clear table OpenCostAllocation data")
    assert kinds(load_missing(here, target_of(), 2 * HOUR)) == {"landed": 1}


def test_a_window_without_cost_is_requested_once(here: StoreWorld) -> None:
    """A window that is empty within OpenCost's retention is settled, and not requested again."""
    here.store.idle = set(hours(datetime(2026, 12, 10, 7, tzinfo=UTC), 1))
    assert kinds(load_missing(here, target_of(), 3 * HOUR)) == {"empty": 1, "landed": 1}
    here.store.requested.clear()
    assert load_missing(here, target_of(), 3 * HOUR).results == []
    assert here.store.requested == []


def test_what_failed_is_tried_again(here: StoreWorld) -> None:
    """A failure closes nothing, whatever it was, and is in the exit code."""
    here.store.down = True
    failed = load_missing(here, target_of(), 3 * HOUR)
    assert (kinds(failed), failed.exit_code) == ({"failed": 2}, 3)
    here.store.down = False
    assert kinds(load_missing(here, target_of(), 3 * HOUR)) == {"landed": 2}


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "empty"])
def test_expired_ten_minute_windows_are_loaded_by_the_hour(here: StoreWorld, silent: bool) -> None:
    """Of twelve hours in steps of ten minutes, the last land as requested and older ones as hours, each once."""
    here.store.silent = silent
    here.store.now = NOON
    back = 12 * HOUR + 15 * MINUTE
    # 33 tens that are kept for sure, then the 15 oldest others, which lie in three hours.
    first = load_missing(here, target_of(TEN), back)
    assert (kinds(first), first.exit_code) == ({"landed": 36}, 0)
    assert first.counts["expired"] == 15
    # One ten was kept after all, and the other 20 lie in four hours, of which it is a part.
    second = load_missing(here, target_of(TEN), back)
    assert (kinds(second), second.exit_code) == ({"landed": 5}, 0)
    assert load_missing(here, target_of(TEN), back).results == []
    assert Counter(window.minutes for window in here.windows()) == {10: 34, 60: 7}
    # The ledger's last word, which dashboards and alerts read, knows of no failure.
    last = here.query("OpenCostSyncRuns | where isnotempty(BatchId) | summarize arg_max(LoggedAt, Outcome) by BatchId")
    assert Counter(row["Outcome"] for row in last) == {"landed": 41, "expired": 35}
    assert set(here.windows().values()) == {8}


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "empty"])
def test_expired_hours_are_loaded_by_the_day_and_then_are_lost(silent: bool) -> None:
    """Hours of four days ago land as a day; those of a day that has expired too are lost, reported and left alone."""
    with StoreWorld(NOW, silent=silent) as here:
        back = 17 * DAY
        span_start = NOW - back
        report = load_missing(here, target_of(), back, max_windows=None)
        days = [window for window in here.windows() if window.minutes == 24 * 60]
        # The oldest day that is kept is the 26th; hours are kept from nine o'clock of the 8th on.
        assert min(days).start == datetime(2026, 11, 26, tzinfo=UTC)
        assert len(days) == 13
        lost = [one for one in report.results if one.outcome == "lost"]
        assert {one.window_start.day for one in lost} == {23, 24, 25}
        assert min(one.window_start for one in lost) >= span_start
        assert report.exit_code == 7
        assert "at no step any more" in (lost[0].reason or "")
        here.store.requested.clear()
        again = load_missing(here, target_of(), back, max_windows=None)
        assert (again.results, here.store.requested) == ([], [])
        run_log = here.query('OpenCostSyncRuns | where Outcome == "lost" | summarize Rows = count()')
        assert run_log == [{"Rows": len(lost)}]


def test_an_empty_window_is_empty_where_the_longer_one_costs_no_more() -> None:
    """A cluster was off for half an hour, and OpenCost, whose retention is long, has no cost: none is loaded twice."""
    with StoreWorld(NOON, silent=True) as here:
        here.store.keeps = {TEN: 1000, HOUR: 1000, DAY: 100}
        here.store.idle = set(hours(datetime(2026, 12, 10, 2, 30, tzinfo=UTC), 3, TEN))
        back = 12 * HOUR + 15 * MINUTE
        report = load_missing(here, target_of(TEN), back, max_windows=None)
        assert (kinds(report), report.exit_code) == ({"landed": 69, "empty": 3}, 0)
        assert {one.reason for one in report.results if one.outcome == "empty"} == {
            "the longer window that contains it costs no more than what landed of it"
        }
        assert {window.minutes for window in here.windows()} == {10}
        here.store.requested.clear()
        assert load_missing(here, target_of(TEN), back, max_windows=None).results == []
        assert here.store.requested == []


@pytest.mark.parametrize("known", [True, False])
def test_an_empty_window_older_than_the_retention_has_expired(known: bool) -> None:
    """Where the retention of a store is set, an older empty window has expired; else it is inconclusive."""
    with StoreWorld(NOON, BUILT_IN_STORE if known else None, silent=True) as here:
        report = load_missing(here, target_of(TEN), 12 * HOUR + 15 * MINUTE, max_windows=None)
        assert report.exit_code == 0
        codes = {one.reason_code for one in report.results if one.outcome == "expired"}
        assert codes == {"expired" if known else "inconclusive"}
        if known:
            reasons = {one.reason for one in report.results if one.outcome == "expired"}
            assert all("its built-in store keeps the last 36 windows of 10m" in (one or "") for one in reasons)


def test_an_empty_window_within_the_retention_is_empty() -> None:
    """A store that keeps more than by default settles its empty windows without the longer window."""
    kept = {TEN: 1000, HOUR: 1000, DAY: 100}
    with StoreWorld(NOON, kept, silent=True) as here:
        here.store.keeps = dict(kept)
        here.store.idle = set(hours(datetime(2026, 12, 10, 2, 30, tzinfo=UTC), 3, TEN))
        back = 12 * HOUR + 15 * MINUTE
        report = load_missing(here, target_of(TEN), back, max_windows=None)
        assert (kinds(report), report.exit_code) == ({"landed": 69, "empty": 3}, 0)
        assert {one.reason_code for one in report.results if one.outcome == "empty"} == {"confirmed empty"}
        assert {window.minutes for _, window in here.store.requested} == {10}
        here.store.requested.clear()
        assert load_missing(here, target_of(TEN), back, max_windows=None).results == []
        assert here.store.requested == []


def test_an_empty_day_in_time_settles_its_hours(here: StoreWorld) -> None:
    """An empty response for the day, before it expired, settles hours that have expired: nothing is lost."""
    day = Window(datetime(2026, 12, 7, tzinfo=UTC), datetime(2026, 12, 8, tzinfo=UTC))
    here.store.idle = {day}
    report = load_missing(here, target_of(), 81 * HOUR + 15 * MINUTE, max_windows=None)
    assert report.exit_code == 0
    assert kinds(report)["empty"] == 1
    assert "lost" not in kinds(report)
    assert load_missing(here, target_of(), 81 * HOUR + 15 * MINUTE, max_windows=None).results == []


def test_a_coarser_window_that_is_not_closed_is_waited_for(here: StoreWorld) -> None:
    """Hours that have expired early wait for the end of their day, failed until then and not lost."""
    here.store.keeps[HOUR] = 3
    report = load_missing(here, target_of(), 9 * HOUR + 15 * MINUTE)
    assert kinds(report) == {"landed": 2, "failed": 7}
    assert report.exit_code == 7
    here.store.now = NOW + DAY
    report = load_missing(here, target_of(), 33 * HOUR + 15 * MINUTE)
    assert "lost" not in kinds(report)
    assert [window.minutes for window in sorted(here.windows())].count(24 * 60) == 1


def test_a_tick_is_bounded(here: StoreWorld) -> None:
    """The windows beyond the bound are left for the next tick; the oldest that have not expired are the first."""
    report = load_missing(here, target_of(), 30 * HOUR, max_windows=4)
    assert kinds(report) == {"landed": 4}
    assert [window for _, window in here.store.requested] == hours(datetime(2026, 12, 9, 4, tzinfo=UTC), 4)


def test_an_unreachable_opencost_is_given_up(here: StoreWorld) -> None:
    """After three failures in a row nothing more is requested: each would take long to fail."""
    here.opencost.stop()
    here.opencost_client.timeout = 0.1
    report = load_missing(here, target_of(), 30 * HOUR + 15 * MINUTE)
    assert report.exit_code == 3
    assert kinds(report) == {"failed": 30}
    assert sum("Not requested" in (one.reason or "") for one in report.results) == 27


def test_an_unreachable_kusto_is_an_error(here: StoreWorld) -> None:
    """OpenCost is not requested until it is read what has landed."""
    here.kusto.fault = lambda _: Reply(400, {"Content-Type": "application/json"}, b'{"error":{"message":"no"}}')
    with pytest.raises(KustoError):
        load_missing(here, target_of(), 3 * HOUR)
    assert here.store.requested == []


def test_the_ids_are_those_of_sync() -> None:
    """A window that a catch-up requests is the batch that a sync of that hour would land."""
    window = hours(NOW.replace(minute=0), 1)[0]
    (batch,) = target_of().batches(CLUSTER, window)
    assert batch.id == Batch(ALLOCATION, CLUSTER, window, NAMESPACES).id
