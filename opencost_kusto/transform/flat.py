"""Rows as their table holds them, cut from the text of a row: no value is decoded, and none is encoded again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import Raw

from opencost_kusto.schema.columns import Table
from opencost_kusto.transform.rows import flatten

_NULL = Raw(b"null")


class _Object:
    """An object in a row: its members that columns are, as text, then those of the objects in it."""

    def __init__(self, paths: Iterable[tuple[str, ...]]) -> None:
        paths = list(paths)
        names = list(dict.fromkeys(path[0] for path in paths))
        inner = {name: [path[1:] for path in paths if path[0] == name and path[1:]] for name in names}
        self._inner = [(at, _Object(inner[name])) for at, name in enumerate(names) if inner[name]]
        # An object that is no column itself is decoded with the one around it.
        self._types: list[Any] = [Raw] * len(names)
        for at, one in self._inner:
            if (names[at],) not in paths:
                self._types[at] = one.made | None
        fields = [(f"f{at}", type_, _NULL if type_ is Raw else None) for at, type_ in enumerate(self._types)]
        rename = {f"f{at}": name for at, name in enumerate(names)}
        self.made: type[msgspec.Struct] = msgspec.defstruct("Members", fields, rename=rename, gc=False)
        self._decode = msgspec.json.Decoder(self.made).decode
        self.paths: list[tuple[str, ...]] = [(name,) for name in names]
        self.paths += [(names[at], *path) for at, one in self._inner for path in one.paths]
        self.nulls = (_NULL,) * len(self.paths)

    def values(self, text: Raw | bytes) -> tuple[Any, ...]:
        """The text of each path, null where there is none; raises ValidationError where an object is something else."""
        return self._values_of(self._decode(text))

    def _values_of(self, members: msgspec.Struct) -> tuple[Any, ...]:
        found: tuple[Any, ...] = msgspec.structs.astuple(members)
        for at, one in self._inner:
            inner = found[at]
            if inner is None or inner == _NULL:
                found += one.nulls
            else:
                found += one.values(inner) if self._types[at] is Raw else one._values_of(inner)
        return found


@cache
def flattener(table: Table) -> Callable[[bytes], bytes]:
    """A function from a row of `Encoder.lines` to a line with every column by its name, as `flatten` has them."""
    paths = [tuple(table.path_of(column).split(".")) for column in table.columns]
    record_type = _Object(paths)
    chosen = itemgetter(*(record_type.paths.index(path) for path in paths))
    row = msgspec.defstruct("Row", [(column.name, Raw) for column in table.columns], gc=False)
    encode = msgspec.json.Encoder().encode

    def flat(line: bytes) -> bytes:
        text = line[:-1]
        # A response with line breaks between its values has them in its rows.
        if b"\n" not in text:
            try:
                return encode(row(*chosen(record_type.values(text)))) + b"\n"
            except msgspec.ValidationError:
                pass
        return msgspec.json.encode(flatten(table, line)) + b"\n"

    return flat
