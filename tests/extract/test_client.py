"""OpenCost over real HTTP: what is requested, and the result of every other response than the expected one."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from opencost_kusto.batch import Batch, RequestOptions
from opencost_kusto.emulator import CloseConnection, Reply, json_reply, text_reply
from opencost_kusto.errors import ContentError, OpenCostError, OpenCostKustoError, ReasonCode, UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.schema.aggregate import aggregate, asset_types
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.window import Window
from tests.support.recorded import OpenCostEmulator
from tests.support.recordings import VERSIONS, recording

HOUR = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
Serve = Callable[..., tuple[OpenCost, OpenCostEmulator]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that starts an OpenCost which gives the same reply to everything, and a client of it."""
    with ExitStack() as stack:

        def start(*replies: Reply, paths: dict[str, Reply] | None = None, **client: Any) -> Any:
            """Send the replies in turn, the last one repeatedly; `paths` take precedence."""
            left = list(replies)

            def responder(path: str, _query: object) -> Reply | None:
                if paths and path in paths:
                    return paths[path]
                return (left.pop(0) if len(left) > 1 else left[0]) if left else None

            server = stack.enter_context(OpenCostEmulator(responder=responder))
            return stack.enter_context(OpenCost(server.url, **client)), server

        yield start


def batch(dataset: str = "allocation", **options: Any) -> Batch:
    """The recorded hour of a dataset."""
    return Batch(DATASETS[dataset], "aks-shop-prod-weu", HOUR, RequestOptions(**options))


def request(opencost: OpenCost, dataset: str = "allocation", **options: Any) -> list[dict[str, Any]]:
    """The records of the recorded hour."""
    return [json.loads(record) for record in opencost.records(batch(dataset, **options), lambda *_: None)]


def fails(opencost: OpenCost, dataset: str = "allocation") -> OpenCostKustoError:
    """The error of a request: one line, of bearable length."""
    with pytest.raises(OpenCostKustoError) as raised:
        request(opencost, dataset)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500
    return raised.value


def closed_port() -> int:
    """A port on which no process listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def broken_off(body: bytes, at: int) -> Iterator[bytes]:
    """A body that ends with the connection."""
    yield body[:at]
    raise CloseConnection


def dripping() -> Iterator[bytes]:
    """A body that is sent byte by byte and never ends in time."""
    for byte in b'{"code":200,"status":"success","data":[{}]}':
        time.sleep(0.1)
        yield bytes([byte])


def test_no_server_is_tried_again_and_then_an_error() -> None:
    """A refused connection is waited for, since servers start, and ends as exit code 3."""
    began = time.monotonic()
    with OpenCost(f"http://127.0.0.1:{closed_port()}", attempts=2) as opencost:
        with pytest.raises(OpenCostError, match=r"cannot be reached: .*refused.* Is it running"):
            opencost.source()
        assert time.monotonic() - began >= 0.5
        error = fails(opencost)
    assert error.transient
    assert error.exit_code == 3


def test_an_unresolvable_host_is_an_error() -> None:
    """A name without an address is named in one sentence."""
    with OpenCost("http://nobody.invalid:9003", attempts=1) as opencost:
        assert isinstance(fails(opencost), OpenCostError)


def test_a_silent_server_ends_at_the_deadline(serve: Serve) -> None:
    """A server that accepts the request and never responds takes no more than the timeout."""
    opencost, _ = serve(json_reply(b"{}", delay=30), timeout=0.3, connect_timeout=0.2)
    began = time.monotonic()
    error = fails(opencost)
    assert isinstance(error, OpenCostError)
    assert "did not respond to" in str(error)
    assert time.monotonic() - began < 3


def test_a_dripping_server_ends_at_the_total_deadline(serve: Serve) -> None:
    """The deadline is for the complete response, not for each read."""
    opencost, _ = serve(Reply(200, {"Content-Type": "application/json"}, dripping()), timeout=0.5)
    began = time.monotonic()
    assert "within 0.5 s" in str(fails(opencost))
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("at", [0, 1, 5000, 100_000])
def test_a_server_that_dies_in_its_response(serve: Serve, version: str, at: int) -> None:
    """Half a response is never accepted; the request is repeated."""
    body = recording(version, "allocation_hour.json")
    opencost, _ = serve(Reply(200, {"Content-Type": "application/json"}, broken_off(body, at)))
    error = fails(opencost)
    assert isinstance(error, ContentError)
    assert error.transient


def test_a_server_that_sends_less_than_it_stated(serve: Serve) -> None:
    """A body shorter than its Content-Length is broken off too."""
    body = recording("1.112", "assets_hour.json")
    opencost, _ = serve(Reply(200, {"Content-Length": str(len(body))}, body[:-100]))
    assert isinstance(fails(opencost, "assets"), ContentError)


def test_metrics_that_break_off(serve: Serve) -> None:
    """Half an exposition is never taken for one."""
    opencost, _ = serve(Reply(200, {}, broken_off(recording("1.112", "metrics.txt"), 5000)))
    assert isinstance(fails(opencost, "metrics"), ContentError)


REFUSALS: dict[str, tuple[Reply, type[OpenCostKustoError], str]] = {
    "404": (text_reply(recording("1.112", "notfound.txt").decode(), status=404), OpenCostError, "404 page not found"),
    "400 text+json": (
        text_reply(recording("1.112", "allocation_window_bad.txt").decode()),
        OpenCostError,
        "400: Invalid 'window' parameter: illegal window: banana",
    ),
    "500 json": (
        json_reply(recording("1.112", "down_allocation.json"), status=500),
        OpenCostError,
        "500: error computing allocations for",
    ),
    "500 json newer": (
        json_reply(recording("1.119", "down_allocation.json"), status=500),
        OpenCostError,
        "500: error computing allocations for",
    ),
    "500 text": (
        text_reply(recording("1.112", "down_assets.txt").decode(), status=500),
        OpenCostError,
        "500: Error getting assets",
    ),
    "500 empty": (Reply(500), OpenCostError, "500: nothing more"),
    "200 empty": (json_reply(b""), ContentError, "empty"),
    "200 html": (Reply(200, {"Content-Type": "text/html"}, b"<html><body>Sign in</body></html>"), ContentError, "html"),
    # Derived from the recorded 500.
    "200 code 500": (json_reply(recording("1.112", "down_allocation.json")), OpenCostError, "error computing"),
    # Derived from the recorded hour.
    "truncated": (json_reply(recording("1.112", "allocation_hour.json")[:9999]), ContentError, "broke off"),
    "nan": (
        json_reply(recording("1.112", "allocation_hour.json").replace(b'"cpuCost":', b'"cpuCost":NaN,"x":', 1)),
        ContentError,
        "not the JSON",
    ),
    "no data": (json_reply(b'{"code":200}'), ContentError, "no `data`"),
    "a record that is none": (json_reply(b'{"code":200,"data":[{"a":1}]}'), ContentError, "not an object"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_bad_responses_end_in_one_sentence(serve: Serve, case: str) -> None:
    """Every invalid response has its kind of error, and a message that quotes what arrived."""
    reply, kind, printed = REFUSALS[case]
    opencost, server = serve(reply)
    error = fails(opencost)
    assert type(error) is kind
    assert printed in str(error)
    assert not error.transient
    assert len(server.requests) == 1


def test_36_kilobytes_of_error_are_quoted_by_their_first_sentence(serve: Serve) -> None:
    """What OpenCost says when Prometheus is down fits on a screen."""
    body = recording("1.112", "down_allocation.json")
    assert len(body) > 35_000
    opencost, _ = serve(json_reply(body, status=500))
    message = str(fails(opencost))
    assert len(message) < 400
    assert "Prometheus communication" not in message


@pytest.mark.parametrize("data", ["null", "[]", "[null]", "[{}]", "{}"])
@pytest.mark.parametrize("dataset", ["allocation", "assets"])
def test_no_data_is_no_error(serve: Serve, data: str, dataset: str) -> None:
    """A window without data has no records, however the server spells that."""
    opencost, _ = serve(json_reply(b'{"code":200,"data":%s}' % data.encode()))
    assert request(opencost, dataset) == []


def test_429_waits_for_retry_after(serve: Serve) -> None:
    """Retry-After is obeyed, and the next response accepted."""
    good = json_reply(recording("1.112", "clusterinfo.json"))
    later = Reply(429, {"Retry-After": "1", "Content-Type": "text/plain"}, b"slow down")
    opencost, server = serve(later, good)
    began = time.monotonic()
    assert opencost.source().name == "aks-shop-prod-weu"
    assert 1.0 <= time.monotonic() - began < 5
    assert [request.path for request in server.requests].count("/clusterInfo") == 2


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_that_recovers_is_waited_for(serve: Serve, status: int) -> None:
    """Proxies in front of OpenCost say 502 to 504 while it restarts."""
    opencost, _ = serve(text_reply("restarting", status=status), json_reply(recording("1.119", "clusterinfo.json")))
    assert opencost.source().region == "westeurope"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 501])
def test_a_permanent_error_is_requested_once(serve: Serve, status: int) -> None:
    """An error of the server itself is the same however often it is requested."""
    opencost, server = serve(text_reply("no", status=status))
    with pytest.raises(OpenCostError, match=f"{status}"):
        opencost.source()
    assert [request.path for request in server.requests] == ["/clusterInfo"]


def test_retry_after_as_a_date_and_as_nonsense(serve: Serve) -> None:
    """A date in the past means now, and what cannot be read is left alone."""
    good = json_reply(recording("1.112", "clusterinfo.json"))
    past = Reply(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    opencost, _ = serve(past, Reply(503, {"Retry-After": "soon"}), good)
    assert opencost.source().name == "aks-shop-prod-weu"


def test_the_window_is_spelled_for_every_opencost(serve: Serve) -> None:
    """The only spelling that both versions take: UTC seconds and a Z."""
    opencost, server = serve()
    request(opencost)
    assert dict(server.requests[-1].query) == {"window": "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"}


def test_idle_options_and_aggregate_reach_the_server(serve: Serve) -> None:
    """What was requested is in the query, and what was not is not."""
    opencost, server = serve(json_reply(recording("1.112", "allocation_hour_idle_share_namespace.json")))
    request(opencost, aggregate=aggregate("namespace,label:app.kubernetes.io/name"), include_idle=True, share_idle=True)
    query = dict(server.requests[-1].query)
    query.pop("window")
    expected = {"aggregate": "namespace,label:app_kubernetes_io_name", "includeIdle": "true", "shareIdle": "true"}
    assert query == expected


def test_idle_makes_a_row(serve: Serve) -> None:
    """The recorded server has one row more when idle is requested."""
    opencost, _ = serve()
    plain, idle = request(opencost, aggregate="namespace"), request(opencost, aggregate="namespace", include_idle=True)
    assert len(plain) == 8
    assert {row["name"] for row in idle} - {row["name"] for row in plain} == {"__idle__"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("spelling", ["Disk,LoadBalancer", "disk, loadbalancer", "LOADBALANCER,DISK"])
def test_filter_types_filters(serve: Serve, version: str, spelling: str) -> None:
    """Only the types requested are returned, on every version and in any case."""
    body = recording(version, "assets_hour.json")
    opencost, _ = serve(json_reply(body))
    everything = json.loads(body)["data"].values()
    found = request(opencost, "assets", filter_types=asset_types(spelling))
    assert found == [asset for asset in everything if asset["type"] in ("Disk", "LoadBalancer")]
    assert 0 < len(found) < len(everything)
    assert len(request(opencost, "assets")) == len(everything)


@pytest.mark.parametrize("version", VERSIONS)
def test_families_about_the_process_are_left_out(serve: Serve, version: str) -> None:
    """OpenCost's own go_, process_ and promhttp_ families are read only when they are requested."""
    opencost, _ = serve(Reply(200, {"Content-Type": "text/plain"}, recording(version, "metrics.txt")))
    own = ("go_", "process_", "promhttp_")
    few, every = request(opencost, "metrics"), request(opencost, "metrics", all_metrics=True)
    assert few == [sample for sample in every if not sample["family"].startswith(own)]
    assert any(sample["family"].startswith("go_") for sample in every)


def test_a_duplicate_series_is_noted(serve: Serve) -> None:
    """Both samples are rows, and a note reports them; the same series at two times is no duplicate."""
    opencost, _ = serve(
        Reply(200, {"Content-Type": "text/plain"}, b'a{b="c",d="e"} 1\na{d="e",b="c"} 2\nf 1 1\nf 2 2\n')
    )
    notes: list[str] = []
    assert len(list(opencost.records(batch("metrics"), lambda text, *_: notes.append(text)))) == 4
    assert notes == ["1 samples are of a series that came before; each is a row of " + DATASETS["metrics"].name]


def test_samples_that_are_no_numbers_are_null_and_noted(serve: Serve) -> None:
    """A note has the number of samples that JSON cannot hold."""
    opencost, _ = serve(Reply(200, {"Content-Type": "text/plain"}, b"a NaN\nb +Inf\nc 1\n"))
    notes: list[str] = []
    values = [
        json.loads(record)["value"]
        for record in opencost.records(batch("metrics"), lambda text, *_: notes.append(text))
    ]
    assert values == [None, None, 1.0]
    assert notes == ["2 samples are NaN or infinite, and null in " + DATASETS["metrics"].name]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_source_is_named_by_the_server(serve: Serve, version: str) -> None:
    """Name, region and version are those of OpenCost."""
    info, install = recording(version, "clusterinfo.json"), recording(version, "installinfo.json")
    opencost, _ = serve(paths={"/clusterInfo": json_reply(info), "/installInfo": json_reply(install)})
    source = opencost.source()
    assert (source.name, source.region, source.reported) == ("aks-shop-prod-weu", "westeurope", "aks-shop-prod-weu")
    assert str(source.version).startswith(version)


# Derived from the recorded /clusterInfo.
NAMELESS = json_reply(b'{"code":200,"data":{"provider":"custom","region":""}}')


def test_a_nameless_cluster_is_named_by_the_user(serve: Serve) -> None:
    """--cluster stands in where OpenCost gives no name."""
    opencost, _ = serve(NAMELESS, cluster="mine")
    source = opencost.source()
    assert (source.name, source.reported, source.region) == ("mine", None, None)


@pytest.mark.parametrize("info", [NAMELESS, json_reply(b'{"code":200,"data":null}')])
def test_a_cluster_without_a_name_is_refused(serve: Serve, info: Reply) -> None:
    """Rows without a source could not be distinguished later."""
    opencost, _ = serve(info)
    with pytest.raises(UsageError, match="--cluster"):
        opencost.source()


def identified(id_: object) -> Reply:
    """A /clusterInfo with this id; derived from the recorded one."""
    return json_reply(json.dumps({"code": 200, "data": {"id": id_, "name": "Azure Cluster #1"}}).encode())


@pytest.mark.parametrize("id_", ["prod-a\n", " prod-a", "prod-a"])
def test_blanks_around_an_id_make_no_second_cluster(serve: Serve, id_: str) -> None:
    """OpenCost's own id is trimmed like every other name."""
    opencost, _ = serve(identified(id_))
    assert opencost.source().name == "prod-a"


@pytest.mark.parametrize("id_", ["\x1b[31mprod", "a\u202eb", '"prod"', "$(CLUSTER_ID)", "x" * 600, {"a": 1}, 7])
def test_an_id_that_is_no_name_is_refused(serve: Serve, id_: object) -> None:
    """An id that cannot be a name ends in one printable sentence before anything is requested or sent."""
    opencost, _ = serve(identified(id_))
    with pytest.raises((UsageError, ContentError), match="id") as refused:
        opencost.source()
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("id_", [None, ""])
def test_the_constant_name_of_a_cluster_is_not_its_id(serve: Serve, id_: object) -> None:
    """Every Azure cluster is named `Azure Cluster #1` by OpenCost, so without an id the user names it."""
    opencost, _ = serve(identified(id_))
    with pytest.raises(UsageError, match="--cluster"):
        opencost.source()


def test_something_else_on_the_port(serve: Serve) -> None:
    """A web page where OpenCost should be is named as such."""
    opencost, _ = serve(Reply(200, {"Content-Type": "text/html"}, b"<html></html>"))
    with pytest.raises(ContentError, match="did not return JSON"):
        opencost.source()


@pytest.mark.parametrize(
    "endpoint",
    [
        *("", "localhost:9003", "opencost", "ftp://host", "http://", "http://host/#HUSH", "file:///x"),
        *("http://host:9003/?a=HUSH", "http://u:HUSH@host:9003/?a=b", "http://[host", "http://host:99999"),
    ],
)
def test_an_endpoint_that_is_no_address(endpoint: str) -> None:
    """What cannot be requested is refused before anything is."""
    with pytest.raises(UsageError, match="is not the address of an OpenCost") as refused:
        OpenCost(endpoint)
    assert "HUSH" not in str(refused.value)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_timeout_of_zero_is_refused(seconds: float) -> None:
    """A timeout of zero is refused, not waited for."""
    with pytest.raises(UsageError, match="above 0"):
        OpenCost("http://127.0.0.1:9", timeout=seconds)


def test_a_path_in_the_endpoint_is_kept(serve: Serve) -> None:
    """OpenCost may live behind a prefix."""
    _, server = serve(json_reply(recording("1.112", "allocation_hour.json")))
    with OpenCost(f"{server.url}/model/") as opencost:
        assert len(request(opencost)) == 61
    assert server.requests[-1].path == "/model/allocation"


@pytest.mark.parametrize("port", ["closed", "open"])
def test_credentials_in_the_endpoint_are_never_printed(serve: Serve, port: str) -> None:
    """A password in the address reaches the server and no message."""
    _, server = serve(text_reply("no", status=500))
    number = closed_port() if port == "closed" else int(server.url.rpartition(":")[2])
    with OpenCost(f"http://user:hunter2@127.0.0.1:{number}") as opencost:
        message = str(fails(opencost))
        assert "hunter2" not in opencost.endpoint
    assert "hunter2" not in message
    if port == "open":
        assert server.requests[-1].headers["authorization"].startswith("Basic ")
    with pytest.raises(UsageError) as refused:
        OpenCost("http://user:hunter2@host:9003/?a=b")
    assert "hunter2" not in str(refused.value)


def test_a_named_server_that_does_not_respond_is_tried_for_one_document(serve: Serve) -> None:
    """A cluster of a fleet that is away is not waited for again and again before its costs are requested."""
    opencost, server = serve(text_reply("down", status=503), cluster="prod", attempts=3, timeout=60)
    assert opencost.source().version is None
    requested = [request.path for request in server.requests]
    assert (requested.count("/clusterInfo"), requested.count("/installInfo")) == (3, 1)


@pytest.mark.parametrize(
    ("body", "kind", "printed"),
    [
        ('{"code":200,"data":"not ready"}', ContentError, "another shape.*data"),
        ('{"code":200,"data":[]}', ContentError, "another shape"),
        ('{"code":200,"data":{"id":"c1","region":7}}', ContentError, "another shape.*region"),
        ('["c1"]', ContentError, "another shape"),
        ('{"data":' + "[" * 100_000, ContentError, "another shape|did not return JSON"),
        ('{"code":500,"data":null,"message":"Error: no cluster"}', OpenCostError, "code 500: no cluster"),
        ('{"code":', ContentError, "did not return JSON"),
        ("[" * 100_000, ContentError, "another shape"),
    ],
)
def test_a_cluster_info_of_another_shape(serve: Serve, body: str, kind: type[OpenCostKustoError], printed: str) -> None:
    """What /clusterInfo says is read with types; anything else ends in one sentence."""
    opencost, _ = serve(json_reply(body.encode()))
    with pytest.raises(kind, match=printed):
        opencost.source()


@pytest.mark.parametrize("body", ['"x"', '{"version":7}', "[]", "no", '{"version":""}'])
def test_a_version_that_cannot_be_read_is_none(serve: Serve, body: str) -> None:
    """No run fails for want of OpenCost's version."""
    info = json_reply(b'{"code":200,"data":{"id":"c1"}}')
    opencost, _ = serve(paths={"/clusterInfo": info, "/installInfo": json_reply(body.encode())})
    assert opencost.source().version is None


@pytest.mark.parametrize("dataset", ["allocation", "assets"])
def test_the_response_to_another_request_is_refused(serve: Serve, dataset: str) -> None:
    """Records that say another window than the one requested end the batch, whatever they cost."""
    body = recording("1.112", f"{dataset}_hour.json").replace(b"2026-11-23T1", b"2026-11-22T1")
    opencost, _ = serve(json_reply(body))
    error = fails(opencost, dataset)
    assert (type(error), error.code) == (ContentError, ReasonCode.OTHER_WINDOW)
    assert "2026-11-22T10:00:00Z,2026-11-22T11:00:00Z instead of 2026-11-23T10:00:00Z" in str(error)


def test_records_without_a_window_are_noted(serve: Serve) -> None:
    """Derived from the recorded hour: where OpenCost does not give the window, a note has the number of records."""
    body = recording("1.112", "allocation_hour.json")
    printed = b'"window":{"start":"2026-11-23T10:00:00Z","end":"2026-11-23T11:00:00Z"}'
    opencost, _ = serve(json_reply(body.replace(printed, b'"window":"null"', 3)))
    notes: list[str] = []
    assert len(list(opencost.records(batch(), lambda text, *_: notes.append(text)))) == 61
    assert notes == ["3 of 61 records do not say which window they are of"]


def test_what_is_implausible_lands_with_its_reason_code(serve: Serve) -> None:
    """Derived from the recorded hour: where every workload begins late, the note says why that may be."""
    body = recording("1.112", "allocation_hour.json")
    late = re.sub(rb'("start":"2026-11-23T10:)0[0-4](:00Z","end":"[^"]*","minutes")', rb"\g<1>05\2", body)
    opencost, _ = serve(json_reply(late))
    notes: list[tuple[str, ReasonCode | None]] = []
    assert len(list(opencost.records(batch(), lambda text, code=None: notes.append((text, code))))) == 61
    assert [code for _, code in notes] == [ReasonCode.LATE_START]
    assert "workloads begin 5 minutes or more after the window" in notes[0][0]
