"""What a run requests, and the batches that follow from it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from opencost_kusto.batch import Batch, RequestOptions, Run, Source
from opencost_kusto.errors import UsageError
from opencost_kusto.names import identity, normalized, prefix, shown, variable
from opencost_kusto.schema.tables import DATASETS, DEFAULT_DATASETS
from opencost_kusto.version import __version__
from opencost_kusto.window import Window, parse

_MINUTE = timedelta(minutes=1)


class BatchPlan(Protocol):
    """The batches to load of a source; an OpenCost need not have the datasets in `optional`."""

    @property
    def optional(self) -> frozenset[str]:
        """Datasets that are neither requested by default nor by name: without them a run does not fail."""

    def batches(self, source: Source, now: datetime) -> Iterator[Batch]:
        """The batches of a source, in the order in which they are requested."""


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """A window, cut into steps, of some datasets, with options.

    `widened` is the window of each source on its own marks; without it, `window` is that of all.
    """

    window: Window
    step: timedelta | None = None
    datasets: tuple[str, ...] = DEFAULT_DATASETS
    options: RequestOptions = field(default_factory=RequestOptions)
    optional: frozenset[str] = frozenset()
    widened: Callable[[Source], Window] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_datasets(self.datasets, {window.length for window in self.window.steps(self.step)})

    def of(self, source: Source) -> SyncRequest:
        """The same, with the window of one source."""
        return self if self.widened is None else replace(self, window=self.widened(source), widened=None)

    def batches(self, source: Source, now: datetime) -> Iterator[Batch]:
        """One batch for each dataset and step, oldest first, then one for each scrape, which is of now.

        A window of a built-in store is loaded in the lengths that the store has.
        """
        options = self.options.over(source.settings.options)
        tables = [DATASETS[name] for name in self.datasets]
        for step in self.of(source).window.steps(self.step):
            for table in tables:
                for window in step.tiles(source.buckets(table)) if table.cadence == "step" else ():
                    yield Batch(table, source.name, window, options)
        yield from scrapes(source.name, self.datasets, options, now)


def plan_of(request: BatchPlan | Window | str) -> BatchPlan:
    """What is requested: a window alone, or text such as `1h` or `yesterday`, means the default datasets.

    Raises UsageError for a text that is no window.
    """
    if isinstance(request, str):
        request = parse(request, now=datetime.now(UTC))
    return SyncRequest(request) if isinstance(request, Window) else request


def scrapes(source: str, datasets: tuple[str, ...], options: RequestOptions, now: datetime) -> Iterator[Batch]:
    """The batches of datasets that OpenCost has only of the present."""
    minute = now.replace(second=0, microsecond=0)
    for name in datasets:
        if DATASETS[name].cadence == "scrape":
            yield Batch(DATASETS[name], source, Window(minute, minute + _MINUTE), options, scraped=now)


def check_datasets(datasets: tuple[str, ...], lengths: set[timedelta]) -> None:
    """Raise UsageError for a dataset that does not exist, or not in windows of these lengths."""
    for name in datasets:
        if name not in DATASETS:
            raise UsageError(f"{prefix('--dataset')}There is no dataset {name!r}; there are {', '.join(DATASETS)}.")
        only = DATASETS[name].step
        if only is not None and lengths != {only}:
            hours = only / timedelta(hours=1)
            raise UsageError(f"OpenCost has {name} by {hours:g} hours only: request whole ones with --step {hours:g}h.")


def new_run(
    run_id: str | None = None,
    scenario: str | None = None,
    metadata: dict[str, str] | None = None,
    *,
    kind: str = "sync",
) -> Run:
    """A run that begins now by the machine's clock; without an id, one that begins with `kind` is generated.

    Raises UsageError for an id, a scenario or a key of `metadata` that is not a name, and for a value that is no text.
    """
    now = datetime.now(UTC)
    generated = f"{kind}-{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
    id_ = generated if run_id is None else identity(run_id, variable("--run-id"))
    scenario = None if scenario is None else identity(scenario, variable("--scenario-name"))
    return Run(id_, now, __version__, scenario, marks(metadata or {}), clock="machine")


def marks(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata with keys that are names and normalized values; raises UsageError."""
    found: dict[str, str] = {}
    for key, value in metadata.items():
        name = identity(key, f"A key of {variable('--metadata')}")
        if not isinstance(value, str):
            raise UsageError(f"The value of {name} in {variable('--metadata')} is not a text but {shown(value)}.")
        if name in found:
            raise UsageError(f"{variable('--metadata')} names {name!r} twice.")
        found[name] = normalized(value)
    return found
