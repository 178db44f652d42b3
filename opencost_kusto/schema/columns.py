"""What a column and a table are: declarations, from which everything else is projected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

# `Any` stands for raw JSON, and for nothing else, in this package.
Json: TypeAlias = Any

Type = Literal["datetime", "real", "long", "bool", "string", "dynamic"]
Cadence = Literal["step", "scrape", "run"]

# The key of a row under which the record stands as OpenCost sent it.
RECORD = "Record"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of one of OpenCost's records: its dotted path, and the Kusto type its value decodes as."""

    path: str
    type: Type


@dataclass(frozen=True, slots=True)
class FromContext:
    """A value every row of a batch shares: a dotted path into `batch.Origin`."""

    path: str


@dataclass(frozen=True, slots=True)
class Unmapped:
    """The keys of the record that no column reads and no list ignores, so that nothing is dropped."""


@dataclass(frozen=True, slots=True)
class RowNumber:
    """The number of the row in its batch, from 1."""


@dataclass(frozen=True, slots=True)
class Total:
    """A total of the whole batch, an attribute of its encoder; only the last row has it."""

    of: Literal["rows", "micros", "keys"]


@dataclass(frozen=True, slots=True)
class Derived:
    """A value computed from keys of the record and the origin; the column's sentence says how.

    The same values make the same, so it is computed once for them; no key is `dynamic`.
    """

    derive: Callable[..., Json]
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """One line of the ledger: name, Kusto type, where in OpenCost's answer it comes from, one sentence."""

    name: str
    type: Type
    source: str | FromContext | Derived | Unmapped | RowNumber | Total
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
        """Where the value comes from, in words for the data dictionary."""
        match self.source:
            case str():
                return self.source
            case Derived(keys=keys):
                return "from " + ", ".join(key.path for key in keys)
            case FromContext(path=path):
                return f"set by opencost-kusto: {path}"
            case Unmapped():
                return "every other key"
            case RowNumber():
                return "set by opencost-kusto: row number"
            case Total(of=of):
                return f"set by opencost-kusto: {of} of the batch"


@dataclass(frozen=True, slots=True)
class Request:
    """How OpenCost is asked for a dataset: a path, the options it has there, and what the answer is made of."""

    path: str
    answer: Literal["records", "exposition"]
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One Kusto table: its columns, what identifies a row within its batch, and how OpenCost is asked for it.

    `key` names columns that are copied from the record: no two records of a response have the same values there.

    `cadence` says when a new batch is due: each step of the window, each scrape, or each run.
    `cost` names the column whose sum proves, with the row count, that a batch landed complete.
    `ignored` maps the keys OpenCost sends that have no column to the reason. `unordered` names the lists of names whose
    order changes from answer to answer; in a row they are in alphabetical order.
    """

    name: str
    dataset: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    cadence: Cadence = "step"
    request: Request | None = None
    cost: str | None = None
    batch_column: str = "BatchId"
    ignored: dict[str, str] = field(default_factory=dict)
    unordered: tuple[str, ...] = ()

    @property
    def mapping(self) -> str:
        """The name of the JSON ingestion mapping."""
        return f"{self.name}_mapping"

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
        """The paths in a record of what identifies it within its batch."""
        return tuple(map(self.copied, self.key))

    def path(self, column: Column) -> str:
        """Where a row has the column's value: in OpenCost's record when it is copied, else under the column's name."""
        return f"{RECORD}.{column.source}" if isinstance(column.source, str) else column.name

    def __getitem__(self, name: str) -> Column:
        """The column of that name; KeyError when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name!r}")
