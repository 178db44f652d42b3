"""What the server says of its cluster: /clusterInfo, /clusterInfoMap, /installInfo and /allNamespaces."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from opencost_kusto.emulator.opencost.identifiers import uid
from opencost_kusto.emulator.opencost.model import Cluster, Namespace
from opencost_kusto.emulator.opencost.numbers import stamp
from opencost_kusto.emulator.opencost.versions import Version


def info(cluster: Cluster, version: Version) -> dict[str, str]:
    """The data of /clusterInfo."""
    info = {
        "account": cluster.account,
        "clusterProfile": "production",
        "errorReporting": "false",
        "id": cluster.id,
        "logCollection": "false",
        "name": cluster.id,
        "productAnalytics": "false",
        "provider": "Azure",
        "region": cluster.region,
        "remoteReadEnabled": "false",
        "thanosEnabled": "false",
        "valuesReporting": "false",
        "version": "1.30",
    }
    if not version.status_in_envelope:
        del info["thanosEnabled"]
    return info


def cluster_map(cluster: Cluster, version: Version) -> dict[str, dict[str, str]]:
    """The data of /clusterInfoMap."""
    entry = {
        "id": cluster.id,
        "name": cluster.id,
        "profile": "production",
        "provider": "Azure",
        "account": cluster.account,
        "project": "",
        "region": cluster.region,
        "provisioner": "",
    }
    if not version.status_in_envelope:
        entry["version"] = ""
    return {cluster.id: entry}


def installation(cluster: Cluster, version: Version, now: float) -> dict[str, object]:
    """/installInfo at a moment, which has no envelope."""
    monitoring = (one for one in cluster.workloads if one.namespace == "monitoring")
    images = (container.name for one in monitoring for container in one.containers)
    pods = [pod for one in cluster.workloads for pod in one.pods_between(now, now + 1) if pod.life.start < now]
    nodes = [node for node in cluster.nodes if node.life.start < now <= node.life.end]
    started = datetime.fromtimestamp(cluster.life.start, UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
    return {
        "containers": [
            {
                "containerName": name,
                "image": f"registry.example.com/monitoring/{name}:1.0",
                "startTime": started,
            }
            for name in images
        ],
        "clusterInfo": {"nodeCount": str(len(nodes)), "podCount": str(len(pods))},
        "version": version.reported,
    }


def namespaces(cluster: Cluster) -> dict[str, object]:
    """/allNamespaces: the Namespaces as the Kubernetes API has them."""
    return {"items": [_namespace(cluster, one) for one in cluster.namespaces]}


def _namespace(cluster: Cluster, namespace: Namespace) -> dict[str, Any]:
    metadata = {
        "name": namespace.name,
        "uid": uid(f"{cluster.id}/namespace/{namespace.name}"),
        "creationTimestamp": stamp(cluster.life.start),
        "labels": dict(namespace.labels),
    }
    if namespace.annotations:
        metadata["annotations"] = dict(namespace.annotations)
    spec, status = {"finalizers": ["kubernetes"]}, {"phase": "Active"}
    return {"metadata": metadata, "spec": spec, "status": status}
