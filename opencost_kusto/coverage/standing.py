"""The state of each cluster in one word: the worst of its datasets, or that it never landed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from opencost_kusto.coverage.status import DatasetStatus
from opencost_kusto.schema.columns import Json


class Standing(StrEnum):
    """The state of a cluster, the worst first. A retired cluster is retired, whatever is missing."""

    DAMAGED = "damaged"
    LOST = "lost"
    FAILED = "failed"
    MISSING = "missing"
    STALE = "stale"
    NEVER = "never landed"
    OK = "ok"
    RETIRED = "retired"


# What --fail-on accepts.
ALERTS = (Standing.MISSING, Standing.LOST, Standing.FAILED, Standing.DAMAGED, Standing.STALE)
_ORDER = list(Standing)


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """One cluster: its datasets, all that is wrong with it, the worst first, and whether it is retired."""

    cluster: str
    datasets: tuple[DatasetStatus, ...]
    wrong: tuple[Standing, ...] = ()
    retired: bool = False

    @property
    def standing(self) -> Standing:
        """The worst state."""
        return Standing.RETIRED if self.retired else self.wrong[0] if self.wrong else Standing.OK

    @property
    def until(self) -> datetime | None:
        """The time up to which every dataset has landed; None if one never has."""
        ends = [one.until for one in self.datasets]
        return None if None in ends or not ends else min(end for end in ends if end is not None)

    @property
    def day_cost(self) -> float | None:
        """The cost of its workloads on the last day; None if it is unknown."""
        return next((one.day_cost for one in self.datasets if one.dataset == "allocation"), None)

    @property
    def currency(self) -> str | None:
        """The currency of its costs; None if none is set."""
        return next((one.currency for one in self.datasets if one.currency), None)

    def document(self, now: datetime) -> dict[str, Json]:
        """The same as JSON."""
        return {
            "cluster": self.cluster,
            "status": self.standing.value,
            "wrong": [one.value for one in self.wrong],
            "retired": self.retired,
            "datasets": [one.document(now) for one in self.datasets],
        }


def standings(
    found: Sequence[DatasetStatus],
    now: datetime,
    *,
    max_age: timedelta | None = None,
    expected: Iterable[str] = (),
    retired: Collection[str] = (),
) -> list[ClusterStatus]:
    """The clusters, the worst first; those that are expected and have nothing in Kusto are among them."""
    by_cluster: dict[str, list[DatasetStatus]] = {name: [] for name in expected}
    for one in found:
        by_cluster.setdefault(one.source, []).append(one)
    clusters = [
        ClusterStatus(name, tuple(some), tuple(_wrong(some, now, max_age)), name in retired)
        for name, some in by_cluster.items()
    ]
    return sorted(clusters, key=lambda one: (_ORDER.index(one.standing), one.cluster))


def _wrong(datasets: Sequence[DatasetStatus], now: datetime, max_age: timedelta | None) -> list[Standing]:
    """What is wrong with a cluster, the worst first."""
    found = {
        Standing.DAMAGED: any(one.damaged for one in datasets),
        Standing.LOST: any(one.lost for one in datasets),
        Standing.FAILED: any(one.failures for one in datasets),
        Standing.MISSING: any(one.missing for one in datasets),
        Standing.STALE: any(is_stale(one, now, max_age) for one in datasets),
        Standing.NEVER: not any(one.until for one in datasets),
    }
    return [one for one, is_so in found.items() if is_so]


def is_stale(one: DatasetStatus, now: datetime, max_age: timedelta | None) -> bool:
    """Whether the last landed window of a dataset ended longer ago, or none ever landed."""
    if max_age is None:
        return False
    age = one.age(now)
    return age is None or age > max_age
