"""The scratch table of `doctor --write`, its staging table and a function; all are dropped at the end."""

from __future__ import annotations

import gzip
import json
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.client import Kusto, Row

FENCE = "```"
MAPPING = "doctor"
COLUMNS = {
    "BatchId": "string",
    "Text": "string",
    "Bag": "dynamic",
    "Moment": "datetime",
    "Cost": "real",
    "Flag": "bool",
}
# Texts that a dynamic value may convert: https://learn.microsoft.com/kusto/query/scalar-data-types/dynamic
LABELS = {
    "date": "2026-01-01",
    "number": "007",
    "float": "1e3",
    "guid": "74be27de-1e4e-49d9-b579-fe0b331d3642",
    "bool": "true",
}
_ROW = {"BatchId": "b", "Bag": LABELS, "Moment": "2026-11-23T10:00:00.123456Z", "Cost": 0.000001, "Flag": True}
_PAUSE = 2.0
# How long a refused blob may take to be listed.
_LISTED = 60.0


@dataclass(slots=True)
class Scratch:
    """The names of the scratch objects, and how to send statements and rows; each method raises KustoError.

    In a statement `{T}` stands for the table, `{S}` for the staging table, `{F}` for the function.
    """

    kusto: Kusto
    timeout: float
    sleep: Callable[[float], None] = time.sleep
    name: str = field(default_factory=lambda: f"OpenCostDoctor_{uuid.uuid4().hex[:12]}")
    function_made: bool = False
    staging_made: bool = False
    nothing_lands: bool = False

    @property
    def staging(self) -> str:
        """The name of the staging table."""
        return f"{self.name}_Staging"

    def command(self, text: str) -> list[Row]:
        """Send a command once."""
        return self.kusto.command(self._named(text), retry=False)

    def query(self, text: str) -> list[Row]:
        """Send a query."""
        return self.kusto.query(self._named(text), fresh=True)

    def count(self, table: str = "{T}") -> int:
        """The number of rows of a table."""
        return int(self.query(f"{table} | count")[0]["Count"])

    def failures(self, columns: str, where: str) -> list[Row]:
        """The failures of the scratch table that Kusto lists."""
        recent = f"FailedOn > ago(1h) and Database =~ {json.dumps(self.kusto.database)} and Table == '{{T}}'"
        return self.command(f".show ingestion failures | where {recent} and {where} | project {columns}")

    def send(self, tag: str | None, *, table: str = "{T}", line: str = json.dumps(_ROW)) -> str:
        """Queue one row, or another line; returns the id of its source."""
        data, table = f"{line}\n".encode(), self._named(table)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "row.json.gz")
            path.write_bytes(gzip.compress(data))
            blob = self.kusto.upload(path, name="doctor.multijson.gz", table=table, raw_bytes=len(data))
        self.kusto.enqueue(blob, table=table, mapping=MAPPING, tag=tag)
        return blob.source_id

    def landed(self, rows: int, table: str = "{T}") -> float:
        """The seconds until a table holds this number of rows; raises KustoError after the timeout.

        Once nothing landed in time, it does not wait again.
        """
        if self.nothing_lands:
            raise KustoError("Not tried, because rows do not land in time.")
        began = time.monotonic()
        if self._until(lambda: self.count(table) >= rows, self.timeout):
            return time.monotonic() - began
        self.nothing_lands = True
        raise KustoError(f"{rows} rows did not land within {self.timeout:g} s.")

    def listed(self, where: str) -> bool:
        """Whether Kusto lists such a failure in time."""
        return self._until(lambda: bool(self.failures("Details", where)), min(self.timeout, _LISTED))

    def drops(self) -> list[str]:
        """The commands that drop what was created."""
        drops = [f".drop table {self.name} ifexists"]
        drops += [f".drop table {self.staging} ifexists"] if self.staging_made else []
        return [*drops, self._named(".drop function {F} ifexists")] if self.function_made else drops

    def _named(self, text: str) -> str:
        for mark, name in {"{T}": self.name, "{S}": self.staging, "{F}": f"{self.name}_Function"}.items():
            text = text.replace(mark, name)
        return text

    def _until(self, true: Callable[[], bool], seconds: float) -> bool:
        began = time.monotonic()
        while not (found := true()) and time.monotonic() - began < seconds:
            self.sleep(_PAUSE)
        return found
