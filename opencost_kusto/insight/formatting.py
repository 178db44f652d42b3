"""The format of pictures: colours by series, and values as text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from itertools import cycle
from typing import Any

Row = dict[str, Any]
# Longest text in a table cell; longer ones are cut.
_LETTERS = 44
_COLOURS = (
    "#2563eb",
    "#f59e0b",
    "#10b981",
    "#8b5cf6",
    "#ef4444",
    "#06b6d4",
    "#ec4899",
    "#84cc16",
    "#a16207",
    "#4f46e5",
)
# Idle and unallocated cost is grey in every picture; charged cost is blue.
_FIXED = {
    "__idle__": "#9ca3af",
    "__unmounted__": "#6b7280",
    "__unallocated__": "#d1d5db",
    "IdleCost": "#cbd5e1",
    "UnmountedCost": "#9ca3af",
    "TotalCost": _COLOURS[0],
    "AllocatedCost": _COLOURS[0],
}

# What the dashboard adds to a name where the currency is set.
_CURRENCY = re.compile(r" \([A-Z]{3}\)$")


class Colours:
    """A colour for each series, the same in every picture; values of a column have fixed colours."""

    def __init__(self) -> None:
        self._given: dict[str, dict[str, str]] = {}
        self._left: dict[str, cycle[str]] = {}

    def of(self, column: str, value: str) -> str:
        """The colour of a value of a column."""
        if (fixed := _FIXED.get(_CURRENCY.sub("", value))) is not None:
            return fixed
        given = self._given.setdefault(column, {})
        if value not in given:
            given[value] = next(self._left.setdefault(column, cycle(_COLOURS)))
        return given[value]


def roles(rows: list[Row]) -> tuple[str, str, str]:
    """The columns of the time, of the series and of the value."""
    kinds = {name: type(value) for name, value in rows[0].items()}
    time = next(name for name, kind in kinds.items() if kind is datetime)
    value = next(name for name, kind in kinds.items() if kind in (int, float))
    return time, next(name for name in kinds if name not in (time, value)), value


def summed(rows: Iterable[Row], key: str, value: str) -> dict[Any, float]:
    """The sum of a value by key, the largest first."""
    sums: dict[Any, float] = {}
    for row in rows:
        name = "" if row[key] is None else row[key]
        sums[name] = sums.get(name, 0.0) + float(row[value] or 0.0)
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def heading(name: str) -> str:
    """`CpuWaste` as words: CPU waste."""
    found = re.findall(r"[A-Z][a-z]*", name)
    text = " ".join(word.upper() if word in ("Cpu", "Ram", "Gpu", "Id") else word.lower() for word in found)
    return text[:1].upper() + text[1:]


def label(name: str) -> str:
    """A name without OpenCost's underscores: `__unmounted__` is unmounted."""
    return re.sub(r"__(\w+?)__", r"\1", name)


def shortened(text: str) -> str:
    """A text that fits the cell of a table."""
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
