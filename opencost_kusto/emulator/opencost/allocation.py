"""One row of /allocation while it is computed, and how two of them merge.

Merging follows the server: costs, hours and bytes add up, averages are weighted by minutes, properties survive where
they are equal, and what belongs to one container alone is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from opencost_kusto.emulator.opencost.sampling import Span

PROPERTIES: Final = (
    *("cluster", "node", "container", "controller", "controllerKind", "namespace", "pod", "services", "providerID"),
    *("labels", "annotations", "namespaceLabels", "namespaceAnnotations"),
)
IDLE: Final = "__idle__"
UNMOUNTED: Final = "__unmounted__"
UNALLOCATED: Final = "__unallocated__"

_AVERAGES: Final = ("cpu_requested", "cpu_used", "ram_requested", "ram_used", "gpu_requested", "gpu_used")
_SUMS: Final = (
    *("cpu_hours", "cpu_cost", "gpu_hours", "gpu_cost", "ram_hours", "ram_cost", "sent", "received"),
    *("zone_cost", "region_cost", "internet_cost", "network_cost", "load_balancer_cost"),
)
Properties = dict[str, Any]


@dataclass(slots=True)
class VolumeShare:
    """What a row uses of a volume."""

    byte_hours: float
    cost: float
    provider_id: str


@dataclass(slots=True)
class LoadBalancerShare:
    """What a row uses of a load balancer."""

    service: str
    cost: float
    private: bool
    ip: str
    hours: float


@dataclass(slots=True)
class Peaks:
    """The greatest use of one container; `gpu` is None where none was measured."""

    cpu: float = 0.0
    ram: float = 0.0
    gpu: float | None = None


@dataclass(slots=True)
class Allocation:
    """A row: what one container, or the merged containers of a group, cost within a window."""

    properties: Properties
    window: Span
    start: float
    end: float
    cpu_requested: float = 0.0
    cpu_used: float = 0.0
    cpu_hours: float = 0.0
    cpu_cost: float = 0.0
    gpu_requested: float = 0.0
    gpu_used: float = 0.0
    gpu_hours: float = 0.0
    gpu_cost: float = 0.0
    ram_requested: float = 0.0
    ram_used: float = 0.0
    ram_hours: float = 0.0
    ram_cost: float = 0.0
    sent: float = 0.0
    received: float = 0.0
    network_cost: float = 0.0
    zone_cost: float = 0.0
    region_cost: float = 0.0
    internet_cost: float = 0.0
    load_balancer_cost: float = 0.0
    volumes: dict[str, VolumeShare] = field(default_factory=dict)
    load_balancers: dict[str, LoadBalancerShare] = field(default_factory=dict)
    peaks: Peaks | None = None
    is_container: bool = True
    """Whether a container is in it: unmounted and idle rows have none, and no `gpuAllocation`."""
    is_accumulated: bool = False
    """Whether sets were added up, which makes two keys appear that are empty."""

    @property
    def minutes(self) -> float:
        """From its start to its end."""
        return (self.end - self.start) / 60

    @property
    def volume_cost(self) -> float:
        """What it uses of all volumes."""
        return sum(share.cost for share in self.volumes.values())

    @property
    def total(self) -> float:
        """Every cost of the row."""
        resources = self.cpu_cost + self.gpu_cost + self.ram_cost
        return resources + self.volume_cost + self.network_cost + self.load_balancer_cost

    def copy(self) -> Allocation:
        """A row that can be merged into without touching this one."""
        return replace(
            self,
            properties=dict(self.properties),
            volumes={name: replace(share) for name, share in self.volumes.items()},
            load_balancers={name: replace(share) for name, share in self.load_balancers.items()},
        )

    def add(self, other: Allocation, *, metadata: bool = False) -> None:
        """Merge another row into this one; `metadata` keeps the labels and annotations they have in common."""
        self.properties = _common(self.properties, other.properties, metadata=metadata)
        ours, theirs = self.minutes, other.minutes
        weighted = {name: getattr(self, name) * ours + getattr(other, name) * theirs for name in _AVERAGES}
        self.window = Span(min(self.window.start, other.window.start), max(self.window.end, other.window.end))
        self.start, self.end = min(self.start, other.start), max(self.end, other.end)
        for name, value in weighted.items():
            setattr(self, name, value / self.minutes if self.minutes else 0.0)
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self._add_shares(other)
        self.peaks = None
        self.is_container = self.is_container or other.is_container
        self.is_accumulated = self.is_accumulated or other.is_accumulated

    def _add_shares(self, other: Allocation) -> None:
        for name, volume in other.volumes.items():
            kept = self.volumes.setdefault(name, VolumeShare(0.0, 0.0, volume.provider_id))
            kept.byte_hours += volume.byte_hours
            kept.cost += volume.cost
        for name, share in other.load_balancers.items():
            held = self.load_balancers.setdefault(name, replace(share, cost=0.0, hours=0.0))
            held.cost += share.cost
            held.hours += share.hours


def _common(ours: Properties, theirs: Properties, *, metadata: bool) -> Properties:
    """What both have: names and ids that are equal, and of equal namespaces what is written on them.

    `metadata` adds the labels and annotations in common; those of an unmounted row, which has none, do not count.
    """
    common: Properties = {
        name: ours[name]
        for name in PROPERTIES[:9]
        if name != "services" and name in ours and ours[name] == theirs.get(name)
    }
    if "namespace" not in common:
        return common
    chosen = theirs if ours.get("container") == UNMOUNTED else ours
    other = ours if chosen is theirs else theirs
    if metadata:
        for name in ("labels", "annotations"):
            held = chosen.get(name, {})
            kept = held if other.get("container") == UNMOUNTED else dict(held.items() & other.get(name, {}).items())
            common |= {name: dict(sorted(kept.items()))} if kept else {}
    return common | {name: chosen[name] for name in ("namespaceLabels", "namespaceAnnotations") if name in chosen}
