"""The currency of a cluster, which stays what it was: amounts of two currencies would be shown as one."""

from __future__ import annotations

from collections.abc import Iterable

from opencost_kusto.batch import Source
from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.pipeline.known import Known


def refused_currency(source: Source, known: Iterable[Known]) -> KustoError | None:
    """Why a source cannot be loaded in its currency; None where it can, or none is set."""
    said = [one for one in known if one.name == source.name and one.currency]
    latest = max(said, key=lambda one: one.currency_at, default=None)
    if latest is None or source.currency in (None, latest.currency):
        return None
    return KustoError(
        f"Kusto has the costs of {source.name} in {latest.currency}, and --currency or its entry in the configuration "
        f"says {source.currency}. Set {latest.currency}, or confirm with --adopt that all of its costs are in "
        f"{source.currency}.",
        code=ReasonCode.OTHER_CURRENCY,
    )
