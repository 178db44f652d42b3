"""The cluster of a research team: notebooks on weekdays, and for a few days a training on a GPU node of its own."""

from __future__ import annotations

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
    Namespace,
    Node,
    Prices,
    Schedule,
    Traffic,
    Workload,
)
from opencost_kusto.emulator.opencost.shop_cluster import ACCOUNT

ID: Final = "aks-research-dev-neu"
_RESEARCH: Final = {"cost_center": "cc-4004", "environment": "dev", "team": "data-science"}
_NAMESPACES: Final = (
    *addons.NAMESPACES,
    *(
        Namespace(name, {**_RESEARCH, "kubernetes_io_metadata_name": name}, {"owner": "research@example.com"})
        for name in ("notebooks", "training", "features")
    ),
)
# The working hours of the notebooks: from, and for how long.
_SHIFTS: Final = ((7 * HOUR + 2400, 9 * HOUR), (8 * HOUR + 900, 10 * HOUR), (9 * HOUR + 300, 8 * HOUR + 1800))


def cluster(anchor: float) -> Cluster:
    """The cluster whose fourteenth day ends at `anchor`, a midnight; it goes on after it."""
    training = Life(anchor - 7 * DAY + 8 * HOUR + 300, anchor - 4 * DAY + 18 * HOUR + 2100)
    system = Node("aks-system-40216837-vmss000000", "system", "Standard_D4s_v5", 1, 16767590400)
    users = Node("aks-users-40216837-vmss000000", "users", "Standard_E4s_v5", 2, 33669570560)
    gpu = Node("aks-gpu-40216837-vmss000003", "gpu", "Standard_NC4as_T4_v3", 1, 29452513280, training, gpu=1)
    nodes = (system, users, gpu)
    return Cluster(
        ID,
        "northeurope",
        ACCOUNT,
        Life(anchor - 14 * DAY),
        _NAMESPACES,
        nodes,
        (*addons.workloads(nodes), *_workloads(system, users, gpu, training)),
        (
            addons.metrics_volume(ID),
            volume(ID, 256, "features", "data-store-0", "store-0", used=0.62),
            volume(ID, 128, "training", "checkpoints", "trainer-"),
        ),
        (),
        Prices(cpu=0.0418, ram=0.00464),
    )


def _workloads(system: Node, users: Node, gpu: Node, training: Life) -> tuple[Workload, ...]:
    trainer, notebook = digest("research-trainer", 10), digest("notebook", 10)
    return (
        *(
            Workload(
                *("notebooks", "notebook", "deployment", (Container("notebook", 0.9, 0.35, 6144, 3900),)),
                schedule=Schedule(DAY, offset, length, (users,), weekdays=True),
                template=notebook,
                labels={"app": "notebook", "app_kubernetes_io_name": "notebook"},
                services=("hub",),
                traffic=Traffic(40e6, 95e6, internet=0.1),
                rhythm="office",
            )
            for offset, length in _SHIFTS
        ),
        Workload(
            *("features", "store", "statefulset", (Container("store", 0.6, 0.41, 3072, 2600),)),
            numbered("store", system),
            labels={"app": "store", "app_kubernetes_io_name": "store"},
            services=("store",),
            traffic=Traffic(150e6, 90e6, 0.3),
            rhythm="office",
        ),
        Workload(
            *("training", "trainer", "deployment", (Container("trainer", 3, 2.6, 20480, 18100, 1, 0.86),)),
            pods("trainer", trainer, (gpu,), life=Life(training.start + 240, training.end - 600)),
            template=trainer,
            labels={"app": "trainer", "app_kubernetes_io_name": "trainer", "nvidia_com_gpu_product": "Tesla-T4"},
            traffic=Traffic(60e6, 210e6),
        ),
    )
