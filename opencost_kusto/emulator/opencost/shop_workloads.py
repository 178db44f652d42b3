"""What runs in the shop, by namespace."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from opencost_kusto.emulator.opencost.addons import numbered, pods
from opencost_kusto.emulator.opencost.identifiers import digest
from opencost_kusto.emulator.opencost.model import DAY, HOUR, Container, Life, Schedule, Traffic, Workload
from opencost_kusto.emulator.opencost.shop_nodes import Nodes

# Annotations of namespaces, which their pods have too.
OWNER: Final = {"owner": "storefront@example.com"}
PAYMENTS: Final = {"example_com__bersicht": "Zahlungen – Überblick", "owner": "payments@example.com"}


def workloads(nodes: Nodes, deploy: float, deletion: float) -> tuple[Workload, ...]:
    """Everything but what runs in every cluster; `web` is deployed and `analytics` deleted at these times."""
    return (
        *_api(nodes),
        *_web(nodes, deploy),
        *_shop(nodes),
        *_payments(nodes),
        *_data(nodes, deletion),
        *_others(nodes),
    )


def _labels(name: str, team: str = "", **more: str) -> dict[str, str]:
    labels = {"app": name, "app_kubernetes_io_name": name, **more}
    return {**labels, "example_com_team": team} if team else labels


def _api(nodes: Nodes) -> tuple[Workload, ...]:
    """Two pods, and two more in the working hours of weekdays."""
    apps, system = (nodes.apps,), (nodes.system,)
    api = Workload(
        *("shop", "api", "deployment", (Container("app", 0.3, 0.26, 384, 408),)),
        template=digest("api", 10),
        labels=_labels("api", "storefront", app_kubernetes_io_part_of="shop"),
        annotations=OWNER,
        services=("api",),
        traffic=Traffic(112e6, 100e6, 0.33, 0.05, 0.09),
        rhythm="shop",
    )
    return (
        replace(api, pods=pods("api", api.template, apps, apps)),
        replace(api, schedule=Schedule(DAY, 7 * HOUR + 1200, 12 * HOUR + 1200, system, weekdays=True)),
        replace(api, schedule=Schedule(DAY, 8 * HOUR + 600, 10 * HOUR + 2400, system, weekdays=True)),
    )


def _web(nodes: Nodes, deploy: float) -> tuple[Workload, ...]:
    """Three pods of one release, then six of the next."""
    apps, spot, more = (nodes.apps,), nodes.spot, (nodes.more_apps,)
    web = Workload(
        *("shop", "web", "deployment"),
        (Container("app", 0.25, 0.18, 256, 226), Container("istio-proxy", 0.05, 0.026, 64, 68)),
        annotations={
            "example_com_beschreibung": "Schaufenster «Größe» 日本",
            "prometheus_io_port": "15020",
            "prometheus_io_scrape": "true",
            **OWNER,
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


def _shop(nodes: Nodes) -> tuple[Workload, ...]:
    apps = (nodes.apps,)
    return (
        Workload(
            *("shop", "cart", "replicaset", (Container("cart", 0.1, 0.031, 128, 92),)),
            pods("cart", "", apps, apps),
            labels=_labels("cart", app_kubernetes_io_part_of="shop"),
            annotations=OWNER,
            services=("cart",),
            traffic=Traffic(66e6, 59e6),
        ),
        Workload(
            *("shop", "redis", "statefulset", (Container("redis", 0.2, 0.047, 512, 360),)),
            numbered("redis", nodes.apps),
            labels=_labels("redis"),
            annotations=OWNER,
            services=("redis",),
            traffic=Traffic(96e6, 43e6),
        ),
        Workload(
            *("shop", "debug-shell", "", (Container("shell"),)),
            (numbered("debug-shell", nodes.apps)[0]._replace(name="debug-shell"),),
            labels={"run": "debug-shell"},
            annotations=OWNER,
            traffic=Traffic(84e6, 37e6),
        ),
    )


def _payments(nodes: Nodes) -> tuple[Workload, ...]:
    apps, gateway = (nodes.apps,), digest("gateway", 10)
    return (
        Workload(
            *("payments", "gateway", "deployment"),
            (Container("app", 0.2, 0.08, 256, 236), Container("envoy", 0.05, 0.032, 64, 61)),
            pods("gateway", gateway, apps, apps),
            template=gateway,
            labels=_labels("gateway", "payments", pci_example_com_scope="in"),
            annotations={**PAYMENTS, "prometheus_io_scrape": "true"},
            services=("gateway-internal",),
            traffic=Traffic(84e6, 71e6, 0.24, 0.0, 0.43),
            rhythm="shop",
        ),
        Workload(
            *("payments", "ledger", "statefulset", (Container("ledger", 0.25, 0.096, 1024, 819),)),
            numbered("ledger", nodes.apps, nodes.system),
            labels=_labels("ledger", "payments"),
            annotations=PAYMENTS,
            services=("ledger",),
            traffic=Traffic(87e6, 57e6),
        ),
        Workload(
            *("payments", "settle", "job", (Container("settle", 0.5, 0.21, 512, 295),)),
            schedule=Schedule(HOUR, 600, 1500, nodes.spot),
            labels=_labels("settle"),
            annotations=PAYMENTS,
            traffic=Traffic(84e6, 31e6),
        ),
    )


def _data(nodes: Nodes, deletion: float) -> tuple[Workload, ...]:
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


def _others(nodes: Nodes) -> tuple[Workload, ...]:
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
