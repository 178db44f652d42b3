"""What runs in every cluster of the emulator: the add-ons of AKS in kube-system, and monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opencost_kusto.emulator.opencost.identifiers import digest, suffix, uid
from opencost_kusto.emulator.opencost.model import (
    EVER,
    Container,
    Life,
    Namespace,
    Node,
    Pod,
    Traffic,
    Volume,
    Workload,
)

ADDON_LABELS: Final = {"addonmanager_kubernetes_io_mode": "Reconcile", "kubernetes_io_cluster_service": "true"}
_PLATFORM: Final = {"team": "platform"}
NAMESPACES: Final = (
    Namespace("kube-system", {**ADDON_LABELS, "kubernetes_io_metadata_name": "kube-system"}),
    Namespace("monitoring", {"kubernetes_io_metadata_name": "monitoring", **_PLATFORM}),
)


def pods(name: str, template: str, *chains: Sequence[Node], life: Life = EVER) -> tuple[Pod, ...]:
    """The pods of a Deployment, one for each chain; a pod is replaced when the next node of its chain takes over."""
    stem = f"{name}-{template}" if template else name
    found = []
    for replica, chain in enumerate(chains):
        for node in chain:
            lived = _within(node, life)
            if lived.start < lived.end:
                found.append(Pod(f"{stem}-{suffix(f'{stem}{replica}{node.name}')}", node, lived))
    return tuple(found)


def numbered(name: str, *nodes: Node, life: Life = EVER) -> tuple[Pod, ...]:
    """The pods of a StatefulSet."""
    return tuple(Pod(f"{name}-{at}", node, _within(node, life)) for at, node in enumerate(nodes))


def _within(node: Node, life: Life) -> Life:
    """The life of a pod on a node; it starts two minutes after the node."""
    return Life(max(node.life.start + 120, life.start), min(node.life.end, life.end))


def workloads(nodes: Sequence[Node]) -> tuple[Workload, ...]:
    """The workloads; a DaemonSet has a pod on each node, the others run on the first."""
    return (*_daemons(nodes), *_services(nodes[0]), *_monitoring(nodes[0]))


def _daemons(nodes: Sequence[Node]) -> tuple[Workload, ...]:
    every = tuple((node,) for node in nodes)
    agent = {"component": "ama-logs-agent", "tier": "node"}
    proxy = {"component": "kube-proxy", "tier": "node"}
    return (
        _daemon("ama-logs", every, agent, Container("ama-logs", 0.075, 0.036, 325, 207)),
        _daemon(
            "csi-azuredisk-node",
            every,
            {"app": "csi-azuredisk-node"},
            Container("azuredisk", 0.01, 0.0018, 20, 46),
            Container("liveness-probe", 0.01, 0.0003, 20, 14),
            Container("node-driver-registrar", 0.01, 0.0002, 20, 14),
        ),
        _daemon("kube-proxy", every, proxy, Container("kube-proxy", 0.1, 0.0036, 0, 49)),
    )


def _services(node: Node) -> tuple[Workload, ...]:
    system, dns, metrics = (node,), digest("coredns", 10), digest("metrics-server", 10)
    return (
        Workload(
            *("kube-system", "coredns", "deployment", (Container("coredns", 0.1, 0.012, 70, 39),)),
            pods("coredns", dns, system, system),
            template=dns,
            labels={**ADDON_LABELS, "k8s_app": "kube-dns"},
            services=("kube-dns",),
            traffic=Traffic(70e6, 52e6),
        ),
        Workload(
            *("kube-system", "metrics-server", "deployment"),
            (
                Container("metrics-server", 0.044, 0.0044, 51, 44),
                Container("metrics-server-vpa", 0.005, 0.0011, 30, 22),
            ),
            pods("metrics-server", metrics, system, system),
            template=metrics,
            labels={**ADDON_LABELS, "k8s_app": "metrics-server"},
            services=("metrics-server",),
            traffic=Traffic(78e6, 49e6),
        ),
    )


def _monitoring(node: Node) -> tuple[Workload, ...]:
    system, opencost = (node,), digest("opencost", 10)
    instance = {"app_kubernetes_io_instance": "opencost", "app_kubernetes_io_name": "opencost"}
    monitored = {"app": "prometheus", "app_kubernetes_io_name": "prometheus"}
    return (
        Workload(
            *("monitoring", "opencost", "deployment"),
            (Container("opencost", 0.01, 0.0195, 55, 126), Container("opencost-ui", 0.01, 0, 55, 0)),
            pods("opencost", opencost, system),
            template=opencost,
            labels=instance,
            services=("opencost",),
            traffic=Traffic(48e6, 60e6),
        ),
        Workload(
            *("monitoring", "prometheus", "statefulset"),
            (Container("config-reloader", 0.01, 0.0003, 50, 11), Container("prometheus", 0.3, 0.23, 2048, 1540)),
            numbered("prometheus", node),
            labels=monitored,
            services=("prometheus",),
            traffic=Traffic(81e6, 71e6),
        ),
    )


def _daemon(name: str, every: Sequence[Sequence[Node]], labels: dict[str, str], *containers: Container) -> Workload:
    return Workload(
        "kube-system", name, "daemonset", containers, pods(name, "", *every), labels={**ADDON_LABELS, **labels}
    )


def metrics_volume(cluster: str) -> Volume:
    """The volume of Prometheus."""
    return volume(cluster, 64, "monitoring", "tsdb-prometheus-0", "prometheus-0", used=0.4)


def volume(
    cluster: str, size: int, namespace: str = "", claim: str = "", pods: str = "", *, used: float = 0.4
) -> Volume:
    """A volume that a storage class provisioned, named by the identifier of its claim."""
    return Volume(f"pvc-{uid(f'{cluster}/{namespace}/{claim}')}", size, namespace, claim, pods, used=used)
