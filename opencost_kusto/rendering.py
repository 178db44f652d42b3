"""Tables of values: the one renderer of reports, query results and the pages of pipelines."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from opencost_kusto.schema.columns import Json
from opencost_kusto.values import Kind as Kind
from opencost_kusto.values import bars as bars
from opencost_kusto.values import cell as cell
from opencost_kusto.values import json_text as json_text
from opencost_kusto.values import markdown_text as markdown_text
from opencost_kusto.values import money as money
from opencost_kusto.values import plain as plain
from opencost_kusto.values import printable as printable

# The format of columns of query results, by the end of their names.
_MONEY = re.compile(r"(Cost|Waste|Price|Change|Difference|Credit|Adjustment)$")
_BYTES, _BYTE_HOURS = re.compile(r"Byte"), re.compile(r"ByteHours")
_SHARE, _PERCENT = re.compile(r"(Efficiency|Share)$"), re.compile(r"Percent$")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; with `total`, its values add up."""

    name: str
    kind: Kind = Kind.TEXT
    total: bool = False

    @property
    def right(self) -> bool:
        """Whether it is aligned to the right."""
        return self.kind not in (Kind.TEXT, Kind.CURRENCY)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of values, under a title."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Json]]
    title: str = ""

    def cells(self) -> list[list[str]]:
        """The rows as text, each cell printable and on one line."""
        kinds = [column.kind for column in self.columns]
        return [[cell(*both) for both in zip(row, kinds, strict=True)] for row in self.rows]

    def totals(self) -> list[list[str]]:
        """A line of totals for each currency; none where nothing is added, or for a single row."""
        if len(self.rows) < 2 or not any(column.total for column in self.columns):
            return []
        kinds = [column.kind for column in self.columns]
        return [list(map(cell, self._sum("Total", rows), kinds)) for rows in self._by_currency(self.rows)]

    def first(self, count: int) -> Table:
        """The first rows."""
        return replace(self, rows=self.rows[:count])

    def top(self, count: int) -> Table:
        """The first rows, and for each currency a row with the sum of the others."""
        rest = self._by_currency(self.rows[count:])
        others = [self._sum(f"{len(rows)} other{'s' if len(rows) > 1 else ''}", rows) for rows in rest]
        return replace(self, rows=[*self.rows[:count], *others])

    @property
    def _currency(self) -> int | None:
        """The position of the column with the currency."""
        return next((at for at, column in enumerate(self.columns) if column.kind is Kind.CURRENCY), None)

    def _by_currency(self, rows: Sequence[Sequence[Json]]) -> list[list[Sequence[Json]]]:
        """The rows whose amounts may be added."""
        groups: dict[str, list[Sequence[Json]]] = {}
        for row in rows:
            groups.setdefault("" if self._currency is None else str(row[self._currency] or ""), []).append(row)
        return [groups[name] for name in sorted(groups)]

    def _sum(self, name: str, rows: Sequence[Sequence[Json]]) -> list[Json]:
        """A row under a name, with the sums of the columns with totals, and the currency."""
        sums: list[Json] = []
        for at, column in enumerate(self.columns):
            values = [row[at] for row in rows if row[at] is not None]
            sums.append(sum(values) if column.total and values else None)
        if self._currency is not None:
            sums[self._currency] = rows[0][self._currency]
        return [name if at == 0 and value is None else value for at, value in enumerate(sums)]

    def readable(self) -> Table:
        """The table for people: a currency that all rows have is in the headings of the amounts instead."""
        at = self._currency
        currencies = set() if at is None else {row[at] or "" for row in self.rows}
        if at is None or len(currencies) > 1:
            return self
        unit = "".join(f" ({one})" for one in currencies if one)
        columns = [
            replace(column, name=column.name + unit) if column.kind is Kind.MONEY else column for column in self.columns
        ]
        del columns[at]
        return replace(self, columns=tuple(columns), rows=[[*row[:at], *row[at + 1 :]] for row in self.rows])

    def compact(self) -> Table:
        """The table without the columns in which no row has a value."""
        kept = [at for at in range(len(self.columns)) if any(row[at] not in (None, "") for row in self.rows)]
        columns = tuple(self.columns[at] for at in kept)
        return replace(self, columns=columns, rows=[[row[at] for at in kept] for row in self.rows])

    def documents(self) -> list[dict[str, Json]]:
        """The rows as JSON objects."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, map(plain, row), strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Document:
    """A report: a JSON document; for people, tables with lines of text above and below; the rows of the CSV form."""

    json: Json
    tables: Sequence[Table] = ()
    lines: Sequence[str] = ()
    rows: Table | None = None
    head: Sequence[str] = ()


def table_of(rows: Sequence[dict[str, Json]], title: str = "") -> Table:
    """Rows of a query as a table, whose columns are read by their names; costs in one currency add up."""
    names = list(rows[0]) if rows else []
    kinds = {name: _kind(name, [row[name] for row in rows]) for name in names}
    # Without a currency, the amounts of two clusters may be in two.
    adds = Kind.CURRENCY in kinds.values() or len({row.get("Cluster") for row in rows}) < 2
    columns = tuple(
        Column(name, kinds[name], adds and kinds[name] is Kind.MONEY and name.endswith("Cost")) for name in names
    )
    return Table(columns, [list(row.values()) for row in rows], title)


def _kind(name: str, values: Sequence[Json]) -> Kind:
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if name.endswith("Currency"):
        return Kind.CURRENCY
    if not numbers or len(numbers) + values.count(None) != len(values):
        return Kind.TEXT
    if _MONEY.search(name):
        return Kind.MONEY
    if _BYTE_HOURS.search(name):
        return Kind.BYTE_HOURS
    if _BYTES.search(name):
        return Kind.BYTES
    if _SHARE.search(name):
        return Kind.SHARE
    if _PERCENT.search(name):
        return Kind.PERCENT
    return Kind.COUNT if all(isinstance(number, int) for number in numbers) else Kind.NUMBER


def csv_text(table: Table) -> str:
    """A table as CSV with a header; empty without rows, because their columns are unknown."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if table.columns:
        writer.writerow([column.name for column in table.columns])
        writer.writerows([_csv_cell(plain(value)) for value in row] for row in table.rows)
    return text.getvalue()


def _csv_cell(value: Json) -> Json:
    return json_text(value, indent=None) if isinstance(value, (dict, list)) else value


def markdown(table: Table) -> str:
    """A table as GitHub-flavoured Markdown, which GitHub and Azure DevOps show; numbers are right-aligned."""
    table = table.readable()
    rule = ["---:" if column.right else "---" for column in table.columns]
    kinds = [column.kind for column in table.columns]
    body = [
        [
            markdown_text(value if isinstance(value, str) else cell(value, kind))
            for value, kind in zip(row, kinds, strict=True)
        ]
        for row in table.rows
    ]
    body += [[f"**{markdown_text(text)}**" if text else "" for text in total] for total in table.totals()]
    head = [markdown_text(column.name) for column in table.columns]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))
