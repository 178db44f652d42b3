"""The options that a user may request of a dataset. An option is declared once, in its `Table`.

From the declaration follow the command-line option, the batch's id, the query sent to OpenCost and, where OpenCost
does not filter by it, which records of the response are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

OptionValue: TypeAlias = str | bool | tuple[str, ...]


def as_is(text: str) -> OptionValue:
    """The text itself."""
    return text


def true_or_unset(value: OptionValue) -> str | None:
    """`true` for a switch that is on; nothing for one that is off, which is OpenCost's default for all of them."""
    return "true" if value else None


def unsent(_: OptionValue) -> str | None:
    """Nothing: OpenCost does not have the option."""
    return None


def asset_filter(types: OptionValue) -> str | None:
    """The types of assets in OpenCost's filter grammar, in which their names are in lower case; None for all."""
    return "assetType:" + ",".join(f'"{one}"' for one in types) if isinstance(types, tuple) and types else None


def one_of(values: OptionValue, text: str) -> bool:
    """Whether a text is one of an option's lower-case texts, in any case; none of them means all."""
    return not isinstance(values, tuple) or not values or text.lower() in values


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records of a response are kept: those for which `keeps` is true of the option's value and a text.

    The text is that at `key`, a key at the top of the record; empty where the record has none.
    """

    key: str
    keeps: Callable[[OptionValue, str], bool]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a dataset.

    `name` is OpenCost's, in its spelling. `default` is a bool for a switch, a text or a tuple of texts for an option
    with a value, which `parse` makes of what a user writes; `parse` raises UsageError. `query` gives the value of the
    query parameter, whose name is `parameter` where it is not the option's; None where it is not sent. `needs` names a
    switch without which this one does nothing. `partial`: a batch with this option does not have the complete
    cost of its window. `later`: an earlier release had the dataset without it, so at its default it is no part of a
    batch's id, and batches that landed then are found.
    """

    name: str
    doc: str
    default: OptionValue
    parse: Callable[[str], OptionValue] = as_is
    query: Callable[[OptionValue], str | None] = unsent
    parameter: str | None = None
    keeps: RecordFilter | None = None
    needs: str | None = None
    partial: bool = False
    later: bool = False

    @property
    def field(self) -> str:
        """The name in Python: `include_idle` for `includeIdle`."""
        return _snake_case(self.name)

    @property
    def flag(self) -> str:
        """The name on the command line: `--include-idle`."""
        return "--" + self.field.replace("_", "-")


@cache
def _snake_case(name: str) -> str:
    """`include_idle` for `includeIdle`; cached, since every batch needs it."""
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()
