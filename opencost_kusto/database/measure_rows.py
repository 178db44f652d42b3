"""Measurements of `doctor --write` about rows, tags and their replacement; each returns its result."""

from __future__ import annotations

import time

from opencost_kusto.database.scratch import LABELS, Scratch
from opencost_kusto.schema import micros

_BATCH = "where BatchId == 'b'"


def queued(scratch: Scratch) -> str:
    """The time to upload a blob and to queue its message."""
    began = time.monotonic()
    scratch.send("doctor/1")
    took = time.monotonic() - began
    return "under 10 s" if took < 10 else f"{took:.0f} s"


def landed(scratch: Scratch) -> str:
    """The time until a queued row lands."""
    took = scratch.landed(1)
    return "under 60 s" if took < 60 else f"{took:.0f} s"


def once(scratch: Scratch) -> str:
    """The number of rows that land for a tag that is sent twice, and another."""
    scratch.send("doctor/1")
    # A second tag that lands shows that the first message of the two was read.
    scratch.send("doctor/2")
    scratch.landed(2)
    return f"{scratch.count()} rows of 3 messages"


def hit(scratch: Scratch) -> str:
    """How a blob is listed that was left out by its tag."""
    found = scratch.failures("ErrorCode, FailureKind", "true")
    return "; ".join(sorted({f"{row['ErrorCode']}, {row['FailureKind']}" for row in found})) or "not listed"


def malformed(scratch: Scratch) -> str:
    """Whether a blob that cannot be read is listed, with a path that holds the id of its source."""
    source = scratch.send(None, line='{"BatchId": "cut')
    path = 'extract("__([0-9a-f-]{36})__", 1, IngestionSourcePath)'
    return "listed with its source" if scratch.listed(f"{path} == '{source}'") else "not listed"


def tags(scratch: Scratch) -> str:
    """How the tag of an extent is shown."""
    shown = scratch.command(".show table {T} extents | project Tags, MinCreatedOn, RowCount")
    found = [row for row in shown if "ingest-by:doctor/1" in str(row["Tags"]).split("\r\n")]
    complete = found and found[0]["MinCreatedOn"] is not None and found[0]["RowCount"]
    return "ingest-by: and the tag" if complete else "other"


def values(scratch: Scratch) -> str:
    """Whether every type of value is read as it was sent, an absent string as an empty one."""
    row = scratch.query(f"{{T}} | take 1 | project Text, Micros = {micros.kql('Cost')}, Flag, Moment, None = Bag.none")[
        0
    ]
    same = row["Micros"] == 1 and row["Flag"] and not row["Text"] and row["Moment"].microsecond == 123456
    return "as sent" if same and not row["None"] else str(row)


def labels(scratch: Scratch) -> str:
    """The labels that look like other types and are read as something else."""
    texts = ", ".join(f"Label_{name} = tostring(Bag['{name}'])" for name in LABELS)
    row = scratch.query(f"{{T}} | take 1 | project {texts}")[0]
    changed = [name for name, text in LABELS.items() if row[f"Label_{name}"] != text]
    return "stay" if not changed else f"changed: {', '.join(changed)}"


def halves(scratch: Scratch) -> str:
    """How halves become whole numbers, by the expression that counts millionths."""
    row = scratch.query("print A = bin(0.5 + 0.5, 1), B = bin(1.5 + 0.5, 1), C = bin(2.5 + 0.5, 1)")[0]
    found = [float(row[name]) for name in "ABC"]
    return "up" if found == [1.0, 2.0, 3.0] else str(found)


def appended(scratch: Scratch) -> str:
    """The number of rows of a synchronous command when it ends."""
    with_tags = """with (tags='["ingest-by:a","ingest-by:b"]')"""
    scratch.command(f".set-or-append {{S}} {with_tags} <| {{T}} | take 1")
    return f"{scratch.count('{S}')} row"


def two_tags(scratch: Scratch) -> str:
    """What separates the tags of an extent."""
    shown = [str(row["Tags"]) for row in scratch.command(".show table {S} extents | project Tags")]
    return (
        "line breaks" if any(set(text.split("\r\n")) == {"ingest-by:a", "ingest-by:b"} for text in shown) else "other"
    )


def staged(scratch: Scratch) -> str:
    """Whether a table that was just created accepts a queued blob."""
    before = scratch.count("{S}")
    scratch.send("doctor/3", table="{S}")
    scratch.landed(before + 1, "{S}")
    return "yes"


def moved(scratch: Scratch) -> str:
    """The rows of a batch after its replacement by a tagged extent of the staging table, and their tag."""
    move = """move {S} with (extentTagsToMove='["ingest-by:doctor/3"]')"""
    scratch.command(f".update table {{T}} delete D {move} <| let D = {{T}} | {_BATCH};")
    return "yes"


def after_move(scratch: Scratch) -> str:
    """The content of the table after that."""
    shown = [str(row["Tags"]) for row in scratch.command(".show table {T} extents | project Tags")]
    tagged = any("ingest-by:doctor/3" in text.split("\r\n") for text in shown)
    return f"{scratch.count()} row, {'with' if tagged else 'without'} its tag"


def whatif(scratch: Scratch) -> str:
    """The result of `.update table` before it changes anything."""
    shown = scratch.command(_append("with (whatif=true) "))
    sums = {action: sum(int(row["RowCount"]) for row in shown if row["Action"] == action) for action in _ACTIONS}
    return ", ".join(f"{action} {rows}" for action, rows in sums.items())


def replaced(scratch: Scratch) -> str:
    """Whether the rows of a batch are replaced by those of a query."""
    before = scratch.count()
    scratch.command(_append(""))
    changed = scratch.query("{T} | where Text == 'again' | count")[0]["Count"]
    return "yes" if changed == scratch.count() == before else f"{changed} of {before} rows"


_ACTIONS = ("Delete", "Create")


def _append(options: str) -> str:
    rows = f"let D = {{T}} | {_BATCH}; let A = {{T}} | {_BATCH} | extend Text = 'again';"
    return f".update table {{T}} delete D append A {options}<| {rows}"
