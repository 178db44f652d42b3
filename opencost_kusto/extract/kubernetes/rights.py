"""Which rights the ways to an OpenCost need, and the least Roles that grant them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opencost_kusto.errors import UsageError
from opencost_kusto.extract.kubernetes.address import KubernetesAddress, Place
from opencost_kusto.names import shown

ADD_ON_NAMESPACE, ADD_ON = "kube-system", "cost-analysis-agent"
_NAME = "opencost-kusto"
_GROUP = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a resource; in one namespace, or in all if it is None; on one object, or on all."""

    verb: str
    resource: str
    namespace: str | None
    name: str | None = None

    def __str__(self) -> str:
        named = f" {self.name}" if self.name else ""
        where = f"in the namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f"{self.verb} {self.resource}{named} {where}"


def service_proxy(place: Place) -> Right:
    """The right to send requests to a Service; its object is spelled as in the URL, which a Role has to match."""
    return Right("get", "services/proxy", place.namespace, f"http:{place.name}:{place.port}")


def needed(address: KubernetesAddress) -> list[Right]:
    """The rights that an address needs, the fewest; an address without a place is taken for the AKS add-on."""
    place = address.place or Place(ADD_ON_NAMESPACE, ADD_ON, pods=True)
    if place.pods:
        listed = [Right("list", "pods", place.namespace)]
        return listed if address.in_cluster else [*listed, Right("get", "pods/proxy", place.namespace)]
    return [] if address.in_cluster else [service_proxy(place)]


def subject(text: str) -> dict[str, str]:
    """Who gets a right: `User:NAME`, `Group:NAME` or `ServiceAccount:NAMESPACE:NAME`; raises UsageError."""
    kind, _, name = text.partition(":")
    if kind in ("User", "Group") and name:
        return {"apiGroup": _GROUP, "kind": kind, "name": name}
    namespace, _, account = name.partition(":")
    if kind == "ServiceAccount" and namespace and account:
        return {"kind": kind, "name": account, "namespace": namespace}
    raise UsageError(f"{shown(text)} is nobody: write User:NAME, Group:NAME or ServiceAccount:NAMESPACE:NAME.")


def roles(rights: Sequence[Right], to: dict[str, str], *, wide: bool = False) -> list[dict[str, Any]]:
    """A Role and its binding for each namespace of the rights, as Kubernetes objects; `wide` for all namespaces.

    They are named after the subject, so that a second one does not take the place of the first.
    """
    slug = re.sub(r"[^a-z0-9.-]+", "-", to["name"].lower()).strip(".-")[:200]
    name = _NAME if slug == _NAME else f"{_NAME}-{slug}"
    found: list[dict[str, Any]] = []
    for namespace in dict.fromkeys(None if wide else right.namespace for right in rights):
        kind = "ClusterRole" if namespace is None else "Role"
        place = {} if namespace is None else {"namespace": namespace}
        metadata = {"name": name, **place, "labels": {"app.kubernetes.io/name": _NAME}}
        head = {"apiVersion": f"{_GROUP}/v1", "metadata": metadata}
        rules = [_rule(right) for right in rights if wide or right.namespace == namespace]
        reference = {"apiGroup": _GROUP, "kind": kind, "name": name}
        found.append({"kind": kind, **head, "rules": rules})
        found.append({"kind": f"{kind}Binding", **head, "roleRef": reference, "subjects": [to]})
    return found


def _rule(right: Right) -> dict[str, Any]:
    names = {"resourceNames": [right.name]} if right.name else {}
    return {"apiGroups": [""], "resources": [right.resource], **names, "verbs": [right.verb]}
