"""The ways of signing in to Kusto, as the SDK's connection strings. One of the doors to Azure packages."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal, get_args

from opencost_kusto.errors import UsageError

Auth = Literal["default", "cli", "managed-identity", "workload-identity", "client-secret", "pipelines", "none"]
METHODS: tuple[str, ...] = get_args(Auth)


def connection(uri: str, auth: Auth) -> Any:
    """A fresh connection string builder (the SDK changes the ones it is given).

    Raises UsageError when the method does not fit the URI, or the environment lacks what the method needs.
    """
    from azure.kusto.data import KustoConnectionStringBuilder as Builder

    if auth not in METHODS:
        raise UsageError(f"--auth {auth} is unknown; choose one of {', '.join(METHODS)}.")
    plain = uri.startswith("http://")
    if auth == "none":
        if not plain:
            raise UsageError(
                f"--auth none is for plain http; {uri} is https, so choose one of {', '.join(METHODS[:-1])}."
            )
        return Builder.with_no_authentication(uri)
    if plain:
        raise UsageError(f"{uri} is plain http, which must not carry a token; use https, or --auth none.")
    return Builder.with_azure_token_credential(uri, _CREDENTIALS[auth]())


def _environment(auth: str, *names: str) -> list[str]:
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise UsageError(f"--auth {auth} needs {', '.join(missing)} in the environment.")
    return [os.environ[name] for name in names]


def _default() -> Any:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def _cli() -> Any:
    from azure.identity import AzureCliCredential

    return AzureCliCredential()


def _managed_identity() -> Any:
    from azure.identity import ManagedIdentityCredential

    return ManagedIdentityCredential(client_id=os.environ.get("AZURE_CLIENT_ID"))


def _workload_identity() -> Any:
    from azure.identity import WorkloadIdentityCredential

    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE")
    tenant, client, token_file = _environment("workload-identity", *names)
    return WorkloadIdentityCredential(tenant_id=tenant, client_id=client, token_file_path=token_file)


def _client_secret() -> Any:
    from azure.identity import ClientSecretCredential

    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
    tenant, client, secret = _environment("client-secret", *names)
    return ClientSecretCredential(tenant, client, secret)


def _pipelines() -> Any:
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
    )


_CREDENTIALS: dict[str, Callable[[], Any]] = {
    "default": _default,
    "cli": _cli,
    "managed-identity": _managed_identity,
    "workload-identity": _workload_identity,
    "client-secret": _client_secret,
    "pipelines": _pipelines,
}
