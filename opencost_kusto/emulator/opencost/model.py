"""What a cluster consists of, and when: nodes, workloads, volumes and load balancers with their life times.

Times are seconds of the Unix epoch. Something that starts at `start` and ends at `end` is seen by OpenCost at each
sample t with start < t <= end, as recorded: a pod that started at 12:20 has its first sample at 12:25, and one that
ended at 09:40 its last at 09:40.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from opencost_kusto.emulator.opencost.identifiers import digest, suffix

ALWAYS: Final = -math.inf
FOREVER: Final = math.inf
GIB: Final = 1024**3
MIB: Final = 1024**2
HOUR: Final = 3600
DAY: Final = 86400

Labels = Mapping[str, str]


class Life(NamedTuple):
    """From when to when something exists."""

    start: float = ALWAYS
    end: float = FOREVER


EVER: Final = Life()


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars for an hour of a core, a GiB of memory, a GPU and a GiB of storage, and for a GiB sent."""

    cpu: float = 0.0398
    ram: float = 0.00442
    spot_cpu: float = 0.00786
    spot_ram: float = 0.00087
    gpu: float = 0.322
    storage: float = 0.000164
    local_storage: float = 0.000055
    load_balancer: float = 0.005
    zone: float = 0.01
    region: float = 0.02
    internet: float = 0.08


@dataclass(frozen=True, slots=True)
class Node:
    """A virtual machine of a scale set; `ram` in bytes."""

    name: str
    pool: str
    instance_type: str
    zone: int
    ram: int
    life: Life = EVER
    cpu: int = 4
    gpu: int = 0
    spot: bool = False
    cpu_overhead: float = 0.035
    ram_overhead: float = 0.16


@dataclass(frozen=True, slots=True)
class Container:
    """Requests and typical use: cores, MiB and GPUs."""

    name: str
    cpu: float = 0.0
    cpu_used: float = 0.0
    ram: float = 0.0
    ram_used: float = 0.0
    gpu: int = 0
    gpu_used: float = 0.0


class Pod(NamedTuple):
    """One pod on one node."""

    name: str
    node: Node
    life: Life


@dataclass(frozen=True, slots=True)
class Schedule:
    """Pods that come and go with the clock: `length` seconds from `offset` seconds into each period.

    `weekdays` leaves out Saturdays and Sundays.
    """

    period: int
    offset: int
    length: int
    pool: tuple[Node, ...]
    weekdays: bool = False


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes an hour that a pod sends and receives, and the share of what it sends by distance."""

    sent: float = 0.0
    received: float = 0.0
    zone: float = 0.0
    region: float = 0.0
    internet: float = 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """A controller and its pods; `kind` is empty for a pod without a controller.

    `rhythm` names how use moves over the week (see `usage`); `template` is the hash in the names of its pods.
    """

    namespace: str
    name: str
    kind: str
    containers: tuple[Container, ...]
    pods: tuple[Pod, ...] = ()
    schedule: Schedule | None = None
    template: str = ""
    labels: Labels = field(default_factory=dict)
    annotations: Labels = field(default_factory=dict)
    services: tuple[str, ...] = ()
    traffic: Traffic = Traffic()
    rhythm: str = "steady"

    def pods_between(self, start: float, end: float) -> Iterator[Pod]:
        """Its pods that exist at some time from `start` to `end`."""
        yield from (pod for pod in self.pods if pod.life.start < end and pod.life.end >= start)
        if self.schedule is not None:
            yield from self._scheduled(self.schedule, start, end)

    def _scheduled(self, schedule: Schedule, start: float, end: float) -> Iterator[Pod]:
        first = int((start - schedule.offset - schedule.length) // schedule.period)
        for turn in range(first, int((end - schedule.offset) // schedule.period) + 1):
            begin = turn * schedule.period + schedule.offset
            finish = begin + schedule.length
            # 1970-01-01 was a Thursday.
            if begin >= end or finish < start or (schedule.weekdays and (begin // DAY + 3) % 7 >= 5):
                continue
            node = next((one for one in schedule.pool if one.life.start <= begin < one.life.end), None)
            if node is not None:
                yield Pod(self._turn_name(begin), node, Life(begin, min(finish, node.life.end)))

    def _turn_name(self, begin: int) -> str:
        stem = f"{self.name}-{begin // 60}" if self.kind == "job" else f"{self.name}-{self.template}"
        return f"{stem}-{suffix(f'{stem}{begin}')}"

    def labels_of(self, pod: Pod) -> dict[str, str]:
        """The labels of a pod, those included that its controller sets."""
        labels = dict(self.labels)
        if self.kind == "job":
            labels["batch_kubernetes_io_job_name"] = labels["job_name"] = pod.name.rpartition("-")[0]
        elif self.kind == "statefulset":
            labels["controller_revision_hash"] = f"{self.name}-{digest(self.name, 10)}"
            labels["statefulset_kubernetes_io_pod_name"] = pod.name
        elif self.kind == "daemonset":
            labels["controller_revision_hash"], labels["pod_template_generation"] = digest(self.name, 10), "3"
        elif self.kind == "deployment":
            labels["pod_template_hash"] = self.template
        return labels


@dataclass(frozen=True, slots=True)
class Volume:
    """A persistent volume of `size` GiB; pods whose names begin with `pods` mount its claim, none when it is empty."""

    name: str
    size: int
    namespace: str = ""
    claim: str = ""
    pods: str = ""
    storage_class: str = "managed-csi"
    used: float = 0.4
    life: Life = EVER


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """A load balancer in front of a service."""

    namespace: str
    service: str
    ip: str
    private: bool = False
    life: Life = EVER


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace and what is written on it."""

    name: str
    labels: Labels
    annotations: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster; `life` is from when OpenCost has data, `outages` when Prometheus scraped nothing."""

    id: str
    region: str
    account: str
    life: Life
    namespaces: tuple[Namespace, ...]
    nodes: tuple[Node, ...]
    workloads: tuple[Workload, ...]
    volumes: tuple[Volume, ...]
    load_balancers: tuple[LoadBalancer, ...]
    prices: Prices = Prices()
    outages: tuple[Life, ...] = ()

    @property
    def resource_group(self) -> str:
        """The node resource group, as AKS names it."""
        return f"mc_rg-{self.id.removeprefix('aks-').rpartition('-')[0]}_{self.id}_{self.region}"

    @property
    def providers(self) -> str:
        """The resource id under which Azure keeps the cluster's machines and disks."""
        return f"/subscriptions/{self.account}/resourceGroups/{self.resource_group}/providers/Microsoft.Compute"

    def provider_id(self, node: Node) -> str:
        """The resource id of a node."""
        scale_set, _, instance = node.name.partition("-vmss")
        return f"azure://{self.providers}/virtualMachineScaleSets/{scale_set}-vmss/virtualMachines/{int(instance, 36)}"
