"""Reports and dictionaries as lines for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable

from opencost_kusto.database.functions import Function
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.window import stamp


def outcome_line(one: BatchResult) -> str:
    """`prod allocation 2026-11-23T10:00:00Z 60m  landed  61 rows  1.07208`, and the reason and notes below it."""
    cost = f"  {one.cost:.5f}" if one.cost is not None else ""
    rows = f"  {one.rows} rows" if one.rows is not None else ""
    window = f"{stamp(one.window_start)} {one.window_minutes:.0f}m"
    head = f"{one.source} {one.dataset:<10} {window}  {one.outcome}{rows}{cost}"
    return "\n".join((head, *(f"    {line}" for line in (one.reason, *one.notes) if line)))


def report_line(report: Report) -> str:
    """The sum: how many batches ended with each outcome, and their rows; the run log where it could not be written."""
    if not report.results:
        return f"Nothing to do in run {report.run_id}"
    counts = [f"{count} {outcome}" for outcome, count in report.counts.items()]
    counts += ["run log failed"] if report.run_log is not None else []
    many = "1 batch" if len(report.results) == 1 else f"{len(report.results)} batches"
    sources = ", ".join(report.sources)
    return f"{many} of {sources} in run {report.run_id}: {', '.join(counts)}; {report.rows} rows"


def dictionary(tables: Iterable[Table], functions: Iterable[Function]) -> list[str]:
    """The data dictionary, a line per column and per function."""
    lines = []
    for table in tables:
        lines.append(f"{table.name}: {table.doc}")
        lines.extend(f"  {c.name:<32} {c.type:<9} {c.doc}  [{c.origin}]" for c in table.columns)
        lines.extend(f"  ({path} is not kept: {reason})" for path, reason in table.ignored.items())
        lines.append("")
    return [*lines, "Functions:", *(f"  {function.signature}\n      {function.doc}" for function in functions)]


def dictionary_document(tables: Iterable[Table], functions: Iterable[Function]) -> dict[str, list[dict[str, Json]]]:
    """The data dictionary as JSON."""
    described = [
        {
            "name": table.name,
            "dataset": table.dataset,
            "doc": table.doc,
            "key": list(table.key),
            "mapping": table.mapping,
            "columns": [{"name": c.name, "type": c.type, "source": c.origin, "doc": c.doc} for c in table.columns],
            "ignored": table.ignored,
        }
        for table in tables
    ]
    named = [{"name": f.name, "signature": f.signature, "doc": f.doc} for f in functions]
    return {"tables": described, "functions": named}


def as_table(rows: list[dict[str, Json]]) -> str:
    """Rows as aligned columns under their names."""
    if not rows:
        return "(no rows)"
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
    return "\n".join(lines)


def as_json(rows: list[dict[str, Json]]) -> str:
    """Rows as a JSON list of objects."""
    return json.dumps(rows, default=str, indent=2, ensure_ascii=False)


def as_csv(rows: list[dict[str, Json]]) -> str:
    """Rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
        writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return text.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[[list[dict[str, Json]]], str]] = {"table": as_table, "json": as_json, "csv": as_csv}


def _cell(value: Json) -> str:
    if value is None:
        return ""
    return json.dumps(value, default=str) if isinstance(value, (dict, list)) else str(value)


def bars(values: dict[str, float], width: int = 40) -> list[str]:
    """Names with values as bars of text, largest first."""
    most = max(values.values(), default=0.0)
    widest = max(map(len, values), default=0)
    ordered = sorted(values.items(), key=lambda item: -item[1])
    return [
        f"{name:<{widest}}  {value:9.4f}  {'█' * round(width * value / most if most > 0 else 0)}"
        for name, value in ordered
    ]
