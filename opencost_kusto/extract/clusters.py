"""Leave out records of other clusters: an OpenCost with a Prometheus of several clusters returns all of them.

The OpenCost of each cluster returns its records too, so those of other clusters are left out, with one note. Only what
OpenCost itself lists as several clusters is: one cluster that is labelled otherwise in Prometheus is still one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.extract.record import Record
from opencost_kusto.names import shown


class ForeignRecords:
    """The records of one response that are of other clusters than `own`, which is None if it is unknown.

    `listed` returns the ids of all clusters of the server; it is called when a record first needs it.
    """

    def __init__(self, own: str | None, listed: Callable[[], frozenset[str]]) -> None:
        self._own = own
        self._listed = listed
        self._left_out: Counter[str] = Counter()
        self._kept = 0

    def has(self, record: Record) -> bool:
        """Whether a record is of another cluster, and is to be left out."""
        properties = record.properties
        cluster = properties.get("cluster") if properties.__class__ is dict else None
        if self._own is not None and isinstance(cluster, str) and cluster and cluster != self._own:
            listed = self._listed()
            if cluster in listed and len(listed) > 1:
                self._left_out[cluster] += 1
                return True
        self._kept += 1
        return False

    def remark(self) -> str | None:
        """What was left out, in a sentence; raises ContentError where nothing else came."""
        if not self._left_out:
            return None
        others = ", ".join(map(shown, sorted(self._left_out)[:5]))
        if not self._kept:
            raise ContentError(
                f"OpenCost calls its cluster {shown(self._own)}, and all its records are of {others}. Give OpenCost "
                "the CLUSTER_ID that Prometheus has as cluster_id, or load from the OpenCost of that cluster.",
                code=ReasonCode.FOREIGN_CLUSTERS,
            )
        return (
            f"{self._left_out.total()} records of other clusters ({others}) were left out: their own OpenCosts answer "
            f"for them, this one for {shown(self._own)}"
        )
