"""The library's pipeline over the recorded day: what lands, what is requested, and what the run log says of it."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opencost_kusto.batch import Batch, RequestOptions, Run, Source
from opencost_kusto.database import script
from opencost_kusto.emulator import Reply, json_reply, text_reply
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.export import export
from opencost_kusto.pipeline.request import SyncRequest, new_run
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.kql import create_mapping
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, DEFAULT_DATASETS, METRICS, TABLES
from opencost_kusto.window import Window
from tests.support.recorded import Emulator

START = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = Window(START, START + 24 * HOUR)
TEN = Window(START + 10 * HOUR, START + 11 * HOUR)
RUN = replace(new_run("the-day", "recorded", {"team": "shop"}), clock="given")
SOURCE = Source("aks-shop-prod-weu")
# What is asked of OpenCost when nothing is said.
UNSAID: dict[str, dict[str, Any]] = {
    "allocation": {"aggregate": "container", "includeIdle": False, "shareIdle": False, "allClusters": False},
    "assets": {"filterTypes": [], "allClusters": False},
    "metrics": {"allMetrics": False},
}


class Watched:
    """The recorded responses, and how many requests were served at once at most."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def __call__(self, path: str, query: Mapping[str, str]) -> Reply | None:
        """Count the request as under way for a moment, and leave the response to the recordings."""
        del path, query
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.01)
        with self._lock:
            self._now -= 1
        return None


@dataclass
class Synced:
    """The recorded day after one `sync` in hourly steps."""

    emulator: Emulator
    kusto: Kusto
    report: Report
    reported: list[BatchResult]
    watched: Watched

    def requested(self, path: str) -> list[dict[str, str]]:
        """The queries of the requests for a path, in order."""
        return [dict(request.query) for request in self.emulator.opencost.requests if request.path == path]


def _tables(kusto: Kusto) -> None:
    for command in script.commands("tables"):
        kusto.command(command.text)


@pytest.fixture(scope="module")
def day() -> Iterator[Synced]:
    """The recorded day, synced once for all tests that only look at it."""
    watched = Watched()
    reported: list[BatchResult] = []
    with (
        Emulator(responder=watched, latency=0.02) as emulator,
        Kusto(emulator.kusto_url, emulator.database, auth="none") as kusto,
        OpenCost(emulator.opencost_url) as opencost,
    ):
        _tables(kusto)
        report = sync(opencost, kusto, SyncRequest(DAY, HOUR), run=RUN, on_result=reported.append)
        yield Synced(emulator, kusto, report, reported, watched)


@pytest.fixture
def empty() -> Iterator[tuple[Emulator, OpenCost, Kusto]]:
    """Both emulators with empty tables, and a client of each."""
    with (
        Emulator(latency=0.02) as emulator,
        Kusto(emulator.kusto_url, emulator.database, auth="none") as kusto,
        OpenCost(emulator.opencost_url) as opencost,
    ):
        _tables(kusto)
        yield emulator, opencost, kusto


def test_the_day_lands_complete(day: Synced) -> None:
    """1,478 allocation rows cost 26.44, 456 asset rows cost 32.33, and one scrape has 1,041 samples."""
    assert day.report.exit_code == 0
    assert day.report.counts == {"landed": 49}
    for table, rows, cost in (("OpenCostAllocation", 1478, 26.44), ("OpenCostAssets", 456, 32.33)):
        found = day.kusto.query(f"{table} | summarize Rows = count(), Cost = sum(TotalCost)")[0]
        assert (found["Rows"], round(found["Cost"], 2)) == (rows, cost)
    assert day.kusto.query("OpenCostMetrics | summarize Rows = count()") == [{"Rows": 1041}]


def test_the_report_has_every_outcome(day: Synced) -> None:
    """Every outcome was reported as it occurred, and its rows and cost are those in the table."""
    assert day.reported == day.report.results
    for table in (ALLOCATION, ASSETS):
        mine = [one for one in day.reported if one.table == table.name]
        found = {
            row["BatchId"]: (row["Rows"], round(row["Cost"], 4))
            for row in day.kusto.query(f"{table.name} | summarize Rows = count(), Cost = sum(TotalCost) by BatchId")
        }
        assert len(mine) == 24
        assert {one.batch_id: (one.rows, round(one.cost or 0, 4)) for one in mine} == found


def test_the_run_log_has_a_row_for_each_batch(day: Synced) -> None:
    """OpenCostSyncRuns has one row per batch, with its outcome, rows, cost and window, in the right run."""
    run_log = day.kusto.query("OpenCostSyncRuns | where isnotempty(BatchId)")
    assert len(run_log) == len(day.reported) == 49
    outcomes = {one.batch_id: one for one in day.reported}
    assert {row["BatchId"] for row in run_log} == outcomes.keys()
    for row in run_log:
        one = outcomes[row["BatchId"]]
        assert (row["TableName"], row["Dataset"], row["Outcome"]) == (one.table, one.dataset, "landed")
        assert (row["Rows"], row["Cost"], row["Bytes"]) == (one.rows, one.cost, one.bytes)
        assert (row["WindowStart"], row["WindowEnd"]) == (one.window_start, one.window_end)
        assert (row["RunId"], row["ScenarioName"], row["Source"]) == ("the-day", "recorded", SOURCE.name)
        assert row["ResponseKeys"] == one.response_keys
        assert row["Options"] == UNSAID[row["Dataset"]]
    costs: dict[str, float] = defaultdict(float)
    for row in run_log:
        costs[row["Dataset"]] += row["Cost"] or 0.0
    assert {name: round(cost, 2) for name, cost in costs.items()} == {
        "allocation": 26.44,
        "assets": 32.33,
        "metrics": 0,
    }


def test_a_run_has_one_collection_time(day: Synced) -> None:
    """Every row of every table carries the moment at which the run began, and what the user said of the run."""
    for table in TABLES:
        if table.path is not None and not table.default:
            continue
        marks = "CollectionTime, RunId, ScenarioName, Team = tostring(Metadata.team)"
        found = day.kusto.query(f"{table.name} | summarize Rows = count() by {marks}")
        assert len(found) == 1, table.name
        row = found[0]
        assert row["CollectionTime"] == RUN.collection_time
        assert (row["RunId"], row["ScenarioName"], row["Team"]) == ("the-day", "recorded", "shop")


def test_each_step_is_a_request_of_its_own(day: Synced) -> None:
    """Each hour is requested once, oldest first; no window is longer than a step. The source's fingerprint is in
    another scrape.
    """
    hours = [str(window) for window in DAY.steps(HOUR)]
    for path in ("/allocation", "/assets"):
        assert [query["window"] for query in day.requested(path)] == hours
    assert len(day.requested("/metrics")) == 2


def test_one_request_at_a_time(day: Synced) -> None:
    """OpenCost never has two requests of one run at once."""
    assert day.watched.most == 1


def test_services_are_sorted(day: Synced) -> None:
    """A row's services are in alphabetical order, whatever order OpenCost gave them in."""
    rows = day.kusto.query("OpenCostAllocation | where isnotnull(Services) | project Services")
    many = [row["Services"] for row in rows if len(row["Services"] or []) > 1]
    assert many
    assert all(services == sorted(services) for services in many)


def test_a_second_run_adds_nothing(empty: tuple[Emulator, OpenCost, Kusto]) -> None:
    """The same window again is already landed, by another run at another time; only the run log grows."""
    emulator, opencost, kusto = empty
    wanted = SyncRequest(Window(TEN.start, TEN.end + HOUR), HOUR, ("allocation", "assets"))
    first = sync(opencost, kusto, wanted)
    messages = [request for request in emulator.kusto.requests if request.method == "PUT"]
    second = sync(opencost, kusto, wanted)
    again = [request for request in emulator.kusto.requests if request.method == "PUT"]
    assert first.counts == {"landed": 4}
    assert second.counts == {"already landed": 4}
    assert (second.exit_code, second.rows) == (0, first.rows)
    assert len(again) == len(messages) == 4
    assert kusto.query(
        "OpenCostSyncRuns | where isnotempty(BatchId) | summarize Rows = count() by Outcome | order by Outcome asc"
    ) == [
        {"Outcome": "already landed", "Rows": 4},
        {"Outcome": "landed", "Rows": 4},
    ]
    for table in (ALLOCATION, ASSETS):
        rows = sum(one.rows or 0 for one in first.results if one.table == table.name)
        assert kusto.query(f"{table.name} | count") == [{"Count": rows}]


def test_a_mapping_of_another_version_is_refused(empty: tuple[Emulator, OpenCost, Kusto]) -> None:
    """Where bootstrap was not run after an upgrade, nothing is sent that the mapping would drop in silence."""
    emulator, opencost, kusto = empty
    older = create_mapping(METRICS).replace('"$.Record.help"', '"$.MetricHelp"')
    kusto.command(older)
    report = sync(opencost, kusto, SyncRequest(TEN, None, ("metrics",)))
    assert (report.counts, report.exit_code) == ({"failed": 1}, 5)
    assert "another version of opencost-kusto, and would lose MetricHelp, so" in (report.results[0].reason or "")
    assert kusto.query("OpenCostMetrics | count") == [{"Count": 0}]
    assert not [request for request in emulator.kusto.requests if request.method == "PUT"]
    _tables(kusto)
    assert sync(opencost, kusto, SyncRequest(TEN, None, ("metrics",))).exit_code == 0


def test_without_waiting_batches_end_as_queued(empty: tuple[Emulator, OpenCost, Kusto]) -> None:
    """With `wait=False` nothing is waited for: batches are queued while ingestion stands still, and land later."""
    emulator, opencost, kusto = empty
    emulator.kusto.pause()
    report = sync(opencost, kusto, SyncRequest(TEN), policy=LoadPolicy(wait=False))
    assert (report.counts, report.exit_code) == ({"queued": 3}, 0)
    assert kusto.query("OpenCostAllocation | count") == [{"Count": 0}]
    emulator.kusto.resume()
    emulator.kusto.wait_idle()
    assert kusto.query("OpenCostAllocation | count") == [{"Count": 61}]
    run_log = kusto.query("OpenCostSyncRuns | where isnotempty(BatchId) | project Dataset, Outcome, Rows")
    assert {row["Dataset"]: (row["Outcome"], row["Rows"]) for row in run_log} == {
        "allocation": ("queued", 61),
        "assets": ("queued", 19),
        "metrics": ("queued", 1041),
    }


def test_rows_that_do_not_land_in_time(empty: tuple[Emulator, OpenCost, Kusto]) -> None:
    """Where ingestion stands still, the batch is timed out after `timeout`, and the exit code is 6."""
    emulator, opencost, kusto = empty
    emulator.kusto.pause()
    report = sync(opencost, kusto, SyncRequest(TEN, None, ("assets",)), policy=LoadPolicy(timeout=0.3))
    assert (report.counts, report.exit_code) == ({"timed out": 1}, 6)
    assert "not landed within 0.3 s of the last landing: Kusto lists no failure" in (report.results[0].reason or "")


def test_a_response_without_rows_is_empty(empty: tuple[Emulator, OpenCost, Kusto]) -> None:
    """A window before the data is empty, nothing is sent for it, and the run log says so."""
    emulator, opencost, kusto = empty
    before = Window(TEN.start - 30 * 24 * HOUR, TEN.end - 30 * 24 * HOUR)
    report = sync(opencost, kusto, SyncRequest(before, None, ("allocation", "assets")))
    assert (report.counts, report.exit_code) == ({"empty": 2}, 0)
    assert not [request for request in emulator.kusto.requests if request.method == "PUT"]
    run_log = kusto.query("OpenCostSyncRuns | where isnotempty(BatchId) | project Outcome, Rows, Cost")
    assert run_log == [{"Outcome": "empty", "Rows": 0, "Cost": None}] * 2


def test_one_step_that_fails_does_not_stop_the_others(empty: tuple[Emulator, OpenCost, Kusto]) -> None:
    """One hour that OpenCost refuses is failed with its reason; the others land, and the exit code is 7."""
    emulator, opencost, kusto = empty

    def refuse(path: str, query: Mapping[str, str]) -> Reply | None:
        refused = path == "/allocation" and query["window"] == str(TEN)
        return text_reply("Bad Request: no\n", status=400) if refused else None

    emulator.opencost.responder = refuse
    report = sync(opencost, kusto, SyncRequest(Window(TEN.start - HOUR, TEN.end), HOUR, ("allocation",)))
    assert (report.counts, report.exit_code) == ({"failed": 1, "landed": 1}, 7)
    failed = next(one for one in report.results if one.outcome == "failed")
    assert (failed.window_start, failed.exit_code) == (TEN.start, 3)
    run_log = kusto.query('OpenCostSyncRuns | where Outcome == "failed" | project BatchId, Reason, Rows')
    assert run_log == [{"BatchId": failed.batch_id, "Reason": failed.reason, "Rows": None}]
    emulator.opencost.responder = None
    assert sync(opencost, kusto, SyncRequest(TEN, None, ("allocation",))).counts == {"landed": 1}


def test_a_server_that_does_not_name_its_cluster(empty: tuple[Emulator, OpenCost, Kusto]) -> None:
    """Where OpenCost reports no cluster, sync requires --cluster, and makes no other request."""
    emulator, opencost, kusto = empty
    emulator.opencost.responder = lambda path, _: (
        json_reply(b'{"code":200,"data":{"id":"","name":""}}') if path == "/clusterInfo" else None
    )
    with pytest.raises(UsageError, match="name it with --cluster"):
        sync(opencost, kusto, SyncRequest(TEN))
    assert {request.path for request in emulator.opencost.requests} == {"/clusterInfo"}
    with OpenCost(emulator.opencost_url, cluster="mine") as named:
        assert sync(named, kusto, SyncRequest(TEN, None, ("assets",))).sources == ["mine"]


def test_export_writes_what_sync_would_land(day: Synced) -> None:
    """The rows of `export` have, table by table, the count and cost of those that land; Kusto is not queried."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    reported: list[BatchResult] = []

    def write(table: Table, line: bytes) -> None:
        assert line.endswith(b"\n")
        rows[table.name].append(json.loads(line))

    before = len(day.emulator.kusto.requests)
    with OpenCost(day.emulator.opencost_url) as opencost:
        report = export(opencost, SyncRequest(TEN), write, run=RUN, on_result=reported.append)
    assert len(day.emulator.kusto.requests) == before
    assert reported == report.results
    assert (report.counts, report.rows, report.exit_code) == ({"written": 3}, 1121, 0)
    for table in (ALLOCATION, ASSETS):
        batch = next(one for one in reported if one.table == table.name)
        found = day.kusto.query(
            f'{table.name} | where BatchId == "{batch.batch_id}" | summarize Rows = count(), Cost = sum(TotalCost)'
        )[0]
        assert len(rows[table.name]) == batch.rows == found["Rows"]
        assert sum(row["TotalCost"] for row in rows[table.name]) == pytest.approx(found["Cost"], abs=1e-6)
        assert {row["BatchId"] for row in rows[table.name]} == {batch.batch_id}


def test_export_reports_a_failure(empty: tuple[Emulator, OpenCost, Kusto]) -> None:
    """A batch that OpenCost refuses is failed in the report of `export`, and the others are written."""
    emulator, opencost, _ = empty
    emulator.opencost.responder = lambda path, _: text_reply("no\n", status=400) if path == "/assets" else None
    written: Counter[str] = Counter()
    report = export(opencost, SyncRequest(TEN), lambda table, _: written.update([table.name]))
    assert (report.counts, report.exit_code) == ({"written": 2, "failed": 1}, 7)
    assert written == {"OpenCostAllocation": 61, "OpenCostMetrics": 1041}


def test_a_request_has_a_batch_for_each_dataset_and_step() -> None:
    """Steps are oldest first, with each dataset in turn; the scrape is last, once, and is of now."""
    now = datetime(2026, 11, 24, 6, 0, 12, 345678, tzinfo=UTC)
    window = Window(START, START + 2 * HOUR)
    batches = list(SyncRequest(window, HOUR).batches(SOURCE, now))
    assert [(one.table, one.window) for one in batches[:4]] == [
        (table, step) for step in window.steps(HOUR) for table in (ALLOCATION, ASSETS)
    ]
    scrape = batches[-1]
    assert (len(batches), scrape.table, scrape.timestamp) == (5, METRICS, now)
    minute = now.replace(second=0, microsecond=0)
    assert scrape.window == Window(minute, minute + timedelta(minutes=1))
    assert [one.timestamp for one in batches[:4:2]] == [START, START + HOUR]
    assert len({one.id for one in batches}) == 5


def test_a_request_without_a_step_is_one_batch_for_each_dataset() -> None:
    """Without a step, the window is one batch."""
    batches = list(SyncRequest(DAY, None, ("allocation", "assets")).batches(SOURCE, START))
    assert [(one.table, one.window) for one in batches] == [(ALLOCATION, DAY), (ASSETS, DAY)]


def test_a_request_of_an_unknown_dataset() -> None:
    """An unknown dataset is refused with the list of the existing ones."""
    with pytest.raises(UsageError, match="no dataset 'costs'; there are allocation, assets, metrics"):
        SyncRequest(DAY, None, ("costs",))


def _ids(run: Run, wanted: SyncRequest) -> dict[str, str]:
    return {batch.table.dataset: batch.id for batch in wanted.batches(SOURCE, run.collection_time)}


def test_ids_do_not_depend_on_the_run() -> None:
    """Another run at another time, with other metadata, requests the same batches by the same ids."""
    wanted = SyncRequest(TEN, None, ("allocation", "assets"))
    one = _ids(RUN, wanted)
    other = _ids(Run("other", RUN.collection_time + 5 * HOUR, "9.9", "scenario", {"a": "b"}), wanted)
    assert one == other


def test_ids_do_not_depend_on_the_response(empty: tuple[Emulator, OpenCost, Kusto]) -> None:
    """A response that has changed is the same batch: it has already landed, and the report has the difference."""
    emulator, opencost, kusto = empty
    wanted = SyncRequest(TEN, None, ("assets",))
    first = sync(opencost, kusto, wanted).results[0]
    emulator.opencost.responder = lambda path, _: (
        json_reply(b'{"code":200,"data":{"a":{"type":"Disk","properties":{"name":"a"},"totalCost":1}}}')
        if path == "/assets"
        else None
    )
    second = sync(opencost, kusto, wanted).results[0]
    assert (second.batch_id, second.outcome, second.rows) == (first.batch_id, "already landed", 19)
    assert "hardly any row in common" in second.notes[-1]
    assert "-18 rows" in second.notes[-1]


# Another question, and the datasets for which it is another batch.
CHANGED: dict[str, tuple[RequestOptions, set[str]]] = {
    "aggregate": (RequestOptions(aggregate="namespace"), {"allocation"}),
    "idle": (RequestOptions(include_idle=True), {"allocation"}),
    "shared idle": (RequestOptions(include_idle=True, share_idle=True), {"allocation"}),
    "filter types": (RequestOptions(filter_types=("disk",)), {"assets"}),
    "all metrics": (RequestOptions(all_metrics=True), {"metrics"}),
}


@pytest.mark.parametrize("case", CHANGED)
def test_ids_depend_on_the_options_of_their_dataset(case: str) -> None:
    """An option makes another batch of the datasets that have it, and of no other."""
    options, datasets = CHANGED[case]
    one, other = _ids(RUN, SyncRequest(TEN)), _ids(RUN, SyncRequest(TEN, options=options))
    assert {name for name in DEFAULT_DATASETS if one[name] != other[name]} == datasets


def test_ids_depend_on_the_source_and_the_window() -> None:
    """Another cluster, another start and another end are other batches; idle shared is not idle included."""
    batches = [
        Batch(ALLOCATION, "a", TEN),
        Batch(ALLOCATION, "b", TEN),
        Batch(ALLOCATION, "a", Window(TEN.start, TEN.end + HOUR)),
        Batch(ALLOCATION, "a", Window(TEN.start - HOUR, TEN.end)),
        Batch(ALLOCATION, "a", TEN, RequestOptions(include_idle=True)),
        Batch(ALLOCATION, "a", TEN, RequestOptions(include_idle=True, share_idle=True)),
        Batch(ASSETS, "a", TEN),
    ]
    assert len({batch.id for batch in batches}) == len(batches)
    assert batches[0].id.startswith("OpenCostAllocation/a/20261123T1000Z-20261123T1100Z/")
