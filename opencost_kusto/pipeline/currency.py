"""The currency of a cluster, which must not change: amounts of two currencies would be added."""

from __future__ import annotations

from collections.abc import Iterable

from opencost_kusto.batch import Source
from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.pipeline.name_entries import NameEntry


def refused_currency(source: Source, entries: Iterable[NameEntry]) -> KustoError | None:
    """The error of a source in another currency than before; None where it is the same, or none is set."""
    priced = [one for one in entries if one.name == source.name and one.currency]
    latest = max(priced, key=lambda one: one.currency_at, default=None)
    if latest is None or source.currency in (None, latest.currency):
        return None
    return KustoError(
        f"Kusto has the costs of {source.name} in {latest.currency}, and --currency or its entry in the configuration "
        f"says {source.currency}. Set {latest.currency}, or confirm with --adopt that all of its costs are in "
        f"{source.currency}.",
        code=ReasonCode.OTHER_CURRENCY,
    )
