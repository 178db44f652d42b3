"""The policies and views that affect which rows are counted, kept or written. Reads only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from opencost_kusto.database.catalog import Catalog
from opencost_kusto.database.finding import Finding, Status, failed, guarded
from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.kusto.policies import is_enabled
from opencost_kusto.kusto.rights import ANY_PRINCIPAL, Role, grant
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.tables import TABLES

# A shorter retention does not allow comparing a month with the one before.
_RETENTION_DAYS = 62


def policies(kusto: Kusto) -> Iterator[Finding]:
    """The policies that affect costs, by table; one line if none does."""
    catalog = Catalog.read(kusto)
    existing = [table.name for table in TABLES if table.name in catalog.tables]
    found: list[Finding] = []
    for name in existing:
        found += guarded(f"policies of {name}", partial(_of_table, kusto, catalog, name), optional=True)
    found += guarded("policies of the database", partial(_of_database, kusto), optional=True)
    found += guarded("materialized views", partial(_views, kusto, existing), optional=True)
    yield from found
    if existing and not found:
        yield Finding("policies", Status.OK, f"none of {len(existing)} tables has a policy that affects costs")


def _of_table(kusto: Kusto, catalog: Catalog, name: str) -> Iterator[Finding]:
    hop = f"policies of {name}"
    if is_enabled(catalog.policy(name, "row_level_security")):
        result = "row-level security: rows are counted as this identity sees them, so repairs are only reported"
        yield Finding(hop, Status.NOTE, result, f".delete table {name} policy row_level_security")
    if is_enabled(catalog.policy(name, "restricted_view_access")):
        yield _restricted(kusto, hop, name)
    if any(map(is_enabled, catalog.policy(name, "update") or [])):
        cure = f".delete table {name} policy update"
        yield Finding(hop, Status.NOTE, "an update policy writes rows into it that no batch proves", cure)
    if is_enabled(catalog.policy(name, "streamingingestion")):
        result = "streaming ingestion: rows that another program streams into it have no tag and no batch"
        yield Finding(hop, Status.NOTE, result, f".delete table {name} policy streamingingestion")
    yield from _retention(hop, catalog.policy(name, "retention"), f".alter-merge table {name}")


def _restricted(kusto: Kusto, hop: str, name: str) -> Finding:
    """Restricted view access: a note for an identity that sees the table, a failure for any other."""
    try:
        kusto.query(f"{name} | take 0")
    except KustoError as error:
        # An identity that reads the catalog is a viewer: the last line of the refusal grants the missing role.
        return replace(failed(hop, error), cure=error.cure.splitlines()[-1] if error.cure else "")
    result = "restricted view access: without UnrestrictedViewer, the table cannot be read, not even by administrators"
    return Finding(hop, Status.NOTE, result, grant(Role.UNRESTRICTED_VIEWER, kusto.database, ANY_PRINCIPAL))


def _of_database(kusto: Kusto) -> Iterator[Finding]:
    """The retention of the database applies to tables without their own."""
    database = f"database ['{kusto.database}']"
    rows = kusto.command(f".show {database} policy retention")
    policy = json.loads(rows[0]["Policy"] or "null") if rows else None
    yield from _retention("policies of the database", policy, f".alter-merge {database}")


def _retention(hop: str, policy: Json, alter: str) -> Iterator[Finding]:
    days = _days(str((policy or {}).get("SoftDeletePeriod") or ""))
    if days is not None and days < _RETENTION_DAYS:
        cure = f"{alter} policy retention softdelete = 400d"
        yield Finding(hop, Status.NOTE, f"rows are kept for {days} days", cure)


def _views(kusto: Kusto, tables: list[str]) -> Iterator[Finding]:
    """Rows that a replacement deletes are kept by a materialized view.

    https://learn.microsoft.com/kusto/management/materialized-views/materialized-views-limitations
    """
    for row in kusto.command(".show materialized-views | project Name, SourceTable"):
        if row["SourceTable"] in tables:
            result = (
                f"{row['Name']} over {row['SourceTable']}: it keeps rows that a replacement deletes, and may refuse the"
                " replacement"
            )
            yield Finding("materialized views", Status.NOTE, result, f".drop materialized-view {row['Name']}")


def _days(timespan: str) -> int | None:
    """The days of a timespan such as `365.00:00:00`."""
    found = re.match(r"(?:(\d+)\.)?\d+:\d+:\d+", timespan)
    return int(found[1] or 0) if found else None
