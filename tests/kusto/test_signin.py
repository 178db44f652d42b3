"""The ways of signing in: what each needs, one token for both endpoints, and the authority of national clouds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from azure.core.exceptions import ClientAuthenticationError

from opencost_kusto.errors import UsageError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.kusto.signin import _CREDENTIALS, ADVICE, METHODS, Auth, Credential, connection
from tests.support.azure_cli import TOKEN, signed_in

URI = "https://shop.westeurope.kusto.windows.net"

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
def test_a_way_of_signing_in_lists_what_is_missing(monkeypatch: pytest.MonkeyPatch, auth: Auth) -> None:
    """Everything missing is named at once, and nothing else."""
    first, *rest = NEEDED[auth]
    for name in NEEDED[auth]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(first, "11111111-1111-1111-1111-111111111111")
    with pytest.raises(UsageError) as refused:
        Kusto(URI, "OpenCost", auth=auth)
    assert str(refused.value) == f"--auth {auth} needs {', '.join(rest)} in the environment."


@pytest.mark.parametrize("auth", [method for method in METHODS if method != "none"])
def test_a_token_is_never_sent_in_the_clear(auth: Auth) -> None:
    """Plain http and a token do not go together."""
    with pytest.raises(UsageError, match="must not carry a token"):
        Kusto("http://127.0.0.1:8080", "OpenCost", auth=auth)


def test_no_sign_in_is_for_plain_http() -> None:
    """A true cluster needs a way of signing in, and the message lists them."""
    with pytest.raises(UsageError, match=r"--auth none is for plain http.*default, cli, managed-identity"):
        Kusto(URI, "OpenCost", auth="none")


def test_every_credential_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it needs in the environment, each way of signing in is accepted without a request."""
    for name in {name for names in NEEDED.values() for name in names}:
        monkeypatch.setenv(name, "11111111-1111-1111-1111-111111111111")
    for method in METHODS[:-1]:
        Kusto(URI, "OpenCost", auth=method).close()  # type: ignore[arg-type]


def test_every_way_of_signing_in_has_advice_for_its_failure() -> None:
    """No method fails without saying what to do."""
    assert ADVICE.keys() == set(METHODS)
    assert _CREDENTIALS.keys() == set(METHODS) - {"none"}


@pytest.mark.parametrize(
    ("auth", "variable"),
    [
        ("client-secret", "AZURE_TENANT_ID"),
        ("workload-identity", "AZURE_TENANT_ID"),
        ("pipelines", "AZURESUBSCRIPTION_TENANT_ID"),
        ("interactive", "AZURE_TENANT_ID"),
        ("device-code", "AZURE_TENANT_ID"),
    ],
)
def test_a_malformed_tenant_names_its_variable(monkeypatch: pytest.MonkeyPatch, auth: Auth, variable: str) -> None:
    """azure-identity raises ValueError, which would be a traceback."""
    for name in {name for names in NEEDED.values() for name in names}:
        monkeypatch.setenv(name, "11111111-1111-1111-1111-111111111111")
    monkeypatch.setenv(variable, "not a tenant!")
    with pytest.raises(UsageError, match=f"--auth {auth} cannot use {variable}, 'not a tenant!': ") as refused:
        Kusto(URI, "OpenCost", auth=auth)
    assert "Traceback" not in str(refused.value)


class Token(NamedTuple):
    """A token as azure-identity gives it."""

    token: str
    expires_on: float


class Counted:
    """A credential that counts its requests."""

    def __init__(self) -> None:
        self.requested = 0
        self.closed = False

    def get_token(self, *_: str, **__: Any) -> Token:
        """The next token."""
        self.requested += 1
        return Token(f"token {self.requested}", 1000.0 * self.requested)

    def close(self) -> None:
        """End it."""
        self.closed = True


def test_a_token_is_kept_until_shortly_before_it_expires() -> None:
    """Azure CLI would be started at every request; one token serves until five minutes before its end."""
    now, inner = [0.0], Counted()
    credential = Credential("cli", clock=lambda: now[0], make=lambda _, **__: inner)
    assert [credential.get_token("scope").token for _ in range(3)] == ["token 1"] * 3
    now[0] = 650.0
    assert credential.get_token("scope").token == "token 1"
    now[0] = 701.0
    assert credential.get_token("scope").token == "token 2"
    assert credential.get_token("other scope").token == "token 3"
    assert credential.provider == "Counted"
    credential.close()
    assert inner.closed


def test_the_member_of_the_chain_that_signed_in_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain of azure-identity, in which Azure CLI is the first that is signed in."""
    for name, value in signed_in(tmp_path).items():
        monkeypatch.setenv(name, value)
    credential = Credential("default")
    assert credential.provider == ""
    assert [credential.get_token("https://x.kusto.windows.net/.default").token for _ in range(2)] == [TOKEN] * 2
    assert credential.provider == "AzureCliCredential"
    credential.close()


def test_a_chain_without_anybody_names_its_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own message names them below its first sentence, which is all that an error shows."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "dev")
    with pytest.raises(ClientAuthenticationError) as refused:
        Credential("default").get_token("https://x.kusto.windows.net/.default")
    assert re.fullmatch(r"none of its credentials is signed in \(.*AzureCliCredential.*\)\.", str(refused.value))


def test_the_member_that_ended_the_chain_has_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod whose token is not mounted: the credential that is set up is named, with its reason."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential")
    monkeypatch.setenv("AZURE_TENANT_ID", "11111111-1111-1111-1111-111111111111")
    monkeypatch.setenv("AZURE_CLIENT_ID", "11111111-1111-1111-1111-111111111111")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "missing"))
    with pytest.raises(ClientAuthenticationError, match=r"^WorkloadIdentityCredential: .*No such file or directory"):
        Credential("default").get_token("https://x.kusto.windows.net/.default")


def test_both_endpoints_share_one_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser opens once: the SDK gets the same credential for the engine and for ingestion."""
    made: list[dict[str, Any]] = []

    def make(_: Auth, **more: Any) -> Counted:
        made.append(more)
        return Counted()

    monkeypatch.delenv("AZURE_AUTHORITY_HOST", raising=False)
    credential = Credential("cli", make=make)
    builders = [connection(uri, credential) for uri in (URI, URI.replace("://", "://ingest-"))]
    for builder in builders:
        assert builder.azure_credential_from_login_endpoint("https://login.microsoftonline.com") is credential
    assert made == [{}]


@pytest.mark.parametrize(("variable", "made"), [(None, 2), ("https://login.example.com", 1)])
def test_the_authority_of_a_national_cloud_is_the_cluster_s(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, made: int
) -> None:
    """The cluster names its login endpoint; AZURE_AUTHORITY_HOST, when it is set, is stronger.

    https://learn.microsoft.com/python/api/azure-identity/azure.identity.azureauthorityhosts
    """
    monkeypatch.delenv("AZURE_AUTHORITY_HOST", raising=False)
    if variable:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", variable)
    requested: list[dict[str, Any]] = []

    def make(_: Auth, **more: Any) -> Counted:
        requested.append(more)
        return Counted()

    credential = Credential("client-secret", make=make)
    for _ in range(2):
        assert credential.at("https://login.microsoftonline.us") is credential
    assert requested == [{}, {"authority": "https://login.microsoftonline.us"}][:made]
