"""The text of /metrics at a moment: what OpenCost exports of nodes, volumes, containers and Kubernetes objects.

Families and labels are the recorded ones, and newer versions add `uid`; of Go's and OpenCost's own telemetry only a
sample stands for each family that has no cost in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from opencost_kusto.emulator.opencost.aggregation import sanitized
from opencost_kusto.emulator.opencost.identifiers import uid
from opencost_kusto.emulator.opencost.metrics_text import TELEMETRY, Sample, line
from opencost_kusto.emulator.opencost.model import GIB, MIB, Cluster, Container, Node, Pod, Volume, Workload
from opencost_kusto.emulator.opencost.usage import usage
from opencost_kusto.emulator.opencost.versions import Version
from opencost_kusto.emulator.opencost.workload_costs import node_labels

_OWNERS: Final = {
    **{"deployment": "ReplicaSet", "daemonset": "DaemonSet", "statefulset": "StatefulSet"},
    **{"job": "Job", "replicaset": "ReplicaSet"},
}


@dataclass(frozen=True, slots=True)
class _Exported:
    """What a cluster consists of at a moment."""

    cluster: Cluster
    version: Version
    now: float

    def nodes(self) -> Iterator[Node]:
        return (node for node in self.cluster.nodes if node.life.start < self.now <= node.life.end)

    def pods(self) -> Iterator[tuple[Workload, Pod]]:
        for workload in self.cluster.workloads:
            for pod in workload.pods_between(self.now, self.now + 1):
                if pod.life.start < self.now <= pod.life.end:
                    yield workload, pod

    def containers(self) -> Iterator[tuple[Workload, Pod, Container]]:
        return ((workload, pod, one) for workload, pod in self.pods() for one in workload.containers)

    def uid(self, *parts: str) -> dict[str, str]:
        return {"uid": uid("/".join((self.cluster.id, *parts)))} if self.version.has_uids else {}


def exposition(cluster: Cluster, version: Version, now: float, info: Mapping[str, str]) -> str:
    """All families, sorted by name as the Prometheus client sorts them; `info` are the fields of /clusterInfo."""
    exported = _Exported(cluster, version, now)
    families: dict[str, list[str]] = {}
    for source in (_nodes, _containers, _pods, _volumes, _namespaces, _services):
        for sample in source(exported):
            families.setdefault(sample.family, []).append(line(sample))
    for sample in _cluster(exported, info):
        families.setdefault(sample.family, []).append(line(sample))
    text = [f"# HELP {name} {name}\n# TYPE {name} gauge\n{''.join(families[name])}" for name in sorted(families)]
    return "".join(text) + TELEMETRY


def _prefixed(prefix: str, labels: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}_{sanitized(name)}": value for name, value in labels.items()}


def _nodes(at: _Exported) -> Iterator[Sample]:
    prices, cluster = at.cluster.prices, at.cluster
    for node in at.nodes():
        cpu, ram = (prices.spot_cpu, prices.spot_ram) if node.spot else (prices.cpu, prices.ram)
        gpu = prices.gpu if node.gpu else 0.0
        own = at.uid("node", node.name)
        labels = {
            "arch": "amd64",
            "instance": node.name,
            "instance_type": node.instance_type,
            "node": node.name,
            "provider_id": cluster.provider_id(node),
            "region": cluster.region,
            **own,
        }
        yield Sample("node_cpu_hourly_cost", labels, cpu)
        yield Sample("node_ram_hourly_cost", labels, ram)
        yield Sample("node_gpu_hourly_cost", labels, gpu)
        yield Sample("node_gpu_count", labels, node.gpu)
        yield Sample("kubecost_node_is_spot", labels, node.spot)
        total = round(cpu * node.cpu + ram * node.ram / GIB + gpu * node.gpu, 6)
        yield Sample("node_total_hourly_cost", labels, total)
        held = _prefixed("label", node_labels(cluster, node))
        yield Sample("kube_node_labels", {**held, "node": node.name, **own}, 1)
        yield from _capacities(node, own)


def _capacities(node: Node, own: Mapping[str, str]) -> Iterator[Sample]:
    name = {"node": node.name, **own}
    for kind, cpu, ram in (
        ("capacity", float(node.cpu), float(node.ram)),
        ("allocatable", node.cpu * (1 - node.cpu_overhead), float(round(node.ram * (1 - node.ram_overhead)))),
    ):
        family = f"kube_node_status_{kind}"
        yield Sample(f"{family}_cpu_cores", name, cpu)
        yield Sample(f"{family}_memory_bytes", name, ram)
        yield Sample(family, {**name, "resource": "cpu", "unit": "core"}, cpu)
        yield Sample(family, {**name, "resource": "ephemeral_storage", "unit": "byte"}, 133003395072)
        yield Sample(family, {**name, "resource": "memory", "unit": "byte"}, ram)
        yield Sample(family, {**name, "resource": "pods", "unit": "integer"}, 110)
        if node.gpu:
            yield Sample(family, {**name, "resource": "nvidia_com_gpu", "unit": "integer"}, node.gpu)


def _containers(at: _Exported) -> Iterator[Sample]:
    for workload, pod, container in at.containers():
        used = usage(container, workload.rhythm, f"{pod.name}/{container.name}", at.now, at.now)
        own = at.uid("pod", pod.name)
        names = {"container": container.name, "namespace": workload.namespace, "pod": pod.name}
        placed = {**names, "instance": pod.node.name, "node": pod.node.name, **own}
        yield Sample("container_cpu_allocation", placed, used.cpu_charged)
        yield Sample("container_memory_allocation_bytes", placed, used.ram_charged)
        yield Sample("container_gpu_allocation", placed, container.gpu)
        requested = {**names, "node": pod.node.name, "uid": uid(f"{at.cluster.id}/pod/{pod.name}")}
        running = {**names, "uid": requested["uid"]}
        yield Sample("kube_pod_container_status_running", running, 1)
        for resource, unit, amount in (
            ("cpu", "core", container.cpu),
            ("memory", "byte", container.ram * MIB),
            ("nvidia_com_gpu", "integer", float(container.gpu)),
        ):
            if amount:
                labels = {**requested, "resource": resource, "unit": unit}
                yield Sample("kube_pod_container_resource_requests", labels, amount)


def _pods(at: _Exported) -> Iterator[Sample]:
    for workload, pod in at.pods():
        names = {"namespace": workload.namespace, "pod": pod.name}
        own = at.uid("pod", pod.name)
        labels = {**_prefixed("label", workload.labels_of(pod)), **names, "uid": uid(f"{at.cluster.id}/pod/{pod.name}")}
        yield Sample("kube_pod_labels", labels, 1)
        if workload.annotations:
            yield Sample("kube_pod_annotations", {**_prefixed("annotation", workload.annotations), **names, **own}, 1)
        if workload.kind:
            owner = pod.name.rpartition("-")[0] if workload.kind in {"deployment", "job"} else workload.name
            kind = {"owner_is_controller": "true", "owner_kind": _OWNERS[workload.kind], "owner_name": owner}
            yield Sample("kube_pod_owner", {**names, **kind, **own}, 1)
        for volume in at.cluster.volumes:
            if _mounts(volume, workload, pod):
                claim = {"persistentvolume": volume.name, "persistentvolumeclaim": volume.claim}
                yield Sample("pod_pvc_allocation", {**names, **claim, **own}, volume.size * GIB)


def _mounts(volume: Volume, workload: Workload, pod: Pod) -> bool:
    return bool(volume.pods) and workload.namespace == volume.namespace and pod.name.startswith(volume.pods)


def _volumes(at: _Exported) -> Iterator[Sample]:
    for volume in at.cluster.volumes:
        own = at.uid("volume", volume.name)
        name = {"persistentvolume": volume.name}
        disk = f"{at.cluster.providers}/disks/{volume.name}"
        priced = {**name, "provider_id": "", "volumename": volume.name, **own}
        yield Sample("pv_hourly_cost", priced, at.cluster.prices.storage)
        yield Sample("kube_persistentvolume_capacity_bytes", {**name, **own}, volume.size * GIB)
        info = {**name, "provider_id": disk, "storageclass": volume.storage_class, **own}
        yield Sample("kubecost_pv_info", info, 1)
        if volume.claim:
            claim = {"namespace": volume.namespace, "persistentvolumeclaim": volume.claim, **own}
            bound = {**claim, "storageclass": volume.storage_class, "volumename": volume.name}
            yield Sample("kube_persistentvolumeclaim_info", bound, 1)
            family = "kube_persistentvolumeclaim_resource_requests_storage_bytes"
            yield Sample(family, claim, volume.size * GIB)


def _namespaces(at: _Exported) -> Iterator[Sample]:
    for namespace in at.cluster.namespaces:
        name = {"namespace": namespace.name, **at.uid("namespace", namespace.name)}
        yield Sample("kube_namespace_labels", {**_prefixed("label", namespace.labels), **name}, 1)
        if namespace.annotations:
            annotations = _prefixed("annotation", namespace.annotations)
            yield Sample("kube_namespace_annotations", {**annotations, **name}, 1)


def _services(at: _Exported) -> Iterator[Sample]:
    seen: set[tuple[str, str, str]] = set()
    for workload in at.cluster.workloads:
        selector = _prefixed("label", dict(list(workload.labels.items())[:2]))
        objects = [("service", "service_selector_labels", name) for name in workload.services]
        if workload.kind == "deployment":
            objects.append(("deployment", "deployment_match_labels", workload.name))
        elif workload.kind == "statefulset":
            objects.append(("statefulSet", "statefulSet_match_labels", workload.name))
        for label, family, name in objects:
            if (label, workload.namespace, name) not in seen:
                names = {"namespace": workload.namespace, label: name, **at.uid(label, workload.namespace, name)}
                yield Sample(family, {**selector, **names}, 1)
            seen.add((label, workload.namespace, name))


def _cluster(at: _Exported, info: Mapping[str, str]) -> Iterator[Sample]:
    prices = at.cluster.prices
    yield Sample("kubecost_network_zone_egress_cost", {}, prices.zone)
    yield Sample("kubecost_network_region_egress_cost", {}, prices.region)
    yield Sample("kubecost_network_internet_egress_cost", {}, prices.internet)
    yield Sample("kubecost_cluster_management_cost", {"provisioner_name": ""}, 0)
    yield Sample("kubecost_cluster_info", {name.lower(): value for name, value in info.items()}, 1)
    yield Sample("opencost_build_info", {"revision": at.version.revision, "version": at.version.number}, 0)
    for balancer in at.cluster.load_balancers:
        names = {"ingress_ip": balancer.ip, "namespace": balancer.namespace, "service_name": balancer.service}
        own = at.uid("service", balancer.namespace, balancer.service)
        yield Sample("kubecost_load_balancer_cost", {**names, **own}, prices.load_balancer)
