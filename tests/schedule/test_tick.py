"""A tick over several sources: side by side, each failing alone and reported alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from opencost_kusto.batch import Run, Source
from opencost_kusto.coverage.missing import find_all, missing_query
from opencost_kusto.emulator import Reply
from opencost_kusto.errors import KustoError, OpenCostError, UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.schedule.left import Left
from opencost_kusto.schedule.tick import Lookback, tick
from tests.support.recorded import OpenCostEmulator, another_cluster
from tests.support.store_world import HOUR, MINUTE, StoreWorld, target_of

NOW = datetime(2026, 12, 10, 9, 15, tzinfo=UTC)
HORIZON = Lookback(3 * HOUR)
UNREACHABLE = "http://127.0.0.1:9"
_REFUSAL = b'{"error":{"code":"X","message":"No.","@type":"X","@message":"No.","@permanent":true}}'


@pytest.fixture
def here() -> Iterator[StoreWorld]:
    """A world at NOW."""
    with StoreWorld(NOW) as one:
        yield one


def run(minutes: int = 0) -> Run:
    """A run so many minutes after NOW."""
    return Run(f"tick-{minutes}", NOW + minutes * MINUTE, "1.0")


def by_source(report: Report) -> dict[str, list[str]]:
    """The outcomes of data by source."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in report.results:
        if one.dataset != "runs":
            found[one.source].append(one.outcome)
    return dict(found)


def test_a_source_that_is_away_fails_alone(here: StoreWorld) -> None:
    """Of two sources one lands all the same; the exit code is 7, and the next tick loads the other."""
    reported: list[BatchResult] = []
    with (
        OpenCost(here.opencost.url, cluster="b", attempts=1) as b,
        OpenCost(UNREACHABLE, cluster="c", attempts=1) as c,
    ):
        c.timeout = 0.1
        report = tick([b, c], here.kusto_client, target_of(), HORIZON, run=run(), on_result=reported.append)
        assert by_source(report) == {"b": ["landed"] * 2, "c": ["failed"] * 2}
        assert report.exit_code == 7
        assert sorted(one.batch_id for one in reported) == sorted(one.batch_id for one in report.results)
    with another_cluster(here.opencost), OpenCost(here.opencost.url, cluster="c") as c:
        assert by_source(tick([c], here.kusto_client, target_of(), HORIZON, run=run(1))) == {"c": ["landed"] * 2}


def test_an_unreachable_kusto_fails_the_newest_window_of_each(here: StoreWorld) -> None:
    """What is missing cannot be read, so each named source reports its newest window; one without a name raises."""
    here.kusto.fault = lambda _: Reply(400, {"Content-Type": "application/json"}, _REFUSAL)
    with OpenCost(here.opencost.url, cluster="b") as b, OpenCost(here.opencost.url, cluster="c") as c:
        report = tick([b, c], here.kusto_client, target_of(HOUR, "allocation", "assets"), HORIZON, run=run())
        assert by_source(report) == {"b": ["failed"] * 2, "c": ["failed"] * 2}
        assert {one.window_end for one in report.results} == {NOW.replace(minute=0)}
        assert report.exit_code == 5
    with OpenCost(here.opencost.url) as unnamed, pytest.raises(KustoError):
        tick([unnamed], here.kusto_client, target_of(), HORIZON, run=run())
    with OpenCost(UNREACHABLE, attempts=1) as unnamed, pytest.raises(OpenCostError):
        tick([unnamed], here.kusto_client, target_of(), HORIZON, run=run())


def test_a_new_scheduler_reads_what_has_landed(here: StoreWorld) -> None:
    """A new scheduler reports the age of the data in Kusto, though it has nothing to load."""
    known: dict[tuple[str, str], datetime] = {}

    def record(source: str, dataset: str, until: datetime) -> None:
        known[source, dataset] = until

    with OpenCost(here.opencost.url, cluster="b") as b:
        tick([b], here.kusto_client, target_of(), HORIZON, run=run(), on_covered=record)
        assert known == {}
        assert by_source(tick([b], here.kusto_client, target_of(), HORIZON, run=run(1), on_covered=record)) == {}
    assert known == {("b", "allocation"): NOW.replace(minute=0)}


def test_a_tick_reports_what_it_has_left(here: StoreWorld) -> None:
    """With one window a tick, the others remain missing; what the run log has as lost is lost until something lands.

    The windows of a source with a name are missing, too, where its OpenCost does not respond.
    """
    left: list[Left] = []
    narrow = Lookback(3 * HOUR, max_windows=1)
    with OpenCost(here.opencost.url, cluster="b") as b, OpenCost(UNREACHABLE, cluster="c", attempts=1) as c:
        c.timeout = 0.1
        tick([b, c], here.kusto_client, target_of(), narrow, run=run(), on_left=left.append)
        assert left == [Left("b", "allocation", 1, 0), Left("c", "allocation", 2, 0)]
        # What is missing, and the states of that: what is left is known by the results.
        assert sum(request.csl.startswith("let startTime") for request in here.kusto.requests) == 2
        left.clear()
        here.kusto_client.command(
            ".set-or-append OpenCostSyncRuns <| OpenCostSyncRuns | where Outcome == 'landed' and Source == 'b'"
            " | extend Outcome = 'lost', LoggedAt = now() + 1h"
        )
        here.kusto_client.command(".clear table OpenCostAllocation data")
        tick([b], here.kusto_client, target_of(), narrow, run=run(1), on_left=left.append)
        assert left == [Left("b", "allocation", 0, 1)]


def test_one_query_says_that_nothing_is_missing(here: StoreWorld) -> None:
    """For several sources together, also where windows are lost, of which no state is read again."""
    target, period = target_of(HOUR, "allocation", "assets"), HORIZON.period(NOW, HOUR)
    with OpenCost(here.opencost.url, cluster="a") as a:
        assert tick([a], here.kusto_client, target, HORIZON, run=run()).exit_code == 0
        here.kusto_client.command(
            ".set-or-append OpenCostSyncRuns <| OpenCostSyncRuns | where isnotempty(BatchId)"
            " | extend Source = 'b', BatchId = strcat('b', BatchId), Outcome = 'lost', LoggedAt = now()"
        )
        sources = [a.source(), Source("b")]
    before = len(here.kusto.requests)
    one, other = find_all(here.kusto_client, sources, target, period, NOW)
    assert (one.due, one.gone, one.lost, one.expected) == ([], [], [], 4)
    assert (other.due, other.gone, len(other.lost), other.covered_until) == ([], [], 4, {})
    assert len(here.kusto.requests) == before + 1
    assert {row["IsLost"] for row in here.kusto_client.query(missing_query(sources, target, period))} == {True}
    assert here.kusto_client.query(missing_query([Source("c")], target, period)) != []


def test_a_source_that_cannot_be_identified_is_in_the_run_log(here: StoreWorld) -> None:
    """Its newest window has failed, and its windows are missing, until it responds as an OpenCost does."""
    left: list[Left] = []
    with (
        OpenCostEmulator(responder=lambda *_: Reply(200, {}, b"<html>")) as page,
        OpenCost(here.opencost.url, cluster="b") as b,
        OpenCost(page.url, cluster="c") as c,
    ):
        report = tick([c, b], here.kusto_client, target_of(), HORIZON, run=run(), on_left=left.append)
    assert by_source(report) == {"b": ["landed"] * 2, "c": ["failed"]}
    assert left == [Left("b", "allocation", 0, 0), Left("c", "allocation", 2, 0)]
    (row,) = (row for row in here.log() if row["Source"] == "c")
    assert (row["Outcome"], row["WindowEnd"]) == ("failed", NOW.replace(minute=0))
    with another_cluster(here.opencost), OpenCost(here.opencost.url, cluster="c") as c:
        assert by_source(tick([c], here.kusto_client, target_of(), HORIZON, run=run(1))) == {"c": ["landed"] * 2}


def test_windows_are_requested_while_others_land(here: StoreWorld) -> None:
    """However long Kusto takes, every window is requested before the run waits for the first to land."""
    requested: list[int] = []
    lookback, policy = Lookback(13 * HOUR), LoadPolicy(timeout=0.5)
    with OpenCost(here.opencost.url, cluster="b") as b:
        here.kusto.pause()
        report = tick(
            [b],
            here.kusto_client,
            target_of(),
            lookback,
            run=run(),
            policy=policy,
            on_result=lambda _: requested.append(len(here.store.requested)),
        )
        here.kusto.resume()
    assert report.counts == {"timed out": 12}
    assert requested[0] == 12


def test_a_replica_without_a_cluster_has_nothing_to_do(here: StoreWorld) -> None:
    """With more replicas than clusters, one of none succeeds without a request."""
    report = tick([], here.kusto_client, target_of(), HORIZON, run=run())
    assert (report.results, report.exit_code) == ([], 0)


def test_a_horizon_without_a_window_is_refused() -> None:
    """A catch-up that is shorter than a window and the lag would never load anything."""
    with pytest.raises(UsageError, match="make --catch-up longer"):
        Lookback(HOUR).period(NOW, HOUR)
