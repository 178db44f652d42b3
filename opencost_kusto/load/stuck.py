"""The causes that a queued batch does not land: a failure that Kusto lists, or a tag that outlived its rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress

from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load import ingest
from opencost_kusto.load.pending import Pending

_NO_FAILURE = "Kusto lists no failure: the blob is still queued, or the ingestion service refused it (rights, limits)"


def failures_of(kusto: Kusto, batches: Collection[Pending]) -> dict[str, ingest.Failure]:
    """The failures of queued batches, by source id; none if Kusto cannot be read."""
    found: dict[str, ingest.Failure] = {}
    for target in {pending.target for pending in batches}:
        ids = [id_ for one in batches if one.target == target for id_ in one.source_ids]
        with suppress(KustoError):
            found |= ingest.failures(kusto, target, ids)
    return found


def failures_in(failed: Mapping[str, ingest.Failure], pending: Pending) -> list[ingest.Failure]:
    """The failures of one batch, in the order in which its blobs were queued."""
    return [failed[id_] for id_ in pending.source_ids if id_ in failed]


def is_blocked(kusto: Kusto, pending: Pending) -> bool:
    """Whether an extent has the tag of a batch that has not landed. Raises KustoError."""
    if pending.replacement or pending.tag is None:
        return False
    return bool(kusto.command(ingest.tagged_command(pending.target, pending.tag)))


def reasons(kusto: Kusto, pending: Pending) -> str:
    """Why a batch has not landed, as far as Kusto lists it. Raises KustoError."""
    failed = ingest.failures(kusto, pending.target, pending.source_ids)
    return "; ".join(sorted({one.details for one in failed.values()})) or _NO_FAILURE
