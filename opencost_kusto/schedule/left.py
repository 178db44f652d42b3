"""What a tick has left: the windows of its period that are still missing, and those that are lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from opencost_kusto.coverage.gaps import Gaps, Target


@dataclass(frozen=True, slots=True)
class Left:
    """The number of missing windows of one dataset of a source, and of lost ones."""

    source: str
    dataset: str
    missing: int
    lost: int


def left(gaps: Gaps, target: Target) -> Iterator[Left]:
    """What is left of each dataset of a source that is loaded in windows."""
    missing = Counter(batch.table.dataset for batch in (*gaps.due, *gaps.gone))
    lost = Counter(batch.table.dataset for batch in gaps.lost)
    for table in target.tables:
        yield Left(gaps.source.name, table.dataset, missing[table.dataset], lost[table.dataset])
