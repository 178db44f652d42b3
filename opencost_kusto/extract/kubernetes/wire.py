"""Requests to an API server, and through it or through a port-forward to an OpenCost."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import disable_warnings
from urllib3.exceptions import InsecureRequestWarning

from opencost_kusto.address import Address, Proxy
from opencost_kusto.errors import OpenCostError
from opencost_kusto.extract.http import HttpRoute
from opencost_kusto.extract.kubernetes.access import Access
from opencost_kusto.extract.kubernetes.forward import Tunnels
from opencost_kusto.extract.kubernetes.status import ApiRefusal, status_of
from opencost_kusto.extract.refusals import refusal
from opencost_kusto.extract.tls import Naming

_SIGN_IN = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class _CertificateName(HTTPAdapter):
    """Expects the certificate of a server to have another name than the server's address."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """Pass the name to the connections."""
        super().init_poolmanager(*args, server_hostname=self._name, assert_hostname=self._name, **more)


class ApiServer(HttpRoute):
    """Requests to an API server itself; raises ApiRefusal where it refuses."""

    server = "The Kubernetes API"
    hint = ". Check the server of the kubeconfig and the VPN."

    def __init__(
        self,
        access: Access,
        path: str = "",
        *,
        connect_timeout: float,
        timeout: float,
        environment: Mapping[str, str],
    ) -> None:
        base = access.server
        self._naming = Naming(access.setting, access.embedded)
        super().__init__(
            Address(base.scheme, base.host, base.port, base.path + path),
            connect_timeout=connect_timeout,
            timeout=timeout,
            doors=access.doors,
            environment=environment,
        )
        if not access.verify:
            self._session.verify = False
            # `doctor` says it once; the library would warn at each request.
            disable_warnings(InsecureRequestWarning)
        if access.server_name is not None:
            self._session.mount("https://", _CertificateName(access.server_name))

    @property
    def proxy(self) -> Proxy | None:
        """The proxy on the way to the server."""
        return self._proxy

    def _refusal(self, where: str, status: int, body: bytes, headers: Mapping[str, str]) -> OpenCostError:
        found = status_of(status, body)
        if found is None:
            cure = " The API server does not let a sign-in for OpenCost through." if status in _SIGN_IN else ""
            return refusal(where, status, body, headers, cure)
        return ApiRefusal.of(where, found, headers)


class ProxiedOpenCost(ApiServer):
    """Requests to an OpenCost through the proxy of an API server, at `path`; messages call it `named`."""

    server = "OpenCost"

    def __init__(
        self,
        access: Access,
        path: str,
        named: str,
        *,
        connect_timeout: float,
        timeout: float,
        environment: Mapping[str, str],
    ) -> None:
        super().__init__(access, path, connect_timeout=connect_timeout, timeout=timeout, environment=environment)
        self.named = named


class OpenCostOfPods(HttpRoute):
    """Requests to an OpenCost from another pod of its cluster."""

    hint = ". Is this a pod of that cluster, is the Service or the pod there, and does a network policy let it through?"


class ForwardedOpenCost(HttpRoute):
    """Requests to an OpenCost through connections that are forwarded into its pod."""

    hint = ". Does the pod listen on this port?"

    def __init__(self, tunnels: Tunnels, named: str, *, connect_timeout: float, timeout: float) -> None:
        super().__init__(
            Address("http", tunnels.host), connect_timeout=connect_timeout, timeout=timeout, environment={}
        )
        self.named = named
        self._session.mount("http://", tunnels)
