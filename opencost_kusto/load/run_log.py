"""Write the run log: a row for each batch of a run, which distinguishes "no cost" from "never synced".

A synchronous command writes it, without tags: a copy of a row is harmless, because readers take the latest. Entries are
ordered by Kusto's clock, so that machines with wrong clocks agree on the latest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter

import msgspec

from opencost_kusto.batch import Run, Source
from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.holdings import chunks
from opencost_kusto.load.table_columns import live_columns
from opencost_kusto.result import BatchResult
from opencost_kusto.schema.columns import Column, FromContext, Json
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import SYNC_RUNS

# Entries in one command: a few hundred KB of text.
ENTRIES_PER_COMMAND = 200
_LOGGED_AT = "LoggedAt"


class LogContext(msgspec.Struct, frozen=True):
    """The values that all entries share."""

    run: Run
    source: Source


class SourceEntry(msgspec.Struct, frozen=True):
    """An entry of a source and of no batch, with the source's fingerprint."""

    reason_code: str
    reason: str | None = None


Entry = tuple[LogContext, BatchResult | SourceEntry]


def write_run_log(kusto: Kusto, run: Run, sources: Iterable[Source], results: Sequence[BatchResult]) -> None:
    """Write an entry for each result, each of one of the sources; raises KustoError."""
    # The fingerprint has a separate entry, and is too long to be in each.
    contexts = {source.name: LogContext(run.of(source), replace(source, fingerprint=None)) for source in sources}
    _append(kusto, [(contexts[one.source], one) for one in results])


def write_sources(kusto: Kusto, run: Run, entries: Iterable[tuple[Source, SourceEntry]]) -> None:
    """Write entries of sources; raises KustoError."""
    _append(kusto, [(LogContext(run.of(source), source), entry) for source, entry in entries])


def _append(kusto: Kusto, entries: Sequence[Entry]) -> None:
    live = live_columns(kusto, SYNC_RUNS)
    if missing := [column.name for column in SYNC_RUNS.columns if column.name not in live]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise KustoError(
            f"{SYNC_RUNS.name} has no column {', '.join(missing[:3])}{more}, so the run log was not written. "
            "Run opencost-kusto bootstrap.",
            code=ReasonCode.SCHEMA_DRIFT,
        )
    for some in chunks(entries, ENTRIES_PER_COMMAND):
        # Written twice after a lost reply, an entry is a harmless copy.
        kusto.command(append_command(some, live))


def append_command(entries: Iterable[Entry], live: Mapping[str, str]) -> str:
    """The command that appends entries; `LoggedAt` is Kusto's clock.

    The result has the live table's columns in their order, since ingestion from a query goes by position. Columns of
    another release, which `live` has and this one does not declare, are null.
    """
    columns = [column for column in SYNC_RUNS.columns if column.name != _LOGGED_AT]
    shape = ", ".join(f"{column.name}: {column.type}" for column in columns)
    rows = ", ".join(_literal(column, value(column, *entry)) for entry in entries for column in columns)
    declared = {column.name for column in SYNC_RUNS.columns}
    order = ", ".join(name if name in declared else f"{name} = {null(kind)}" for name, kind in live.items())
    return (
        f".set-or-append {SYNC_RUNS.name} <| datatable({shape})[{rows}] | extend {_LOGGED_AT} = now() | project {order}"
    )


def value(column: Column, context: LogContext, result: BatchResult | SourceEntry) -> Json:
    """The value of a column in the entry of a result; None where an entry of a source does not have it."""
    match column.source:
        case FromContext(path=path):
            return attrgetter(path)(context)
        case str(name):
            return getattr(result, name, None) if isinstance(result, SourceEntry) else getattr(result, name)
        case _:
            raise TypeError(f"{SYNC_RUNS.name}.{column.name} is read neither from the run nor from a result")


def null(kind: str) -> str:
    """A KQL literal without a value, of a type; a string is never null."""
    return '""' if kind == "string" else f"{kind}(null)"


def _literal(column: Column, value: Json) -> str:
    """A value as a KQL literal of the column's type."""
    match column.type:
        case "string":
            return literal("" if value is None else str(value))
        case "datetime":
            return "datetime(null)" if value is None else f"datetime({_stamp(value)})"
        case "dynamic":
            return "dynamic(null)" if value is None else f"dynamic({json.dumps(value)})"
        case kind:
            return f"{kind}({'null' if value is None else str(value).lower()})"


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
