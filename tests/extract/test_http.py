"""What an HTTP response proves of itself, and what of the environment has a say in it."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from opencost_kusto.errors import ContentError, OpenCostError, OpenCostKustoError, ReasonCode, UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.extract.headers import retry_after
from tests.extract.test_client import batch, closed_port
from tests.support.authority import Authority
from tests.support.raw import RawServer, chunked, http, sized
from tests.support.relay import TlsFront

JSON = json.dumps({"code": 200, "data": {"id": "c1"}}).encode()
RECORDS = b'{"code":200,"data":[{"a":{"name":"a"}}]}'
METRICS = b"# TYPE a gauge\n" + b"".join(b'a{n="%d"} 1\n' % number for number in range(50))
NO_TRAILER = gzip.compress(METRICS, mtime=0)[:-8]


def request(response: bytes | Callable[[str], bytes], dataset: str = "allocation", **client: Any) -> list[bytes]:
    """The records of a response, by a client that tries once."""
    with RawServer(response) as server, OpenCost(server.url, attempts=1, timeout=20, **client) as opencost:
        return list(opencost.records(batch(dataset), lambda *_: None))


def fails(endpoint: str, environment: Mapping[str, str], **more: Any) -> OpenCostKustoError:
    """The error of a request, by a client that tries once."""
    opencost = OpenCost(endpoint, environment=environment, attempts=1, **more)
    with opencost, pytest.raises(OpenCostError) as refused:
        opencost.source()
    return refused.value


@pytest.mark.parametrize(
    "response",
    [
        sized(RECORDS),
        chunked(RECORDS),
        http(RECORDS),
        http(RECORDS, version="1.0"),
        sized(gzip.compress(RECORDS), "Content-Encoding: gzip"),
        chunked(gzip.compress(RECORDS), "Content-Encoding: gzip"),
        http(gzip.compress(RECORDS), "Content-Encoding: gzip"),
        sized(gzip.compress(RECORDS[:9]) + gzip.compress(RECORDS[9:]), "Content-Encoding: gzip"),
    ],
    ids=["length", "chunks", "close", "HTTP 1.0", "gzip", "gzip in chunks", "gzip to the end", "two members"],
)
def test_a_complete_response_is_read(response: bytes) -> None:
    """However a response is framed, its records are read; JSON delimits itself."""
    assert request(response) == [b'{"name":"a"}']


@pytest.mark.parametrize(
    ("response", "dataset"),
    [
        (sized(RECORDS)[:-1], "allocation"),
        (chunked(RECORDS, last=False), "allocation"),
        (http(RECORDS[:-1]), "allocation"),
        (http(METRICS), "metrics"),
        (http(METRICS, version="1.0"), "metrics"),
        (sized(METRICS)[:-10], "metrics"),
        (chunked(METRICS, last=False), "metrics"),
        (http(NO_TRAILER, "Content-Encoding: gzip"), "metrics"),
        (sized(NO_TRAILER, "Content-Encoding: gzip"), "metrics"),
        (chunked(NO_TRAILER, "Content-Encoding: gzip"), "metrics"),
    ],
    ids=[
        "length",
        "chunks",
        "JSON",
        "close",
        "HTTP 1.0",
        "metrics",
        "metrics in chunks",
        "no trailer",
        "trailer, length",
        "trailer, chunks",
    ],
)
def test_a_response_that_breaks_off_is_content(response: bytes, dataset: str) -> None:
    """A response without what should prove its body complete is refused as incomplete."""
    with pytest.raises(ContentError, match="broke off") as refused:
        request(response, dataset)
    assert refused.value.exit_code == 4


@pytest.mark.parametrize("end", [b"", b"# EOF\n"])
def test_a_scrape_whose_end_is_proved_is_read(end: bytes) -> None:
    """A length, chunks, compression, or a last line that says so: each of them is the end of a scrape."""
    for response in (sized(METRICS + end), chunked(METRICS + end)):
        assert len(request(response, "metrics")) == 50
    assert len(request(http(gzip.compress(METRICS + end), "Content-Encoding: gzip"), "metrics")) == 50
    if end:
        assert len(request(http(METRICS + end), "metrics")) == 50


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_does_not_decompress_is_tried_twice(encoding: str) -> None:
    """A body that does not decompress is an error of content, and requested twice, not five times."""
    with RawServer(sized(JSON, f"Content-Encoding: {encoding}")) as server, OpenCost(server.url) as opencost:
        with pytest.raises(ContentError, match="does not decompress"):
            opencost.source()
        assert len(server.requests) == 2


def test_an_encoding_that_was_not_requested_is_named() -> None:
    """Only gzip is offered; anything else is refused by its name."""
    with RawServer(sized(JSON, "Content-Encoding: br")) as server, OpenCost(server.url) as opencost:
        with pytest.raises(ContentError, match="encoded as 'br'"):
            opencost.source()
        assert b"accept-encoding: gzip\r\n" in server.requests[0].lower()


@pytest.mark.parametrize("location", ["/oauth2/start?rd=HUSH", "http://user:HUSH@other:81/oauth2/start#HUSH"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_its_target_named(status: int, location: str) -> None:
    """OpenCost never redirects; what does is not followed, and named without what may be secret."""
    answers = {"/allocation": http(b"", f"Location: {location}", "Content-Length: 0", status=status)}
    with RawServer(lambda path: answers.get(path, sized(RECORDS))) as server, OpenCost(server.url) as opencost:
        with pytest.raises(OpenCostError, match=r"redirects to http://\S+/oauth2/start:") as refused:
            list(opencost.records(batch(), lambda *_: None))
        assert len(server.requests) == 1
    assert refused.value.code is ReasonCode.REDIRECTED
    assert "HUSH" not in str(refused.value)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("-5", 0.0),
        ("inf", 120.0),
        ("nan", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_how_long_to_wait(header: str | None, seconds: float | None) -> None:
    """A number or a date of at most two minutes; what is neither says nothing."""
    assert retry_after({} if header is None else {"Retry-After": header}) == seconds


def test_a_redirect_to_no_address_is_refused() -> None:
    """What something in between sends as an address is read with care."""
    answers = {"/allocation": http(b"", "Location: http://[HUSH", "Content-Length: 0", status=302)}
    with (
        RawServer(lambda path: answers.get(path, sized(RECORDS))) as server,
        OpenCost(server.url) as opencost,
        pytest.raises(OpenCostError, match="redirects to an address that is none:") as refused,
    ):
        list(opencost.records(batch(), lambda *_: None))
    assert refused.value.code is ReasonCode.REDIRECTED
    assert "HUSH" not in str(refused.value)


@pytest.mark.parametrize("host", ["a" * 300, "..", "a..b"])
def test_a_host_that_dns_has_no_spelling_for(host: str) -> None:
    """It cannot be reached, which is no defect of this program."""
    with (
        OpenCost(f"http://{host}:9003", attempts=1) as opencost,
        pytest.raises(OpenCostError, match="cannot be reached"),
    ):
        opencost.source()


@pytest.mark.parametrize("length", ["²", "-1", "1e3", ""])
def test_a_length_that_is_no_number_proves_nothing(length: str) -> None:
    """A header that is no number is ignored: JSON proves its own end."""
    answer = http(RECORDS, f"Content-Length: {length}")
    with RawServer(lambda _: answer) as server, OpenCost(server.url) as opencost:
        assert list(opencost.records(batch(), lambda *_: None))


@pytest.mark.parametrize(
    ("status", "body", "code", "transient", "once"),
    [
        (203, RECORDS, ReasonCode.REFUSED, False, False),
        (206, RECORDS, ReasonCode.REFUSED, False, False),
        (401, b"no", ReasonCode.UNAUTHORIZED, False, False),
        (403, b"no", ReasonCode.FORBIDDEN, False, False),
        (404, b"404 page not found\n", ReasonCode.NOT_FOUND, False, False),
        (408, b"", ReasonCode.TIMED_OUT, True, True),
        (425, b"", ReasonCode.UNAVAILABLE, True, True),
        (429, b"", ReasonCode.THROTTLED, True, False),
        (503, b"", ReasonCode.UNAVAILABLE, True, False),
        (500, b'{"code":500,"message":"Error: no"}', ReasonCode.REFUSED, False, False),
        (500, b'{"code":500,"message":"query: context deadline exceeded"}', ReasonCode.TIMED_OUT, True, True),
        (500, b'{"code":500,"message":"window is past limit"}', ReasonCode.EXPIRED, False, False),
        (500, b"failed to find MetricCollector for 10m", ReasonCode.EXPIRED, False, False),
        (200, b'{"code":500,"data":null,"message":"is past limit"}', ReasonCode.EXPIRED, False, False),
        (200, b'{"code":500,"data":null,"message":"context deadline exceeded"}', ReasonCode.TIMED_OUT, True, True),
        (200, b'{"code":500,"data":null,"message":"no"}', ReasonCode.REFUSED, False, False),
    ],
)
def test_a_refusal_has_its_reason(status: int, body: bytes, code: ReasonCode, transient: bool, once: bool) -> None:
    """By status, or by OpenCost's own message where the status is not enough: the reason, and whether to retry."""
    with pytest.raises(OpenCostError) as refused:
        request(sized(body, status=status))
    error = refused.value
    assert (error.code, error.transient, error.once) == (code, transient, once)
    assert b'"data":[' not in str(error).encode()
    assert str(status) in str(error) or status == 200


def test_a_refusal_with_a_broken_body_is_still_one() -> None:
    """The status is enough, whatever is wrong with the body."""
    with pytest.raises(OpenCostError, match="with 500: nothing more"):
        request(sized(b"junk", "Content-Encoding: gzip", status=500))


def test_no_netrc_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password for this host in a .netrc is not sent."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password HUSH\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with RawServer(sized(RECORDS)) as server, OpenCost(server.url) as opencost:
        list(opencost.records(batch(), lambda *_: None))
        assert b"authorization" not in server.requests[0].lower()


def test_credentials_of_the_endpoint_are_sent() -> None:
    """What precedes the last @ is sent to the server, whatever characters it has, and is in no message."""
    with RawServer(sized(b"no", status=500)) as server:
        error = fails(f"http://user:p@ss w\u00f6rd@127.0.0.1:{server.port}", {})
        assert b"\r\nAuthorization: Basic dXNlcjpwQHNzIHfDtnJk\r\n" in server.requests[0]
    assert "ss w" not in str(error)


def test_the_time_of_the_server_is_that_of_its_last_response() -> None:
    """The Date of a response is kept in UTC, also of a refusal; one that cannot be read is left alone."""
    dates = iter(["Mon, 23 Nov 2026 10:00:00 GMT", "Mon, 23 Nov 2026 11:00:00 GMT", "soon"])
    with (
        RawServer(lambda _: sized(b"no", f"Date: {next(dates)}", status=500)) as server,
        OpenCost(server.url, attempts=1) as opencost,
    ):
        assert opencost.server_time() is None
        for hour in (10, 11, 11):
            with pytest.raises(OpenCostError):
                opencost.source()
            assert opencost.server_time() == dt.datetime(2026, 11, 23, hour, tzinfo=dt.UTC)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_loopback_is_reached_without_a_proxy(name: str) -> None:
    """A port-forward works whatever proxy the environment names."""
    assert request(sized(RECORDS), environment={name: "http://127.0.0.1:1"}) == [b'{"name":"a"}']


def test_the_environment_of_the_process_has_no_other_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """requests reads no proxy beside ours."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    with RawServer(sized(RECORDS)) as server, OpenCost(server.url, environment={}) as opencost:
        assert list(opencost.records(batch(), lambda *_: None)) == [b'{"name":"a"}']


def test_a_proxy_is_used_and_named_when_it_fails() -> None:
    """Through a proxy the request is the proxy's; where it refuses, the message says which one and who named it."""
    with RawServer(sized(RECORDS)) as proxy:
        environment = {"http_proxy": f"http://user:HUSH@127.0.0.1:{proxy.port}"}
        with OpenCost("http://cost.example:9003", environment=environment) as opencost:
            assert list(opencost.records(batch(), lambda *_: None)) == [b'{"name":"a"}']
        assert proxy.requests[0].startswith(b"GET http://cost.example:9003/allocation?")
    port = closed_port()
    environment = {"HTTP_PROXY": f"http://user:HUSH@127.0.0.1:{port}"}
    error = fails("http://cost.example:9003", environment)
    assert f"through the proxy http://127.0.0.1:{port} that HTTP_PROXY names" in str(error)
    assert "NO_PROXY" in str(error)
    assert "HUSH" not in str(error)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_certificates_that_cannot_be_read_are_refused(variable: str, tmp_path: Path) -> None:
    """A file that is missing or holds no certificate is named with the variable that names it, before a request."""
    with pytest.raises(UsageError, match=f"{variable} names /nonexistent/ca.pem, which cannot be used: No such file"):
        OpenCost("https://127.0.0.1:1", environment={variable: "/nonexistent/ca.pem"})
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(UsageError, match=r"empty.pem, which cannot be used: it holds no certificate"):
        OpenCost("https://127.0.0.1:1", environment={variable: str(tmp_path / "empty.pem")})
    OpenCost("http://127.0.0.1:1", environment={variable: "/nonexistent/ca.pem"}).close()


def test_trouble_with_tls_has_its_own_sentence(tmp_path: Path) -> None:
    """An untrusted certificate, https on an http port and http on an https port each have their advice."""
    authority = Authority(tmp_path)
    with RawServer(sized(RECORDS)) as plain, TlsFront(authority.server(), plain.port) as secure:
        with OpenCost(secure.url, environment={"REQUESTS_CA_BUNDLE": authority.ca}) as opencost:
            assert list(opencost.records(batch(), lambda *_: None)) == [b'{"name":"a"}']
        error = fails(secure.url, {})
        assert error.code is ReasonCode.TLS
        assert "its certificate is not trusted (unable to get local issuer certificate). Set --opencost-ca" in str(
            error
        )
        error = fails(secure.url.replace("https", "http"), {})
        assert "write https://" in str(error)
    with RawServer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        # The server waits for the end of a request that never comes.
        error = fails(f"https://127.0.0.1:{server.port}", {}, connect_timeout=0.3)
        assert error.code is ReasonCode.TLS
        assert "Is it http?" in str(error)
