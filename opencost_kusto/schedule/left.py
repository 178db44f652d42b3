"""What a tick leaves: the windows of its period that are still missing, and those that are lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from opencost_kusto.batch import Source
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.coverage.missing import find_all
from opencost_kusto.database import window_states
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.schema.kql import literal
from opencost_kusto.window import Window
from opencost_kusto.window_state import WindowState


@dataclass(frozen=True, slots=True)
class Left:
    """The number of missing windows of one dataset of a source, and of lost ones."""

    source: str
    dataset: str
    missing: int
    lost: int


def left(kusto: Kusto, sources: Sequence[Source], target: Target, period: Window, now: datetime) -> Iterator[Left]:
    """What is left of each dataset that is loaded in windows, in two queries for all sources; raises KustoError."""
    missing = Counter(
        (gaps.source.name, batch.table.dataset)
        for gaps in find_all(kusto, sources, target, period, now)
        for batch in (*gaps.due, *gaps.gone)
    )
    rows = kusto.query(lost_query(sources, target, period), fresh=True) if target.tables else []
    lost = {(row["Source"], row["TableName"]): int(row["Windows"]) for row in rows}
    for source in sources:
        for table in target.tables:
            of = source.name, table.dataset
            yield Left(*of, missing[of], lost.get((source.name, table.name), 0))


def lost_query(sources: Sequence[Source], target: Target, period: Window) -> str:
    """KQL for the number of windows in a period that are lost, by source and table."""
    return window_states.query(
        period,
        [source.name for source in sources],
        target.tables,
        f"States | where State == {literal(WindowState.LOST)} and WindowStart >= startTime and WindowEnd <= endTime"
        " | summarize Windows = count() by Source, TableName",
    )
