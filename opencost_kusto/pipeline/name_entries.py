"""The entries of the run log for names of clusters: their fingerprints and their currencies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from opencost_kusto.batch import Source
from opencost_kusto.errors import ReasonCode
from opencost_kusto.extract.fingerprint import UNIQUE
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.holdings import chunks
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import SYNC_RUNS

# Sources in one query; its text stays far below the service's limit.
_SOURCES_PER_QUERY = 100
# Precedes every entry: the time where there is none.
BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NameEntry:
    """The entries of one name with one fingerprint: when the first and the last were written, by Kusto's clock.

    `currency` is the latest of them, written last at `currency_at`.
    """

    name: str
    fingerprint: dict[str, Json]
    first: datetime
    last: datetime
    adopted: bool = False
    currency: str | None = None
    currency_at: datetime = BEGINNING

    @property
    def at(self) -> datetime:
        """The time from which they count."""
        return self.last if self.adopted else self.first


def identities_query(sources: Iterable[Source]) -> str:
    """KQL for the fingerprints of sources that have these names, in any case, or unique parts of these fingerprints."""
    sources = list(sources)
    prints = [source.fingerprint or {} for source in sources]
    same = "".join(
        f" or tostring(Fingerprint.{scheme}) in ({', '.join(literal(one[scheme]) for one in prints if scheme in one)})"
        for scheme in UNIQUE
        if any(scheme in one for one in prints)
    )
    return (
        f"{SYNC_RUNS.name} | where Source in~ ({', '.join(literal(source.name) for source in sources)}){same}"
        " | extend Print = tostring(Fingerprint), Latest = coalesce(LoggedAt, CollectionTime),"
        f" Adopted = ReasonCode == {literal(ReasonCode.ADOPTED)}"
        " | extend Priced = iff(isempty(Currency), datetime(null), Latest)"
        " | summarize First = min(Latest), Last = max(Latest), arg_max(Priced, Currency) by Source, Print, Adopted"
    )


def entries_of(kusto: Kusto, sources: Iterable[Source]) -> list[NameEntry]:
    """The entries of some sources, in one query for many; raises KustoError."""
    return [
        NameEntry(
            row["Source"],
            json.loads(row["Print"] or "null") or {},
            _moment(row["First"]),
            _moment(row["Last"]),
            row["Adopted"],
            row["Currency"] or None,
            _moment(row["Priced"]),
        )
        for some in chunks(sources, _SOURCES_PER_QUERY)
        for row in kusto.query(identities_query(some), fresh=True)
    ]


def _moment(value: datetime | None) -> datetime:
    return BEGINNING if value is None else value.astimezone(UTC)
