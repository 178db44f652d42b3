"""The query of a request to OpenCost for a batch."""

from __future__ import annotations

from opencost_kusto.batch import Batch
from opencost_kusto.extract.clusters import CLUSTER, merges_clusters


def parameters(batch: Batch, *, by_cluster: bool = False, filters: bool = False) -> dict[str, str]:
    """The query of the GET for a batch; a scrape has none. With `by_cluster` no row is of several clusters.

    With `filters`, OpenCost filters by the options that only leave out records.
    """
    if batch.table.records_at is None:
        return {}
    requested = batch.requested
    options = [option for option in batch.table.options if filters or option.keeps is None]
    sent = {option.parameter or option.name: option.query(requested[option.name]) for option in options}
    if by_cluster and merges_clusters(batch):
        sent["aggregate"] = f"{CLUSTER},{sent['aggregate']}"
    return {"window": str(batch.window), **{name: value for name, value in sent.items() if value is not None}}
