"""`doctor --write`: test what the documentation leaves open, on one scratch table of the user's cluster.

Each assumption has the consequence of another behaviour. The table is dropped at the end, or by its auto_delete policy
if the process is killed.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from opencost_kusto.database.finding import Finding, Status
from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.client import Kusto, Row
from opencost_kusto.schema.columns import Json

_FENCE = "```"
COLUMNS = {
    "BatchId": "string",
    "Text": "string",
    "Bag": "dynamic",
    "Moment": "datetime",
    "Cost": "real",
    "Flag": "bool",
}
# Texts that a dynamic value may convert: https://learn.microsoft.com/kusto/query/scalar-data-types/dynamic
_LABELS = {"date": "2026-01-01", "number": "007", "float": "1e3", "guid": "74be27de-1e4e-49d9-b579-fe0b331d3642"}
_ROW = {"BatchId": "b", "Bag": _LABELS, "Moment": "2026-11-23T10:00:00.123456Z", "Cost": 0.000001, "Flag": True}
_PAUSE = 2.0


@dataclass(slots=True)
class Scratch:
    """The scratch table, and the measurements so far."""

    kusto: Kusto
    timeout: float
    sleep: Callable[[float], None] = time.sleep
    name: str = field(default_factory=lambda: f"OpenCostDoctor_{uuid.uuid4().hex[:12]}")
    queued_in: float = 0.0

    def command(self, text: str) -> list[Row]:
        """A command about the table, for which `{T}` stands; sent once. Raises KustoError."""
        return self.kusto.command(text.replace("{T}", self.name), retry=False)

    def query(self, text: str) -> list[Row]:
        """A query over the table. Raises KustoError."""
        return self.kusto.query(text.replace("{T}", self.name), fresh=True)

    def send(self, tag: str) -> None:
        """Queue one row. Raises KustoError."""
        line = (json.dumps(_ROW) + "\n").encode()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "row.json.gz")
            path.write_bytes(gzip.compress(line))
            blob = self.kusto.upload(path, name="doctor.multijson.gz", table=self.name, raw_bytes=len(line))
        self.kusto.enqueue(blob, table=self.name, mapping="doctor", tag=tag)

    def landed(self, rows: int) -> float:
        """The seconds until the table holds this number of rows; raises KustoError after the timeout."""
        began = time.monotonic()
        while time.monotonic() - began < self.timeout:
            if self.query("{T} | count")[0]["Count"] >= rows:
                return time.monotonic() - began
            self.sleep(_PAUSE)
        raise KustoError(f"{rows} rows did not land within {self.timeout:g} s.")


@dataclass(frozen=True, slots=True)
class Assumption:
    """One assumption about a cluster: the question, the assumed result, and the consequence of another result."""

    question: str
    assumed: str
    otherwise: str
    measure: Callable[[Scratch], str]


def _create(scratch: Scratch) -> str:
    columns = ", ".join(f"{name}: {kind}" for name, kind in COLUMNS.items())
    scratch.command(f'.create table {{T}} ({columns}) with (docstring = "Scratch.", folder = "OpenCost")')
    return "yes"


def _policy(name: str, value: Json, verb: str = ".alter") -> Callable[[Scratch], str]:
    def measure(scratch: Scratch) -> str:
        scratch.command(f"{verb} table {{T}} policy {name} {_FENCE}{json.dumps(value)}{_FENCE}")
        return "yes"

    return measure


def _expires(scratch: Scratch) -> str:
    end = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    return _policy("auto_delete", {"ExpiryDate": end, "DeleteIfNotEmpty": True})(scratch)


def _tags_shown(scratch: Scratch) -> str:
    shown = json.loads(scratch.command(".show table {T} policy extent_tags_retention")[0]["Policy"])
    return str(shown[0]["RetentionPeriod"])


def _mapping(scratch: Scratch) -> str:
    paths = [{"column": name, "Properties": {"Path": f"$.{name}"}} for name in COLUMNS]
    head = '.create-or-alter table {T} ingestion json mapping "doctor"'
    scratch.command(f"{head} {_FENCE}{json.dumps(paths)}{_FENCE}")
    return "yes"


def _mapping_shown(scratch: Scratch) -> str:
    found = json.loads(scratch.command(".show table {T} ingestion json mappings")[0]["Mapping"])
    return f"{len(found)} columns"


def _merged(scratch: Scratch) -> str:
    scratch.command('.create-merge table {T} (BatchId: string, More: long) with (docstring = "Other.")')
    return "yes"


def _docstring(scratch: Scratch) -> str:
    shown = scratch.command(".show tables | where TableName == '{T}' | project DocString")
    return "stays" if shown[0]["DocString"] == "Scratch." else "changes"


def _queued(scratch: Scratch) -> str:
    began = time.monotonic()
    scratch.send("doctor/1")
    scratch.queued_in = time.monotonic() - began
    return "under 10 s" if scratch.queued_in < 10 else f"{scratch.queued_in:.0f} s"


def _landed(scratch: Scratch) -> str:
    took = scratch.landed(1)
    return "under 60 s" if took < 60 else f"{took:.0f} s"


def _once(scratch: Scratch) -> str:
    scratch.send("doctor/1")
    # A second tag that lands shows that the first message of the two was read.
    scratch.send("doctor/2")
    scratch.landed(2)
    return f"{scratch.query('{T} | count')[0]['Count']} rows of 3 messages"


def _tags(scratch: Scratch) -> str:
    shown = scratch.command(".show table {T} extents | project Tags")
    return (
        "ingest-by: and the tag"
        if any("ingest-by:doctor/1" in str(row["Tags"]).split("\r\n") for row in shown)
        else "other"
    )


def _values(scratch: Scratch) -> str:
    row = scratch.query("{T} | take 1 | project Text, Micros = tolong(bin(Cost * 1000000.0 + 0.5, 1)), Flag, Moment")[0]
    same = row["Micros"] == 1 and row["Flag"] and not row["Text"] and row["Moment"].microsecond == 123456
    return "as sent" if same else str(row)


def _labels(scratch: Scratch) -> str:
    texts = ", ".join(f"Label_{name} = tostring(Bag['{name}'])" for name in _LABELS)
    row = scratch.query(f"{{T}} | take 1 | project {texts}")[0]
    changed = [name for name, text in _LABELS.items() if row[f"Label_{name}"] != text]
    return "stay" if not changed else f"changed: {', '.join(changed)}"


def _updated(scratch: Scratch) -> str:
    body = "<| let D = {T} | where BatchId == 'none'; let A = {T} | where BatchId == 'none';"
    scratch.command(f".update table {{T}} delete D append A with (whatif=true) {body}")
    return "yes"


ASSUMPTIONS = (
    Assumption("Is .create table with docstring and folder accepted?", "yes", "nothing else can be tried", _create),
    Assumption("Is an auto_delete policy accepted?", "yes", "a staging table of a killed run stays", _expires),
    Assumption(
        "Is the batching policy accepted?",
        "yes",
        "rows without a tag wait for the default of 5 minutes",
        _policy("ingestionbatching", {"MaximumBatchingTimeSpan": "00:00:30"}, ".alter-merge"),
    ),
    Assumption(
        "Is tag retention by ingest-by: accepted?",
        "yes",
        "tags stay until the extents go",
        _policy("extent_tags_retention", [{"TagPrefix": "ingest-by:", "RetentionPeriod": "7.00:00:00"}]),
    ),
    Assumption("How is that policy shown?", "7.00:00:00", "bootstrap sends it every time", _tags_shown),
    Assumption("Is a fenced JSON mapping accepted?", "yes", "nothing can be loaded", _mapping),
    Assumption(
        "How is a mapping shown?", "6 columns", "a changed mapping is not found before rows are sent", _mapping_shown
    ),
    Assumption("Is .create-merge of an existing table accepted?", "yes", "an upgrade cannot add columns", _merged),
    Assumption("Does it change the table's docstring?", "stays", "it is set twice", _docstring),
    Assumption("How long does it take to queue a blob?", "under 10 s", "a backfill takes longer", _queued),
    Assumption("After how long does a row land?", "under 60 s", "raise --timeout", _landed),
    Assumption("Does a tag land only once?", "2 rows of 3 messages", "duplicates are found by counting", _once),
    Assumption("How are the tags of an extent shown?", "ingest-by: and the tag", "tags cannot be read", _tags),
    Assumption("How does a row land?", "as sent", "amounts or times differ; report it", _values),
    Assumption("Do labels that look like dates or numbers stay?", "stay", "reports by such a label differ", _labels),
    Assumption("Is .update table with append accepted?", "yes", "sync --replace cannot repair", _updated),
)


def examine(kusto: Kusto, *, timeout: float = 300.0, sleep: Callable[[float], None] = time.sleep) -> Iterator[Finding]:
    """Test each assumption in turn, and always drop the table at the end."""
    scratch = Scratch(kusto, timeout, sleep)
    try:
        for assumption in ASSUMPTIONS:
            finding = _tried(assumption, scratch)
            yield finding
            if assumption is ASSUMPTIONS[0] and finding.status is not Status.OK:
                return
    finally:
        yield from _dropped(scratch)


def _tried(assumption: Assumption, scratch: Scratch) -> Finding:
    hop = "assumption"
    try:
        measured = assumption.measure(scratch)
    except KustoError as error:
        measured = f"no: {error}"
    except LookupError:
        # No row landed, or nothing is shown.
        measured = "nothing"
    if measured == assumption.assumed:
        return Finding(hop, Status.OK, f"{assumption.question} {measured}")
    said = f"{assumption.question} {measured}; assumed: {assumption.assumed}. Consequence: {assumption.otherwise}."
    return Finding(hop, Status.NOTE, said)


def _dropped(scratch: Scratch) -> Iterator[Finding]:
    try:
        scratch.command(".drop table {T} ifexists")
        yield Finding("assumption", Status.OK, f"{scratch.name} is dropped")
    except KustoError as error:
        cure = f".drop table {scratch.name} ifexists"
        yield Finding("assumption", Status.NOTE, f"{scratch.name} could not be dropped: {error}", cure)
