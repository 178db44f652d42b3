"""An OpenCost behind doors: tokens, headers, certificates and proxies, through real TLS and a real forward proxy."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from opencost_kusto.emulator.http import Reply, Request
from opencost_kusto.errors import OpenCostError, ReasonCode, UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.extract.doors import Doors, doors
from opencost_kusto.extract.tls import Certificates
from tests.support.authority import Authority
from tests.support.recorded import OpenCostEmulator
from tests.support.relay import ForwardProxy, TlsFront


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where certificates are."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    """The authority of the servers and of the clients."""
    return Authority(folder)


@pytest.fixture(scope="module")
def server() -> Iterator[OpenCostEmulator]:
    """An OpenCost without a door of its own."""
    with OpenCostEmulator() as running:
        yield running


@pytest.fixture
def opencost(server: OpenCostEmulator) -> Iterator[OpenCostEmulator]:
    """The same, let in again and without the requests of other tests."""
    server.requests.clear()
    yield server
    server.fault = None


@pytest.fixture(scope="module")
def front(server: OpenCostEmulator, authority: Authority) -> Iterator[TlsFront]:
    """TLS before it, with a certificate of the private authority."""
    with TlsFront(authority.server(), port(server)) as running:
        yield running


@pytest.fixture(scope="module")
def strict(server: OpenCostEmulator, authority: Authority) -> Iterator[TlsFront]:
    """TLS that wants a client certificate of the same authority."""
    with TlsFront(authority.server("strict", clients=authority), port(server)) as running:
        yield running


def port(server: OpenCostEmulator) -> int:
    """The port of a server."""
    return int(server.url.rpartition(":")[2])


def written(path: Path, text: str) -> str:
    """A file with a secret, and the line break that editors add."""
    path.write_text(f"{text}\n")
    return str(path)


def name_of(url: str, through: Doors, **more: Any) -> str:
    """The cluster that an OpenCost says it is."""
    with OpenCost(url, doors=through, attempts=1, environment={}, **more) as opencost:
        return opencost.source().name


def refused(url: str, through: Doors, **more: Any) -> OpenCostError:
    """How a request ends."""
    with OpenCost(url, doors=through, attempts=1, environment={}, **more) as client, pytest.raises(OpenCostError) as no:
        client.source()
    return no.value


def test_a_token_is_read_again_for_each_request(
    opencost: OpenCostEmulator, front: TlsFront, authority: Authority, tmp_path: Path
) -> None:
    """When a token expires and its file has the next one, the same client is let in again."""
    valid = {"first"}
    opencost.fault = lambda one: (
        None if one.headers.get("authorization", "")[7:] in valid else Reply(401, {}, b"expired")
    )
    through = doors(token_file=written(tmp_path / "token", "first"), ca=authority.ca)
    with OpenCost(front.url, doors=through, attempts=1, environment={}) as client:
        assert client.source().name
        valid.clear()
        valid.add("second")
        with pytest.raises(OpenCostError, match=r"401: expired\. Check the secret in .*token") as expired:
            client.source()
        assert expired.value.code is ReasonCode.UNAUTHORIZED
        assert expired.value.exit_code == 3
        written(tmp_path / "token", "second")
        assert client.source().name
    assert opencost.requests[-1].headers["authorization"] == "Bearer second"


def test_headers_are_read_from_files(opencost: OpenCostEmulator, tmp_path: Path) -> None:
    """Each header has the value of its file, on every request, beside the credentials of the address."""
    header = [f"X-Scope-OrgID=@{written(tmp_path / 'tenant', 'shop')}", f"X-Api=@{written(tmp_path / 'api', 'HUSH a')}"]
    url = opencost.url.replace("http://", "http://user:word@")
    assert name_of(url, doors(header=header))
    for one in opencost.requests:
        assert (one.headers["x-scope-orgid"], one.headers["x-api"]) == ("shop", "HUSH a")
        assert one.headers["authorization"] == "Basic dXNlcjp3b3Jk"


def test_a_missing_sign_in_is_named(opencost: OpenCostEmulator) -> None:
    """Where OpenCost requires a sign-in, by status or by a redirect, the message names the options."""
    for reply, code in (
        (Reply(401), ReasonCode.UNAUTHORIZED),
        (Reply(403), ReasonCode.FORBIDDEN),
        (Reply(302, {"Location": "https://login.example/"}), ReasonCode.REDIRECTED),
    ):
        opencost.fault = lambda _, reply=reply: reply
        error = refused(opencost.url, Doors())
        assert error.code is code
        assert "Sign in with --opencost-token-file, --opencost-header or --opencost-scope" in str(error)


@pytest.mark.parametrize("status", [407, 503])
def test_a_proxy_that_refuses_is_named(opencost: OpenCostEmulator, status: int) -> None:
    """Over plain http, a response of a proxy looks like OpenCost's."""
    opencost.fault = lambda _: Reply(status)
    error = refused("http://cost.example:9003", doors(proxy=opencost.url))
    assert f"may be that of the proxy {opencost.url} that --opencost-proxy names" in str(error)


def test_a_private_authority_is_trusted_for_one_source_only(front: TlsFront, authority: Authority) -> None:
    """--opencost-ca is of its OpenCost; the environment's certificates stay those of everything else."""
    assert name_of(front.url, doors(ca=authority.ca))
    error = refused(front.url, Doors())
    assert error.code is ReasonCode.TLS
    assert "its certificate is not trusted (unable to get local issuer certificate)" in str(error)
    assert "Set --opencost-ca (or OPENCOST_KUSTO_OPENCOST_CA) to the file" in str(error)


def test_the_door_wins_over_the_environment(front: TlsFront, authority: Authority, folder: Path) -> None:
    """An option of one source overrides a variable for all hosts; errors name which it was."""
    other = Authority(folder, "Another CA").ca
    with OpenCost(front.url, doors=doors(ca=authority.ca), environment={"REQUESTS_CA_BUNDLE": other}) as client:
        assert client.source().name
    error = refused(front.url, doors(ca=other))
    assert f"Add the certificate of its CA to {other}, which --opencost-ca" in str(error)
    message = r"or add it to .*Another CA.pem, which REQUESTS_CA_BUNDLE names"
    client = OpenCost(front.url, cluster="c", environment={"REQUESTS_CA_BUNDLE": other})
    with client, pytest.raises(OpenCostError, match=message):
        client.reach()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"valid": -dt.timedelta(hours=1)}, "its certificate is not valid now (certificate has expired). Renew it"),
        ({"names": [x509.DNSName("other.example")]}, "its certificate is for another name (Hostname mismatch"),
    ],
)
def test_a_certificate_that_does_not_match_is_explained(
    server: OpenCostEmulator, authority: Authority, more: dict[str, Any], message: str
) -> None:
    """Expired, or of another host: each has its own sentence and cure."""
    with TlsFront(authority.server("odd", **more), port(server)) as odd:
        error = refused(odd.url, doors(ca=authority.ca))
    assert error.code is ReasonCode.TLS
    assert message in str(error)


def test_a_client_certificate_is_presented(strict: TlsFront, authority: Authority, folder: Path) -> None:
    """With certificate and key, in two files or in one, the server that requires them responds."""
    certificate, key = authority.issue("client")
    assert name_of(strict.url, doors(ca=authority.ca, cert=certificate, key=key))
    both = folder / "both.pem"
    both.write_bytes(Path(certificate).read_bytes() + Path(key).read_bytes())
    assert name_of(strict.url, doors(ca=authority.ca, cert=str(both)))


def test_a_missing_or_unknown_client_certificate_is_named(strict: TlsFront, authority: Authority, folder: Path) -> None:
    """A server that requires a client certificate is distinguished from one that does not accept ours."""
    error = refused(strict.url, doors(ca=authority.ca))
    assert error.code is ReasonCode.TLS
    assert error.exit_code == 3
    assert "the server wants a client certificate. Set --opencost-cert (or OPENCOST_KUSTO_OPENCOST_CERT)" in str(error)
    certificate, key = Authority(folder, "Unknown CA").issue("stranger")
    error = refused(strict.url, doors(ca=authority.ca, cert=certificate, key=key))
    assert error.code is ReasonCode.TLS
    assert f"the server does not accept the client certificate in {certificate}, which --opencost-cert" in str(error)


def test_a_server_that_hangs_up_may_want_a_client_certificate(
    server: OpenCostEmulator, authority: Authority, folder: Path
) -> None:
    """Where a server hangs up before its alert is read, the message still names the certificate as a possible cause."""
    certificate, key = Authority(folder, "Third CA").issue("third")
    with TlsFront(authority.server("rude", clients=authority), port(server), polite=False) as rude:
        assert "client certificate" in (message := str(refused(rude.url, doors(ca=authority.ca))))
        assert "--opencost-cert" in message
        assert certificate in str(refused(rude.url, doors(ca=authority.ca, cert=certificate, key=key)))
    for end in (ssl.SSLEOFError(), ConnectionResetError(), BrokenPipeError()):
        assert "If it wants a client certificate, set --opencost-cert" in Certificates().perhaps(end)
        assert "check the one in a.pem" in Certificates(client=("a.pem", "a.key")).perhaps(end)
    assert not Certificates().perhaps(ConnectionRefusedError())


def test_files_that_cannot_be_used_are_refused_before_a_request(authority: Authority, folder: Path) -> None:
    """Each file is tried at once, and named with its option and variable."""
    certificate, key = authority.issue("one")
    other, hidden = authority.issue("two")[1], authority.issue("three", password=b"HUSH")
    for more, message in (
        ({"ca": "/no/ca.pem"}, r"--opencost-ca \(or OPENCOST_KUSTO_OPENCOST_CA\) names /no/ca.pem, .*No such file"),
        ({"ca": key}, "--opencost-ca .*it holds no certificate"),
        ({"cert": "/no/c.pem"}, r"--opencost-cert \(or OPENCOST_KUSTO_OPENCOST_CERT\) names /no/c.pem, .*No such file"),
        ({"cert": certificate, "key": "/no/k"}, "--opencost-key .* names /no/k, .*No such file"),
        ({"cert": certificate, "key": other}, "is of another certificate"),
        ({"cert": hidden[0], "key": hidden[1]}, "is encrypted"),
        ({"cert": str(folder / "one.key")}, "it is no certificate in PEM"),
    ):
        with pytest.raises(UsageError, match=message):
            OpenCost("https://localhost:1", doors=doors(**more), environment={})  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["plain", "@file"])
def test_a_proxy_of_one_source_is_used(
    opencost: OpenCostEmulator, front: TlsFront, authority: Authority, tmp_path: Path, where: str
) -> None:
    """Plain and TLS requests use it, whatever NO_PROXY is; its credentials are read from a file."""
    with ForwardProxy("user:HUSH" if where == "@file" else None) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        if where == "@file":
            address = f"@{written(tmp_path / 'proxy', f'http://user:HUSH@127.0.0.1:{proxy.port}')}"
        through = doors(proxy=address, ca=authority.ca)
        assert name_of(opencost.url, replace(through, ca=None))
        assert name_of(front.url, through)
        assert proxy.seen[0].startswith(f"GET {opencost.url}/clusterInfo".encode())
        assert proxy.seen[-1].startswith(f"CONNECT localhost:{front.port}".encode())
        assert "HUSH" not in repr(through)
        if where == "@file":
            error = refused(front.url, doors(proxy=f"http://127.0.0.1:{proxy.port}", ca=authority.ca))
            assert f"through the proxy http://127.0.0.1:{proxy.port} that --opencost-proxy names" in str(error)
            assert "407" in str(error)


def test_an_inner_token_is_not_seen_by_the_proxy(
    opencost: OpenCostEmulator, front: TlsFront, authority: Authority, tmp_path: Path
) -> None:
    """Through TLS, the proxy has the host name and nothing else."""
    with ForwardProxy() as proxy:
        token = written(tmp_path / "token", "HUSH")
        through = doors(proxy=f"http://127.0.0.1:{proxy.port}", ca=authority.ca, token_file=token)
        assert name_of(front.url, through)
        assert opencost.requests[-1].headers["authorization"] == "Bearer HUSH"
        assert b"HUSH" not in b"".join(proxy.seen)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"token_file": "t", "token": lambda: "t"}, "--opencost-token-file .* or --opencost-scope .*, not both"),
        ({"key": "k"}, "--opencost-key .* needs --opencost-cert"),
        ({"header": ["Authorization=@f"], "token_file": "t"}, "exclude each other"),
        ({"header": ["X-Key=HUSH"]}, "is NAME=@FILE"),
        ({"header": ["X Key=@f"]}, "cannot set a header 'X Key'"),
        ({"header": ["Host=@f"]}, "cannot set a header 'Host'"),
        ({"header": ["X=@a", "x=@b"]}, "names x twice"),
        ({"proxy": "http://user:HUSH@proxy:3128"}, "Write the address into a file"),
        ({"proxy": "ftp://proxy"}, "does not hold the address of a proxy"),
        ({"proxy": "@/no/proxy"}, "names /no/proxy, which cannot be read: No such file"),
    ],
)
def test_doors_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    """What excludes each other, what is no header and what would show a secret is refused, without repeating it."""
    with pytest.raises(UsageError, match=message) as no:
        doors(**given)
    assert "HUSH" not in str(no.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"HUSH one\nHUSH two", "is not one line"),
        (b"HUSH\x00", "is not one line"),
        (b"HUSH" * 5000, "is not one line"),
        ("HUSH ö".encode(), "holds characters that a header cannot"),
    ],
)
def test_a_secret_that_is_none_is_refused(
    opencost: OpenCostEmulator, tmp_path: Path, text: bytes, message: str
) -> None:
    """A file with anything but one line of text is named when it is read, and its text never."""
    (tmp_path / "token").write_bytes(text)
    with OpenCost(opencost.url, doors=doors(token_file=str(tmp_path / "token"))) as client:
        with pytest.raises(UsageError, match=message) as no:
            client.source()
        assert str(tmp_path / "token") in str(no.value)
        assert "HUSH" not in str(no.value)
    assert not opencost.requests


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("http://cost.example:9003", False),
        ("https://cost.example", True),
        ("http://opencost.opencost.svc:9003", True),
        ("http://127.0.0.1:9003", True),
        ("https://user:word@cost.example", False),
    ],
)
def test_a_token_is_not_sent_in_the_clear(url: str, accepted: bool) -> None:
    """Over plain http a token stays on this machine or in this cluster; an address has one sign-in only."""
    for through in (Doors(token=lambda: "HUSH"), Doors(headers={"authorization": lambda: "Basic HUSH"})):
        if accepted:
            OpenCost(url, doors=through, environment={}).close()
            continue
        with pytest.raises(UsageError, match=r"must not carry a token|has a user name"):
            OpenCost(url, doors=through, environment={})


def test_certificates_need_https(authority: Authority) -> None:
    """What plain http would ignore is refused, and named."""
    for through, message in (
        (doors(ca=authority.ca), "--opencost-ca"),
        (Doors(cert=authority.ca), "client certificate"),
    ):
        with pytest.raises(UsageError, match=f"^http://cost.example:9003 is plain http, .*{message}.*Use https"):
            OpenCost("http://cost.example:9003", doors=through, environment={})
    tls = doors(ca=authority.ca, proxy="https://proxy.example:3128")
    OpenCost("http://cost.example:9003", doors=tls, environment={}).close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:9003", "which has no client certificate. Use https"),
        ("in-cluster://a/b", "has no sign-in, certificate or proxy. Write the address of the Service"),
    ],
)
def test_a_certificate_that_would_not_be_shown_is_refused(url: str, says: str) -> None:
    """A door that an address does not have is not passed over."""
    with pytest.raises(UsageError, match=says):
        OpenCost(url, doors=Doors(cert="/nowhere/client.crt"), environment={})


def test_another_request_is_not_signed(opencost: OpenCostEmulator) -> None:
    """A token that expires is requested each time: the callable decides, not the client."""
    tokens = iter(["one", "two", "three", "four", "five", "six"])
    seen: list[Request] = opencost.requests
    assert name_of(opencost.url, Doors(token=lambda: next(tokens)))
    assert len({one.headers["authorization"] for one in seen}) == len(seen) > 1
