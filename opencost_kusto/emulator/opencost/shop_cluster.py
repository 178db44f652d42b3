"""The cluster of a web shop: the recorded cluster, with fourteen days of things that happen.

A deploy doubles `web`, the evicted spot node is replaced, a deleted StatefulSet leaves its volume behind, and for an
hour Prometheus scrapes nothing. A report runs at night, and `api` has more pods on weekdays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from opencost_kusto.emulator.opencost import addons
from opencost_kusto.emulator.opencost.addons import volume
from opencost_kusto.emulator.opencost.model import DAY, HOUR, Cluster, Life, LoadBalancer, Namespace
from opencost_kusto.emulator.opencost.shop_nodes import Nodes
from opencost_kusto.emulator.opencost.shop_workloads import OWNER, PAYMENTS, workloads

ID: Final = "aks-shop-prod-weu"
ACCOUNT: Final = "8f3a1c52-6b0e-4d7a-9c41-2e5d7b90a6f1"
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
        OWNER,
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
        PAYMENTS,
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


def cluster(anchor: float) -> Cluster:
    """The cluster whose fourteenth day ends at `anchor`, a midnight; it goes on after it."""
    deploy, eviction = anchor - 5 * DAY + 14 * HOUR + 1200, anchor - 3 * DAY + 16 * HOUR + 2520
    deletion, outage = anchor - 6 * DAY + 11 * HOUR + 1800, anchor - 2 * DAY + 3 * HOUR
    nodes = Nodes(deploy, eviction)
    return Cluster(
        ID,
        "westeurope",
        ACCOUNT,
        Life(anchor - 14 * DAY),
        _NAMESPACES,
        nodes.all,
        (
            *addons.workloads(nodes.all),
            *workloads(nodes, deploy, deletion),
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
