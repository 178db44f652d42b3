"""What a run requests: a source, options, and batches, each of which lands in Kusto exactly once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from opencost_kusto.errors import UsageError
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.schema.options import OptionValue
from opencost_kusto.schema.tables import OPTIONS
from opencost_kusto.window import RESOLUTION, Window


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """What a user set for one source alone.

    `currency` is that of its costs, None if it is not set. `options`, by their names in Python, and `metadata` come
    before those of the run. `marks` are those of its windows, None for those that OpenCost has. `kept` is
    how many windows of each length its built-in store keeps, None for OpenCost's default, or a Prometheus.
    """

    currency: str | None = None
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    marks: timedelta | None = None
    kept: Mapping[timedelta, int] | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One OpenCost server, and the Kubernetes cluster whose costs it has.

    `name` is the cluster in every table: the name that the user gave, else OpenCost's id. `reported` is OpenCost's own
    id, `version` OpenCost's. `currency` is that of its costs, None if it is not set. `fingerprint` identifies the
    cluster, by scheme; a source of the same name and another fingerprint is refused. `store` is how many
    windows of each length its built-in store keeps; with a Prometheus it is empty, and windows have any length.
    `settings` are the user's, for this source alone. `route` is the Service or pod of a cluster, and how it is reached.
    """

    name: str
    region: str | None = None
    version: str | None = None
    reported: str | None = None
    currency: str | None = None
    fingerprint: dict[str, Json] | None = None
    store: Mapping[timedelta, int] = field(default_factory=dict)
    settings: SourceSettings = field(default_factory=SourceSettings)
    route: str | None = None

    @property
    def marks(self) -> timedelta:
        """The marks of its windows: the user's, else its shortest buckets, else five minutes."""
        return self.settings.marks or min(self.store, default=RESOLUTION)

    def retention(self, table: Table) -> Mapping[timedelta, int]:
        """The number of windows of each length that it keeps of a table: those of its store, else the default."""
        return self.store if self.store.keys() == table.retention.keys() else table.retention

    def buckets(self, table: Table) -> tuple[timedelta, ...]:
        """The lengths of the windows that its built-in store has of a table, the longest first; none if any."""
        return tuple(sorted(self.store, reverse=True)) if self.store.keys() == table.retention.keys() else ()


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a command: the values that every row it writes has of it.

    `collection_time` is when it began, aware and UTC, by the clock that `clock` names: Kusto's, OpenCost's, this
    machine's, or one that the caller gave. `skew` is how far this machine's clock is ahead of Kusto's.
    """

    id: str
    collection_time: datetime
    tool_version: str
    scenario_name: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    clock: Literal["given", "machine", "opencost", "kusto"] = "given"
    skew: timedelta = timedelta()

    def of(self, source: Source) -> Run:
        """The same run, with the metadata of a source."""
        return replace(self, metadata={**self.metadata, **source.settings.metadata})


@dataclass(frozen=True, slots=True, init=False)
class RequestOptions:
    """What a user requests in addition to the window, as the tables declare it: `RequestOptions(include_idle=True)`.

    `given` holds what differs from the defaults, by the options' names in Python, sorted. A table's options are part of
    the identity of its batches; an option that a table does not have does not concern it.
    """

    given: tuple[tuple[str, OptionValue], ...]

    def __init__(self, **given: OptionValue) -> None:
        """Take values as `Option.parse` returns them; raises UsageError for an option that no dataset has."""
        for name in given:
            if name not in OPTIONS:
                raise UsageError(f"No dataset has an option {name!r}; there are {', '.join(OPTIONS)}.")
        different = {name: value for name, value in given.items() if value != OPTIONS[name].default}
        object.__setattr__(self, "given", tuple(sorted(different.items())))

    def over(self, given: Mapping[str, OptionValue]) -> RequestOptions:
        """These options, but for those of one source."""
        return RequestOptions(**{**dict(self.given), **given}) if given else self

    def for_table(self, table: Table) -> dict[str, OptionValue]:
        """The options that this table's dataset has, by OpenCost's names, in the order of their declaration."""
        given = dict(self.given)
        return {option.name: given.get(option.field, option.default) for option in table.options}


@dataclass(frozen=True, slots=True)
class Batch:
    """One dataset's rows for one step of one source.

    `id` depends only on the request (table, source, window, options), never on the run, the clock or the response,
    since OpenCost's responses to one request differ in small ways. `scraped` is the moment of a scrape.
    """

    table: Table
    source: str
    window: Window
    options: RequestOptions = field(default_factory=RequestOptions)
    scraped: datetime | None = None
    id: str = field(init=False)

    def __post_init__(self) -> None:
        omitted = [one.name for one in self.table.options if one.later and self.requested[one.name] == one.default]
        options = {name: value for name, value in self.requested.items() if name not in omitted}
        request = (self.table.name, self.source, str(self.window), options)
        digest = hashlib.sha256(msgspec.json.encode(request)).hexdigest()[:12]
        window = f"{self.window.start:%Y%m%dT%H%MZ}-{self.window.end:%Y%m%dT%H%MZ}"
        object.__setattr__(self, "id", f"{self.table.name}/{self.source}/{window}/{digest}")

    @property
    def before(self) -> Batch | None:
        """The batch of the window before this one; None for a scrape."""
        if self.table.cadence != "step":
            return None
        window = Window(self.window.start - self.window.length, self.window.start)
        return Batch(self.table, self.source, window, self.options)

    @property
    def timestamp(self) -> datetime:
        """The Timestamp of the batch's rows: the scrape, else the start of the window."""
        return self.scraped or self.window.start

    @property
    def requested(self) -> dict[str, OptionValue]:
        """The options of the request, by OpenCost's names."""
        return self.options.for_table(self.table)

    @property
    def all_clusters(self) -> bool:
        """Whether rows of other clusters than the source's own are kept, each under its own cluster."""
        return bool(self.requested.get("allClusters"))

    @property
    def aggregate(self) -> str | None:
        """The aggregate, where the dataset has one."""
        value = self.requested.get("aggregate")
        return None if value is None else str(value)


@dataclass(frozen=True, slots=True)
class BatchContext:
    """The origin of a row: the values that columns with a `FromContext` source read."""

    run: Run
    source: Source
    batch: Batch
