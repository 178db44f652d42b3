"""The current content of a database: its schema in one command, mappings and policies on demand."""

from __future__ import annotations

import json
from typing import Self

from opencost_kusto.kusto.client import Kusto
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.kql import paths


class Catalog:
    """Tables and functions as `.show database schema as json` describes them, by name.

    https://learn.microsoft.com/kusto/management/show-schema-database
    """

    def __init__(self, kusto: Kusto, tables: dict[str, Json], functions: dict[str, Json]) -> None:
        self._kusto = kusto
        self.tables = tables
        self.functions = functions

    @classmethod
    def read(cls, kusto: Kusto) -> Self:
        """Read the schema; raises KustoError."""
        text = kusto.command(f".show database ['{kusto.database}'] schema as json")[0]["DatabaseSchema"]
        databases = json.loads(text)["Databases"]
        schema = next(iter(databases.values())) if databases else {}
        return cls(kusto, schema.get("Tables") or {}, schema.get("Functions") or {})

    def columns(self, table: str) -> dict[str, Json]:
        """The columns of a table by name; none when there is no such table."""
        return {column["Name"]: column for column in self.tables.get(table, {}).get("OrderedColumns", [])}

    def mappings(self, table: str) -> dict[str, dict[str, str]]:
        """The JSON mappings of a table: column-to-path pairs by name. Raises KustoError."""
        if table not in self.tables:
            return {}
        rows = self._kusto.command(f".show table {table} ingestion json mappings")
        return {row["Name"]: paths(_json(row["Mapping"])) for row in rows}

    def policy(self, table: str, name: str) -> Json:
        """A policy of a table, or None. Raises KustoError."""
        if table not in self.tables:
            return None
        rows = self._kusto.command(f".show table {table} policy {name}")
        return _json(rows[0]["Policy"]) if rows and rows[0]["Policy"] else None


def _json(value: Json) -> Json:
    return json.loads(value) if isinstance(value, str) else value
