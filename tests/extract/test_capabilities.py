"""What each version of OpenCost can do, against recorded responses and the emulators of the three versions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opencost_kusto.batch import Batch, RequestOptions, SourceSettings
from opencost_kusto.emulator import BUILT_IN_STORE, OpenCostEmulator, Reply, json_reply
from opencost_kusto.errors import ContentError, OpenCostError, ReasonCode, UsageError
from opencost_kusto.extract import fingerprint
from opencost_kusto.extract.capabilities import CAPABILITIES, Capabilities, release, retention
from opencost_kusto.extract.checks import RecordChecks
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.extract.responses import records
from opencost_kusto.pipeline.fleet import common_marks
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.tables import ALLOCATION, ASSETS
from opencost_kusto.window import Window
from tests.support.documents import GUIDES
from tests.support.recordings import ALL_VERSIONS, recording
from tests.support.world import HOUR

SHARED = RequestOptions(aggregate="namespace", include_idle=True, share_idle=True)
IDLE = "allocation_hour_idle_share_namespace.json"
SECOND = timedelta(seconds=1)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def data(version: str, name: str) -> Any:
    """The data of a recorded response."""
    return json.loads(recording(version, name))["data"]


def rows(version: str, name: str = "allocation_hour.json") -> list[dict[str, Any]]:
    """The rows of a recorded hour."""
    return list(data(version, name)[0].values())


def has(key: str) -> Callable[[str], bool]:
    """Whether the rows of a version have a key."""
    return lambda version: all(key in row for row in rows(version))


def kinds(version: str) -> set[str]:
    """The types of the assets of the recorded hour."""
    return {one["type"] for one in data(version, "assets_hour.json").values()}


def served(version: str, path: str) -> bool:
    """Whether the emulator of a version has a route."""
    with OpenCostEmulator(version=version) as server, OpenCost(server.url, attempts=1) as opencost:
        opencost.source()
        return any(one.path == path for one in server.requests)


# How each capability shows in what was recorded, in the order of the list.
EVIDENCE: tuple[Callable[[str], bool], ...] = (
    lambda version: (
        not any("__idle__" in one["name"] for one in rows(version, "allocation_hour_idle_share_namespace.json"))
    ),
    lambda version: served(version, "/allNamespaces"),
    lambda version: fingerprint.UID in fingerprint.of_metrics([recording(version, "metrics.txt")]).fingerprint,
    has("cpuCostIdle"),
    lambda version: data(version, "assets_filter_disk_upper.json") == {},
    lambda version: (
        version != "1.112" and json.loads(recording(version, "allocation_hour_filter_bad.json"))["code"] == 500
    ),
    has("cpuCoreLimitAverage"),
    has("gpuAllocation"),
    lambda version: any("kubernetes_io_hostname" in one["properties"].get("labels", {}) for one in rows(version)),
    lambda version: "ClusterManagement" in kinds(version),
    lambda version: any(one["properties"].get("controllerKind") == "replicaset" for one in rows(version)),
)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_each_capability_is_what_was_recorded(version: str) -> None:
    """The list says of each version what its responses show."""
    found = {one.name: shows(version) for one, shows in zip(CAPABILITIES, EVIDENCE, strict=True)}
    assert found == {one.name: one.of(release(version)) for one in CAPABILITIES}


def test_the_guide_has_the_table() -> None:
    """The guide's table is the list."""
    for one in CAPABILITIES:
        cells = ["yes" if one.of(release(version)) else "no" for version in ALL_VERSIONS]
        assert f"| {one.name} | {' | '.join(cells)} | {one.otherwise} |" in GUIDES["versions"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1.111.0 (69d8e473b60648dcb468964944043e1929a66ee8)", (1, 111)),
        ("1.111.0-16", (1, 111)),
        ("v1.120.1", (1, 120)),
        ("dev", ()),
        (None, ()),
    ],
)
def test_versions_are_read_as_opencost_writes_them(text: str | None, found: tuple[int, ...]) -> None:
    """With a commit, with the add-on's suffix, with a v; anything else is unknown."""
    assert release(text) == found


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_opencost_filters_assets_as_the_program_does(version: str) -> None:
    """What was recorded with a filter are the disks of what was recorded without."""
    everything = data(version, "assets_hour.json")
    assert data(version, "assets_filter_disk_lower.json").keys() == {
        key for key, one in everything.items() if one["type"] == "Disk"
    }


@pytest.mark.parametrize("version", [*ALL_VERSIONS, "unknown"])
def test_assets_are_filtered_by_versions_that_support_it(version: str) -> None:
    """The filter is sent in OpenCost's grammar, and not to an unlisted version; the rows are the same."""
    hidden = "/installInfo" if version == "unknown" else ""
    server = OpenCostEmulator(
        version="1.112" if version == "unknown" else version,
        responder=lambda path, _: Reply(404) if path == hidden else None,
    )
    mark = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hour = Window(mark - timedelta(hours=3), mark - timedelta(hours=2))
    with server, OpenCost(server.url, attempts=1) as opencost:
        some = Batch(ASSETS, "c", hour, RequestOptions(filter_types=("disk", "loadbalancer")))
        found = [json.loads(one) for one in opencost.records(some, lambda *_: None)]
        sent = dict(next(one.query for one in reversed(server.requests) if one.path == "/assets"))
        every = [json.loads(one) for one in opencost.records(Batch(ASSETS, "c", hour), lambda *_: None)]
        assert "filter" not in dict(server.requests[-1].query)
    assert sent.get("filter") == (None if version == "unknown" else 'assetType:"disk","loadbalancer"')
    assert found == [one for one in every if one["type"] in ("Disk", "LoadBalancer")]
    assert 0 < len(found) < len(every)


def test_shared_idle_is_refused_before_1_112() -> None:
    """The AKS add-on's version would ignore the option: nothing is requested, and the message has the cure."""
    with OpenCostEmulator(version="1.111") as server, OpenCost(server.url) as opencost:
        with pytest.raises(UsageError, match=r"OpenCost 1\.111\.0 .* does not share idle cost.*OpenCostChargeback"):
            list(opencost.records(Batch(ALLOCATION, "c", HOUR, SHARED), lambda *_: None))
        assert not any(one.path == "/allocation" for one in server.requests)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_an_idle_row_in_a_response_with_shared_idle_is_malformed(version: str) -> None:
    """Where the version is unknown, the recorded response of 1.111 is refused, and those of later versions are read."""

    def responder(path: str, _: object) -> Reply | None:
        if path == "/installInfo":
            return Reply(404)
        return json_reply(recording(version, IDLE)) if path == "/allocation" else None

    with OpenCostEmulator(responder=responder) as server, OpenCost(server.url, attempts=1) as opencost:
        batch = Batch(ALLOCATION, "c", HOUR, SHARED)
        if version == "1.111":
            with pytest.raises(ContentError, match=r"did not share the idle cost.*__idle__") as refused:
                list(opencost.records(batch, lambda *_: None))
            assert refused.value.code is ReasonCode.MALFORMED
        else:
            assert len(list(opencost.records(batch, lambda *_: None))) == 8


@pytest.fixture(scope="module")
def built_in() -> Iterator[OpenCostEmulator]:
    """An OpenCost with its own store."""
    with OpenCostEmulator(version="1.119", keeps=BUILT_IN_STORE) as server:
        yield server


def test_a_built_in_store_is_recognized(built_in: OpenCostEmulator) -> None:
    """It has no route of a Prometheus; its marks are its shortest buckets. Before 1.115 nothing is requested."""
    with OpenCost(built_in.url) as opencost:
        assert opencost.capabilities().marks == timedelta(minutes=10)
        assert opencost.source().buckets(ASSETS) == (timedelta(days=1), timedelta(hours=1), timedelta(minutes=10))
        assert common_marks([opencost]) == timedelta(minutes=10)
    for version in ALL_VERSIONS:
        with OpenCostEmulator(version=version) as server, OpenCost(server.url) as opencost:
            assert opencost.capabilities().marks == timedelta(minutes=5)
            assert opencost.source().buckets(ASSETS) == ()
            assert any(one.path == "/diagnostics/requestQueue" for one in server.requests) == (version == "1.119")
    with OpenCost("http://127.0.0.1:1", attempts=1, timeout=1) as unreachable:
        assert common_marks([unreachable]) == timedelta(minutes=5)


def test_a_window_is_loaded_in_the_buckets_of_the_store(built_in: OpenCostEmulator) -> None:
    """Each request of a built-in store is of a window that it has; of a Prometheus it is the complete window."""
    window = Window(NOON - timedelta(hours=13, minutes=20), NOON + timedelta(minutes=10))
    request = SyncRequest(window, None, ("allocation",))
    with OpenCost(built_in.url) as opencost:
        source = opencost.source()
    lengths = [batch.window.minutes for batch in request.batches(source, NOON)]
    assert lengths == [10, 10, *([60] * 13), 10]
    with OpenCostEmulator() as server, OpenCost(server.url) as opencost:
        assert [batch.window for batch in request.batches(opencost.source(), NOON)] == [window]
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    closed = now - timedelta(minutes=now.minute % 10)
    with OpenCost(built_in.url) as opencost:
        for batch in SyncRequest(Window(closed - timedelta(minutes=30), closed), None, ("allocation",)).batches(
            source, now
        ):
            assert list(opencost.records(batch, lambda *_: None))


@pytest.mark.parametrize(
    ("text", "hours"), [(None, 49), ("1h=3", 3), ("1h=100,1d=30", 100)], ids=["default", "less", "more"]
)
@pytest.mark.parametrize("table", [ALLOCATION, ASSETS], ids=["allocation", "assets"])
def test_a_window_older_than_the_store_is_expired(table: Table, text: str | None, hours: int) -> None:
    """A response without records is no cost while the store has the window; then it is `expired`, by name.

    Derived from OpenCost's source, since no built-in store was recorded: its clock, and a store whose counts are those
    of the option. Where they are not the default, an empty window that is still there is confirmed.
    """
    kept = BUILT_IN_STORE if text is None else {length // SECOND: count for length, count in retention(text).items()}
    settings = SourceSettings(kept=None if text is None else retention(text))
    silent = json_reply(b'{"code":200,"data":[{}]}' if table is ALLOCATION else b'{"code":200,"data":{}}')

    def responder(path: str, _: object) -> Reply | None:
        return silent if path == table.path else None

    server = OpenCostEmulator(version="1.119", keeps=kept, clock=lambda: NOON, responder=responder)
    with server, OpenCost(server.url, settings=settings, attempts=1) as opencost:
        source = opencost.source()
        assert source.retention(table)[timedelta(hours=1)] == hours
        codes: list[ReasonCode | None] = []
        for back, expired in ((hours - 1, False), (hours, True)):
            start = NOON - back * timedelta(hours=1)
            batch = Batch(table, "c", Window(start, start + timedelta(hours=1)))
            if not expired:
                assert list(opencost.records(batch, lambda _, code=None: codes.append(code))) == []
                continue
            message = f"keeps the last {hours} windows of 1h.*--opencost-retention"
            with pytest.raises(OpenCostError, match=message) as no:
                list(opencost.records(batch, lambda *_: None))
            assert (no.value.code, no.value.transient) == (ReasonCode.EXPIRED, False)
        assert codes == ([] if text is None else [ReasonCode.CONFIRMED_EMPTY])


@pytest.mark.parametrize("text", ["", "1h", "2h=5", "1h=0", "1h=x", "1h=-1"])
def test_a_retention_is_of_the_lengths_of_the_store(text: str) -> None:
    """Nothing means the default; all else that is no count of 10m, 1h or 1d is refused."""
    if not text:
        assert retention(text)[timedelta(days=1)] == 15
        return
    with pytest.raises(UsageError, match="such as 1h=168"):
        retention(text)


def test_the_retention_of_a_prometheus_is_unknown() -> None:
    """An old empty response has no cost, until coverage compares it with a longer window."""
    empty = json_reply(b'{"code":200,"data":[{}]}')
    server = OpenCostEmulator(responder=lambda path, _: empty if path == "/allocation" else None)
    with server, OpenCost(server.url, attempts=1) as opencost:
        assert opencost.source().store == {}
        assert list(opencost.records(Batch(ALLOCATION, "c", HOUR), lambda *_: None)) == []


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_missing_provider_ids_are_reported(version: str) -> None:
    """The release 1.119.0 leaves them out, and the recorded build does not: the response decides."""
    for name in ("allocation_hour.json", "allocation_hour_agg_node.json", "allocation_hour_agg_namespace.json"):
        full = recording(version, name)
        for body, expected in (
            (full, 0),
            (re.sub(rb'"providerID":"[^"]*",?', b"", full).replace(b",}", b"}"), 1),
        ):
            checks = RecordChecks(Batch(ALLOCATION, "c", HOUR))
            for record in records([body]):
                checks(record)
            message = [sentence for sentence, _ in checks.remarks() if "provider id" in sentence]
            assert len(message) == expected, name


def test_doctor_lists_what_a_version_does_not_support() -> None:
    """Each unsupported capability, with what to use instead."""
    assert [one.name for one in Capabilities("1.119.0").unsupported()] == [
        one.name for one in CAPABILITIES if one.until is not None
    ]
    assert Capabilities().unsupported() == []
