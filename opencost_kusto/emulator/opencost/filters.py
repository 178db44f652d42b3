"""OpenCost's filter grammar: `field op "value"[,"value"]`, joined with `+` (and), `|` (or) and parentheses.

The operators are `:` `!:` (equal), `~:` `!~:` (contains), `<~:` `!<~:` (begins with) and `~>:` `!~>:` (ends with).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from opencost_kusto.emulator.opencost.aggregation import sanitized

Record = Mapping[str, Any]
Filter = Callable[[Record], bool]

ALLOCATION_FIELDS: Final = {
    name.lower(): key
    for name, key in {
        **{name: name for name in ("cluster", "node", "namespace", "pod", "container", "services", "controllerKind")},
        **{"controllerName": "controller", "provider": "providerID", "label": "labels", "annotation": "annotations"},
    }.items()
}
ASSET_FIELDS: Final = {
    name.lower(): name
    for name in ("name", "assetType", "category", "cluster", "project", "provider", "providerID", "account", "service")
} | {"label": "labels"}

_TERM: Final = re.compile(r'\s*([A-Za-z]+)(?:\[([^\]]+)\])?\s*(!?(?:<~|~>|~)?:)\s*((?:"[^"]*"\s*,?\s*)+)')
_VALUE: Final = re.compile(r'"([^"]*)"')


class FilterError(ValueError):
    """A filter that the server cannot parse; the text is the server's."""


def parse(text: str, fields: Mapping[str, str]) -> Filter:
    """The predicate of a filter over records of properties. Raises FilterError."""
    parser = _Parser(text, fields)
    found = parser.alternatives()
    if parser.rest.strip():
        raise parser.refusal()
    return found


class _Parser:
    def __init__(self, text: str, fields: Mapping[str, str]) -> None:
        self.rest = text
        self._fields = fields

    def alternatives(self) -> Filter:
        parts = [self._conjunction()]
        while self._takes("|"):
            parts.append(self._conjunction())
        return lambda record: any(part(record) for part in parts)

    def _conjunction(self) -> Filter:
        parts = [self._operand()]
        while self._takes("+"):
            parts.append(self._operand())
        return lambda record: all(part(record) for part in parts)

    def _operand(self) -> Filter:
        if self._takes("("):
            inner = self.alternatives()
            if not self._takes(")"):
                raise self.refusal()
            return inner
        found = _TERM.match(self.rest)
        if found is None or found[1].lower() not in self._fields:
            raise self.refusal()
        self.rest = self.rest[found.end() :]
        return _term(self._fields[found[1].lower()], found[2], found[3], _VALUE.findall(found[4]))

    def _takes(self, token: str) -> bool:
        rest = self.rest.lstrip()
        if not rest.startswith(token):
            return False
        self.rest = rest.removeprefix(token)
        return True

    def refusal(self) -> FilterError:
        word = re.match(r"\w*", self.rest.strip())
        at = word[0] if word is not None else ""
        return FilterError(f"parsing filter: 1 error occurred:\n\t* at '{at}': expect filter field\n\n")


def _term(field: str, key: str | None, operator: str, values: list[str]) -> Filter:
    compare = _COMPARISONS[operator.lstrip("!")]
    negated = operator.startswith("!")

    def holds(record: Record) -> bool:
        held = record.get(field, "")
        if key is not None:
            held = held.get(sanitized(key), "") if held else ""
        many = held if isinstance(held, list) else [held]
        return any(compare(str(one), value) for one in many for value in values) != negated

    return holds


_COMPARISONS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    ":": lambda held, value: held == value,
    "~:": lambda held, value: value in held,
    "<~:": lambda held, value: held.startswith(value),
    "~>:": lambda held, value: held.endswith(value),
}
