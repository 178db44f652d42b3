"""Select the records of the source's own cluster: a Prometheus of several clusters has those of all.

The OpenCost of each cluster returns its records too, so those of other clusters are left out, with one note, unless a
batch is of all clusters. A cluster that is labelled otherwise in Prometheus than OpenCost calls it is still one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from opencost_kusto.batch import Batch
from opencost_kusto.errors import ContentError, ReasonCode, UsageError
from opencost_kusto.extract.record import Record
from opencost_kusto.names import identity, shown
from opencost_kusto.schema.aggregate import CONTAINER_ROWS

CLUSTER = "cluster"
_IDLE = "includeIdle"


def merges_clusters(batch: Batch) -> bool:
    """Whether OpenCost makes one row of equal names in several clusters."""
    return batch.aggregate not in (None, CONTAINER_ROWS) and CLUSTER not in (batch.aggregate or "").split(",")


def check_idle(batch: Batch, clusters: object) -> None:
    """Raise UsageError for idle cost of several clusters, of which OpenCost makes one row that names none of them."""
    if batch.requested.get(_IDLE):
        raise UsageError(
            f"OpenCost answers for several clusters ({clusters}) and has one idle cost for all of them. Leave out "
            "--include-idle; OpenCostIdleByNode has the idle cost of each.",
            code=ReasonCode.FOREIGN_CLUSTERS,
        )


class ClusterFilter:
    """Selects the records of one response; `own` is OpenCost's id for its cluster, None if it reports none.

    `listed` returns the ids of all clusters of the server; it is called when a record first needs it. `by_cluster` says
    that the response was requested by cluster. `several` becomes true when the records are of several clusters, and
    `otherwise` is what Prometheus calls the cluster, where that is one and not `own`.
    """

    def __init__(
        self, batch: Batch, own: str | None, listed: Callable[[], frozenset[str]], *, by_cluster: bool = False
    ) -> None:
        self.several = by_cluster
        self._batch, self._own, self._listed = batch, own, listed
        self._all = batch.all_clusters
        self._merged = merges_clusters(batch) and not by_cluster
        self._named: Counter[str] = Counter()
        self._unnamed = 0

    def keeps(self, record: Record) -> bool:
        """Whether a record is to be loaded.

        Raises ContentError where OpenCost merged rows of several clusters, so that they are to be requested by cluster,
        and where it does not say which of several clusters is its own, and UsageError for idle cost of several.
        """
        properties = record.properties
        if properties is None:
            self._unnamed += 1
            return True
        cluster = properties.cluster
        if cluster.__class__ is not str or not cluster:
            if self._merged:
                self.several = True
                raise ContentError(
                    "OpenCost merged rows of several clusters, so they are requested by cluster.",
                    code=ReasonCode.FOREIGN_CLUSTERS,
                    transient=True,
                )
            self._unnamed += 1
            return True
        if cluster not in self._named:
            self._meet(cluster)
        self._named[cluster] += 1
        return self._all or self._own is None or cluster == self._own

    def _meet(self, cluster: str) -> None:
        """Check the first record of a cluster."""
        others = [*self._named, cluster]
        self.several = self.several or len(others) > 1
        if len(others) > 1:
            check_idle(self._batch, _listed(others))
        if self._all:
            identity(cluster, "The cluster of a record")
        elif self._own is None and len(others) > 1:
            raise ContentError(
                f"OpenCost answers for several clusters ({_listed(others)}) and does not say which is its own. Set "
                "CLUSTER_ID where it runs, or load all of them with --all-clusters.",
                code=ReasonCode.FOREIGN_CLUSTERS,
            )

    @property
    def otherwise(self) -> str | None:
        """Prometheus's id for the one cluster of OpenCost, if it differs from OpenCost's; None otherwise."""
        if len(self._named) != 1 or self._unnamed or self._own is None or self._all:
            return None
        (only,) = self._named
        listed = self._listed() if only != self._own else frozenset({only})
        return None if only == self._own or (only in listed and len(listed) > 1) else only

    def remark(self) -> str | None:
        """A sentence about the records that were left out; raises ContentError if there are no others."""
        others = {name: count for name, count in self._named.items() if name != self._own}
        if not others or self._own is None or self._all:
            return None
        if not self._named[self._own] and not self._unnamed:
            raise ContentError(
                f"OpenCost calls its cluster {shown(self._own)}, and all its records are of {_listed(others)}. Give "
                "OpenCost the CLUSTER_ID that Prometheus has as cluster_id, load from the OpenCost of that cluster, or "
                "load all clusters with --all-clusters.",
                code=ReasonCode.FOREIGN_CLUSTERS,
            )
        return (
            f"{sum(others.values())} records of other clusters ({_listed(others)}) were left out: their own OpenCosts "
            f"answer for them, this one for {shown(self._own)}; --all-clusters keeps them"
        )


def _listed(names: object) -> str:
    """A few names, in a sentence."""
    return ", ".join(map(shown, sorted(names)[:5]))  # type: ignore[call-overload]
