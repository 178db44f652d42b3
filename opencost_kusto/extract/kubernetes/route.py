"""The way to an OpenCost of a cluster, with the deadlines and checks of plain HTTP.

In the cluster it is the name of the Service, or the address of the pod. Elsewhere it is the API server's proxy; where
that is forbidden, a port-forward. Nothing is read or requested before the first request.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TypedDict

from opencost_kusto.address import Address
from opencost_kusto.errors import OpenCostError, OpenCostKustoError
from opencost_kusto.extract.fingerprint import SYSTEM, UID
from opencost_kusto.extract.http import Body, HttpRoute
from opencost_kusto.extract.kubernetes.access import Access, Entra
from opencost_kusto.extract.kubernetes.address import KubernetesAddress
from opencost_kusto.extract.kubernetes.discovery import Target, pod_of, target
from opencost_kusto.extract.kubernetes.forward import Tunnels
from opencost_kusto.extract.kubernetes.kubeconfig import kubeconfig
from opencost_kusto.extract.kubernetes.objects import Objects
from opencost_kusto.extract.kubernetes.rights import Right
from opencost_kusto.extract.kubernetes.sentences import explained, no_endpoints
from opencost_kusto.extract.kubernetes.service_account import service_account
from opencost_kusto.extract.kubernetes.status import ApiRefusal
from opencost_kusto.extract.kubernetes.wire import ApiServer, ForwardedOpenCost, OpenCostOfPods, ProxiedOpenCost

# Seconds for a list of a few objects.
_LIST_SECONDS = 30.0


class Timeouts(TypedDict):
    """Seconds for connecting and for a whole response."""

    connect_timeout: float
    timeout: float


class KubernetesRoute:
    """Requests to an OpenCost of a cluster, as `HttpRoute` sends them. `sign_in` returns how to reach the API server.

    `server_date` is the `Date` of OpenCost's last response, `taken` the Service or the pod that the last request went
    to, and by which way.
    """

    def __init__(
        self,
        address: KubernetesAddress,
        *,
        connect_timeout: float,
        timeout: float,
        environment: Mapping[str, str] = os.environ,
        entra: Entra | None = None,
        sign_in: Callable[[], Access] | None = None,
    ) -> None:
        self.address = address
        self.server_date: datetime | None = None
        self.taken: str | None = None
        self._environment = environment
        self._timeouts: Timeouts = {"connect_timeout": connect_timeout, "timeout": timeout}
        self._entra = entra
        self._sign_in = sign_in or self._by_address
        self._access: Access | None = None
        self._api: ApiServer | None = None
        self._target: Target | None = None
        self._inner: HttpRoute | None = None
        # The refusal of the proxy, where a port-forward is used instead.
        self._forbidden: ApiRefusal | None = None
        self._proxied: Right | None = None

    @property
    def cluster(self) -> str | None:
        """The name of the cluster in the kubeconfig; None in a cluster. Raises what signing in raises."""
        return None if self.address.in_cluster else self._signed_in().cluster

    def fingerprint(self) -> dict[str, str]:
        """The uid of the namespace kube-system; empty where it may not be read."""
        try:
            return {UID: self._objects().uid(SYSTEM)}
        except OpenCostKustoError:
            return {}

    def hops(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """The hops before OpenCost: the name of each, and a check that returns its result."""
        place = self.address.place
        if not (self.address.in_cluster and place is not None and not place.pods):
            yield "Kubernetes", self._check_api
        yield "OpenCost in the cluster", self._check_target

    def get(self, path: str, query: Mapping[str, str]) -> Body:
        """The body of a 200 response, as `HttpRoute.get`; raises OpenCostError, ContentError, and UsageError."""
        mended: set[str] = set()
        while True:
            try:
                inner = self._opened()
            except ApiRefusal as refusal:
                if not self._renewed(refusal, mended):
                    raise
                continue
            try:
                body = inner.get(path, query)
            except ApiRefusal as refusal:
                if not self._mended(refusal, mended):
                    raise self._explained(refusal) from refusal
                continue
            except OpenCostError:
                self._forget_pod()
                raise
            self.server_date = inner.server_date or self.server_date
            return body

    def close(self) -> None:
        """Release the connections."""
        for one in (self._inner, self._api):
            if one is not None:
                one.close()
        self._inner = self._api = self._access = None

    def _by_address(self) -> Access:
        if self.address.in_cluster:
            return service_account(self._environment)
        return kubeconfig(self.address.context, self._environment, self._entra)

    def _signed_in(self) -> Access:
        if self._access is None:
            self._access = self._sign_in()
        return self._access

    def _server(self) -> ApiServer:
        if self._api is None:
            connect = self._timeouts["connect_timeout"]
            self._api = ApiServer(
                self._signed_in(), environment=self._environment, connect_timeout=connect, timeout=_LIST_SECONDS
            )
        return self._api

    def _objects(self) -> Objects:
        return Objects(self._server(), str(self.address))

    def _found(self) -> Target:
        if self._target is None:
            self._target = target(self.address, self._objects)
        return self._target

    def _opened(self) -> HttpRoute:
        """The route to the target."""
        if self._inner is None:
            found = self._found()
            named = str(self.address)
            if self.address.in_cluster:
                self.taken = f"{found}, by its {'address' if found.ip else 'name'} {found.host}"
                self._inner = OpenCostOfPods(Address("http", found.host, found.port), environment={}, **self._timeouts)
            else:
                self.taken = f"{found}, by the proxy of the API server {self._signed_in().server}"
                self._inner = ProxiedOpenCost(
                    self._signed_in(), found.path, named, environment=self._environment, **self._timeouts
                )
        return self._inner

    def _renewed(self, refusal: ApiRefusal, mended: set[str]) -> bool:
        """Whether a sign-in that was refused can be made anew; once for each request."""
        if refusal.status.code != 401 or "sign-in" in mended:
            return False
        mended.add("sign-in")
        self.close()
        return True

    def _mended(self, refusal: ApiRefusal, mended: set[str]) -> bool:
        """Whether there is another way than the one that was refused; each is tried once for each request."""
        if self._renewed(refusal, mended):
            return True
        found = self._found()
        if refusal.status.code == 404 and found.resource == "pods" and "pod" not in mended:
            mended.add("pod")
            self._forget_pod()
            return True
        if (refusal.status.code == 403 or refusal.status.denied) and self._forbidden is None:
            return self._forwarded(refusal, found)
        if refusal.transient:
            self._forget_pod()
        return False

    def _forwarded(self, refusal: ApiRefusal, found: Target) -> bool:
        """Whether a port-forward can be tried: there is a pod that may be found."""
        try:
            pod = pod_of(found, self._objects())
        except OpenCostError:
            return False
        tunnels = Tunnels(
            self._signed_in(),
            pod.namespace,
            pod.name,
            pod.port,
            timeout=self._timeouts["connect_timeout"],
            proxy=self._server().proxy,
        )
        self._replace(ForwardedOpenCost(tunnels, str(self.address), **self._timeouts))
        self._forbidden, self._proxied, self._target = refusal, found.right, pod
        self.taken = f"{pod}, by a port-forward of the API server {self._signed_in().server}"
        return True

    def _replace(self, inner: HttpRoute | None) -> None:
        if self._inner is not None:
            self._inner.close()
        self._inner = inner

    def _forget_pod(self) -> None:
        """Find the pod again before the next request: it may have been replaced."""
        if self._target is not None and self._target.resource == "pods":
            self._replace(None)
            self._target = self._forbidden = None

    def _explained(self, refusal: ApiRefusal) -> OpenCostError:
        """The error for a refusal without another route."""
        found = self._found()
        first = self._forbidden
        if first is None:
            if refusal.status.code == 404 and found.resource == "services":
                return self._no_service(refusal, found)
            return explained(refusal, found.right, str(self.address))
        right = Right("get and create", "pods/portforward", found.namespace, found.name)
        self._forget_pod()
        named = str(self.address)
        text = explained(first, self._proxied, named)
        return ApiRefusal(f"{text} A port-forward is refused too: {explained(refusal, right, named)}", first.status)

    def _no_service(self, refusal: ApiRefusal, found: Target) -> ApiRefusal:
        """A proxy returns "not found" for a Service that does not exist, and for one that selects no pods."""
        try:
            self._objects().service(found.namespace, found.name)
        except OpenCostError:
            return explained(refusal, found.right, str(self.address))
        return ApiRefusal(no_endpoints(found.namespace, found.name), refusal.status)

    def _check_api(self) -> str:
        version = self._objects().version()
        access = self._signed_in()
        name = f", cluster {access.cluster}" if access.cluster else ""
        unchecked = "" if access.verify else "; its certificate is not checked (insecure-skip-tls-verify)"
        return f"{access.server}, {version}{name}, signed in by {access.signed_in_by}{unchecked}"

    def _check_target(self) -> str:
        return str(self._found())
