"""The clusters of the emulator, and the fourteen days they have behind them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from opencost_kusto.emulator.opencost import research_cluster, shop_cluster
from opencost_kusto.emulator.opencost.model import Cluster
from opencost_kusto.errors import UsageError

_CLUSTERS: Final[dict[str, Callable[[float], Cluster]]] = {
    shop_cluster.ID: shop_cluster.cluster,
    research_cluster.ID: research_cluster.cluster,
}
NAMES: Final = tuple(_CLUSTERS)


def cluster(name: str, now: datetime) -> Cluster:
    """A cluster by its id; its fourteen days end with the midnight before `now`. Raises UsageError."""
    if name not in _CLUSTERS:
        raise UsageError(f"The emulator has no cluster {name}. Choose one of {', '.join(NAMES)}.")
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return _CLUSTERS[name](midnight.timestamp())
