"""The Kubernetes objects in which an OpenCost is found, read with types: Services, pods, the namespace kube-system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote

import msgspec

from opencost_kusto.errors import ContentError
from opencost_kusto.extract.kubernetes.rights import Right
from opencost_kusto.extract.kubernetes.sentences import explained
from opencost_kusto.extract.kubernetes.status import ApiRefusal
from opencost_kusto.extract.kubernetes.wire import ApiServer


class Metadata(msgspec.Struct, rename="camel"):
    """What every object has."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


class ServicePort(msgspec.Struct, rename="camel"):
    """A port of a Service; `target_port` is a number, or the name of a container's port."""

    port: int
    name: str = ""
    target_port: int | str = 0


class _ServiceSpec(msgspec.Struct):
    selector: dict[str, str] = {}
    ports: list[ServicePort] = []


class Service(msgspec.Struct):
    """A Service."""

    metadata: Metadata
    spec: _ServiceSpec = msgspec.field(default_factory=_ServiceSpec)


class ContainerPort(msgspec.Struct, rename="camel"):
    """A port that a container declares."""

    container_port: int
    name: str = ""


class Container(msgspec.Struct):
    """A container of a pod."""

    name: str
    ports: list[ContainerPort] = []


class _PodSpec(msgspec.Struct):
    containers: list[Container] = []


class _Condition(msgspec.Struct):
    type: str
    status: str
    reason: str = ""


class _Cause(msgspec.Struct):
    reason: str = ""


class _State(msgspec.Struct):
    waiting: _Cause | None = None
    terminated: _Cause | None = None


class _ContainerStatus(msgspec.Struct, rename="camel"):
    name: str = ""
    ready: bool = False
    state: _State = msgspec.field(default_factory=_State)
    last_state: _State = msgspec.field(default_factory=_State)


class _PodStatus(msgspec.Struct, rename="camel"):
    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    conditions: list[_Condition] = []
    container_statuses: list[_ContainerStatus] = []


class Pod(msgspec.Struct):
    """A pod."""

    metadata: Metadata
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)

    @property
    def ready(self) -> bool:
        """Whether it is ready, and is not being deleted."""
        ready = any(one.type == "Ready" and one.status == "True" for one in self.status.conditions)
        return ready and self.metadata.deletion_timestamp is None

    @property
    def why(self) -> str:
        """Why it is not ready: the reasons of its containers, else of itself."""
        if self.metadata.deletion_timestamp is not None:
            return "is being deleted"
        reasons = []
        for one in self.status.container_statuses:
            causes = (one.state.waiting, one.state.terminated, one.last_state.terminated)
            found = dict.fromkeys(cause.reason for cause in causes if cause is not None and cause.reason)
            reasons += [f"{one.name}: {', '.join(found)}"] if found and not one.ready else []
        unmet = [one.reason for one in self.status.conditions if one.status != "True" and one.reason]
        return "; ".join(reasons or unmet[:1]) or f"is {self.status.phase or 'not scheduled'}"


# Go writes a list without elements as null, unless its author took care.
class _Services(msgspec.Struct):
    items: list[Service] | None = None


class _Pods(msgspec.Struct):
    items: list[Pod] | None = None


class _Namespace(msgspec.Struct):
    metadata: Metadata


class _Version(msgspec.Struct, rename="camel"):
    git_version: str = ""


T = TypeVar("T")


class Objects:
    """Reads objects through an API server for an endpoint; raises OpenCostError, which names a missing right."""

    def __init__(self, api: ApiServer, endpoint: str) -> None:
        self._api, self._endpoint = api, endpoint

    def version(self) -> str:
        """The version of the API server."""
        return self._read("/version", _Version).git_version

    def uid(self, namespace: str) -> str:
        """The uid of a namespace."""
        right = Right("get", "namespaces", None, namespace)
        return self._read(f"/api/v1/namespaces/{quote(namespace)}", _Namespace, right).metadata.uid

    def services(self, label: str, namespace: str | None = None) -> list[Service]:
        """The Services with a label, of one namespace or of all."""
        right = Right("list", "services", namespace)
        return self._read(_path("services", namespace), _Services, right, label).items or []

    def service(self, namespace: str, name: str) -> Service:
        """A Service."""
        path = f"{_path('services', namespace)}/{quote(name)}"
        return self._read(path, Service, Right("get", "services", namespace, name))

    def pods(self, namespace: str, label: str) -> list[Pod]:
        """The pods of a namespace with a label."""
        return self._read(_path("pods", namespace), _Pods, Right("list", "pods", namespace), label).items or []

    def _read(self, path: str, kind: type[T], right: Right | None = None, label: str = "") -> T:
        query: Mapping[str, str] = {"labelSelector": label} if label else {}
        try:
            with self._api.get(path, query) as body:
                text = b"".join(body)
        except ApiRefusal as refusal:
            raise explained(refusal, right, self._endpoint) from refusal
        try:
            return msgspec.json.decode(text, type=kind)
        except (ValueError, RecursionError) as error:
            text_ = f"{self._api.named}{path} is not what a Kubernetes API returns. Check the server of the kubeconfig."
            raise ContentError(text_) from error


def _path(resource: str, namespace: str | None) -> str:
    return f"/api/v1/{resource}" if namespace is None else f"/api/v1/namespaces/{quote(namespace)}/{resource}"
