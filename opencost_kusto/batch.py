"""What was asked: a run, a source, and batches, each of which lands in Kusto exactly once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from opencost_kusto.schema.aggregate import CONTAINER_ROWS
from opencost_kusto.schema.columns import Table
from opencost_kusto.window import Window


@dataclass(frozen=True, slots=True)
class Source:
    """One OpenCost server. `named` is what the user called it, and names clusters where OpenCost does not.

    `own` is what the server calls its cluster.
    """

    name: str
    named: str | None = None
    region: str | None = None
    version: str | None = None
    own: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One invocation: what every row it writes says about it. `collection_time` is aware and UTC."""

    id: str
    collection_time: datetime
    tool_version: str
    scenario_name: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What a user may ask of OpenCost beside the window. Part of a batch's identity where the table has it.

    `aggregate` is `container` (one row per container of a pod) or OpenCost's own words; `filter_types` are
    lower-case asset types in alphabetical order, none meaning all.
    """

    aggregate: str = CONTAINER_ROWS
    include_idle: bool = False
    share_idle: bool = False
    filter_types: tuple[str, ...] = ()
    all_metrics: bool = False

    def for_table(self, table: Table) -> dict[str, object]:
        """The options this table's dataset has, by OpenCost's names, in the order the table lists them."""
        values: dict[str, object] = {
            "aggregate": self.aggregate,
            "includeIdle": self.include_idle,
            "shareIdle": self.share_idle,
            "filterTypes": self.filter_types,
            "allMetrics": self.all_metrics,
        }
        names = table.request.options if table.request else ()
        return {name: values[name] for name in names}


@dataclass(frozen=True, slots=True)
class Batch:
    """One dataset's rows for one step of one source.

    `id` depends only on what was asked (table, source, window, options): never on the run, the clock or the
    answer, since OpenCost's answers to one question differ in small ways. `scraped` is the moment of a scrape;
    `run` belongs to the question only where a table has a batch per run.
    """

    table: Table
    source: str
    window: Window
    options: RequestOptions = field(default_factory=RequestOptions)
    scraped: datetime | None = None
    run: str | None = None
    id: str = field(init=False)

    def __post_init__(self) -> None:
        question: tuple[object, ...] = (
            self.table.name,
            self.source,
            str(self.window),
            self.options.for_table(self.table),
        )
        if self.run is not None:
            question = (*question, self.run)
        digest = hashlib.sha256(msgspec.json.encode(question)).hexdigest()[:12]
        span = f"{self.window.start:%Y%m%dT%H%MZ}-{self.window.end:%Y%m%dT%H%MZ}"
        object.__setattr__(self, "id", f"{self.table.name}/{self.source}/{span}/{digest}")

    @property
    def timestamp(self) -> datetime:
        """The Timestamp of the batch's rows: the scrape, else the start of the window."""
        return self.scraped or self.window.start

    @property
    def aggregate(self) -> str | None:
        """The aggregate, where the dataset has one."""
        return self.options.aggregate if "aggregate" in self.options.for_table(self.table) else None

    @property
    def include_idle(self) -> bool:
        """Whether idle rows were asked for."""
        return self.options.include_idle

    @property
    def share_idle(self) -> bool:
        """Whether idle was to be shared out."""
        return self.options.share_idle


@dataclass(frozen=True, slots=True)
class BatchContext:
    """Where a row comes from: what `schema.Asked` columns read."""

    run: Run
    source: Source
    batch: Batch
