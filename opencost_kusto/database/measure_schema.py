"""Measurements of `doctor --write` about tables, policies, mappings and functions; each returns its result."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from opencost_kusto.database.scratch import COLUMNS, FENCE, MAPPING, Scratch
from opencost_kusto.errors import KustoError
from opencost_kusto.schema.columns import Json

Measure = Callable[[Scratch], str]


def accepted(command: str) -> Measure:
    """Whether a command is accepted."""

    def measure(scratch: Scratch) -> str:
        scratch.command(command)
        return "yes"

    return measure


def policy(name: str, value: Json, verb: str = ".alter") -> Measure:
    """Whether a policy is accepted."""
    return accepted(f"{verb} table {{T}} policy {name} {FENCE}{json.dumps(value)}{FENCE}")


def create(scratch: Scratch) -> str:
    """The scratch table, with a docstring and a folder."""
    columns = ", ".join(f"{name}: {kind}" for name, kind in COLUMNS.items())
    return accepted(f'.create table {{T}} ({columns}) with (docstring = "Scratch.", folder = "OpenCost")')(scratch)


def schema_column(scratch: Scratch) -> str:
    """The column that holds the schema of the database, if the scratch table is in it."""
    (row,) = scratch.command(f".show database ['{scratch.kusto.database}'] schema as json")
    holding = [name for name, value in row.items() if isinstance(value, str) and scratch.name in value]
    return ", ".join(holding) or "none"


def expires(scratch: Scratch) -> str:
    """A policy that drops the table a day later, if this process is killed."""
    end = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    return policy("auto_delete", {"ExpiryDate": end, "DeleteIfNotEmpty": True})(scratch)


def tags_with_table(scratch: Scratch) -> str:
    """A prefix of tags that the documentation forbids."""
    rule = {"TagPrefix": f"ingest-by:{scratch.name}/", "RetentionPeriod": "7.00:00:00"}
    try:
        policy("extent_tags_retention", [rule])(scratch)
    except KustoError as error:
        if error.transient:
            raise
        return "refused"
    return "accepted"


def tags_shown(scratch: Scratch) -> str:
    """The retention period of tags as it is shown."""
    shown = json.loads(scratch.command(".show table {T} policy extent_tags_retention")[0]["Policy"])
    return str(shown[0]["RetentionPeriod"])


def no_policy(scratch: Scratch) -> str:
    """How a policy is shown that was never set."""
    return str(scratch.command(".show table {T} policy row_level_security")[0]["Policy"])


def mapping(table: str = "{T}") -> Measure:
    """Whether a mapping between fences is accepted."""
    paths = [{"column": name, "Properties": {"Path": f"$.{name}"}} for name in COLUMNS]
    head = f'.create-or-alter table {table} ingestion json mapping "{MAPPING}"'
    return accepted(f"{head} {FENCE}{json.dumps(paths)}{FENCE}")


def mapping_shown(scratch: Scratch) -> str:
    """The number of columns with which the mapping is shown."""
    return f"{len(json.loads(scratch.command('.show table {T} ingestion json mappings')[0]['Mapping']))} columns"


def docstring(scratch: Scratch) -> str:
    """Whether `.create-merge table` of an existing table changes its docstring."""
    shown = scratch.command(".show tables | where TableName == '{T}' | project DocString")
    return "stays" if shown[0]["DocString"] == "Scratch." else "changes"


def callee(scratch: Scratch) -> str:
    """Whether a function that calls a missing one is refused."""
    try:
        scratch.command(".create-or-alter function {F}() { {F}Callee() }")
    except KustoError as error:
        if error.transient:
            raise
        return "refused"
    scratch.function_made = True
    return "accepted"


def staging(scratch: Scratch) -> str:
    """A second table with the columns of the first, in their order."""
    columns = scratch.command(".show table {T} cslschema | project Schema")[0]["Schema"]
    scratch.staging_made = True
    scratch.command(f'.create table {{S}} ({columns}) with (folder="OpenCost")')
    return "yes"
