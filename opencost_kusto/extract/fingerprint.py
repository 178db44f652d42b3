"""The identity of the cluster behind an OpenCost, independent of its name, and the prices of its nodes.

The uid of the namespace kube-system is unique, lasts as long as the cluster, and does not depend on the cloud. OpenCost
up to 1.113 has it at /allNamespaces, from 1.118 on in /metrics; the versions between have it nowhere. On Azure the
subscription and resource group of the nodes are unique too. The names of nodes and volumes change over time: of two
scrapes of one cluster some are the same.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from opencost_kusto.schema.columns import Json

UID, ARM, NODES, VOLUMES = "k8s", "arm", "nodes", "volumes"
# Schemes of which two clusters never have the same value, the surest first; the others are sets.
UNIQUE, SETS = (UID, ARM), (NODES, VOLUMES)
# Names of one set that are kept, the same ones of equal sets.
_KEPT = 50
SYSTEM = "kube-system"
_NAMESPACE, _VOLUME, _NODE = "kube_namespace_labels", "kube_persistentvolume_capacity_bytes", "node_total_hourly_cost"
_READ = tuple(name.encode() for name in (_NAMESPACE, _VOLUME, _NODE))
_SAMPLE = re.compile(r"(\w+)\{(.*)\}\s+(\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_GROUP = re.compile(r"/subscriptions/([^/]+)/resourcegroups/([^/]+)/")


class _Metadata(msgspec.Struct):
    name: str = ""
    uid: str = ""


class _Namespace(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Namespaces(msgspec.Struct):
    items: list[_Namespace] = []


@dataclass(slots=True)
class Scrape:
    """The cluster in a scrape of /metrics: the fingerprint by scheme, and the price of each node per hour.

    `prices` is by the node's id at the cloud provider, else by its name, in the source's currency.
    """

    fingerprint: dict[str, Json] = field(default_factory=dict)
    prices: dict[str, float] = field(default_factory=dict)


def of_namespaces(body: bytes) -> dict[str, str]:
    """The uid in a response of /allNamespaces; empty where it has none."""
    try:
        found = msgspec.json.decode(body, type=_Namespaces)
    except (ValueError, RecursionError):
        return {}
    uid = next((one.metadata.uid for one in found.items if one.metadata.name == SYSTEM), "")
    return {UID: uid} if uid else {}


def of_metrics(chunks: Iterable[bytes]) -> Scrape:
    """The fingerprint in a scrape of /metrics; a scheme that it does not have is left out."""
    scrape, groups = Scrape(), Counter[str]()
    nodes, volumes = set[str](), set[str]()
    for line in _lines(chunks):
        if not (sample := _SAMPLE.match(line)):
            continue
        labels = dict(_LABEL.findall(sample[2]))
        if sample[1] == _NODE:
            id_, name = labels.get("provider_id", ""), labels.get("node") or labels.get("instance", "")
            nodes.add(name)
            scrape.prices[id_ or name] = _number(sample[3])
            groups.update("/".join(found) for found in _GROUP.findall(id_.lower()))
        elif sample[1] == _VOLUME:
            volumes.add(labels.get("persistentvolume", ""))
        elif sample[1] == _NAMESPACE and labels.get("namespace") == SYSTEM and labels.get("uid"):
            scrape.fingerprint[UID] = labels["uid"]
    # Nodes of one cluster that are in two groups do not say which is its own.
    if len(groups) == 1:
        scrape.fingerprint[ARM] = next(iter(groups))
    for scheme, names in ((NODES, nodes), (VOLUMES, volumes)):
        if kept := sorted(names - {""}, key=_digest)[:_KEPT]:
            scrape.fingerprint[scheme] = kept
    return scrape


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """The lines of a text in chunks that begin as those that are read."""
    rest = b""
    for chunk in itertools.chain(chunks, [b"\n"]):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines if line.startswith(_READ))


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
