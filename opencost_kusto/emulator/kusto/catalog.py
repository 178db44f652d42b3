"""The metadata of a database: tables, columns, mappings, policies, extents, failures."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from opencost_kusto.times import utc_now


class KustoRefusal(Exception):
    """What Kusto refuses with an error document; `code` and `kind` are its code and exception type."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "General_BadRequest",
        kind: str = "Kusto.Data.Exceptions.KustoBadRequestException",
        status: int = 400,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind
        self.status = status


def not_found(what: str, name: str) -> KustoRefusal:
    """The refusal of a command that names something that is not there."""
    return KustoRefusal(
        f"{what} '{name}' could not be found",
        code="BadRequest_EntityNotFound",
        kind="Kusto.Data.Exceptions.EntityNotFoundException",
    )


def already_exists(what: str, name: str) -> KustoRefusal:
    """The refusal of a command that makes what is there."""
    return KustoRefusal(
        f"{what} '{name}' already exists",
        code="BadRequest_EntityAlreadyExists",
        kind="Kusto.Data.Exceptions.EntityAlreadyExistsException",
    )


def moment(text: str) -> datetime:
    """A creation time of an ingestion, in ISO 8601; raises KustoRefusal."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise KustoRefusal(f"creationTime '{text}' is not a datetime") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class Type(NamedTuple):
    """A Kusto type in DuckDB's and in .NET's words."""

    sql: str
    clr: str


TYPES: Final = {
    "bool": Type("BOOLEAN", "System.SByte"),
    "int": Type("INTEGER", "System.Int32"),
    "long": Type("BIGINT", "System.Int64"),
    "real": Type("DOUBLE", "System.Double"),
    "decimal": Type("DECIMAL(38, 12)", "System.Data.SqlTypes.SqlDecimal"),
    "string": Type("VARCHAR", "System.String"),
    "datetime": Type("TIMESTAMP", "System.DateTime"),
    "timespan": Type("INTERVAL", "System.TimeSpan"),
    "guid": Type("UUID", "System.Guid"),
    "dynamic": Type("JSON", "System.Object"),
}


@dataclass(frozen=True, slots=True)
class Extent:
    """Rows that come, move and go together; those of one ingestion, until extents merge.

    `created` and `latest` are the ends of their creation times, `deleted` counts soft-deleted rows.
    """

    rows: int
    created: datetime
    tags: tuple[str, ...] = ()
    latest: datetime | None = None
    deleted: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def holds(self, keys: tuple[str, ...]) -> bool:
        """Whether one of the keys was ingested into this extent."""
        return any(f"ingest-by:{key}" in self.tags for key in keys)


@dataclass(slots=True)
class Mapping:
    """A named JSON mapping: its document and the column and path of each entry."""

    entries: list[dict[str, Any]]
    updated: datetime = field(default_factory=utc_now)

    @property
    def text(self) -> str:
        """The document, compact."""
        return json.dumps(self.entries, separators=(",", ":"), ensure_ascii=False)


@dataclass(slots=True)
class Table:
    """One table: `columns` maps name to type, in order; the rest is as the commands left it."""

    name: str
    columns: dict[str, str]
    folder: str = ""
    docstring: str = ""
    column_docstrings: dict[str, str] = field(default_factory=dict)
    mappings: dict[str, Mapping] = field(default_factory=dict)
    policies: dict[str, Any] = field(default_factory=dict)
    extents: dict[str, Extent] = field(default_factory=dict)

    def copied(self, name: str) -> Table:
        """An empty table with the same properties, but for the update policy."""
        copied = replace(self, name=name, extents={})
        copied.columns, copied.column_docstrings = dict(self.columns), dict(self.column_docstrings)
        copied.mappings = dict(self.mappings)
        copied.policies = {policy: value for policy, value in self.policies.items() if policy != "update"}
        return copied

    def describe(self, options: dict[str, str]) -> None:
        """Take folder and docstring from a command's options."""
        self.folder = options.get("folder", self.folder)
        self.docstring = options.get("docstring", self.docstring)

    def as_json(self) -> dict[str, Any]:
        """The table as `.show database schema as json` has it."""
        columns = []
        for name, kind in self.columns.items():
            column = {"Name": name, "Type": TYPES[kind].clr, "CslType": kind}
            if name in self.column_docstrings:
                column["DocString"] = self.column_docstrings[name]
            columns.append(column)
        table: dict[str, Any] = {"Name": self.name, "OrderedColumns": columns}
        if self.folder:
            table["Folder"] = self.folder
        if self.docstring:
            table["DocString"] = self.docstring
        return table


@dataclass(frozen=True, slots=True)
class Failure:
    """One ingestion that the engine refused, as `.show ingestion failures` lists it."""

    table: str
    source_path: str
    details: str
    error_code: str
    properties: str
    failed: datetime
    kind: str = "Permanent"
    operation_id: str = field(default_factory=lambda: str(uuid.uuid4()))
