"""Declarations to KQL: the commands that make a table, its mapping and its policies, and a function."""

from __future__ import annotations

import json
from collections.abc import Mapping

from opencost_kusto.schema.columns import Json, Table

_FENCE = "```"
# Where the web UI shows tables and functions.
FOLDER = "OpenCost"
# Low latency: the service waits this long, at most, for more blobs before it ingests (its default is 5 minutes).
BATCHING = {"MaximumBatchingTimeSpan": "00:00:30", "MaximumNumberOfItems": 500, "MaximumRawDataSizeMB": 1024}
# How long a tag prevents a second landing, which limits the number of tags of a table.
TAG_RETENTION = "7.00:00:00"


def literal(text: str) -> str:
    """A KQL string literal."""
    return json.dumps(text, ensure_ascii=False)


def create_function(name: str, parameters: str, doc: str, body: str) -> str:
    """The command that creates a function, or puts it in place of one."""
    head = f".create-or-alter function with (docstring = {literal(doc)}, folder = {literal(FOLDER)})"
    return f"{head}\n{name}({parameters}) {{\n    {body}\n}}\n"


def create_table(table: Table) -> str:
    """The command that creates the table, or adds missing columns at its end."""
    columns = ",\n".join(f"    {column.name}: {column.type}" for column in table.columns)
    return (
        f".create-merge table {table.name} (\n{columns}\n)"
        f" with (docstring = {literal(table.doc)}, folder = {literal(FOLDER)})"
    )


def column_docstrings(table: Table) -> str:
    """The command that sets the docstring of every column."""
    docs = ",\n".join(f"    {column.name}: {literal(column.doc)}" for column in table.columns)
    return f".alter-merge table {table.name} column-docstrings (\n{docs}\n)"


def create_mapping(table: Table, of: str | None = None) -> str:
    """The command that makes columns of a row; `of` names another table of the same shape."""
    return _mapping(of or table.name, table.mapping, {column.name: table.path_of(column) for column in table.columns})


def create_flat_mapping(table: Table) -> str:
    """The command that makes columns of a row of `sync --output`, which has each under its own name."""
    return _mapping(table.name, table.flat_mapping, {column.name: column.name for column in table.columns})


def _mapping(table: str, name: str, columns: Mapping[str, str]) -> str:
    """The command that creates a mapping, from the path of each column.

    A path leads into the row's objects: https://learn.microsoft.com/kusto/management/json-mapping

    `datatype` is left out on purpose: with it, queued ingestion would add missing columns.
    """
    entries = ",\n".join(
        f'  {{"column": "{column}", "Properties": {{"Path": "$.{path}"}}}}' for column, path in columns.items()
    )
    head = f'.create-or-alter table {table} ingestion json mapping "{name}"'
    return f"{head}\n{_FENCE}\n[\n{entries}\n]\n{_FENCE}"


def batching_policy(name: str) -> str:
    """The command that sets a short batching time."""
    return f".alter-merge table {name} policy ingestionbatching {_FENCE}{json.dumps(BATCHING)}{_FENCE}"


def tags_policy(table: Table) -> str:
    """The command that limits the retention of the table's tags.

    The prefix ends in its only colon: https://learn.microsoft.com/kusto/management/extent-tags-retention-policy
    """
    policy = [{"TagPrefix": "ingest-by:", "RetentionPeriod": TAG_RETENTION}]
    return f".alter table {table.name} policy extent_tags_retention {_FENCE}{json.dumps(policy)}{_FENCE}"


def policy_json(command: str) -> Json:
    """The policy in a command that sets one."""
    return json.loads(command.split(_FENCE)[1])


def paths(mapping: list[dict[str, object]]) -> dict[str, str]:
    """A mapping's column-to-path pairs, in either of the spellings Kusto uses."""
    pairs = {}
    for entry in mapping:
        column = entry.get("column") or entry.get("Column")
        properties = entry.get("Properties") or entry.get("properties") or {}
        path = entry.get("path") or (properties.get("Path") or properties.get("path"))  # type: ignore[attr-defined]
        pairs[str(column)] = str(path)
    return pairs
