"""Addresses of an OpenCost in a cluster: `kube://CONTEXT/NAMESPACE/SERVICE:PORT` and `in-cluster://NAMESPACE/SERVICE`.

All parts are optional. A context is percent-encoded, since names of contexts have slashes and colons. In place of a
Service, `pod:VALUE` names the pods whose label `app` or `app.kubernetes.io/name` has that value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from opencost_kusto.errors import UsageError
from opencost_kusto.names import shown

KUBE, IN_CLUSTER = "kube://", "in-cluster://"
PORT = 9003
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_POD = "pod:"
_SCHEMES = {KUBE.removesuffix("://"), IN_CLUSTER.removesuffix("://")}
# What a context keeps unencoded when it is printed.
_PLAIN = ":@+~"


@dataclass(frozen=True, slots=True)
class Place:
    """A Service of a namespace, or with `pods` the pods whose label has the value `name`; and the port of OpenCost."""

    namespace: str
    name: str
    port: int = PORT
    pods: bool = False

    def __str__(self) -> str:
        return f"{self.namespace}/{_POD if self.pods else ''}{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class KubernetesAddress:
    """An OpenCost of a cluster. `context` is one of the kubeconfig, None for its current one; `place` None to find it.

    `in_cluster` says that this process runs in the cluster, where there is no kubeconfig.
    """

    context: str | None = None
    place: Place | None = None
    in_cluster: bool = False

    def __str__(self) -> str:
        place = "" if self.place is None else str(self.place)
        if self.in_cluster:
            return f"{IN_CLUSTER}{place}"
        return f"{KUBE}{quote(self.context or '', safe=_PLAIN)}{place and '/'}{place}"


def is_kubernetes(text: str) -> bool:
    """Whether a text is meant as the address of an OpenCost in a cluster, if perhaps without the slashes."""
    return text.strip().lower().partition(":")[0] in _SCHEMES


def parse(text: str) -> KubernetesAddress:
    """Read such an address; raises UsageError for one that cannot be."""
    scheme, slashes, rest = text.strip().partition("://")
    if not slashes:
        raise _no_address(text)
    in_cluster = f"{scheme.lower()}://" == IN_CLUSTER
    parts = rest.rstrip("/").split("/")
    context = None if in_cluster else unquote(parts.pop(0)) or None
    if in_cluster and not parts[0]:
        del parts[0]
    if (context and not context.isprintable()) or len(parts) not in (0, 2):
        raise _no_address(text)
    return KubernetesAddress(context, _place(text, *parts) if parts else None, in_cluster)


def _place(text: str, namespace: str, service: str) -> Place:
    pods = service.startswith(_POD)
    name, colon, port = service.removeprefix(_POD).partition(":")
    valid = _LABEL.fullmatch(namespace) and (_VALUE if pods else _LABEL).fullmatch(name)
    if not valid or (colon and not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16)):
        raise _no_address(text)
    return Place(namespace, name, int(port) if colon else PORT, pods)


def _no_address(text: str) -> UsageError:
    return UsageError(
        f"{shown(text.strip())} is not the address of an OpenCost in a cluster; write {KUBE}CONTEXT/NAMESPACE/SERVICE:"
        f"PORT, with %2F for a slash in the context, or {IN_CLUSTER}NAMESPACE/SERVICE:PORT."
    )
