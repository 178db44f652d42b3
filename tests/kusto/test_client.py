"""The client: addresses, what is sent with each statement, deadlines, and the first query of a run."""

from __future__ import annotations

import base64
import gzip
import inspect
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import requests
from azure.kusto.data import KustoClient
from azure.kusto.data.exceptions import KustoClientInvalidConnectionStringException
from azure.kusto.data.kusto_trusted_endpoints import MatchRule, well_known_kusto_endpoints
from azure.kusto.ingest.ingestion_blob_info import IngestionBlobInfo
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from opencost_kusto.emulator import KustoEmulator, Reply, Request
from opencost_kusto.errors import KustoError, ReasonCode, UsageError
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.kusto.network import cause
from opencost_kusto.version import __version__

URI = "https://shop.westeurope.kusto.windows.net"


@pytest.mark.parametrize(
    "uri",
    [
        *("", "shop", "shop.kusto.windows.net", "ftp://x", "https://", "https://u:p@x.kusto.windows.net"),
        *(f"{URI}/?a=HUSH", f"{URI}/#HUSH", f"{URI};Fed=True;AppKey=HUSH", f"Data Source={URI};AppKey=HUSH"),
        *(
            f"{URI}/HUSH",
            "https://shop.kusto.windows.net:HUSH",
            "https://[HUSH",
            "https://shop.kusto.windows.net:99999",
        ),
        "https://shop .kusto.windows.net",
    ],
)
def test_uris_that_are_refused(uri: str) -> None:
    """What is no address of a cluster is refused before anything is sent, without repeating a password."""
    with pytest.raises(UsageError) as refused:
        Kusto(uri, "OpenCost", auth="cli")
    assert "u:p@" not in str(refused.value)
    assert "HUSH" not in str(refused.value)


@pytest.mark.parametrize("database", ["", "a'b", 'a"b', "x;y", "a\nb", "a/b"])
def test_databases_that_are_refused(database: str) -> None:
    """A database's name cannot carry anything into a command."""
    with pytest.raises(UsageError, match=r"is not the name of a Kusto database|--database .* is "):
        Kusto("http://127.0.0.1:1", database, auth="none")


@pytest.mark.parametrize(
    ("uri", "engine", "ingest"),
    [
        (URI, URI, "https://ingest-shop.westeurope.kusto.windows.net"),
        (f" {URI}/ ", URI, "https://ingest-shop.westeurope.kusto.windows.net"),
        ("https://ingest-shop.z1.example.com", "https://shop.z1.example.com", "https://ingest-shop.z1.example.com"),
        (
            "https://trd-abc.z1.kusto.fabric.microsoft.com",
            "https://trd-abc.z1.kusto.fabric.microsoft.com",
            "https://ingest-trd-abc.z1.kusto.fabric.microsoft.com",
        ),
    ],
)
def test_the_ingestion_address_follows_from_the_engine(uri: str, engine: str, ingest: str) -> None:
    """Either address of a cluster gives both."""
    with Kusto(uri, "OpenCost", auth="cli") as kusto:
        assert (kusto.uri, kusto.ingest_uri) == (engine, ingest)


def test_plain_http_is_one_server() -> None:
    """The emulator does both; an address of its own may be given."""
    with Kusto("http://localhost:8080/", "OpenCost", auth="none") as kusto:
        assert kusto.uri == kusto.ingest_uri == "http://localhost:8080"
    with Kusto("http://localhost:8080", "OpenCost", auth="none", ingest_uri="http://localhost:8081") as kusto:
        assert kusto.ingest_uri == "http://localhost:8081"


def test_a_query_that_hangs_ends_at_our_deadline() -> None:
    """The SDK would wait for minutes; we do not."""

    def silent(request: Request) -> Reply | None:
        return Reply(200, {}, b"{}", 20) if request.csl else None

    with KustoEmulator() as emulator:
        emulator.fault = silent
        with (
            Kusto(emulator.url, "OpenCost", auth="none", deadlines=Deadlines(query=0.5)) as kusto,
            pytest.raises(KustoError, match=r"The query print 1 … did not end within 0.5 s at .*Check firewall"),
        ):
            kusto.query("print 1")


def test_a_wrong_query_is_quoted_and_sent_once() -> None:
    """A permanent refusal is not tried again, and names its endpoint."""
    with KustoEmulator() as emulator, Kusto(emulator.url, "OpenCost", auth="none") as kusto:
        with pytest.raises(KustoError, match="refused the query NoSuchTable") as refused:
            kusto.query("NoSuchTable | count")
        assert not refused.value.transient
        assert len([request for request in emulator.requests if request.csl]) == 1


def options_sent(emulator: KustoEmulator) -> dict[str, object]:
    """The request options of the last query or command."""
    properties = json.loads(json.loads(emulator.requests[-1].body)["properties"])
    options: dict[str, object] = properties["Options"]
    return options


def test_what_proves_is_read_fresh() -> None:
    """A fresh query requests strong consistency and no cached results; another query leaves both to the cluster."""
    with KustoEmulator() as emulator, Kusto(emulator.url, "OpenCost", auth="none") as kusto:
        kusto.query("print 1", fresh=True)
        sent = options_sent(emulator)
        assert (sent["queryconsistency"], sent["query_results_cache_max_age"]) == ("strongconsistency", "0:00:00")
        kusto.query("print 1")
        assert not {"queryconsistency", "query_results_cache_max_age"} & options_sent(emulator).keys()


def test_the_time_is_the_database_s() -> None:
    """`now` is a time with a zone, read from the database."""
    with KustoEmulator() as emulator, Kusto(emulator.url, "OpenCost", auth="none") as kusto:
        before = datetime.now(UTC) - timedelta(seconds=1)
        assert before < kusto.now() < datetime.now(UTC) + timedelta(seconds=1)


@pytest.mark.parametrize(("retry", "sent"), [(True, 4), (False, 1)])
def test_a_command_that_must_not_run_twice_is_sent_once(retry: bool, sent: int) -> None:
    """A transient error is retried, unless the caller says that the command must not run twice."""
    message = b'{"error":{"code":"Busy","message":"busy","@message":"Busy.","@permanent":false}}'
    with KustoEmulator() as emulator:
        emulator.fault = lambda request: (
            Reply(503, {"Content-Type": "application/json"}, message) if request.csl else None
        )
        with Kusto(emulator.url, "OpenCost", auth="none") as kusto, pytest.raises(KustoError):
            kusto.command(".show tables", retry=retry)
        assert len([request for request in emulator.requests if request.csl]) == sent


@pytest.mark.parametrize("tag", ["T/a", None])
def test_a_blob_is_queued_with_its_tag_or_with_none(tag: str | None, tmp_path: Path) -> None:
    """A tag is sent as an ingest-by tag that is not ingested twice; without one the message has no tags."""
    path = tmp_path / "rows.json.gz"
    path.write_bytes(gzip.compress(b'{"A": 1}\n'))
    with KustoEmulator() as emulator, Kusto(emulator.url, "OpenCost", auth="none") as kusto:
        emulator.pause()
        uploaded = kusto.upload(path, name="rows.multijson.gz", table="T", raw_bytes=9)
        kusto.enqueue(uploaded, table="T", mapping="m", tag=tag)
        [posted] = [one for one in emulator.requests if one.method == "POST" and one.path.endswith("/messages")]
        text = ElementTree.fromstring(posted.body).findtext("MessageText") or ""
        sent = json.loads(base64.b64decode(text))["AdditionalProperties"]
        if tag is None:
            assert not {"tags", "ingestIfNotExists"} & sent.keys()
        else:
            assert json.loads(sent["tags"]) == ["ingest-by:T/a"]
            assert json.loads(sent["ingestIfNotExists"]) == ["T/a"]


def test_every_statement_names_the_program_and_its_request() -> None:
    """An administrator sees the program in `.show queries`, and Microsoft finds the request by its id.

    https://learn.microsoft.com/kusto/api/rest/request#request-headers
    """
    with KustoEmulator() as emulator, Kusto(emulator.url, "OpenCost", auth="none") as kusto:
        kusto.query("print 1")
        kusto.command(".show tables")
        ids = set()
        for request in emulator.requests:
            assert request.headers["x-ms-app"] == f"opencost-kusto/{__version__}"
            assert json.loads(json.loads(request.body)["properties"])["Options"]["request_app_name"].startswith(
                "opencost"
            )
            program, _, uuid = request.headers["x-ms-client-request-id"].partition(";")
            assert (program, len(uuid)) == ("opencost-kusto", 36)
            ids.add(uuid)
        assert len(ids) == 2


def test_the_service_ends_a_query_when_we_do() -> None:
    """`servertimeout` is our deadline: otherwise a query would continue in the service after the client gave up."""
    with KustoEmulator() as emulator:
        with Kusto(emulator.url, "OpenCost", auth="none", deadlines=Deadlines(query=7)) as kusto:
            kusto.query("print 1")
        assert options_sent(emulator)["servertimeout"] == "0:00:07"


def test_an_error_quotes_a_statement_up_to_its_first_value() -> None:
    """A hundred batch ids of a query are no help in a sentence."""
    with KustoEmulator() as emulator, Kusto(emulator.url, "OpenCost", auth="none") as kusto:
        with pytest.raises(KustoError, match=r"the query NoSuchTable \| where BatchId in …: ") as refused:
            kusto.query('NoSuchTable | where BatchId in ("HUSH", "HUSH")')
        assert "HUSH" not in str(refused.value)


def test_fabric_gets_no_consistency_property() -> None:
    """The property is of Azure Data Explorer only: https://learn.microsoft.com/kusto/api/rest/request-properties."""
    with Kusto("https://trd-a.z1.kusto.fabric.microsoft.com", "OpenCost", auth="cli") as fabric:
        assert "queryconsistency" not in fabric.fresh_options()
        assert "query_results_cache_max_age" in fabric.fresh_options()
    with Kusto(URI, "OpenCost", auth="cli") as cluster:
        assert cluster.fresh_options()["queryconsistency"] == "strongconsistency"


def refused_check(uri: str, **more: Any) -> KustoError:
    """The error of an address in the first query of a run."""
    with Kusto(uri, "OpenCost", deadlines=Deadlines(check=20, query=20), **more) as kusto:
        with pytest.raises(KustoError) as refused:
            kusto.check()
        return refused.value


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_refused_connection_is_named() -> None:
    """Nothing listens there; the SDK says no more than that the network failed."""
    error = refused_check(f"http://127.0.0.1:{closed_port()}", auth="none")
    assert (error.code, error.transient) == (ReasonCode.UNREACHABLE, True)
    assert "cannot be reached: connection refused." in str(error)
    assert "The cluster may be stopped" in str(error)


def test_a_name_without_an_address_is_named() -> None:
    """A host that DNS does not have; `.invalid` never resolves (RFC 2606)."""
    error = refused_check("http://shop.kusto.invalid", auth="none")
    assert error.code is ReasonCode.UNREACHABLE
    assert "cannot be reached: the name of the host does not resolve (DNS)" in str(error)


class NotFound(BaseHTTPRequestHandler):
    """Responds with 404, which to the SDK is a cluster of the public cloud."""

    def do_GET(self) -> None:
        """Respond."""
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server on https with an untrusted certificate, which responds with 404 to everything; and that certificate."""
    path = certificate(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), NotFound)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}", path
    server.shutdown()
    server.server_close()


def certificate(folder: Path) -> Path:
    """A file with a key and a self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*form) + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_an_unknown_certificate_is_named_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, tls: tuple[str, Path]
) -> None:
    """Waiting does not mend a certificate; the sentence has the variable that does."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    error = refused_check(tls[0], auth="cli")
    assert (error.code, error.transient) == (ReasonCode.UNREACHABLE, False)
    assert "cannot be reached: certificate verify failed: self-signed certificate." in str(error)
    assert "REQUESTS_CA_BUNDLE" in str(error)


def test_a_port_that_does_not_speak_tls_is_not_a_matter_of_certificates() -> None:
    """Plain http behind an https address is named, and no bundle of authorities would help."""
    with KustoEmulator() as emulator:
        error = refused_check(emulator.url.replace("http://", "https://"), auth="cli")
    assert (error.code, error.transient) == (ReasonCode.UNREACHABLE, False)
    assert "TLS failed: WRONG_VERSION_NUMBER. Check that this port speaks https" in str(error)


def test_a_handshake_that_ends_early_may_pass() -> None:
    """A connection that a load balancer closes is worth another attempt, and no matter of certificates."""
    ended = requests.exceptions.SSLError(ssl.SSLEOFError(8, "EOF occurred in violation of protocol"))
    found = cause(ended, "https://shop.westeurope.kusto.windows.net")
    assert found is not None
    assert (found.reason, found.transient) == ("the connection was closed", True)


def test_a_proxy_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy is used, and named when it does not connect, without its password."""
    proxy = f"127.0.0.1:{closed_port()}"
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:HUSH@{proxy}")
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    error = refused_check("https://shop.westeurope.kusto.windows.net", auth="cli")
    assert error.code is ReasonCode.UNREACHABLE
    message = f"cannot be reached: the proxy http://{proxy} that HTTPS_PROXY names does not connect. Check the proxy"
    assert message in str(error)
    assert "HUSH" not in str(error)


def test_no_proxy_leads_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator or a tunnel on loopback, and its storage, are reached directly, as OpenCost is."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with KustoEmulator() as emulator, Kusto(emulator.url, emulator.database, auth="none") as kusto:
        kusto.check()
        kusto.storage.ready(30)


def test_a_machine_without_azure_cli_gets_one_sentence(monkeypatch: pytest.MonkeyPatch, tls: tuple[str, Path]) -> None:
    """Signing in fails before anything is requested, with the credential's reason and what to install."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls[1]))
    monkeypatch.setenv("PATH", "")
    error = refused_check(tls[0], auth="cli")
    assert (error.code, error.transient) == (ReasonCode.UNAUTHORIZED, False)
    assert str(error) == (
        f"Signing in to {tls[0]} failed: Azure CLI not found on path. Install Azure CLI and run az login, or choose "
        f"another --auth. {str(error)[str(error).rindex('(') :]}"
    )


def test_the_check_signs_in_and_reads() -> None:
    """A database that can be used passes with one query."""
    with KustoEmulator() as emulator, Kusto(emulator.url, "OpenCost", auth="none") as kusto:
        kusto.check()
        assert [request.csl for request in emulator.requests] == ["print Ready = 1"]


def test_a_missing_database_is_named() -> None:
    """The check finds a wrong name of the database before OpenCost is requested."""
    with KustoEmulator() as emulator:
        with Kusto(emulator.url, "Nowhere", auth="none") as kusto, pytest.raises(KustoError, match="Nowhere"):
            kusto.check()
        assert len(emulator.requests) == 1


def test_the_log_of_azure_is_silent_unless_a_program_sets_logging_up() -> None:
    """azure-identity logs its list of credentials as a warning; Python would print it on stderr."""
    text = "import logging, opencost_kusto.kusto.endpoint; {}logging.getLogger('azure.identity').warning('list of 14')"
    for setup, message in (("", False), ("logging.basicConfig(); ", True)):
        done = subprocess.run([sys.executable, "-c", text.format(setup)], capture_output=True, text=True, check=True)
        assert ("list of 14" in done.stderr) is message


@pytest.mark.parametrize(
    ("host", "trusted"),
    [("kusto.example.com", True), ("a.kusto.example.com", False), ("b.example.org", True), ("example.net", False)],
)
def test_a_host_that_the_user_trusts_may_get_a_token(host: str, trusted: bool) -> None:
    """`*.example.org` is every host below it; `kusto.example.com` is that host alone."""
    with Kusto(
        f"https://{host}", "OpenCost", auth="cli", trusted_hosts=["kusto.example.com", "*.example.org"]
    ) as kusto:
        kusto.connect()
    validate = partial(well_known_kusto_endpoints.validate_trusted_endpoint, f"https://{host}", "https://login.x")
    if trusted:
        validate()
    else:
        with pytest.raises(KustoClientInvalidConnectionStringException):
            validate()


def test_the_private_parts_of_the_sdk_exist() -> None:
    """The parts of the SDK without a public promise are those we use, so that a new release fails here first."""
    client: Any = KustoClient("https://shop.kusto.windows.net")
    assert isinstance(client._session, requests.Session)
    parameters = list(inspect.signature(IngestionBlobInfo.__init__).parameters)
    assert parameters[1:] == [
        "blob_descriptor",
        "ingestion_properties",
        "auth_context",
        "application_for_tracing",
        "client_version_for_tracing",
    ]
    assert list(inspect.signature(MatchRule.__init__).parameters)[1:] == ["suffix", "exact"]
    assert list(inspect.signature(well_known_kusto_endpoints.add_trusted_hosts).parameters) == ["rules", "replace"]
