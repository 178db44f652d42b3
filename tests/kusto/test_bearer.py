"""Tokens for an OpenCost behind Microsoft Entra: azure-identity itself, and a token service behind real TLS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from opencost_kusto.emulator.http import Endpoint, Reply, Request
from opencost_kusto.errors import OpenCostError, ReasonCode, UsageError
from opencost_kusto.kusto.bearer import Bearer, bearer
from opencost_kusto.kusto.signin import Credential
from tests.support.authority import Authority
from tests.support.relay import TlsFront

TENANT = "11111111-1111-1111-1111-111111111111"
SCOPE = "api://opencost/.default"


class Entra(Endpoint):
    """Microsoft Entra's two routes for a client with a secret; `refusal` is the status and body of a refusal."""

    address = ""
    refusal: tuple[int, dict[str, Any]] | None = None
    issued = 0

    def respond(self, request: Request) -> Reply:
        """The routes of a tenant, or a token."""
        if request.path.endswith("/openid-configuration"):
            base = f"{self.address}/{TENANT}"
            routes = {"authorization_endpoint": f"{base}/authorize", "token_endpoint": f"{base}/oauth2/v2.0/token"}
            return reply(200, {**routes, "issuer": f"{base}/v2.0", "device_authorization_endpoint": f"{base}/device"})
        assert parse_qs(request.body.decode())["scope"] == [SCOPE]
        if self.refusal is not None:
            return reply(*self.refusal)
        self.issued += 1
        return reply(200, {"token_type": "Bearer", "expires_in": 3600, "access_token": f"token-{self.issued}"})


def reply(status: int, document: dict[str, Any]) -> Reply:
    """A JSON document."""
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(document).encode())


@pytest.fixture
def entra(tmp_path: Path) -> Iterator[tuple[Entra, Authority]]:
    """The token service, which speaks TLS with a private certificate."""
    authority = Authority(tmp_path)
    with Entra() as server, TlsFront(authority.server(), int(server.url.rpartition(":")[2])) as front:
        server.address = front.url
        yield server, authority


def signed_in(server: Entra, authority: Authority, clock: list[float]) -> Bearer:
    """A bearer that signs in there with a secret."""

    def made(_: str, **more: Any) -> Any:
        from azure.identity import ClientSecretCredential

        here = {"authority": server.address, "disable_instance_discovery": True, "connection_verify": authority.ca}
        return ClientSecretCredential(TENANT, "client", "HUSH", retry_total=0, **here, **more)

    return Bearer(SCOPE, Credential("client-secret", clock=lambda: clock[0], make=made))


def test_one_token_serves_many_requests(entra: tuple[Entra, Authority]) -> None:
    """A token is fetched once, and again only by a credential of its own."""
    server, authority = entra
    token = signed_in(server, authority, [0.0])
    assert [token(), token()] == ["token-1", "token-1"]
    assert signed_in(server, authority, [0.0])() == "token-2"


def test_a_refused_sign_in_is_of_the_source(entra: tuple[Entra, Authority]) -> None:
    """What Entra says is in the message, with what to do, and never the secret."""
    server, authority = entra
    server.refusal = (401, {"error": "invalid_client", "error_description": "AADSTS7000222: The secret has expired."})
    with pytest.raises(OpenCostError, match="AADSTS7000222") as refused:
        signed_in(server, authority, [0.0])()
    assert refused.value.code is ReasonCode.UNAUTHORIZED
    assert refused.value.exit_code == 3
    assert "AZURE_CLIENT_SECRET has expired" in str(refused.value)
    assert "HUSH" not in str(refused.value)


def test_a_network_error_is_not_a_refused_sign_in(entra: tuple[Entra, Authority], tmp_path: Path) -> None:
    """azure-identity reports both alike; the message says which it was, and whether another attempt may help."""
    server, _ = entra
    with pytest.raises(OpenCostError, match=r"certificate verify failed.* REQUESTS_CA_BUNDLE") as refused:
        signed_in(server, Authority(tmp_path, "Another CA"), [0.0])()
    assert (refused.value.code, refused.value.transient) == (ReasonCode.UNREACHABLE, False)


def test_only_a_method_of_signing_in_is_accepted() -> None:
    """`none` gets no token."""
    with pytest.raises(UsageError, match="--opencost-auth none is unknown"):
        bearer(SCOPE, "none")
