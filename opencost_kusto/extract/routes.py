"""The way to an OpenCost, by the scheme of its address: the one place that reads an endpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Protocol

from opencost_kusto import address
from opencost_kusto.address import Address
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.doors import Doors
from opencost_kusto.extract.http import Body, HttpRoute
from opencost_kusto.extract.kubernetes import address as kubernetes
from opencost_kusto.extract.kubernetes.access import Entra
from opencost_kusto.extract.kubernetes.address import KubernetesAddress
from opencost_kusto.extract.kubernetes.route import KubernetesRoute


class Route(Protocol):
    """Requests to one OpenCost."""

    server_date: datetime | None
    # What the last request went to, and by which way; None where the address says it all.
    taken: str | None

    @property
    def cluster(self) -> str | None:
        """The name of the cluster, where the route has one."""

    def get(self, path: str, query: Mapping[str, str]) -> Body:
        """The body of a 200 response; raises OpenCostError, ContentError."""

    def fingerprint(self) -> dict[str, str]:
        """The identity of the cluster, where OpenCost itself has none; empty without one."""

    def hops(self) -> Iterable[tuple[str, Callable[[], str]]]:
        """The hops before OpenCost: the name of each, and a check that returns its result."""

    def close(self) -> None:
        """Release the connections."""


def parse(endpoint: str) -> Address | KubernetesAddress:
    """Read an endpoint: http://, https://, kube:// or in-cluster://. Raises UsageError."""
    return kubernetes.parse(endpoint) if kubernetes.is_kubernetes(endpoint) else address.parse(endpoint)


def route(
    to: Address | KubernetesAddress,
    *,
    connect_timeout: float,
    timeout: float,
    doors: Doors | None = None,
    environment: Mapping[str, str] = os.environ,
    entra: Entra | None = None,
) -> Route:
    """The route to an address; raises UsageError for doors, proxies and certificates that cannot be used."""
    if isinstance(to, Address):
        return HttpRoute(to, connect_timeout=connect_timeout, timeout=timeout, doors=doors, environment=environment)
    if doors not in (None, Doors()):
        if to.in_cluster:
            raise UsageError(
                f"{to} has no sign-in, certificate or proxy. Write the address of the Service, https://SERVICE.NAMESPACE"
                ".svc:PORT, as --endpoint, or leave out the options of --opencost-token-file, -header, -scope, -ca, "
                "-cert, -key and -proxy."
            )
        raise UsageError(
            f"{to} goes through the Kubernetes API, which removes a sign-in for OpenCost, and takes its own from the "
            "kubeconfig. Leave out the options of --opencost-token-file, -header, -scope, -ca, -cert, -key and -proxy."
        )
    return KubernetesRoute(to, connect_timeout=connect_timeout, timeout=timeout, environment=environment, entra=entra)
