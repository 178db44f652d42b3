"""Tables of values as text: the one renderer of reports, query results and the pages of pipelines.

Numbers are for people in tables (`cells`), and exact in CSV and JSON: rounded to six decimals, so that two equal calls
are equal text.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from opencost_kusto.schema.columns import Json
from opencost_kusto.window import stamp

_DECIMALS = 6
# What Markdown would read as a sign. Inside a table even a bar between backticks ends a cell.
_SIGNS = re.compile(r"([\\`*_{}\[\]#|~!])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# How columns of query results are written, by the end of their names.
_MONEY = re.compile(r"(Cost|Waste|Price|Change|Difference|Credit|Adjustment)$")
_BYTES = re.compile(r"Byte")
_SHARE = re.compile(r"(Efficiency|Share|Percent)$")


class Kind(StrEnum):
    """What a column holds, and so how people read it."""

    TEXT = "text"
    COUNT = "count"
    NUMBER = "number"
    MONEY = "money"
    SHARE = "share"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; with `total`, its values add up."""

    name: str
    kind: Kind = Kind.TEXT
    total: bool = False

    @property
    def right(self) -> bool:
        """Whether it is aligned to the right."""
        return self.kind is not Kind.TEXT


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of values, under a title."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Json]]
    title: str = ""

    def cells(self) -> list[list[str]]:
        """The rows as people read them, each cell printable text on one line."""
        kinds = [column.kind for column in self.columns]
        return [[cell(*both) for both in zip(row, kinds, strict=True)] for row in self.rows]

    def total(self) -> list[str] | None:
        """The line of totals; None where nothing adds up, or a single row says it all."""
        if len(self.rows) < 2 or not any(column.total for column in self.columns):
            return None
        sums = [
            cell(sum(row[at] or 0 for row in self.rows), column.kind) if column.total else ""
            for at, column in enumerate(self.columns)
        ]
        return ["Total" if at == 0 and not text else text for at, text in enumerate(sums)]

    def documents(self) -> list[dict[str, Json]]:
        """The rows as JSON objects."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, map(plain, row), strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Document:
    """A report: a JSON document; for people tables, and lines of text below them; the rows that CSV has."""

    json: Json
    tables: Sequence[Table] = ()
    lines: Sequence[str] = ()
    rows: Table | None = None


def table_of(rows: Sequence[dict[str, Json]], title: str = "") -> Table:
    """Rows of a query as a table, whose columns are read by their names; costs add up."""
    names = list(rows[0]) if rows else []
    kinds = {name: _kind(name, [row[name] for row in rows]) for name in names}
    columns = tuple(Column(name, kinds[name], kinds[name] is Kind.MONEY and name.endswith("Cost")) for name in names)
    return Table(columns, [list(row.values()) for row in rows], title)


def _kind(name: str, values: Sequence[Json]) -> Kind:
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if not numbers or len(numbers) + values.count(None) != len(values):
        return Kind.TEXT
    if _MONEY.search(name):
        return Kind.MONEY
    if _BYTES.search(name):
        return Kind.BYTES
    if _SHARE.search(name) and max(numbers) <= 10:
        return Kind.SHARE
    return Kind.COUNT if all(isinstance(number, int) for number in numbers) else Kind.NUMBER


def cell(value: Json, kind: Kind = Kind.TEXT) -> str:
    """A value as people read it: printable text on one line."""
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value, kind)
    if isinstance(value, (dict, list)):
        return printable(json_text(value, indent=None))
    return printable(str(plain(value)))


def _number(value: float, kind: Kind) -> str:
    if kind is Kind.MONEY:
        return money(value)
    if kind is Kind.SHARE:
        return f"{value * 100:,.1f} %"
    if kind is Kind.BYTES:
        return f"{value / 2**30:,.2f} GiB"
    if isinstance(value, int):
        return f"{value:,}" if kind is Kind.COUNT else str(value)
    return f"{value:,.4f}".rstrip("0").rstrip(".")


def money(value: float) -> str:
    """`1,234.50`, and four decimals where there is less than one unit."""
    return f"{value:,.4f}" if 0 < abs(value) < 1 else f"{value:,.2f}"


def plain(value: Json) -> Json:
    """A value as JSON has it: floats rounded to six decimals, times as RFC 3339 in UTC."""
    if isinstance(value, float):
        # Never minus nothing.
        return round(value, _DECIMALS) + 0.0
    if isinstance(value, datetime):
        return stamp(value) if not value.microsecond else value.isoformat().replace("+00:00", "Z")
    if isinstance(value, (date, timedelta)):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def json_text(value: Json, indent: int | None = 2) -> str:
    """A value as JSON text; what is not printable stands as an escape."""
    text = json.dumps(plain(value), default=str, indent=indent, ensure_ascii=False)
    return "".join(one if one.isprintable() or one == "\n" else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    """A character as JSON escapes it."""
    return json.dumps(character)[1:-1]


def csv_text(table: Table) -> str:
    """A table as CSV with a header; without rows there are no columns, and so no text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if table.columns:
        writer.writerow([column.name for column in table.columns])
        writer.writerows([_csv_cell(plain(value)) for value in row] for row in table.rows)
    return text.getvalue()


def _csv_cell(value: Json) -> Json:
    return json_text(value, indent=None) if isinstance(value, (dict, list)) else value


def markdown(table: Table) -> str:
    """A table as GitHub-flavoured Markdown, which GitHub and Azure DevOps show; numbers stand to the right."""
    rule = ["---:" if column.right else "---" for column in table.columns]
    total = table.total()
    kinds = [column.kind for column in table.columns]
    body = [
        [
            markdown_text(value if isinstance(value, str) else cell(value, kind))
            for value, kind in zip(row, kinds, strict=True)
        ]
        for row in table.rows
    ]
    if total is not None:
        body.append([f"**{markdown_text(text)}**" if text else "" for text in total])
    head = [markdown_text(column.name) for column in table.columns]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))


def markdown_text(value: str) -> str:
    """Text that Markdown and HTML show as it is, on one line."""
    line = " ".join(value.split())
    return _SIGNS.sub(r"\\\1", "".join(_ENTITIES.get(one, one) for one in line if one.isprintable()))


def printable(text: str, keep: str = "") -> str:
    """Text without a character that would act on a terminal or a log: each that is not printable is escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else repr(one)[1:-1] for one in text)


def bars(values: Iterable[float], width: int = 20) -> list[str]:
    """Each value as a bar of text, the largest as long as `width`."""
    sizes = list(values)
    most = max(sizes, default=0.0)
    return ["█" * round(width * size / most) if most > 0 and size > 0 else "" for size in sizes]
