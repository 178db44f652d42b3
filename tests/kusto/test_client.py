"""The door to the Kusto SDK: addresses, ways of signing in, and the SDK's errors as ours."""

from __future__ import annotations

import base64
import gzip
import inspect
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import azure.kusto.data.exceptions
import azure.kusto.ingest.exceptions
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError
from azure.identity import CredentialUnavailableError

from opencost_kusto.emulator import KustoEmulator, Reply, Request
from opencost_kusto.errors import KustoError, UsageError
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.kusto.sdk_errors import TRANSLATIONS, translate
from opencost_kusto.kusto.signin import METHODS, Auth

URI = "https://shop.westeurope.kusto.windows.net"
SIGNED = "https://x.blob.core.windows.net/c/b.gz?sv=2024-11-04&sp=rw&sig=abcdefSECRET%3D"
# Raised for wrong use of the SDK from Python, which no service can cause.
PROGRAMMING = {"KustoAioSyntaxError", "KustoAsyncUsageError"}


def exceptions() -> list[type[Exception]]:
    """Every exception class the SDK has."""
    modules: tuple[ModuleType, ...] = (azure.kusto.data.exceptions, azure.kusto.ingest.exceptions)
    members = (member for module in modules for _, member in inspect.getmembers(module, inspect.isclass))
    found = {member for member in members if issubclass(member, Exception) and member.__module__.startswith("azure.")}
    return sorted(found, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", exceptions(), ids=lambda kind: kind.__name__)
def test_every_exception_of_the_sdk_is_translated(kind: type[Exception]) -> None:
    """A class of the SDK, or a base of it below Exception, has a line in the table."""
    names = {cls.__name__ for cls in kind.__mro__}
    assert names & set(TRANSLATIONS) or kind.__name__ in PROGRAMMING


def test_the_table_names_nothing_that_does_not_exist() -> None:
    """A class that the SDK renamed would leave a line that never matches."""
    azure = {"ClientAuthenticationError", "CredentialUnavailableError", "AzureError"}
    assert set(TRANSLATIONS) - azure <= {kind.__name__ for kind in exceptions()}


@pytest.mark.parametrize("permanent", [True, False])
def test_an_error_of_the_service_says_itself_whether_waiting_helps(permanent: bool) -> None:
    """Kusto's own `@permanent` decides, and its own sentence is quoted."""
    said = {
        "code": "X",
        "message": "short",
        "@type": "T",
        "@message": "Table not found. More.",
        "@permanent": permanent,
    }
    error = translate(azure.kusto.data.exceptions.KustoApiError({"error": said}), URI, "asking")
    assert str(error) == f"Kusto at {URI} refused while asking: Table not found."
    assert error.transient is not permanent
    assert error.exit_code == 5


@pytest.mark.parametrize(
    "error",
    [
        azure.kusto.data.exceptions.KustoBlobError(HttpResponseError(f"PUT {SIGNED} refused")),
        azure.kusto.data.exceptions.KustoServiceError(f"failed at {SIGNED}"),
        azure.kusto.data.exceptions.KustoClientError(f"failed at {SIGNED}"),
        ServiceRequestError(f"no route to {SIGNED}"),
        HttpResponseError(f"{SIGNED} said 403"),
        ValueError(f"odd: {SIGNED}"),
        ClientAuthenticationError("client_secret=abcdefSECRET was wrong"),
        CredentialUnavailableError("Authorization: Bearer abcdefSECRET.abc"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_secrets_are_never_said(error: Exception) -> None:
    """Signatures and tokens are taken out of whatever the SDK says."""
    message = str(translate(error, URI, "uploading x"))
    assert "SECRET" not in message
    assert "uploading x" in message


@pytest.mark.parametrize("error", [ServiceRequestError("down"), HttpResponseError("busy")])
def test_a_failed_upload_says_why(error: Exception) -> None:
    """What lies inside the SDK's error of an upload is what the reader needs."""
    message = str(translate(azure.kusto.data.exceptions.KustoBlobError(error), URI, "uploading x"))
    assert str(error) in message
    assert "bound method" not in message


def test_a_failed_sign_in_says_why() -> None:
    """The credential's own words come through the SDK's wrapper."""
    inner = CredentialUnavailableError("Please run 'az login' to set up an account")
    error = azure.kusto.data.exceptions.KustoAuthenticationError("token", inner)
    assert "az login" in str(translate(error, URI, "asking"))


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
    """The stand-in does both; an address of its own may be given."""
    with Kusto("http://localhost:8080/", "OpenCost", auth="none") as kusto:
        assert kusto.uri == kusto.ingest_uri == "http://localhost:8080"
    with Kusto("http://localhost:8080", "OpenCost", auth="none", ingest_uri="http://localhost:8081") as kusto:
        assert kusto.ingest_uri == "http://localhost:8081"


NEEDED = {
    "workload-identity": ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"),
    "client-secret": ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"),
    "pipelines": (
        "AZURESUBSCRIPTION_TENANT_ID",
        "AZURESUBSCRIPTION_CLIENT_ID",
        "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
        "SYSTEM_ACCESSTOKEN",
    ),
}


@pytest.mark.parametrize("auth", NEEDED)
def test_a_way_of_signing_in_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, auth: Auth) -> None:
    """Everything missing is named at once, and only that."""
    first, *rest = NEEDED[auth]
    for name in NEEDED[auth]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(first, "11111111-1111-1111-1111-111111111111")
    with pytest.raises(UsageError) as refused:
        Kusto(URI, "OpenCost", auth=auth)
    assert str(refused.value) == f"--auth {auth} needs {', '.join(rest)} in the environment."


@pytest.mark.parametrize("auth", METHODS[:-1])
def test_a_token_is_never_sent_in_the_clear(auth: Auth) -> None:
    """Plain http and a token do not go together."""
    with pytest.raises(UsageError, match="must not carry a token"):
        Kusto("http://127.0.0.1:8080", "OpenCost", auth=auth)


def test_no_sign_in_is_for_plain_http() -> None:
    """A true cluster needs a way of signing in, and the message lists them."""
    with pytest.raises(UsageError, match=r"--auth none is for plain http.*default, cli, managed-identity"):
        Kusto(URI, "OpenCost", auth="none")


def test_every_credential_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it needs in the environment, each way of signing in is accepted without asking anyone."""
    for name in {name for names in NEEDED.values() for name in names}:
        monkeypatch.setenv(name, "11111111-1111-1111-1111-111111111111")
    for method in METHODS[:-1]:
        Kusto(URI, "OpenCost", auth=method).close()  # type: ignore[arg-type]


def test_a_query_that_hangs_ends_at_our_deadline() -> None:
    """The SDK would wait for minutes; we do not."""

    def silent(request: Request) -> Reply | None:
        return Reply(200, {}, b"{}", 20) if request.csl else None

    with KustoEmulator() as emulator:
        emulator.fault = silent
        with (
            Kusto(emulator.url, "OpenCost", auth="none", deadlines=Deadlines(query=0.5)) as kusto,
            pytest.raises(KustoError, match=r"did not finish the query print 1 … within 0.5 s"),
        ):
            kusto.query("print 1")


def test_a_wrong_query_is_quoted_and_asked_once() -> None:
    """A refusal that will not change is not tried again, and says where it came from."""
    with KustoEmulator() as emulator, Kusto(emulator.url, "OpenCost", auth="none") as kusto:
        with pytest.raises(KustoError, match="refused while the query NoSuchTable") as refused:
            kusto.query("NoSuchTable | count")
        assert not refused.value.transient
        assert len([request for request in emulator.requests if request.csl]) == 1


def options_sent(emulator: KustoEmulator) -> dict[str, object]:
    """The request options of the last query or command."""
    properties = json.loads(json.loads(emulator.requests[-1].body)["properties"])
    options: dict[str, object] = properties["Options"]
    return options


def test_what_proves_is_read_fresh() -> None:
    """A fresh query asks for strong consistency and no cached results; another query leaves both to the cluster."""
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
    said = b'{"error":{"code":"Busy","message":"busy","@message":"Busy.","@permanent":false}}'
    with KustoEmulator() as emulator:
        emulator.fault = lambda request: Reply(503, {"Content-Type": "application/json"}, said) if request.csl else None
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
