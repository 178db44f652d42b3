"""Every form of a kubeconfig signs in, and one that cannot is an error: no request is sent without a sign-in."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from opencost_kusto.errors import OpenCostError, OpenCostKustoError, ReasonCode, UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.extract.kubernetes.kubeconfig import contexts
from opencost_kusto.extract.kubernetes.kubeconfig import kubeconfig as sign_in
from opencost_kusto.extract.kubernetes.program import Program, executed
from opencost_kusto.extract.kubernetes.service_account import service_account
from tests.kube.recorder import Exchange, Replay, kubeconfig, recorded
from tests.kube.scenarios import SERVICE
from tests.support.authority import Authority
from tests.support.relay import ForwardProxy, TlsFront

HINT = "Install it from https://example.com/login."


def program(folder: Path, text: str, name: str = "login", **more: Any) -> dict[str, Any]:
    """A user whose program prints a text; it counts its runs in a file beside it."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\nopen({str(folder / 'runs')!r}, 'a').write('.')\n{text}\n")
    path.chmod(0o755)
    settings = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "interactiveMode": "Never"}
    return {"exec": settings | {"installHint": HINT} | more}


def printing(status: dict[str, Any], version: str = "v1") -> str:
    """A program that prints a credential."""
    document = {"apiVersion": f"client.authentication.k8s.io/{version}", "kind": "ExecCredential", "status": status}
    return f"print({json.dumps(document)!r})"


def sent(folder: Path, settings: dict[str, Any], **more: Any) -> set[str | None]:
    """The sign-ins of the requests that a user sends."""
    with Replay(recorded("service")) as server:
        environment = {"KUBECONFIG": str(kubeconfig(folder / "config", server.url, "me", settings))}
        with OpenCost(SERVICE, environment=environment | {"PATH": os.environ["PATH"]}, attempts=1, **more) as client:
            assert client.source().name == "aks-tests"
        return set(server.authorizations)


def failed(folder: Path, settings: dict[str, Any], **more: Any) -> OpenCostKustoError:
    """How a user's request ends, without one that was sent."""
    with Replay(recorded("service")) as server:
        environment = {"KUBECONFIG": str(kubeconfig(folder / "config", server.url, "me", settings)), "PATH": "/nowhere"}
        client = OpenCost(SERVICE, environment=environment, attempts=1, **more)
        with client, pytest.raises(OpenCostKustoError) as error:
            client.source()
        assert server.requested == []
    return error.value


def test_a_token_is_sent(tmp_path: Path) -> None:
    """The token of the user."""
    assert sent(tmp_path, {"token": "abc"}) == {"Bearer abc"}


def test_the_cluster_of_a_context_is_a_name(tmp_path: Path) -> None:
    """Where no option names the cluster its kubeconfig does, and a value that is no name is refused like any other."""
    with Replay(recorded("service")) as server:
        path = kubeconfig(tmp_path / "config", server.url)
        path.write_text(path.read_text().replace("aks-tests", "$(AKS)"))
        client = OpenCost(SERVICE, environment={"KUBECONFIG": str(path)}, attempts=1)
        with client, pytest.raises(UsageError, match=r"The cluster of the kubeconfig's context is '\$\(AKS\)'"):
            client.source()


def test_a_token_file_is_read_for_each_request(tmp_path: Path) -> None:
    """A token that was rotated is used at once; the file is beside the kubeconfig, and wins over a token."""
    (tmp_path / "token").write_text("first\n")
    with Replay(recorded("service")) as server:
        path = kubeconfig(tmp_path / "config", server.url, "me", {"tokenFile": "token", "token": "old"})
        with OpenCost(SERVICE, environment={"KUBECONFIG": str(path)}, attempts=1) as client:
            client.source()
            (tmp_path / "token").write_text("second")
            client.source()
    assert list(dict.fromkeys(server.authorizations)) == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_program_signs_in(tmp_path: Path, version: str) -> None:
    """It runs once for all requests, with the variables of the kubeconfig, and gets what it is requested."""
    text = "import json, os\nassert json.loads(os.environ['KUBERNETES_EXEC_INFO'])['kind'] == 'ExecCredential'\n"
    text += "assert os.environ['FLAVOUR'] == 'x'\n" + printing({"token": "abc"}, version)
    more: dict[str, Any] = {
        "apiVersion": f"client.authentication.k8s.io/{version}",
        "env": [{"name": "FLAVOUR", "value": "x"}],
    }
    assert sent(tmp_path, program(tmp_path, text, **more)) == {"Bearer abc"}
    assert (tmp_path / "runs").read_text() == "."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import sys; sys.exit('AADSTS700082: the refresh token has expired')", "AADSTS700082"),
        ("import sys; sys.exit(3)", "it ended with 3: no more output"),
        ("print('no JSON')", "no ExecCredential in JSON"),
        ("print('{}')", "no ExecCredential in JSON"),
        (printing({}), "neither a token nor a certificate"),
        (printing({"clientCertificateData": "x"}), "neither a token nor a certificate"),
        (printing({"token": "abc"}, "v1beta1"), "does not match"),
        (printing({"token": ["HUSH"]}), "its token is no text"),
        (printing({"token": "HUSH\nHUSH"}), "not one line"),
        ("print(5)", "no ExecCredential in JSON"),
        ("import sys; sys.stdout.buffer.write(bytes([255]))", "no ExecCredential in JSON"),
    ],
)
def test_a_program_that_fails_is_an_error(tmp_path: Path, text: str, says: str) -> None:
    """Its own message is quoted, and nothing is sent."""
    error = failed(tmp_path, program(tmp_path, text))
    assert (type(error), error.code) == (OpenCostError, ReasonCode.UNAUTHORIZED)
    assert says in str(error)
    assert "Nothing was sent" in str(error)
    assert "HUSH" not in str(error)


def test_a_program_that_hangs_is_stopped_with_what_it_has_started(tmp_path: Path) -> None:
    """Neither it nor its child runs on after the error."""
    pid = tmp_path / "pid"
    child = (
        f"import subprocess\nchild = subprocess.Popen(['sleep', '600'])\nopen({str(pid)!r}, 'w').write(str(child.pid))"
    )
    arguments = [sys.executable, "-c", f"{child}\nchild.wait()"]
    late = Program("login", lambda: executed(arguments, "v1", dict(os.environ), str(tmp_path), 5.0))
    with pytest.raises(OpenCostError, match="did not end within 5 s, and was stopped"):
        late.token()
    state = Path(f"/proc/{pid.read_text()}/stat")
    deadline = time.monotonic() + 30
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "the child of the program runs on"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"token": ""}, "the user 'me' of the kubeconfig has no token"),
        ({"auth-provider": {"name": "azure", "config": {"access-token": "HUSH"}}}, "kubelogin convert-kubeconfig"),
        ({"auth-provider": {"name": "oidc", "config": {"id-token": "HUSH"}}}, "An auth-provider is replaced"),
        ({"token": "HUSH\nHUSH"}, "a token of the kubeconfig is not one line"),
        ({"token": "HUSH ö"}, "a token of the kubeconfig holds characters"),
        ({"tokenFile": "empty"}, "a token file of the kubeconfig is empty"),
        ({"tokenFile": "lines"}, "a token file of the kubeconfig is not one line"),
        ({"tokenFile": "/"}, "The token file / of the kubeconfig cannot be read: Is a directory"),
    ],
)
def test_a_user_without_a_token_that_can_be_sent_is_an_error(
    tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    """Neither an anonymous request nor half a token is sent, and no word of a secret is printed."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "lines").write_text("HUSH\nHUSH\n")
    error = failed(tmp_path, settings)
    assert (type(error), error.code) == (OpenCostError, ReasonCode.UNAUTHORIZED)
    assert says in str(error)
    assert "HUSH" not in str(error)


@pytest.mark.parametrize(
    ("settings", "found", "put", "says"),
    [
        ({"token": "a"}, "user: me", "user: you", "has no user 'you', which its context 'tests' names"),
        ({"token": "a", "as": "root"}, "", "", "has as: impersonation is not supported"),
        ({"exec": None, "client-key-data": "HUSH"}, "", "", "Expected key exec in"),
        ({"token": "a"}, "http://", "HUSH@", "a server that is no address; write https://HOST:PORT"),
        ({"tokenFile": ["a"]}, "", "", "a part of it is of another type"),
        ({"exec": {"command": "x", "env": [{"name": "HOME"}]}}, "", "", "a key 'value' is missing"),
    ],
)
def test_a_user_of_a_kubeconfig_that_cannot_be_used(
    tmp_path: Path, settings: dict[str, Any], found: str, put: str, says: str
) -> None:
    """What is not supported as written is refused, in a message without secrets of the file."""
    path = kubeconfig(tmp_path / "config", "http://localhost:1", "me", settings)
    path.write_text(path.read_text().replace(found, put))
    with pytest.raises(UsageError) as error:
        sign_in(None, {"KUBECONFIG": str(path), "PATH": "/nowhere"})
    assert says in str(error.value)
    assert "HUSH" not in str(error.value)


@pytest.mark.parametrize("command", ["no-such-program", "./no-such-program", "kubelogin"])
def test_a_program_that_is_missing_is_an_error(tmp_path: Path, command: str) -> None:
    """The hint of the kubeconfig is in the message, and nothing is sent."""
    error = failed(tmp_path, program(tmp_path, "", command=command, args=["get-token", "--server-id", "1"]))
    assert error.code is ReasonCode.UNAUTHORIZED
    assert command in str(error)
    assert HINT.rstrip(".") in str(error)


def test_without_kubelogin_entra_signs_in(tmp_path: Path) -> None:
    """The scope is the server's, which kubelogin has among its arguments."""
    scopes: list[str] = []

    def entra(scope: str) -> Callable[[], str]:
        scopes.append(scope)
        return lambda: "of-entra"

    arguments = ["get-token", "--login", "azurecli", "--server-id", "6dae42f8", "--client-id", "80faf920"]
    settings = program(tmp_path, "", command="no-such-folder/kubelogin", args=arguments)
    assert sent(tmp_path, settings, entra=entra) == {"Bearer of-entra"}
    assert scopes == ["6dae42f8/.default"]


def test_another_kubelogin_is_no_business_of_entra(tmp_path: Path) -> None:
    """There is a second program of this name, which has no --server-id."""
    settings = program(tmp_path, "", command="kubelogin", args=["get-token", "--oidc-issuer-url", "https://x"])
    error = failed(tmp_path, settings, entra=lambda _: lambda: "of-entra")
    assert "not installed" in str(error)


def test_a_credential_is_renewed_before_it_expires() -> None:
    """The program runs again where the time of its credential has come, and not before."""
    now = datetime(2026, 11, 29, tzinfo=UTC)
    times = [now]
    runs: list[int] = []

    def run() -> dict[str, Any]:
        runs.append(1)
        return {"token": f"t{len(runs)}", "expirationTimestamp": (times[0] + timedelta(minutes=5)).isoformat()}

    one = Program("login", run, now=lambda: times[0])
    assert [one.token(), one.token()] == ["t1", "t1"]
    times[0] += timedelta(minutes=4, seconds=40)
    assert [one.token(), one.token()] == ["t2", "t2"]


def test_a_sign_in_that_is_refused_is_made_anew_once(tmp_path: Path) -> None:
    """After a 401 the program runs again; its second token is taken."""
    refusal = recorded("sign-in")[0]
    path = next(one.path for one in recorded("service") if one.path.endswith("/clusterInfo"))
    first = Exchange(path, refusal.status, refusal.type, refusal.body)
    count = f"count = len(open({str(tmp_path / 'runs')!r}).read())\n"
    text = count + printing({"token": "t"}).replace('"t"', '"t%d"')[:-1] + " % count)"
    settings = program(tmp_path, text)
    with Replay([first, *recorded("service")]) as server:
        environment = {"KUBECONFIG": str(kubeconfig(tmp_path / "config", server.url, "me", settings))}
        with OpenCost(SERVICE, environment=environment, attempts=1) as client:
            client.source()
    assert list(dict.fromkeys(server.authorizations)) == ["Bearer t1", "Bearer t2"]


def test_several_files_are_one_configuration(tmp_path: Path) -> None:
    """A context may stand in a second file; of several current contexts, that of the first file counts."""
    with Replay(recorded("service")) as server:
        second = kubeconfig(tmp_path / "second", server.url, "me", {"token": "abc"})
        first = tmp_path / "first"
        first.write_text("apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n")
        third = tmp_path / "third"
        third.write_text("current-context: another\n")
        paths = os.pathsep.join(map(str, (first, tmp_path / "missing", second, third)))
        with OpenCost("kube:///opencost/opencost:9003", environment={"KUBECONFIG": paths}, attempts=1) as client:
            assert client.source().name == "aks-tests"


@pytest.mark.parametrize(
    ("text", "context", "says"),
    [
        (None, None, "There is no kubeconfig at"),
        ("", None, "file is empty"),
        ("{", None, "cannot be read"),
        ("clusters: []\ncontexts: []\nusers: []\n", None, "no current context"),
        ("contexts: [{name: a, context: {cluster: c}}]\nclusters: []\nusers: []\n", "b", "it has 'a'"),
        ("contexts: [{name: a, context: {cluster: c}}]\nclusters: []\nusers: []\n", "a", "cannot be used"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used(tmp_path: Path, text: str | None, context: str | None, says: str) -> None:
    """What is wrong with which file, and which contexts there are."""
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=says) as error:
        sign_in(context, {"KUBECONFIG": str(path)})
    assert str(path) in str(error.value)


def test_without_the_library_the_message_names_what_to_install() -> None:
    """The extra is not installed by default."""
    code = (
        "import sys; sys.modules['kubernetes'] = None; sys.argv[1:] = ['doctor', '--endpoint', 'kube://']\n"
        "from opencost_kusto.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "pip install '.[kubernetes]' from a clone" in done.stdout + done.stderr


def test_certificates_are_those_of_the_kubeconfig(tmp_path: Path) -> None:
    """The server's is checked by its data alone, whatever the environment trusts, and the client's is shown."""
    authority, other = Authority(tmp_path, "cluster"), Authority(tmp_path, "other")
    certificate, key = authority.issue("jane")
    data = {"certificate-authority-data": base64.b64encode(Path(authority.ca).read_bytes()).decode()}
    settings = {"client-certificate": certificate, "client-key": key}
    with (
        Replay(recorded("service")) as server,
        TlsFront(authority.server(clients=authority), int(server.url.rpartition(":")[2])) as front,
    ):
        path = kubeconfig(tmp_path / "config", front.url, "jane", settings, **data)
        environment = {"KUBECONFIG": str(path), "REQUESTS_CA_BUNDLE": other.ca}
        with OpenCost(SERVICE, environment=environment, attempts=1) as client:
            assert client.source().name == "aks-tests"
        path = kubeconfig(tmp_path / "config", front.url, "jane", settings, **{"certificate-authority": other.ca})
        environment = {"KUBECONFIG": str(path), "REQUESTS_CA_BUNDLE": authority.ca}
        client = OpenCost(SERVICE, environment=environment, attempts=1)
        with client, pytest.raises(OpenCostError, match="its certificate is not trusted") as error:
            client.source()
        named = f"certificate-authority in the kubeconfig {path} (KUBECONFIG)"
        assert f"Add the certificate of its CA to {other.ca}, which {named} names" in str(error.value)
        assert error.value.code is ReasonCode.TLS
        certificate, key = Authority(tmp_path, "stranger").issue("john")
        settings = {"client-certificate": certificate, "client-key": key}
        path = kubeconfig(tmp_path / "config", front.url, "john", settings, **data)
        client = OpenCost(SERVICE, environment={"KUBECONFIG": str(path)}, attempts=1)
        with client, pytest.raises(OpenCostError, match="does not accept the client certificate") as error:
            client.source()
        named = f"client-certificate in the kubeconfig {path} (KUBECONFIG)"
        assert f"{certificate}, which {named} names" in str(error.value)


def test_a_file_of_the_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A CA without a certificate, and a key of another certificate, by file and by what names them."""
    authority = Authority(tmp_path, "cluster")
    certificate, _ = authority.issue("jane")
    _, key = authority.issue("john")
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"certificate-authority": key}, {"token": "x"}, f"certificate-authority in .* names {key}, .*no certificate"),
        (
            {"certificate-authority": authority.ca},
            {"client-certificate": certificate, "client-key": key},
            f"client-certificate in .* names {certificate}, .*is of another certificate",
        ),
    ]
    for cluster, settings, says in cases:
        path = kubeconfig(tmp_path / "config", "https://localhost:1", "me", settings, **cluster)
        client = OpenCost(SERVICE, environment={"KUBECONFIG": str(path)}, attempts=1)
        with client, pytest.raises(UsageError, match=says) as error:
            client.source()
        assert f"the kubeconfig {path} (KUBECONFIG)" in str(error.value)


def encoded(path: str) -> str:
    """The content of a file as a kubeconfig holds it."""
    return base64.b64encode(Path(path).read_bytes()).decode()


def test_content_of_the_kubeconfig_that_cannot_be_used_is_named_by_its_key(tmp_path: Path) -> None:
    """A CA, a certificate and a key that stand in the kubeconfig itself: by their key, not by a file of the library."""
    authority = Authority(tmp_path, "cluster")
    (certificate, _), (_, other) = authority.issue("jane"), authority.issue("john")
    ca, jane, john = encoded(authority.ca), encoded(certificate), encoded(other)
    pair = {"client-certificate-data": jane, "client-key-data": john}
    cases: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
        ({"certificate-authority-data": john}, {"token": "x"}, "certificate-authority-data", "it holds no certificate"),
        ({"certificate-authority-data": "ab%"}, {"token": "x"}, "certificate-authority-data", "it is not base64"),
        ({"certificate-authority-data": 5}, {"token": "x"}, "certificate-authority-data", "it is not base64"),
        ({"certificate-authority-data": ca}, pair, "client-certificate-data", "is of another certificate"),
        ({}, pair | {"client-key-data": "HUSH%"}, "client-key-data", "it is not base64"),
        ({}, pair | {"client-key-data": ca}, "client-certificate-data", "fits the key in client-key-data"),
        ({}, {"client-certificate": certificate, "client-key-data": john}, "client-certificate", "in client-key-data"),
        (
            {},
            program(tmp_path, printing({"clientCertificateData": "HUSH", "clientKeyData": "HUSH"})),
            f"a client certificate of the program {tmp_path}/login",
            "it is no certificate in PEM",
        ),
    ]
    for cluster, settings, key, why in cases:
        path = kubeconfig(tmp_path / "config", "https://localhost:1", "me", settings, **cluster)
        client = OpenCost(SERVICE, environment={"KUBECONFIG": str(path), "PATH": os.environ["PATH"]}, attempts=1)
        with client, pytest.raises(UsageError, match=why) as error:
            client.source()
        message = str(error.value)
        assert message.startswith(f"{key} in the kubeconfig {path} (KUBECONFIG) ")
        assert "HUSH" not in message
        assert tempfile.gettempdir() not in message.replace(str(tmp_path), "")


def test_content_of_the_kubeconfig_that_a_server_refuses_is_named_by_its_key(tmp_path: Path) -> None:
    """Of a CA that has not signed the server's certificate, and of a client's that the server does not know."""
    authority, other = Authority(tmp_path, "cluster"), Authority(tmp_path, "other")
    certificate, key = other.issue("john")
    john = {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}
    with (
        Replay(recorded("service")) as server,
        TlsFront(authority.server(clients=authority), int(server.url.rpartition(":")[2])) as front,
    ):
        for ca, says in (
            (other.ca, "Add the certificate of its CA to certificate-authority-data in the kubeconfig"),
            (authority.ca, "does not accept the client certificate in client-certificate-data in the kubeconfig"),
        ):
            data = {"certificate-authority-data": encoded(ca)}
            path = kubeconfig(tmp_path / "config", front.url, "john", john, **data)
            client = OpenCost(SERVICE, environment={"KUBECONFIG": str(path)}, attempts=1)
            with client, pytest.raises(OpenCostError, match=says):
                client.source()


def test_a_key_without_content_leaves_the_file(tmp_path: Path) -> None:
    """As in kubectl, the file counts where certificate-authority-data is empty."""
    authority = Authority(tmp_path, "cluster")
    named = {"certificate-authority": authority.ca, "certificate-authority-data": ""}
    with (
        Replay(recorded("service")) as server,
        TlsFront(authority.server(), int(server.url.rpartition(":")[2])) as front,
    ):
        path = kubeconfig(tmp_path / "config", front.url, "me", None, **named)
        with OpenCost(SERVICE, environment={"KUBECONFIG": str(path)}, attempts=1) as client:
            assert client.source().name == "aks-tests"


def test_a_certificate_may_have_another_name(tmp_path: Path) -> None:
    """tls-server-name is the name that the certificate has to have."""
    from cryptography import x509

    authority = Authority(tmp_path, "cluster")
    context = authority.server(names=[x509.DNSName("aks.internal")])
    named = {"certificate-authority": authority.ca, "tls-server-name": "aks.internal"}
    with (
        Replay(recorded("service")) as server,
        TlsFront(context, int(server.url.rpartition(":")[2])) as front,
    ):
        path = kubeconfig(tmp_path / "config", front.url, "me", None, **named)
        with OpenCost(SERVICE, environment={"KUBECONFIG": str(path)}, attempts=1) as client:
            assert client.source().name == "aks-tests"
        del named["tls-server-name"]
        kubeconfig(path, front.url, "me", None, **named)
        client = OpenCost(SERVICE, environment={"KUBECONFIG": str(path)}, attempts=1)
        with client, pytest.raises(OpenCostError, match="its certificate is for another name") as error:
            client.source()
    assert f"Use a name of the certificate as server or tls-server-name in the kubeconfig {path}" in str(error.value)


def test_a_certificate_is_not_checked_where_the_kubeconfig_skips_it(tmp_path: Path) -> None:
    """insecure-skip-tls-verify accepts any certificate; without it, this one is refused."""
    context = Authority(tmp_path, "cluster").server(names=[])
    with (
        Replay(recorded("service")) as server,
        TlsFront(context, int(server.url.rpartition(":")[2])) as front,
    ):
        for unchecked in (True, False):
            path = kubeconfig(tmp_path / "config", front.url, "me", None, **{"insecure-skip-tls-verify": unchecked})
            with OpenCost(SERVICE, environment={"KUBECONFIG": str(path)}, attempts=1) as client:
                if unchecked:
                    assert client.source().name == "aks-tests"
                    (_, api), _ = client.hops()
                    assert api().endswith("its certificate is not checked (insecure-skip-tls-verify)")
                    continue
                with pytest.raises(OpenCostError, match="its certificate is not trusted") as error:
                    client.source()
    assert error.value.code is ReasonCode.TLS


def test_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    """Of three files in three folders, one has the cluster and its CA, one the user, one the context."""
    folders = [tmp_path / name for name in ("of-cluster", "of-user", "of-context")]
    for folder in folders:
        folder.mkdir()
    authority = Authority(folders[0], "cluster")
    certificate, key = map(Path, authority.issue("jane"))
    for path in (certificate, key):
        path.rename(folders[1] / path.name)
    settings = {"client-certificate": certificate.name, "client-key": key.name}
    with (
        Replay(recorded("service")) as server,
        TlsFront(authority.server(clients=authority), int(server.url.rpartition(":")[2])) as front,
    ):
        relative = {"certificate-authority": Path(authority.ca).name}
        complete = yaml.safe_load(kubeconfig(tmp_path / "whole", front.url, "jane", settings, **relative).read_text())
        for folder, kept in zip(folders, ("clusters", "users", "contexts"), strict=True):
            document = complete | {name: [] for name in ("clusters", "users", "contexts") if name != kept}
            (folder / "config").write_text(yaml.safe_dump(document))
        paths = os.pathsep.join(str(folder / "config") for folder in folders)
        with OpenCost(SERVICE, environment={"KUBECONFIG": paths}, attempts=1) as client:
            assert client.source().name == "aks-tests"


def test_a_proxy_of_the_kubeconfig_is_used(tmp_path: Path) -> None:
    """proxy-url leads to the API server."""
    with Replay(recorded("service")) as server, ForwardProxy() as proxy:
        url = server.url.replace("127.0.0.1", "api.aks.example")
        path = kubeconfig(tmp_path / "config", url, "me", {}, **{"proxy-url": proxy.url})
        with OpenCost(SERVICE, environment={"KUBECONFIG": str(path)}, attempts=1) as client:
            assert client.source().name == "aks-tests"
        assert proxy.seen


def test_a_certificate_of_a_program_is_shown(tmp_path: Path) -> None:
    """A program may return a certificate and its key instead of a token."""
    authority = Authority(tmp_path, "cluster")
    certificate, key = (Path(path).read_text() for path in authority.issue("jane"))
    settings = program(tmp_path, printing({"clientCertificateData": certificate, "clientKeyData": key}))
    with (
        Replay(recorded("service")) as server,
        TlsFront(authority.server(clients=authority), int(server.url.rpartition(":")[2])) as front,
    ):
        path = kubeconfig(tmp_path / "config", front.url, "jane", settings, **{"certificate-authority": authority.ca})
        with OpenCost(SERVICE, environment={"KUBECONFIG": str(path)}, attempts=1) as client:
            assert client.source().name == "aks-tests"


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "This is not a pod"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "no token of its service account"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "tcp://10.0.0.1:443"}, "which is no port"),
    ],
)
def test_a_service_account_is_a_pods(tmp_path: Path, environment: dict[str, str], says: str) -> None:
    """Outside a pod, and in one without a token, the message says what to write."""
    with pytest.raises(UsageError, match=says):
        service_account(environment, tmp_path)


def test_a_pod_sends_no_empty_token(tmp_path: Path) -> None:
    """A token that was truncated is an error, as one that is missing."""
    (tmp_path / "token").write_text("\n")
    access = service_account({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)
    with pytest.raises(OpenCostError, match=f"the value from the token in {tmp_path}/token is empty"):
        access.doors.signed()


def test_a_list_of_contexts_needs_yaml(tmp_path: Path) -> None:
    """A kubeconfig that is no YAML is refused, and named, where its contexts are listed too."""
    config = tmp_path / "config"
    config.write_text("contexts: [one\n", encoding="utf-8")
    with pytest.raises(UsageError, match="cannot be read: while parsing"):
        contexts({"KUBECONFIG": str(config)})
