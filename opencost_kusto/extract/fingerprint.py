"""What identifies the cluster behind an OpenCost, whatever it is called: the uid of its namespace kube-system.

The uid is unique, lasts as long as the cluster, and does not depend on the cloud. OpenCost up to 1.113 has it at
/allNamespaces, from 1.118 on in `kube_namespace_labels` of /metrics; the versions between have it nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

UID = "k8s"
SYSTEM = "kube-system"
_SAMPLE = re.compile(r'^kube_namespace_labels\{(?=[^}]*\bnamespace="kube-system")[^}]*\buid="([^"]+)"', re.MULTILINE)


class _Metadata(msgspec.Struct):
    name: str = ""
    uid: str = ""


class _Namespace(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Namespaces(msgspec.Struct):
    items: list[_Namespace] = []


def of_namespaces(body: bytes) -> dict[str, str]:
    """The fingerprint in a response of /allNamespaces; empty where it has none."""
    try:
        found = msgspec.json.decode(body, type=_Namespaces)
    except (ValueError, RecursionError):
        return {}
    uid = next((one.metadata.uid for one in found.items if one.metadata.name == SYSTEM), "")
    return {UID: uid} if uid else {}


def of_metrics(chunks: Iterable[bytes]) -> dict[str, str]:
    """The fingerprint in a scrape of /metrics; empty where it has none."""
    found = _SAMPLE.search(b"".join(chunks).decode("utf-8", "replace"))
    return {UID: found[1]} if found else {}
