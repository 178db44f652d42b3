"""Rows as their table holds them, every column by its name.

What was found in a record is encoded, where that is how the record spells it; any other row is cut from its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import Raw, Struct, defstruct
from msgspec.structs import astuple

from opencost_kusto.schema.columns import Derived, Json, RowNumber, Table, Total, Unmapped
from opencost_kusto.schema.decoder import Decoded, value_at
from opencost_kusto.transform.rows import joined, unusable

_NULL = Raw(b"null")


# The sources of columns that each row has of its own.
_OF_ROW = (RowNumber, Derived, Unmapped, Total)
# The values that were found, None where they are to be cut from the text; and all values in the order of the columns.
Read = Callable[[Struct], tuple[Any, ...] | None]
Order = Callable[[tuple[Any, ...]], tuple[Any, ...]]


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
        self.made: type[Struct] = defstruct("Members", fields, rename=rename, gc=False)
        self._decode = msgspec.json.Decoder(self.made).decode
        self.paths: list[tuple[str, ...]] = [(name,) for name in names]
        self.paths += [(names[at], *path) for at, one in self._inner for path in one.paths]
        self.nulls = (_NULL,) * len(self.paths)

    def values(self, text: Raw | bytes) -> tuple[Any, ...]:
        """The text of each path, null where there is none; raises ValidationError where an object is something else."""
        return self._values_of(self._decode(text))

    def _values_of(self, members: Struct) -> tuple[Any, ...]:
        found: tuple[Any, ...] = astuple(members)
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
    row = defstruct("Row", [(column.name, Raw) for column in table.columns], gc=False)
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


class FlatRows:
    """Writes rows for `Encoder`: a line with every column by its name, as `flatten` has them.

    What was found in a record is encoded, where that is how the record has it; any other row is cut from its text.
    """

    def __init__(self, table: Table) -> None:
        self._cut = flattener(table)
        self._copied = {column.name: column.source for column in table.columns if isinstance(column.source, str)}
        own = [column.name for column in table.columns if isinstance(column.source, _OF_ROW)]
        self._shared = [column.name for column in table.columns if column.name not in (*self._copied, *own)]
        self._own, self._names = own, [column.name for column in table.columns]
        self._row = defstruct("Row", [(name, Any) for name in self._names], gc=False)
        self._decode = msgspec.json.Decoder(defstruct("Own", [(name, Raw, _NULL) for name in own], gc=False)).decode
        self._encode = msgspec.json.Encoder().encode
        self._begin, self._values = b"", tuple[Any, ...]()
        self._found: dict[type[Struct], tuple[Read, Order]] = {}

    def __call__(self, begin: bytes, record: bytes | Decoded, rest: bytes) -> bytes:
        """A row, as a line; as `rows.Write`."""
        if isinstance(record, Decoded) and record.exact:
            if begin != self._begin:
                shared = msgspec.json.decode(begin + b"null}", type=dict[str, Raw])
                self._begin, self._values = begin, tuple(shared.get(name) for name in self._shared)
            kind = type(record.found)
            read, in_order = self._found.get(kind) or self._compiled(kind)
            # None: an object is null, so that nothing is in it.
            if (found := read(record.found)) is not None:
                values = (*self._values, *astuple(self._decode(b"{%b}" % rest[1:])), *found)
                return b"%b\n" % self._encode(self._row(*in_order(values)))
        return self._cut(joined(begin, record, rest))

    def _compiled(self, kind: type[Struct]) -> tuple[Read, Order]:
        """What reads the values that were found, and what puts all values into the order of the columns."""
        missing, objects = _members(kind)
        paths = list(missing)
        special = [name for name, path in self._copied.items() if missing[path] is not None]
        nothing = [(paths.index(self._copied[name]), missing[self._copied[name]]) for name in special]

        def read(found: Struct) -> tuple[Any, ...] | None:
            values: tuple[Any, ...] = astuple(found)
            for at in objects:
                if values[at] is None:
                    return None
                values += astuple(values[at])
            return (*values, *[None if values[at] is none else values[at] for at, none in nothing])

        before = [*self._shared, *self._own]
        place = {name: at for at, name in enumerate(before)}
        place |= {name: len(before) + paths.index(path) for name, path in self._copied.items()}
        place |= {name: len(before) + len(paths) + at for at, name in enumerate(special)}
        found = self._found[kind] = read, itemgetter(*map(place.__getitem__, self._names))
        return found


def _members(kind: type[Struct]) -> tuple[dict[str, Any], list[int]]:
    """What stands for a missing value at each path of a type, objects before what is in them; the places of objects.

    It is None, UNSET or an empty object, which no other value is.
    """
    missing: dict[str, Any] = {}
    objects: list[int] = []
    types = [("", kind)]
    for prefix, one in types:
        for field in msgspec.structs.fields(one):
            path = f"{prefix}{field.name}"
            if isinstance(field.default, Struct):
                objects.append(len(missing))
                types.append((f"{path}.", type(field.default)))
            missing[path] = field.default
    return missing, objects


def flatten(table: Table, line: bytes) -> dict[str, Json]:
    """A row as its table holds it: every column by its name, null where the row has nothing for it.

    Raises ContentError for a number that no type of JSON numbers can hold.
    """
    try:
        row = msgspec.json.decode(line)
    except (ValueError, RecursionError) as error:
        raise unusable(table, line, error) from error
    return {name: value_at(row, keys) for name, keys in _paths(table)}


@cache
def _paths(table: Table) -> list[tuple[str, list[str]]]:
    return [(column.name, table.path_of(column).split(".")) for column in table.columns]
