"""One name, one cluster: a source of another cluster than its name stands for is refused before anything is sent.

Two clusters under one name would hide one's costs behind the other's; one cluster under two names would be counted
twice. A new run log entry of a name carries its fingerprint, so that the latest is what the name stands for.
"""

from __future__ import annotations

from opencost_kusto.batch import Source
from opencost_kusto.errors import KustoError, ReasonCode, UsageError
from opencost_kusto.extract.fingerprint import UID
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import SYNC_RUNS


def identities_query(source: Source) -> str:
    """KQL for the fingerprints of sources that have this name, in any case, or this fingerprint, the latest last."""
    uid = (source.fingerprint or {}).get(UID, "")
    same = f" or Uid == {literal(uid)}" if uid else ""
    return (
        f"{SYNC_RUNS.name} | extend Uid = tostring(Fingerprint.{UID})"
        f" | where Source =~ {literal(source.name)}{same}"
        " | summarize Last = max(LoggedAt) by Source, Uid | order by Last asc"
    )


def check_identity(kusto: Kusto, source: Source, *, adopt: bool = False) -> None:
    """Refuse a source that is another cluster than its name stands for, or known under another name.

    Raises UsageError for a name that differs from a known one only in case, and KustoError for another cluster; `adopt`
    accepts a cluster that was made anew, or that was renamed. Where Kusto cannot be read, nothing is refused;
    whether each batch may be sent is then decided on a read of its own.
    """
    try:
        rows = kusto.query(identities_query(source), fresh=True)
    except KustoError:
        return
    known: dict[str, str] = {}
    for row in rows:
        known[row["Source"]] = row["Uid"] or known.get(row["Source"], "")
    twin = next((name for name in known if name != source.name and name.lower() == source.name.lower()), None)
    if twin is not None and source.name not in known:
        raise UsageError(
            f"The cluster {source.name} differs from {twin}, which Kusto has, only in case. Use that name."
        )
    uid = (source.fingerprint or {}).get(UID, "")
    if adopt or not uid or known.get(source.name) == uid:
        return
    if known.get(source.name):
        raise KustoError(
            f"Kusto has the costs of another cluster under the name {source.name}: its kube-system has the uid "
            f"{known[source.name]}, this one {uid}. Name this one with --cluster, or confirm with --adopt that "
            "it was made anew.",
            code=ReasonCode.OTHER_CLUSTER,
        )
    other = next((name for name, one in known.items() if one == uid), None)
    if other is not None:
        raise KustoError(
            f"Kusto has the costs of this cluster under the name {other}; under {source.name} they would be counted "
            f"twice. Use --cluster {other}, or confirm the new name with --adopt.",
            code=ReasonCode.OTHER_CLUSTER,
        )
