"""Values as text: for people in tables, exact as JSON, and printable whatever their origin.

Numbers are exact in CSV and JSON: rounded to six decimals, so that two equal calls are equal text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from enum import StrEnum

from opencost_kusto.schema.columns import Json
from opencost_kusto.window import stamp

_DECIMALS = 6
# Characters with a meaning in Markdown. Inside a table even a bar between backticks ends a cell.
_SIGNS = re.compile(r"([\\`*_{}\[\]#|~!])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Kind(StrEnum):
    """The kind of a column, which sets its format."""

    TEXT = "text"
    COUNT = "count"
    NUMBER = "number"
    MONEY = "money"
    SHARE = "share"
    PERCENT = "percent"
    BYTES = "bytes"
    BYTE_HOURS = "byte-hours"
    # The currency of the money in a row; amounts of two currencies are never added.
    CURRENCY = "currency"


def cell(value: Json, kind: Kind = Kind.TEXT) -> str:
    """A value as printable text on one line."""
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value, kind)
    if isinstance(value, (dict, list)):
        return json_text(value, indent=None)
    return printable(str(plain(value)))


def _number(value: float, kind: Kind) -> str:
    if kind is Kind.MONEY:
        return money(value)
    if kind in (Kind.SHARE, Kind.PERCENT):
        return f"{value * (100 if kind is Kind.SHARE else 1):,.1f} %"
    if kind in (Kind.BYTES, Kind.BYTE_HOURS):
        return f"{value / 2**30:,.2f} GiB{' h' if kind is Kind.BYTE_HOURS else ''}"
    if isinstance(value, int):
        return f"{value:,}" if kind is Kind.COUNT else str(value)
    return f"{value:,.4f}".rstrip("0").rstrip(".")


def money(value: float) -> str:
    """`1,234.50`, and four decimals where there is less than one unit."""
    return f"{value:,.4f}" if 0 < abs(value) < 1 else f"{value:,.2f}"


def plain(value: Json) -> Json:
    """A value as JSON has it: floats rounded to six decimals, times as RFC 3339 in UTC."""
    if isinstance(value, float):
        # Never minus zero.
        return round(value, _DECIMALS) + 0.0
    if isinstance(value, datetime):
        return stamp(value) if not value.microsecond else value.isoformat().replace("+00:00", "Z")
    if isinstance(value, (date, timedelta)):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def json_text(value: Json, indent: int | None = 2) -> str:
    """A value as JSON text; characters that are not printable are escaped."""
    text = json.dumps(plain(value), default=str, indent=indent, ensure_ascii=False)
    return "".join(one if one.isprintable() or one == "\n" else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    """A character as JSON escapes it."""
    return json.dumps(character)[1:-1]


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
