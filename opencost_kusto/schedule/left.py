"""What a tick has left: the windows of its period that are still missing, and those that are lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from opencost_kusto.batch import Source
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.coverage.missing import find_all
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.result import Outcome
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import SYNC_RUNS
from opencost_kusto.window import Window, stamp


@dataclass(frozen=True, slots=True)
class Left:
    """How many windows of one dataset of a source are missing, and how many are lost."""

    source: str
    dataset: str
    missing: int
    lost: int


def left(kusto: Kusto, sources: Sequence[Source], target: Target, period: Window, now: datetime) -> Iterator[Left]:
    """What is left of each dataset that is loaded by windows, in two queries for all sources; raises KustoError."""
    missing = Counter(
        (gaps.source.name, batch.table.dataset)
        for gaps in find_all(kusto, sources, target, period, now)
        for batch in (*gaps.due, *gaps.gone)
    )
    rows = kusto.query(lost_query(period), fresh=True)
    lost = {(row["Source"], row["TableName"]): int(row["Windows"]) for row in rows}
    for source in sources:
        for table in target.tables:
            of = source.name, table.dataset
            yield Left(*of, missing[of], lost.get((source.name, table.name), 0))


def lost_query(period: Window) -> str:
    """KQL for the number of windows in a period that the run log calls lost, by source and table."""
    return (
        f"{SYNC_RUNS.name} | where isnotempty(BatchId) and WindowStart >= datetime({stamp(period.start)})"
        f" and WindowEnd <= datetime({stamp(period.end)})"
        " | summarize arg_max(LoggedAt, Source, TableName, Outcome) by BatchId"
        f" | where Outcome == {literal(Outcome.LOST)} | summarize Windows = count() by Source, TableName"
    )
