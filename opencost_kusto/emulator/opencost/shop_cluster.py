"""The cluster of a web shop: the recorded cluster, with fourteen days of things that happen.

A deploy doubles `web`, the evicted spot node is replaced, a deleted StatefulSet leaves its volume behind, and for an
hour Prometheus scrapes nothing. A report runs at night, and `api` has more pods on weekdays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from opencost_kusto.emulator.opencost import addons
from opencost_kusto.emulator.opencost.addons import numbered, pods, volume
from opencost_kusto.emulator.opencost.identifiers import digest
from opencost_kusto.emulator.opencost.model import (
    DAY,
    HOUR,
    Cluster,
    Container,
    Life,
    LoadBalancer,
    Namespace,
    Node,
    Schedule,
    Traffic,
    Workload,
)

ID: Final = "aks-shop-prod-weu"
ACCOUNT: Final = "8f3a1c52-6b0e-4d7a-9c41-2e5d7b90a6f1"
_OWNER: Final = {"owner": "storefront@example.com"}
_PAYMENTS: Final = {"example_com__bersicht": "Zahlungen – Überblick", "owner": "payments@example.com"}
_NAMESPACES: Final = (
    *addons.NAMESPACES,
    Namespace("ingress-nginx", {"kubernetes_io_metadata_name": "ingress-nginx", "team": "platform"}),
    Namespace(
        "shop",
        {
            "cost_center": "cc-1001",
            "environment": "prod",
            "istio_io_rev": "asm-1-23",
            "kubernetes_io_metadata_name": "shop",
            "team": "storefront",
        },
        _OWNER,
    ),
    Namespace(
        "payments",
        {
            "cost_center": "cc-2002",
            "environment": "prod",
            "kubernetes_io_metadata_name": "payments",
            "pod_security_kubernetes_io_enforce": "restricted",
            "team": "payments",
        },
        _PAYMENTS,
    ),
    Namespace(
        "data",
        {
            "cost_center": "cc-3003",
            "environment": "prod",
            "kubernetes_io_metadata_name": "data",
            "team": "data-platform",
        },
    ),
    Namespace("ml", {"environment": "dev", "kubernetes_io_metadata_name": "ml", "team": "data-science"}),
)


class _Nodes:
    """The node pools; the second machine of `apps` joins with the deploy, the second of `spot` after the eviction."""

    def __init__(self, deploy: float, eviction: float) -> None:
        self.system = Node("aks-system-31415926-vmss000000", "system", "Standard_D4s_v5", 1, 16767590400)
        self.apps = Node("aks-apps-27182818-vmss000000", "apps", "Standard_E4s_v5", 2, 33669570560)
        self.more_apps = replace(self.apps, name="aks-apps-27182818-vmss000001", life=Life(deploy + 240))
        self.gpu = Node("aks-gpu-14142135-vmss000002", "gpu", "Standard_NC4as_T4_v3", 2, 29452513280, gpu=1)
        spot = Node("aks-spot-16180339-vmss00000b", "spot", "Standard_D4s_v5", 3, 16767590400, spot=True)
        self.spot = (
            replace(spot, life=Life(end=eviction)),
            replace(spot, name="aks-spot-16180339-vmss00000c", life=Life(eviction + 1080)),
        )
        self.all = (self.system, self.apps, self.more_apps, self.gpu, *self.spot)


def cluster(anchor: float) -> Cluster:
    """The cluster whose fourteenth day ends at `anchor`, a midnight; it goes on after it."""
    deploy, eviction = anchor - 5 * DAY + 14 * HOUR + 1200, anchor - 3 * DAY + 16 * HOUR + 2520
    deletion, outage = anchor - 6 * DAY + 11 * HOUR + 1800, anchor - 2 * DAY + 3 * HOUR
    nodes = _Nodes(deploy, eviction)
    return Cluster(
        ID,
        "westeurope",
        ACCOUNT,
        Life(anchor - 14 * DAY),
        _NAMESPACES,
        nodes.all,
        (
            *addons.workloads(nodes.all),
            *_api(nodes),
            *_web(nodes, deploy),
            *_shop(nodes),
            *_payments(nodes),
            *_data(nodes, deletion),
            *_others(nodes),
        ),
        (
            addons.metrics_volume(ID),
            volume(ID, 8, "shop", "data-redis-0", "redis-0"),
            volume(ID, 32, "payments", "wal-ledger-0", "ledger-0"),
            volume(ID, 32, "payments", "wal-ledger-1", "ledger-1"),
            volume(ID, 128, "data", "pgdata-postgres-0", "postgres-0"),
            volume(ID, 128, "data", "pgdata-postgres-1", "postgres-1", used=0.43),
            replace(volume(ID, 100, "data", "etl-shared", "etl-worker-"), storage_class="azurefile-csi"),
            volume(ID, 1024, "data", "warehouse-analytics-0", "analytics-0", used=0.71),
            volume(ID, 256, "ml", "models-archive"),
            volume(ID, 64),
        ),
        (
            LoadBalancer("ingress-nginx", "ingress-nginx-controller", "203.0.113.24"),
            LoadBalancer("payments", "gateway-internal", "10.224.0.120", private=True),
        ),
        # From before the hour to after it, so that no sample is at either of its ends.
        outages=(Life(outage - 120, outage + HOUR + 120),),
    )


def _labels(name: str, team: str = "", **more: str) -> dict[str, str]:
    labels = {"app": name, "app_kubernetes_io_name": name, **more}
    return {**labels, "example_com_team": team} if team else labels


def _api(nodes: _Nodes) -> tuple[Workload, ...]:
    """Two pods, and two more in the working hours of weekdays."""
    apps, system = (nodes.apps,), (nodes.system,)
    api = Workload(
        *("shop", "api", "deployment", (Container("app", 0.3, 0.26, 384, 408),)),
        template=digest("api", 10),
        labels=_labels("api", "storefront", app_kubernetes_io_part_of="shop"),
        annotations=_OWNER,
        services=("api",),
        traffic=Traffic(112e6, 100e6, 0.33, 0.05, 0.09),
        rhythm="shop",
    )
    return (
        replace(api, pods=pods("api", api.template, apps, apps)),
        replace(api, schedule=Schedule(DAY, 7 * HOUR + 1200, 12 * HOUR + 1200, system, weekdays=True)),
        replace(api, schedule=Schedule(DAY, 8 * HOUR + 600, 10 * HOUR + 2400, system, weekdays=True)),
    )


def _web(nodes: _Nodes, deploy: float) -> tuple[Workload, ...]:
    """Three pods of one release, then six of the next."""
    apps, spot, more = (nodes.apps,), nodes.spot, (nodes.more_apps,)
    web = Workload(
        *("shop", "web", "deployment"),
        (Container("app", 0.25, 0.18, 256, 226), Container("istio-proxy", 0.05, 0.026, 64, 68)),
        annotations={
            "example_com_beschreibung": "Schaufenster «Größe» 日本",
            "prometheus_io_port": "15020",
            "prometheus_io_scrape": "true",
            **_OWNER,
        },
        services=("web",),
        traffic=Traffic(164e6, 149e6, 0.17, 0.02, 0.5),
        rhythm="shop",
    )
    release = {"motto": "größe-é-日本", "app_kubernetes_io_part_of": "shop"}
    first = _labels("web", "storefront", app_kubernetes_io_version="1.8.0", **release)
    second = _labels("web", "storefront", app_kubernetes_io_version="2.0.0", **release)
    return (
        replace(
            web,
            pods=pods("web", "6bdb12f66d", apps, apps, spot, life=Life(end=deploy)),
            template="6bdb12f66d",
            labels=first,
        ),
        replace(
            web,
            pods=pods("web", "6cba6782aa", apps, apps, spot, more, more, more, life=Life(deploy)),
            template="6cba6782aa",
            labels=second,
        ),
    )


def _shop(nodes: _Nodes) -> tuple[Workload, ...]:
    apps = (nodes.apps,)
    return (
        Workload(
            *("shop", "cart", "replicaset", (Container("cart", 0.1, 0.031, 128, 92),)),
            pods("cart", "", apps, apps),
            labels=_labels("cart", app_kubernetes_io_part_of="shop"),
            annotations=_OWNER,
            services=("cart",),
            traffic=Traffic(66e6, 59e6),
        ),
        Workload(
            *("shop", "redis", "statefulset", (Container("redis", 0.2, 0.047, 512, 360),)),
            numbered("redis", nodes.apps),
            labels=_labels("redis"),
            annotations=_OWNER,
            services=("redis",),
            traffic=Traffic(96e6, 43e6),
        ),
        Workload(
            *("shop", "debug-shell", "", (Container("shell"),)),
            (numbered("debug-shell", nodes.apps)[0]._replace(name="debug-shell"),),
            labels={"run": "debug-shell"},
            annotations=_OWNER,
            traffic=Traffic(84e6, 37e6),
        ),
    )


def _payments(nodes: _Nodes) -> tuple[Workload, ...]:
    apps, gateway = (nodes.apps,), digest("gateway", 10)
    return (
        Workload(
            *("payments", "gateway", "deployment"),
            (Container("app", 0.2, 0.08, 256, 236), Container("envoy", 0.05, 0.032, 64, 61)),
            pods("gateway", gateway, apps, apps),
            template=gateway,
            labels=_labels("gateway", "payments", pci_example_com_scope="in"),
            annotations={**_PAYMENTS, "prometheus_io_scrape": "true"},
            services=("gateway-internal",),
            traffic=Traffic(84e6, 71e6, 0.24, 0.0, 0.43),
            rhythm="shop",
        ),
        Workload(
            *("payments", "ledger", "statefulset", (Container("ledger", 0.25, 0.096, 1024, 819),)),
            numbered("ledger", nodes.apps, nodes.system),
            labels=_labels("ledger", "payments"),
            annotations=_PAYMENTS,
            services=("ledger",),
            traffic=Traffic(87e6, 57e6),
        ),
        Workload(
            *("payments", "settle", "job", (Container("settle", 0.5, 0.21, 512, 295),)),
            schedule=Schedule(HOUR, 600, 1500, nodes.spot),
            labels=_labels("settle"),
            annotations=_PAYMENTS,
            traffic=Traffic(84e6, 31e6),
        ),
    )


def _data(nodes: _Nodes, deletion: float) -> tuple[Workload, ...]:
    worker = digest("etl-worker", 10)
    return (
        Workload(
            *("data", "postgres", "statefulset"),
            (Container("metrics", 0, 0.0075, 0, 30), Container("postgres", 0.5, 0.36, 4096, 3267)),
            numbered("postgres", nodes.apps, nodes.system),
            labels=_labels("postgres", app_kubernetes_io_version="16.4") | {"app_kubernetes_io_name": "postgresql"},
            services=("postgres",),
            traffic=Traffic(86e6, 76e6),
            rhythm="shop",
        ),
        Workload(
            *("data", "etl-worker", "deployment", (Container("worker", 0.8, 0.6, 3072, 2228),)),
            pods("etl-worker", worker, nodes.spot, nodes.spot),
            template=worker,
            labels=_labels("etl-worker"),
            traffic=Traffic(208e6, 134e6, 0.5, 0.11),
        ),
        Workload(
            *("data", "nightly-report", "job", (Container("report", 1.6, 1.45, 4096, 3300),)),
            schedule=Schedule(DAY, 2400, 3 * HOUR + 1800, (nodes.system,)),
            labels=_labels("nightly-report"),
            traffic=Traffic(310e6, 620e6, 0.5),
        ),
        Workload(
            *("data", "analytics", "statefulset", (Container("analytics", 0.2, 0.05, 2048, 1800),)),
            numbered("analytics", nodes.system, life=Life(end=deletion)),
            labels=_labels("analytics"),
            services=("analytics",),
            traffic=Traffic(20e6, 20e6),
        ),
    )


def _others(nodes: _Nodes) -> tuple[Workload, ...]:
    ingress, inference, trainer = digest("ingress-nginx", 10), digest("inference", 10), digest("trainer", 10)
    return (
        Workload(
            *("ingress-nginx", "ingress-nginx-controller", "deployment"),
            (Container("controller", 0.2, 0.076, 256, 309),),
            pods("ingress-nginx-controller", ingress, (nodes.apps,), (nodes.system,)),
            template=ingress,
            labels={
                "app_kubernetes_io_component": "controller",
                "app_kubernetes_io_instance": "ingress-nginx",
                "app_kubernetes_io_name": "ingress-nginx",
            },
            services=("ingress-nginx-controller", "ingress-nginx-controller-admission"),
            traffic=Traffic(940e6, 590e6, 0.09, 0.0, 0.6),
            rhythm="shop",
        ),
        Workload(
            *("ml", "inference", "deployment", (Container("inference", 0.5, 0.22, 4096, 2019),)),
            pods("inference", inference, (nodes.gpu,)),
            template=inference,
            labels=_labels("inference"),
            services=("inference",),
            traffic=Traffic(96e6, 71e6),
            rhythm="office",
        ),
        Workload(
            *("ml", "trainer", "deployment", (Container("trainer", 2, 1.14, 16384, 14548, 1, 0.47),)),
            pods("trainer", trainer, (nodes.gpu,)),
            template=trainer,
            labels=_labels("trainer") | {"nvidia_com_gpu_product": "Tesla-T4"},
            traffic=Traffic(82e6, 60e6),
        ),
    )
