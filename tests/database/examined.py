"""A Kusto whose database is up to date, its doctor, and replies that replace its own."""

from __future__ import annotations

import json

from opencost_kusto.database import doctor
from opencost_kusto.database.finding import Finding
from opencost_kusto.emulator import Fault, KustoEmulator, json_reply
from opencost_kusto.kusto.client import Deadlines, Kusto


def examined(emulator: KustoEmulator, *, engine_only: bool = False) -> dict[str, list[Finding]]:
    """The findings by hop."""
    found: dict[str, list[Finding]] = {}
    with Kusto(emulator.url, emulator.database, auth="none", deadlines=Deadlines(query=20, check=20)) as kusto:
        for one in doctor.examine(kusto, engine_only=engine_only):
            found.setdefault(one.hop, []).append(one)
    return found


def reply(beginning: str, columns: list[str], *rows: list[object]) -> Fault:
    """Kusto's v1 reply to commands with this beginning."""
    table = {
        "TableName": "Table_0",
        "Columns": [{"ColumnName": name, "DataType": "String", "ColumnType": "string"} for name in columns],
        "Rows": list(rows),
    }
    reply = json_reply(json.dumps({"Tables": [table]}).encode())
    return lambda request: reply if request.csl.startswith(beginning) else None
