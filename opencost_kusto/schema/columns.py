"""Columns, tables and datasets as declarations, from which everything else is derived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeAlias

from opencost_kusto.schema.options import Option

# `Any` stands for raw JSON, and for nothing else, in this package.
Json: TypeAlias = Any

Type = Literal["datetime", "real", "long", "bool", "string", "dynamic"]
Cadence = Literal["step", "scrape", "run"]

# The key of a row that holds the record as OpenCost sent it.
RECORD = "Record"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of one of OpenCost's records: its dotted path, and the Kusto type its value decodes as."""

    path: str
    type: Type


@dataclass(frozen=True, slots=True)
class FromContext:
    """A value that all rows of a batch share: a dotted path into `batch.BatchContext`."""

    path: str


@dataclass(frozen=True, slots=True)
class FromOption:
    """The value of one of the batch's options, by OpenCost's name, which all rows of the batch share."""

    name: str


@dataclass(frozen=True, slots=True)
class Unmapped:
    """The keys of the record that no column reads and `Table.ignored` does not list, so that nothing is dropped."""


@dataclass(frozen=True, slots=True)
class RowNumber:
    """The number of the row in its batch, from 1."""


@dataclass(frozen=True, slots=True)
class Total:
    """A total of the batch, an attribute of its encoder; only the last row has it."""

    of: Literal["rows", "micros", "keys"]


@dataclass(frozen=True, slots=True)
class Derived:
    """A value that `derive` computes from those of `context`, paths into `batch.BatchContext`, and then of `keys`.

    The same values give the same result, so it is computed once for them; no key is `dynamic`.
    """

    derive: Callable[..., Json]
    keys: tuple[Key, ...]
    context: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its name, its Kusto type, the source of its value, and one sentence about it."""

    name: str
    type: Type
    source: str | FromContext | FromOption | Derived | Unmapped | RowNumber | Total
    doc: str

    def keys(self) -> tuple[Key, ...]:
        """The keys of the record this column reads."""
        match self.source:
            case str(path):
                return (Key(path, self.type),)
            case Derived(keys=keys):
                return keys
            case _:
                return ()

    @property
    def origin(self) -> str:
        """The origin of the value, for the data dictionary."""
        match self.source:
            case str():
                return self.source
            case Derived(keys=keys):
                return "from " + ", ".join(key.path for key in keys)
            case FromContext(path=path):
                return f"set by opencost-kusto: {path}"
            case FromOption(name=name):
                return f"set by opencost-kusto: option {name}"
            case Unmapped():
                return "every other key"
            case RowNumber():
                return "set by opencost-kusto: row number"
            case Total(of=of):
                return f"set by opencost-kusto: {of} of the batch"


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One Kusto table, and the dataset whose rows it holds.

    `key` names columns that are copied from the record and identify it within its batch. `cost` names the column whose
    sum is the cost of a batch. `ignored` maps the keys that OpenCost sends and no column reads to the reason.
    `unordered` names the lists of names whose order changes from response to response; a row has them sorted.

    `path` is OpenCost's, None for a table that this package fills itself. `records_at` is where in the response's
    `data` the maps of records are: keys with dots between them, `[]` for each element of a list; None for Prometheus
    text. `retention` is how many windows of each length OpenCost's built-in store keeps by default, the unfinished one
    included. `step` is the length of its windows where OpenCost has it in no other; None where any window will do.
    `cadence` is when a new batch is due: for each step of the window, each scrape or each run. `default` datasets are
    requested where a user names none.
    """

    name: str
    dataset: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    path: str | None = None
    records_at: str | None = None
    options: tuple[Option, ...] = ()
    retention: Mapping[timedelta, int] = field(default_factory=dict)
    step: timedelta | None = None
    cadence: Cadence = "step"
    default: bool = True
    cost: str | None = None
    batch_column: str = "BatchId"
    ignored: dict[str, str] = field(default_factory=dict)
    unordered: tuple[str, ...] = ()

    @property
    def mapping(self) -> str:
        """The name of the JSON ingestion mapping."""
        return f"{self.name}_mapping"

    @property
    def flat_mapping(self) -> str:
        """The name of the mapping for files with each column under its own name."""
        return f"{self.name}_flat_mapping"

    def keys(self) -> Iterator[Key]:
        """Every key of a record that some column reads, once each, and the ignored ones."""
        seen: set[str] = set()
        for column in self.columns:
            for key in column.keys():
                if key.path not in seen:
                    seen.add(key.path)
                    yield key
        for path in self.ignored:
            yield Key(path, "dynamic")

    def copied(self, name: str) -> str:
        """The path in a record of a column that is copied from there; TypeError for any other column."""
        source = self[name].source
        if not isinstance(source, str):
            raise TypeError(f"{self.name}.{name} is not copied from a record.")
        return source

    @property
    def key_paths(self) -> tuple[str, ...]:
        """The paths of the values that identify a record within its batch."""
        return tuple(map(self.copied, self.key))

    def path_of(self, column: Column) -> str:
        """Where a row has the column's value: in OpenCost's record when it is copied, else under the column's name."""
        return f"{RECORD}.{column.source}" if isinstance(column.source, str) else column.name

    def __getitem__(self, name: str) -> Column:
        """The column of that name; KeyError when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name!r}")
