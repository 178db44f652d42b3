"""The recorded OpenCost sends what a true one sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
import pytest
import requests

from opencost_kusto.emulator import CloseConnection, Reply, json_reply, text_reply
from tests.support.recorded import OpenCostEmulator
from tests.support.recordings import recording

HOUR = "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"


class Sets(msgspec.Struct):
    """A response whose sets are kept as they were sent."""

    data: list[msgspec.Raw]


@pytest.fixture
def opencost() -> Iterator[OpenCostEmulator]:
    """An emulator for OpenCost."""
    with OpenCostEmulator() as emulator:
        yield emulator


def get(emulator: OpenCostEmulator, target: str) -> requests.Response:
    """Request once, over a connection of its own."""
    with requests.Session() as session:
        return session.get(emulator.url + target, timeout=10)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (f"/allocation?window={HOUR}", "allocation_hour.json"),
        (f"/allocation?aggregate=namespace&window={HOUR}", "allocation_hour_agg_namespace.json"),
        (f"/allocation/compute?window={HOUR}&aggregate=namespace", "allocation_compute.json"),
        (f"/allocation?window={HOUR}&aggregate=pod", "allocation_hour_agg_pod.json"),
        (f"/allocation?window={HOUR}&includeIdle=true", "allocation_hour_idle.json"),
        (f"/allocation?window={HOUR}&includeIdle=true&shareIdle=true", "allocation_hour_idle_share.json"),
        ("/allocation?window=2026-11-23T00:00:00Z,2026-11-24T00:00:00Z&step=1h", "allocation_day_step1h.json"),
        (f"/assets?window={HOUR}", "assets_hour.json"),
        (f"/assets?window={HOUR}&filter=assetType:%22disk%22", "assets_filter_disk_lower.json"),
        ("/metrics", "metrics.txt"),
        ("/clusterInfo", "clusterinfo.json"),
        ("/installInfo", "installinfo.json"),
        ("/healthz", "healthz.txt"),
        ("/allocation?window=2026-10-01T00:00:00Z,2026-10-01T01:00:00Z", "allocation_before_data.json"),
        ("/assets?window=2027-01-01T00:00:00Z,2027-01-01T01:00:00Z", "assets_future.json"),
    ],
)
def test_a_response_has_the_recorded_bytes(opencost: OpenCostEmulator, target: str, name: str) -> None:
    """What was recorded for a request is what is sent, byte for byte."""
    response = get(opencost, target)
    assert response.status_code == 200
    assert response.content == recording("1.112", name)


@pytest.mark.parametrize(
    ("target", "status", "name"),
    [
        ("/allocation?window=banana", 400, "allocation_window_bad.txt"),
        ("/allocation", 400, "allocation_window_missing.txt"),
        ("/assets?window=banana", 400, "assets_window_bad.txt"),
        ("/assets", 400, "assets_window_missing.txt"),
        (f"/assets?window={HOUR}&filter=banana", 500, "assets_filter_bad.txt"),
        ("/allocation?window=2026-11-23T11:00:00Z,2026-11-23T10:00:00Z", 500, "allocation_window_reversed.json"),
        ("/assets?window=2026-11-23T10:00:00Z,2026-11-23T10:00:00Z", 500, "assets_window_empty.txt"),
        ("/nosuchpath", 404, "notfound.txt"),
        ("/cloudCost?window=x", 404, "cloudcost_disabled.txt"),
    ],
)
def test_a_refusal_has_the_recorded_bytes(opencost: OpenCostEmulator, target: str, status: int, name: str) -> None:
    """A bad request is refused with the recorded message."""
    response = get(opencost, target)
    assert (response.status_code, response.content) == (status, recording("1.112", name))


def test_every_hour_of_the_day_is_served(opencost: OpenCostEmulator) -> None:
    """The response of each hour is its set of the recorded day, and the day has 1,478 rows."""
    day = msgspec.json.decode(recording("1.112", "allocation_day_step1h.json"), type=Sets).data
    rows = 0
    for hour, expected in enumerate(day):
        last = f"2026-11-23T{hour + 1:02}" if hour < 23 else "2026-11-24T00"
        target = f"/allocation?window=2026-11-23T{hour:02}:00:00Z,{last}:00:00Z&includeIdle=false"
        [found] = msgspec.json.decode(get(opencost, target).content, type=Sets).data
        rows += len(msgspec.json.decode(found, type=dict[str, msgspec.Raw]))
        assert hour == 10 or bytes(found) == bytes(expected)
        assert get(opencost, target.replace("/allocation", "/assets")).content == recording(
            "1.112", f"assets_hours/{hour:02}.json"
        )
    assert rows == 1478


@pytest.mark.parametrize(
    "target",
    [
        "/allocation?window=1795428000,1795431600",
        f"/allocation?window={HOUR}&aggregate=cluster,node,namespace,pod,container&includeIdle=false&step=1h",
        f"/allocation?window={HOUR}&filter=namespace:%22shop%22&offset=2",
    ],
)
def test_an_equivalent_request_has_the_same_response(opencost: OpenCostEmulator, target: str) -> None:
    """Explicit defaults, epoch seconds and what a 1.112 ignores do not change the response."""
    assert get(opencost, target).content == recording("1.112", "allocation_hour.json")


def test_what_was_not_recorded_of_the_day_is_refused(opencost: OpenCostEmulator) -> None:
    """An aggregate that was not recorded is a 501, as an empty response would mean that there was no cost."""
    window = "2026-11-23T14:00:00Z,2026-11-23T15:00:00Z"
    response = get(opencost, f"/allocation?window={window}&aggregate=pod")
    assert response.status_code == 501
    assert "no recording of /allocation?aggregate=pod" in response.text


def test_large_responses_are_chunked_and_small_ones_are_not(opencost: OpenCostEmulator) -> None:
    """Bodies over 2 KiB are sent without a length, as by the true server."""
    large, small = get(opencost, f"/allocation?window={HOUR}"), get(opencost, "/clusterInfo")
    assert large.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in large.headers
    assert small.headers["Content-Length"] == str(len(small.content))


def test_only_get_is_allowed(opencost: OpenCostEmulator) -> None:
    """A POST is a 405."""
    with requests.Session() as session:
        assert session.post(opencost.url + "/allocation", timeout=10).status_code == 405


def test_a_summary_with_a_bad_window_gets_no_response(opencost: OpenCostEmulator) -> None:
    """The connection is closed without a response, as recorded."""
    with pytest.raises(requests.ConnectionError):
        get(opencost, "/allocation/summary?window=banana")


def test_a_given_response_replaces_the_recorded_one() -> None:
    """A `responder` function serves any response, and leaves the others to the recordings."""

    def responder(path: str, query: Mapping[str, str]) -> Reply | None:
        return json_reply(b'{"code":500}') if path == "/allocation" and query["window"] == HOUR else None

    with OpenCostEmulator(responder=responder) as opencost:
        assert get(opencost, f"/allocation?window={HOUR}").content == b'{"code":500}'
        assert get(opencost, f"/assets?window={HOUR}").content == recording("1.112", "assets_hour.json")


def test_a_given_response_may_break_off() -> None:
    """A body that raises CloseConnection while it is sent ends the connection."""

    def body() -> Iterator[bytes]:
        yield b'{"code":200,'
        raise CloseConnection

    with (
        OpenCostEmulator(responder=lambda _path, _query: Reply(200, {}, body())) as opencost,
        pytest.raises(requests.exceptions.ChunkedEncodingError),
    ):
        get(opencost, "/allocation")


def test_a_given_response_may_be_late() -> None:
    """A delayed response makes a client with a short timeout give up."""
    with (
        OpenCostEmulator(responder=lambda _path, _query: text_reply("late", delay=5)) as opencost,
        requests.Session() as session,
        pytest.raises(requests.ReadTimeout),
    ):
        session.get(opencost.url, timeout=0.1)


def test_requests_are_recorded(opencost: OpenCostEmulator) -> None:
    """A test can read what was requested, decoded."""
    get(opencost, f"/assets?window={HOUR}&filter=assetType%3A%22disk%22")
    [request] = opencost.requests
    assert (request.method, request.path, request.param("filter")) == ("GET", "/assets", 'assetType:"disk"')
