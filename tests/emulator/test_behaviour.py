"""What a Kusto may do, switched on: each switch on and off, and the same choices from the same seed."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.kusto.data import ClientRequestProperties
from azure.kusto.data.exceptions import KustoMultiApiError, KustoNetworkError, KustoThrottlingError

from opencost_kusto.emulator.kusto.behaviour import ALL_OFF, Behaviour, Chances
from tests.emulator.conftest import ROW, Client, lines


def behave(client: Client, **switches: Any) -> None:
    """Switch behaviour on."""
    client.emulator.behaviour = replace(ALL_OFF, **switches)


def options(client: Client, text: str, **wanted: object) -> list[dict[str, Any]]:
    """Run a query with client request properties."""
    properties = ClientRequestProperties()  # type: ignore[no-untyped-call]
    for name, value in wanted.items():
        properties.set_option(name, value)
    return [row.to_dict() for row in client.kusto.execute_query("OpenCost", text, properties).primary_results[0]]


def test_only_what_kusto_always_does_is_on() -> None:
    """Every rate and time begins at nothing; a hit of a tag is a failure from the start."""
    on = {field.name for field in fields(ALL_OFF) if getattr(ALL_OFF, field.name)}
    assert on == {"hits_are_failures", "late_seconds", "stale_seconds"}


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_is_a_share(rate: float) -> None:
    """A rate outside 0 to 1 is an error that names the switch."""
    with pytest.raises(ValueError, match="lost"):
        Behaviour(lost=rate)


def test_each_switch_has_a_stream_of_its_own() -> None:
    """The same seed draws the same, whatever the other switches draw; another seed draws otherwise."""
    alone, beside, other = (
        Chances(Behaviour(seed=1, lost=0.5)),
        Chances(Behaviour(seed=1, lost=0.5, late=0.5)),
        Chances(Behaviour(seed=2, lost=0.5)),
    )
    drawn: dict[str, list[bool]] = {"alone": [], "beside": [], "other": []}
    for _ in range(50):
        beside.hit("late")
        for name, chances in {"alone": alone, "beside": beside, "other": other}.items():
            drawn[name].append(chances.hit("lost"))
    assert drawn["alone"] == drawn["beside"] != drawn["other"]
    assert set(drawn["alone"]) == {True, False}


@pytest.mark.parametrize(("switch", "rows"), [("lost", 0), ("unlisted_refusals", 0), ("late", 1), ("repeated", 2)])
def test_messages_get_lost_late_or_doubled(costs: Client, switch: str, rows: int) -> None:
    """Without a tag nothing keeps a message from landing twice; what is lost or refused is listed nowhere."""
    behave(costs, **{switch: 1.0}, late_seconds=0.2)
    costs.land([ROW])
    assert (costs.count(), costs.failures()) == (rows, [])


def test_a_repeated_message_hits_its_tag(costs: Client) -> None:
    """The second copy finds the tag, and is listed as a failure where hits are failures."""
    behave(costs, repeated=1.0, hits_are_failures=False)
    costs.land([ROW], tag="a")
    assert (costs.count(), costs.failures()) == (1, [])
    behave(costs, repeated=1.0)
    costs.land([ROW], tag="b")
    assert costs.count() == 2
    assert [one["ErrorCode"] for one in costs.failures()] == ["Skipped_IngestByTagAlreadyExists"]


def test_two_copies_at_once_land_twice(costs: Client) -> None:
    """Neither copy sees the tag of the other: two extents with one tag."""
    behave(costs, twice_at_once=1.0)
    costs.land([ROW], tag="once")
    assert costs.count() == 2
    assert [one["Tags"] for one in costs.command(".show table Costs extents")] == ["ingest-by:once"] * 2


def test_a_late_message_lands_after_an_earlier_one(costs: Client) -> None:
    """A message that waits is overtaken by those that do not."""
    behave(costs, late=1.0, late_seconds=60.0)
    costs.send(lines([{**ROW, "Name": "late"}]))
    deadline = time.monotonic() + 10
    while costs.emulator._service.ingestion._waiting == [] and time.monotonic() < deadline:
        time.sleep(0.01)
    behave(costs)
    costs.send(lines([{**ROW, "Name": "prompt"}]))
    while costs.count() < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert costs.query("Costs | project Name") == [{"Name": "prompt"}]


def test_messages_land_out_of_order(costs: Client) -> None:
    """Of messages that wait together any may be first, by the seed."""
    orders = set()
    for seed in range(4):
        behave(costs, seed=seed, out_of_order=1.0)
        costs.command(".clear table Costs data")
        costs.emulator.pause()
        for number in range(4):
            costs.send(lines([{**ROW, "Count": number}]))
        costs.emulator.resume()
        costs.emulator.wait_idle()
        orders.add(tuple(row["Count"] for row in costs.query("Costs | order by ingestion_time() asc | project Count")))
    assert len(orders) > 1


def test_a_slot_takes_one_blob_at_a_time(costs: Client) -> None:
    """Blobs wait for the only slot, which `.show capacity` shows taken."""
    assert costs.command(".show capacity ingestions")[0]["Total"] > 1
    behave(costs, slot_seconds=0.3)
    for _ in range(3):
        costs.send(lines([ROW]))
    seen = set()
    while costs.count() < 3:
        [shown] = costs.command(".show capacity ingestions")
        assert shown["Total"] == 1 == shown["Consumed"] + shown["Remaining"]
        seen.add(shown["Consumed"])
        time.sleep(0.02)
    assert 1 in seen


def test_extents_merge_at_any_time(costs: Client) -> None:
    """Merged extents have other ids and all tags, and rows keep the time of their ingestion."""
    for number in range(3):
        costs.land([{**ROW, "Count": number}], tag=str(number))
    before = costs.command(".show table Costs extents")
    times = costs.query("Costs | extend At = ingestion_time() | order by Count asc | project At")
    behave(costs, merges=1.0)
    [merged] = costs.command(".show table Costs extents")
    assert merged["ExtentId"] not in {one["ExtentId"] for one in before}
    assert set(merged["Tags"].split("\r\n")) == {"ingest-by:0", "ingest-by:1", "ingest-by:2"}
    assert (merged["MinCreatedOn"], merged["MaxCreatedOn"]) == (before[0]["MinCreatedOn"], before[2]["MinCreatedOn"])
    assert merged["RowCount"] == 3
    assert costs.query("Costs | extend At = ingestion_time() | order by Count asc | project At") == times


def test_what_may_not_merge_does_not(costs: Client) -> None:
    """A policy that allows no merging, and `drop-by` tags that differ, keep extents apart."""
    for tag in "ab":
        costs.command(f".set-or-append Costs with (tags='[\"drop-by:{tag}\"]') <| {LITERAL}")
    behave(costs, merges=1.0)
    assert len(costs.command(".show table Costs extents")) == 2
    behave(costs)
    costs.command(".clear table Costs data")
    costs.command('.alter-merge table Costs policy merge ```{"AllowMerge": false, "AllowRebuild": false}```')
    costs.land([ROW])
    costs.land([ROW])
    behave(costs, merges=1.0)
    assert len(costs.command(".show table Costs extents")) == 2


LITERAL = (
    "print Timestamp = datetime(2026-11-23), Name = 'x', Cost = 1.0, Count = tolong(1), Spot = true"
    " | extend Labels = parse_json('{}')"
)


def test_tags_outlive_rows_until_compaction(costs: Client) -> None:
    """A soft delete keeps tags, so the same tag is skipped; compaction drops the empty extent, and it lands again."""
    costs.land([ROW], tag="again")
    costs.command(".delete table Costs records <| Costs | where Name == 'web'")
    costs.land([ROW], tag="again")
    assert costs.count() == 0
    behave(costs, compactions=1.0)
    assert costs.command(".show table Costs extents") == []
    costs.land([ROW], tag="again")
    assert costs.count() == 1


def test_stale_reads_see_an_earlier_state(costs: Client) -> None:
    """Rows that were added are not returned, deleted rows are; strong consistency returns the current ones."""
    behave(costs, stale_reads=1.0, stale_seconds=1.0)
    costs.land([{**ROW, "Name": "old"}])
    assert costs.count() == 0
    assert options(costs, "Costs | count", queryconsistency="strongconsistency") == [{"Count": 1}]
    deadline = time.monotonic() + 20
    while costs.count() < 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    costs.command(".clear table Costs data")
    assert costs.query("Costs | project Name") == [{"Name": "old"}]
    assert options(costs, "Costs | count", queryconsistency="strongconsistency") == [{"Count": 0}]


def test_results_are_cached_unless_their_age_must_be_zero(costs: Client) -> None:
    """The same text has the same result for a time, but for a query that requires a fresh one."""
    behave(costs, cached_seconds=60.0)
    assert costs.count() == 0
    costs.land([ROW])
    assert costs.count() == 0
    assert costs.query("Costs  | count") == [{"Count": 1}], "another text is another query"
    for nothing in ("00:00:00", timedelta(0)):
        assert options(costs, "Costs | count", query_results_cache_max_age=nothing) == [{"Count": 1}]


def test_results_of_secured_tables_are_not_cached(costs: Client) -> None:
    """Two principals may see other rows of them, so each query is run."""
    behave(costs, cached_seconds=60.0)
    costs.command('.alter table Costs policy row_level_security enable "Costs"')
    assert costs.count() == 0
    costs.land([ROW])
    assert costs.count() == 1


@pytest.mark.parametrize(("switch", "permanent"), [("query_errors", False), ("permanent_query_errors", True)])
def test_queries_fail_inside_their_result(costs: Client, switch: str, permanent: bool) -> None:
    """HTTP 200, part of the rows, and an error marked permanent or not; commands are not affected."""
    behave(costs, **{switch: 1.0})
    with pytest.raises(KustoMultiApiError, match="E_LOW_MEMORY_CONDITION") as failed:
        costs.count()
    assert [one.permanent for one in failed.value.get_api_errors()] == [permanent]
    assert len(costs.command(".show tables")) == 1


def test_requests_are_throttled(costs: Client) -> None:
    """Queries and commands get 429."""
    behave(costs, throttled=1.0)
    for ask in (costs.count, lambda: costs.command(".show tables")):
        with pytest.raises(KustoThrottlingError):
            ask()


def test_a_command_succeeds_although_its_reply_is_lost(costs: Client) -> None:
    """The client sees a network error, the table exists; a command that only reads gets its reply."""
    behave(costs, unanswered=1.0)
    with pytest.raises(KustoNetworkError):
        costs.command(".create table Other (A: string)")
    assert [one["TableName"] for one in costs.command(".show tables")] == ["Costs", "Other"]


@pytest.mark.parametrize("switched", [{}, {"tags_expire": True}])
def test_tags_expire_by_their_policy(costs: Client, switched: dict[str, bool]) -> None:
    """With the switch a tag older than the policy's period is removed, and the other tags remain."""
    costs.command(
        ".alter table Costs policy extent_tags_retention"
        ' ```[{"TagPrefix": "ingest-by:", "RetentionPeriod": "00:00"}]```'
    )
    behave(costs, **switched)
    costs.land([ROW], tag="a")
    [extent] = costs.command(".show table Costs extents")
    assert extent["Tags"] == ("" if switched else "ingest-by:a")


def test_a_table_is_dropped_when_its_time_is_over(costs: Client) -> None:
    """The auto delete policy drops the table, here in the past by a clock that is set on."""
    costs.command(
        '.alter table Costs policy auto_delete ```{"ExpiryDate": "2999-01-01T00:00:00Z", "DeleteIfNotEmpty": true}```'
    )
    costs.emulator.clock = lambda: datetime(3000, 1, 1, tzinfo=UTC)
    assert costs.command(".show tables") == []
