"""Finds which windows of a span Kusto lacks, and which of them OpenCost has forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from opencost_kusto.batch import Batch, RequestOptions, Source
from opencost_kusto.coverage.retention import aligned, checked, past_retention
from opencost_kusto.coverage.state import RunLogEntry, known
from opencost_kusto.errors import UsageError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.window import Window


@dataclass(frozen=True, slots=True)
class Target:
    """What should be in Kusto of a source: datasets, in windows of one step, asked with options.

    Raises UsageError for a dataset that is not known and a step that does not tile a day.
    """

    step: timedelta
    datasets: tuple[str, ...]
    options: RequestOptions = field(default_factory=RequestOptions)

    def __post_init__(self) -> None:
        checked(self.step)
        for name in self.datasets:
            if name not in DATASETS:
                raise UsageError(f"There is no dataset {name!r}; there are {', '.join(DATASETS)}.")

    @property
    def tables(self) -> list[Table]:
        """The tables that are filled window by window."""
        return [DATASETS[name] for name in self.datasets if DATASETS[name].cadence == "step"]

    def batches(self, source: str, span: Window) -> Iterator[Batch]:
        """Every batch of a span, oldest first."""
        for window in aligned(span.start, span.end, self.step):
            for table in self.tables:
                yield Batch(table, source, window, self.options)

    def scrapes(self, source: Source, now: datetime) -> list[Batch]:
        """The batches of datasets that can only be had of this moment."""
        names = tuple(name for name in self.datasets if DATASETS[name].cadence == "scrape")
        minute = now.replace(second=0, microsecond=0)
        question = SyncRequest(Window(minute, minute + timedelta(minutes=1)), None, names, self.options)
        return list(question.batches(source, now))


@dataclass(slots=True)
class Gaps:
    """What Kusto lacks of a span of one source.

    `due` is to be asked for, in this order; of `forgotten` OpenCost has said that it has it only coarser, if at all;
    `lost` is known to be gone. `expected` counts all batches of the span, `words` are the ledger's last by batch id,
    `there` are those on batches that are whole, by table, and `until` is the end of the newest window of each dataset
    that is there, or empty.
    """

    source: Source
    words: dict[str, RunLogEntry]
    due: list[Batch] = field(default_factory=list)
    forgotten: list[Batch] = field(default_factory=list)
    lost: list[Batch] = field(default_factory=list)
    expected: int = 0
    there: dict[str, list[RunLogEntry]] = field(default_factory=dict)
    until: dict[str, datetime] = field(default_factory=dict)


def find_gaps(kusto: Kusto, source: Source, wanted: Target, span: Window, now: datetime) -> Gaps:
    """What Kusto lacks of a span: a query for the ledger and one for each table. Raises KustoError.

    First what the built-in store still has at `now`, oldest first, since that is forgotten first; then the rest.
    """
    of_table = {one.table.name: one for one in known(kusto, source.name, wanted.tables, span)}
    settled = {name: one.settled(wanted.options) for name, one in of_table.items()}
    lost = {name: one.lost(wanted.options) for name, one in of_table.items()}
    found = Gaps(source, {id_: word for one in of_table.values() for id_, word in one.words.items()})
    found.there = {name: one.there(wanted.options) for name, one in of_table.items()}
    for batch in wanted.batches(source.name, span):
        found.expected += 1
        word = found.words.get(batch.id)
        if batch.window in settled[batch.table.name]:
            found.until[batch.table.dataset] = batch.window.end
        elif batch.window in lost[batch.table.name]:
            found.lost.append(batch)
        elif word is not None and word.forgotten:
            found.forgotten.append(batch)
        else:
            found.due.append(batch)
    found.due.sort(key=lambda batch: past_retention(batch.window, now))
    return found
