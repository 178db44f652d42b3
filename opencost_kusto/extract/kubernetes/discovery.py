"""Finds OpenCost in a cluster: the Service of its chart by label, else the pods of the AKS cost analysis add-on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from opencost_kusto.errors import OpenCostError, ReasonCode, UsageError
from opencost_kusto.extract.kubernetes.address import PORT, KubernetesAddress, Place
from opencost_kusto.extract.kubernetes.objects import Objects, Pod, Service
from opencost_kusto.extract.kubernetes.rights import ADD_ON, ADD_ON_NAMESPACE, Right

_CHART = "app.kubernetes.io/name=opencost"
_CHART_NAMESPACE = "opencost"
# The chart's names of OpenCost's port, now and before.
_PORT_NAMES = ("http", "tcp-model")
_ADD_ON_CONTAINER = "cost-analysis-opencost"
_NONE = (
    f"This cluster has no OpenCost: no Service has the label {_CHART}, and {ADD_ON_NAMESPACE} has no pod with "
    f"app={ADD_ON}. On AKS (Standard or Premium tier), enable the add-on: az aks update -g GROUP -n CLUSTER "
    "--enable-cost-analysis. Elsewhere, install the chart: helm install opencost opencost --repo "
    "https://opencost.github.io/opencost-helm-chart -n opencost --create-namespace."
)


@dataclass(frozen=True, slots=True)
class Target:
    """The target of requests: a Service or a pod, and its port. `ip` is a pod's address."""

    resource: Literal["services", "pods"]
    namespace: str
    name: str
    port: int
    ip: str = ""

    def __str__(self) -> str:
        kind = "Service" if self.resource == "services" else "pod"
        return f"{kind} {self.namespace}/{self.name}, port {self.port}"

    @property
    def path(self) -> str:
        """The path of the API server's proxy to it; Roles name the object exactly as it is spelled here."""
        name = f"http:{quote(self.name)}:{self.port}"
        return f"/api/v1/namespaces/{quote(self.namespace)}/{self.resource}/{name}/proxy"

    @property
    def right(self) -> Right:
        """The right that the proxy needs."""
        return Right("get", f"{self.resource}/proxy", self.namespace, f"http:{self.name}:{self.port}")

    @property
    def host(self) -> str:
        """Its host as seen by other pods of the cluster."""
        return self.ip if self.resource == "pods" else f"{self.name}.{self.namespace}.svc"


def target(address: KubernetesAddress, objects: Callable[[], Objects]) -> Target:
    """The target of an address; `objects` is called where the API server has to be queried.

    Raises UsageError where several could be meant, and OpenCostError where there is none, or none is ready.
    """
    place = address.place
    if place is None:
        return _searched(objects(), address)
    if not place.pods:
        return Target("services", place.namespace, place.name, place.port)
    pods = _labelled(objects(), place)
    if not pods:
        text = f"No pod in {place.namespace} has the label app={place.name} or app.kubernetes.io/name={place.name}."
        raise OpenCostError(text, code=ReasonCode.UNREACHABLE)
    return _pod(pods, place)


def pod_of(found: Target, objects: Objects) -> Target:
    """A ready pod behind a target, for a port-forward."""
    if found.resource == "pods":
        return found
    service = objects.service(found.namespace, found.name)
    selector = ",".join(f"{key}={value}" for key, value in service.spec.selector.items())
    pods = objects.pods(found.namespace, selector) if selector else []
    named = next((one.target_port for one in service.spec.ports if one.port == found.port), 0) or found.port
    chosen = _pod(pods, Place(found.namespace, found.name, found.port, pods=True))
    if isinstance(named, int):
        return Target("pods", found.namespace, chosen.name, named, chosen.ip)
    containers = next(one for one in pods if one.metadata.name == chosen.name).spec.containers
    ports = (port.container_port for one in containers for port in one.ports if port.name == named)
    return Target("pods", found.namespace, chosen.name, next(ports, found.port), chosen.ip)


def _searched(objects: Objects, address: KubernetesAddress) -> Target:
    refused: list[OpenCostError] = []
    labelled = _services(objects, refused)
    services = [one for one in labelled if _port(one) is not None]
    if len(services) > 1:
        raise _several(services, address)
    for one in services:
        return Target("services", one.metadata.namespace, one.metadata.name, _port(one) or PORT)
    place = Place(ADD_ON_NAMESPACE, ADD_ON, pods=True)
    try:
        if pods := _labelled(objects, place):
            return _pod(pods, place)
    except OpenCostError as error:
        _keep(error, refused)
    if labelled:
        raise _portless(labelled[0])
    if refused:
        raise refused[0]
    raise OpenCostError(_NONE, code=ReasonCode.UNREACHABLE)


def _services(objects: Objects, refused: list[OpenCostError]) -> list[Service]:
    """The chart's Services of all namespaces, else of its usual one where only that may be listed."""
    for namespace in (None, _CHART_NAMESPACE):
        try:
            return objects.services(_CHART, namespace)
        except OpenCostError as error:
            _keep(error, refused)
    return []


def _keep(error: OpenCostError, refused: list[OpenCostError]) -> None:
    """Keep a right that is missing, since another way may do; raise everything else."""
    if error.code is not ReasonCode.FORBIDDEN:
        raise error
    refused.append(error)


def _port(service: Service) -> int | None:
    """OpenCost's port of a Service: 9003, else one of its names."""
    ports = service.spec.ports
    numbered = (one.port for one in ports if one.port == PORT)
    return next(numbered, next((one.port for one in ports if one.name in _PORT_NAMES), None))


def _portless(service: Service) -> OpenCostError:
    named = f"{service.metadata.namespace}/{service.metadata.name}"
    ports = ", ".join(str(one.port) for one in service.spec.ports) or "none"
    text = (
        f"The Service {named} has the label {_CHART}, but neither port {PORT} nor one named "
        f"{' or '.join(_PORT_NAMES)}; its ports: {ports}. If one of them is OpenCost's API, write kube://CONTEXT/{named}:PORT."
    )
    return OpenCostError(text, code=ReasonCode.UNREACHABLE)


def _several(services: list[Service], address: KubernetesAddress) -> UsageError:
    places = (Place(one.metadata.namespace, one.metadata.name, _port(one) or PORT) for one in services)
    each = (str(KubernetesAddress(address.context, place, address.in_cluster)) for place in places)
    return UsageError(f"This cluster has several OpenCosts. Name one as the endpoint: {', '.join(sorted(each))}.")


def _labelled(objects: Objects, place: Place) -> list[Pod]:
    """The pods with a label value, by either of the usual labels."""
    by_app = objects.pods(place.namespace, f"app={place.name}")
    return by_app or objects.pods(place.namespace, f"app.kubernetes.io/name={place.name}")


def _pod(pods: list[Pod], place: Place) -> Target:
    """The newest of the pods that are ready; raises OpenCostError, with the reasons of those that are not."""
    ready = [one for one in pods if one.ready]
    if not ready:
        why = ", ".join(f"{one.metadata.name} ({one.why})" for one in pods[:5]) or "there is none"
        text = f"No pod of {place.namespace}/{place.name} is ready: {why}. See: kubectl -n {place.namespace} get pods"
        raise OpenCostError(text, code=ReasonCode.UNAVAILABLE, transient=True)
    newest = max(ready, key=lambda one: (one.metadata.creation_timestamp, one.metadata.name))
    if place.name == ADD_ON and all(one.name != _ADD_ON_CONTAINER for one in newest.spec.containers):
        text = f"The pod {newest.metadata.name} of the AKS add-on has no container {_ADD_ON_CONTAINER}."
        raise OpenCostError(text, code=ReasonCode.UNREACHABLE)
    return Target("pods", place.namespace, newest.metadata.name, place.port, newest.status.pod_ip)
