"""The sign-in methods: credentials of azure-identity. One of the doors to Azure packages.

National clouds: the authority is the one that the cluster returns (`/v1/rest/auth/metadata`), unless
AZURE_AUTHORITY_HOST is set. Azure CLI needs `az cloud set`.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, get_args

from opencost_kusto.errors import UsageError
from opencost_kusto.kusto.watch import Watched
from opencost_kusto.names import flag

Auth = Literal[
    "default",
    "cli",
    "managed-identity",
    "workload-identity",
    "client-secret",
    "pipelines",
    "interactive",
    "device-code",
    "none",
]
METHODS: tuple[str, ...] = get_args(Auth)
# What to do when a method of signing in fails.
ADVICE: dict[str, str] = {
    "default": "Run az login, or choose how to sign in with --auth.",
    "cli": "Install Azure CLI and run az login, or choose another --auth.",
    "managed-identity": "Assign an identity to this machine; AZURE_CLIENT_ID selects a user-assigned one.",
    "workload-identity": (
        "Check the label azure.workload.identity/use of the pod, and the federated credential of the identity: issuer, "
        "subject and audience."
    ),
    "client-secret": "Check AZURE_TENANT_ID, AZURE_CLIENT_ID, and whether AZURE_CLIENT_SECRET has expired.",
    "pipelines": "Check the service connection, and that SYSTEM_ACCESSTOKEN is mapped into the step.",
    "interactive": "Sign in in the browser, or use --auth device-code on a machine without one.",
    "device-code": "Enter the code in a browser before it expires.",
    "none": "Choose how to sign in with --auth.",
}
_TENANT = re.compile(r"[\w.-]+")
_PUBLIC = "https://login.microsoftonline.com"
# A token that expires within these seconds is renewed.
_RENEWED_BEFORE = 300.0


class Credential:
    """A credential for both endpoints of a cluster, with its token kept until shortly before it expires.

    azure-identity does not cache tokens of Azure CLI: each request would start `az`. Raises UsageError if the
    environment does not have what the method requires.
    """

    def __init__(
        self, auth: Auth, *, clock: Callable[[], float] = time.time, make: Callable[..., Any] | None = None
    ) -> None:
        self.auth = auth
        self._clock = clock
        self._make = make or _made
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, ...], Any] = {}
        self._authority = _PUBLIC
        self._inner = Watched(self._make(auth))

    @property
    def provider(self) -> str:
        """The class of azure-identity that issued the last token, empty before the first; of a chain its member."""
        return self._inner.provider

    def get_token(self, *scopes: str, **more: Any) -> Any:
        """A token for the scopes; raises what the credential raises."""
        with self._lock:
            token = self._tokens.get(scopes)
            if token is None or token.expires_on - self._clock() < _RENEWED_BEFORE:
                token = self._tokens[scopes] = self._inner.get_token(*scopes, **more)
            return token

    def at(self, authority: str) -> Credential:
        """This credential, which then signs in at the authority that the cluster returns."""
        with self._lock:
            if authority.rstrip("/").lower() != self._authority and not os.environ.get("AZURE_AUTHORITY_HOST"):
                self._authority = authority.rstrip("/").lower()
                self._inner = Watched(self._make(self.auth, authority=self._authority))
        return self

    def close(self) -> None:
        """Close the credential's own connections."""
        self._inner.close()


def credential(uri: str, auth: Auth) -> Credential | None:
    """The credential for an address; None for plain http, which has no sign-in.

    Raises UsageError if the method does not fit the address, or the environment does not have what it requires.
    """
    check_method(uri, auth)
    return None if auth == "none" else Credential(auth)


def check_method(uri: str, auth: str) -> None:
    """Raise UsageError for a method that does not exist, or does not fit the address."""
    named = flag("--auth")
    if auth not in METHODS:
        raise UsageError(f"{named} {auth} is unknown; choose one of {', '.join(METHODS)}.")
    plain = uri.startswith("http://")
    if auth == "none" and not plain:
        raise UsageError(f"{named} none is for plain http; {uri} is https, so choose one of {', '.join(METHODS[:-1])}.")
    if auth != "none" and plain:
        raise UsageError(f"{uri} is plain http, which must not carry a token; use https, or --auth none.")


def connection(uri: str, credential: Credential | None) -> Any:
    """A new connection string builder: the SDK modifies its arguments."""
    from azure.kusto.data import KustoConnectionStringBuilder as Builder

    if credential is None:
        return Builder.with_no_authentication(uri)
    return Builder.with_azure_token_credential(uri, credential_from_login_endpoint=credential.at)


def _made(auth: Auth, **more: Any) -> Any:
    """The credential of azure-identity; raises UsageError for an environment that it refuses."""
    try:
        return _CREDENTIALS[auth](**more)
    except ValueError as refused:
        tenant = "AZURESUBSCRIPTION_TENANT_ID" if auth == "pipelines" else "AZURE_TENANT_ID"
        raise UsageError(_bad_tenant(auth, tenant)) from refused


def _environment(auth: str, *names: str) -> list[str]:
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise UsageError(f"--auth {auth} needs {', '.join(missing)} in the environment.")
    for name in names:
        if name.endswith("_TENANT_ID") and not _TENANT.fullmatch(os.environ[name]):
            raise UsageError(_bad_tenant(auth, name))
    return [os.environ[name] for name in names]


def _bad_tenant(auth: str, name: str) -> str:
    return f"--auth {auth} cannot use {name}, {os.environ.get(name, '')!r}: a tenant is a GUID or a domain name."


def _default(**more: Any) -> Any:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential(**more)


def _cli(**_: Any) -> Any:
    from azure.identity import AzureCliCredential

    return AzureCliCredential()


def _managed_identity(**_: Any) -> Any:
    from azure.identity import ManagedIdentityCredential

    return ManagedIdentityCredential(client_id=os.environ.get("AZURE_CLIENT_ID"))


def _workload_identity(**more: Any) -> Any:
    from azure.identity import WorkloadIdentityCredential

    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE")
    tenant, client, token_file = _environment("workload-identity", *names)
    return WorkloadIdentityCredential(tenant_id=tenant, client_id=client, token_file_path=token_file, **more)


def _client_secret(**more: Any) -> Any:
    from azure.identity import ClientSecretCredential

    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
    tenant, client, secret = _environment("client-secret", *names)
    return ClientSecretCredential(tenant, client, secret, **more)


def _pipelines(**more: Any) -> Any:
    from azure.identity import AzurePipelinesCredential

    names = (
        "AZURESUBSCRIPTION_TENANT_ID",
        "AZURESUBSCRIPTION_CLIENT_ID",
        "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
        "SYSTEM_ACCESSTOKEN",
    )
    tenant, client, service_connection, token = _environment("pipelines", *names)
    return AzurePipelinesCredential(
        tenant_id=tenant,
        client_id=client,
        service_connection_id=service_connection,
        system_access_token=token,
        **more,
    )


def _tenant() -> dict[str, Any]:
    tenant = os.environ.get("AZURE_TENANT_ID")
    return {"tenant_id": tenant} if tenant else {}


def _interactive(**more: Any) -> Any:
    from azure.identity import InteractiveBrowserCredential

    return InteractiveBrowserCredential(**_tenant(), **more)


def _device_code(**more: Any) -> Any:
    from azure.identity import DeviceCodeCredential

    def prompt(address: str, code: str, _: Any) -> None:
        # By default azure-identity prints on stdout, which is for data.
        print(f"To sign in, open {address} and enter the code {code}.", file=sys.stderr, flush=True)

    return DeviceCodeCredential(prompt_callback=prompt, **_tenant(), **more)


_CREDENTIALS: dict[str, Callable[..., Any]] = {
    "default": _default,
    "cli": _cli,
    "managed-identity": _managed_identity,
    "workload-identity": _workload_identity,
    "client-secret": _client_secret,
    "pipelines": _pipelines,
    "interactive": _interactive,
    "device-code": _device_code,
}
