"""Find the missing windows of a period, and those among them that OpenCost no longer has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from opencost_kusto.batch import Batch, RequestOptions, Source, SourceSettings
from opencost_kusto.coverage.cover import Cover, covers
from opencost_kusto.coverage.retention import aligned, check_step, past_retention
from opencost_kusto.coverage.state import MONTH, DatasetState, dataset_states
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.holdings import chunks
from opencost_kusto.pipeline.request import check_datasets, scrapes
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.window import Window
from opencost_kusto.window_state import GONE, SETTLED, WindowState

# Windows in one result, some 20 MB; Kusto allows 500,000 rows and 64 MB.
_MOST_STATES = 100_000


@dataclass(frozen=True, slots=True)
class Target:
    """What to load of a source: datasets, in windows of one step, with options.

    Raises UsageError for a dataset that does not exist and for a step that does not tile a day.
    """

    step: timedelta
    datasets: tuple[str, ...]
    options: RequestOptions = field(default_factory=RequestOptions)

    def __post_init__(self) -> None:
        check_step(self.step)
        check_datasets(self.datasets, {self.step})

    @property
    def tables(self) -> list[Table]:
        """The tables that are loaded window by window."""
        return [DATASETS[name] for name in self.datasets if DATASETS[name].cadence == "step"]

    def batches(self, source: str, period: Window) -> Iterator[Batch]:
        """Every batch of a period, oldest first."""
        for window in aligned(period.start, period.end, self.step):
            for table in self.tables:
                yield Batch(table, source, window, self.options)

    def scrapes(self, source: Source, now: datetime) -> list[Batch]:
        """The batches of datasets that OpenCost has only of this moment."""
        return list(scrapes(source.name, self.datasets, self.options.over(source.settings.options), now))

    def of(self, settings: SourceSettings) -> Target:
        """The same, with the options of one source."""
        return replace(self, options=self.options.over(settings.options))


@dataclass(slots=True)
class Gaps:
    """The missing windows of a period of one source.

    `due` is to be requested, in this order; OpenCost no longer has `gone` at this step, and has `lost` at no step.
    `expected` counts all batches of the period; `covered_until` is the end of the newest window of each dataset
    that is landed or empty; `states` has the states by table.
    """

    source: Source
    states: dict[str, DatasetState]
    due: list[Batch] = field(default_factory=list)
    gone: list[Batch] = field(default_factory=list)
    lost: list[Batch] = field(default_factory=list)
    expected: int = 0
    covered_until: dict[str, datetime] = field(default_factory=dict)


def find_gaps(kusto: Kusto, sources: Sequence[Source], target: Target, period: Window, now: datetime) -> list[Gaps]:
    """Find the missing windows of a period of each source. Raises KustoError.

    Each month of the period is one query, for as many sources as one result can have. Windows that the built-in store
    still has at `now` come first, oldest first, because they expire first. A damaged window is due again, even if
    another window covers it.
    """
    found = [Gaps(source, {}) for source in sources]
    of_month = min(period.length, MONTH) // target.step * len(target.tables)
    for some in chunks(found, max(1, _MOST_STATES // max(1, of_month))):
        states = dataset_states(kusto, list({one.source.name: None for one in some}), target.tables, period)
        for one in some:
            one.states = {state.table.name: state for state in states if state.source == one.source.name}
            own = target.of(one.source.settings)
            batches = list(own.batches(one.source.name, period))
            one.expected = len(batches)
            sort(one, own, batches, now)
    return found


def sort(found: Gaps, target: Target, batches: Iterable[Batch], now: datetime) -> None:
    """Add batches to the lists that their states require."""
    batches = list(batches)
    windows = [batch.window for batch in batches]
    settled, lost = (
        {name: covers(windows, one.windows(states, target.options)) for name, one in found.states.items()}
        for states in (SETTLED, {WindowState.LOST})
    )
    for batch in batches:
        name, window = batch.table.name, batch.window
        _sort(found, batch, found.states[name].state(batch.id), settled[name][window], lost[name][window])
    found.due.sort(key=lambda batch: past_retention(batch.window, now, found.source.retention(batch.table)))


def _sort(found: Gaps, batch: Batch, state: WindowState, settled: Cover, lost: Cover) -> None:
    """Add a batch to the list that its state requires."""
    if state is WindowState.DAMAGED:
        found.due.append(batch)
    elif settled.complete:
        dataset, end = batch.table.dataset, batch.window.end
        found.covered_until[dataset] = max(end, found.covered_until.get(dataset, end))
    elif lost.complete:
        found.lost.append(batch)
    elif state in GONE:
        found.gone.append(batch)
    else:
        found.due.append(batch)
