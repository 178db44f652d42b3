"""A table's declaration, compiled to a decoder for its records: each record is read once, with the declared types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, defstruct

from opencost_kusto.schema.columns import Derived, Json, Table

_TYPES: dict[str, Any] = {
    "real": float | None,
    "long": int | None,
    "bool": bool | None,
    "string": str | None,
    "datetime": Annotated[datetime, Meta(tz=True)] | None,
    "dynamic": Raw,
}
_LIST = list[str] | None


@dataclass(slots=True)
class _Node:
    """One key of a record and the keys below it; `kept` where a column has the whole value, so that nothing is lost."""

    type: Any = None
    kept: bool = False
    below: dict[str, _Node] = field(default_factory=dict)
    empty: Struct | None = None


class Decoder:
    """Decodes the records of one table to the values that a row needs in addition to its record.

    `derived`, `lists` and `key` are the places among the values of what columns are derived from, of the lists of
    `Table.unordered` and of the columns of `Table.key`, each in declared order. The cost, where there is one, is last.
    """

    def __init__(self, table: Table, root: _Node, struct: type[Struct]) -> None:
        derived = [key.path for column in table.columns if isinstance(column.source, Derived) for key in column.keys()]
        key = table.key_paths
        cost = (table.copied(table.cost),) if table.cost else ()
        self.derived = slice(0, len(derived))
        self.lists = slice(len(derived), len(derived) + len(table.unordered))
        self.key = slice(self.lists.stop, self.lists.stop + len(key))
        self._read = _reader([*derived, *table.unordered, *key, *cost])
        # A key that holds other keys is decoded as a struct, so its value is read from the record itself.
        self._whole = key if any(_find(root, path).below for path in key) else ()
        self._root = root
        self._decode = msgspec.json.Decoder(struct).decode

    def decode(self, record: bytes) -> tuple[tuple[Json, ...], dict[str, Json]]:
        """The values of a record, and what no column reads, by dotted path.

        A null where the table expects an object reads like an empty one. Raises ValueError for what is no such record.
        """
        unknown: dict[str, Json] = {}
        try:
            found = self._decode(record)
        except msgspec.ValidationError:
            # Keys that no column reads, or a value of the wrong type: without the former, the latter shows.
            whole = msgspec.json.decode(record, type=dict[str, Json])
            unknown = dict(_take_unknown(self._root, whole))
            found = self._decode(msgspec.json.encode(whole))
        try:
            values = self._read(found)
        except AttributeError:
            _fill(self._root, found)
            values = self._read(found)
        if self._whole:
            values = (*values[: self.key.start], *_values(record, self._whole), *values[self.key.stop :])
        return values, unknown


def compile_decoder(table: Table, record: bytes) -> Decoder:
    """A decoder for a table's records that look like this one. Raises ValueError where it is no JSON object.

    Decoding is fastest where fields stand in the order in which OpenCost sends them: each is sought behind the last.
    """
    return _compiled(table, tuple(msgspec.json.decode(record, type=dict[str, Raw])))


@lru_cache(maxsize=64)
def _compiled(table: Table, order: tuple[str, ...]) -> Decoder:
    root = _tree(table)
    place = {name: number for number, name in enumerate(order)}
    root.below = dict(sorted(root.below.items(), key=lambda item: place.get(item[0], len(order))))
    return Decoder(table, root, _struct(table.name, root))


def _tree(table: Table) -> _Node:
    """The keys that a table reads or ignores, as a tree. Raises ValueError for a key inside one that is no object."""
    root = _Node()
    for key in table.keys():
        node = _find(root, key.path)
        node.type = _LIST if key.path in table.unordered else _TYPES[key.type]
        node.kept = True
    _check(root, table.name)
    return root


def _find(root: _Node, path: str) -> _Node:
    """The node of a path, made where it is missing."""
    node = root
    for name in path.split("."):
        node = node.below.setdefault(name, _Node())
    return node


def _check(node: _Node, path: str) -> None:
    for name, inner in node.below.items():
        if inner.below and inner.type not in (None, Raw):
            raise ValueError(f"{path}.{name} is declared as a value and as an object.")
        _check(inner, f"{path}.{name}")


def _struct(name: str, node: _Node, kept: bool = False) -> type[Struct]:
    """The msgspec type of an object; what no column keeps whole must have no other keys than the declared ones."""
    fields: list[tuple[str, Any, Any]] = []
    for key, inner in node.below.items():
        if inner.below:
            struct = _struct(key, inner, kept or inner.kept)
            inner.empty = struct()
            fields.append((key, struct | None, inner.empty))
        else:
            fields.append((key, inner.type, None))
    # Values out of JSON cannot refer to themselves, so the garbage collector need not look at them.
    return defstruct(name, fields, forbid_unknown_fields=not kept, frozen=True, gc=False)


def _fill(node: _Node, found: Struct) -> None:
    """Put an empty object in the place of each null that has keys below it."""
    for name, inner in node.below.items():
        if inner.below:
            if getattr(found, name) is None:
                msgspec.structs.force_setattr(found, name, inner.empty)
            else:
                _fill(inner, getattr(found, name))


def _take_unknown(node: _Node, whole: dict[str, Json], path: str = "") -> Iterator[tuple[str, Json]]:
    """Remove from an object, and give by dotted path, the keys that no column reads."""
    for name in list(whole):
        inner = node.below.get(name)
        if inner is None:
            yield f"{path}{name}", whole.pop(name)
        elif inner.below and not inner.kept and isinstance(whole[name], dict):
            yield from _take_unknown(inner, whole[name], f"{path}{name}.")


def _values(record: bytes, paths: tuple[str, ...]) -> tuple[Json, ...]:
    """The values of a record at some paths, as plain JSON."""
    whole = msgspec.json.decode(record)
    return tuple(value_at(whole, path.split(".")) for path in paths)


def value_at(value: Json, keys: list[str]) -> Json:
    """The value inside nested objects; None where one of them is missing, null or no object."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _reader(paths: list[str]) -> Callable[[Struct], tuple[Json, ...]]:
    """A function that reads some keys of a decoded record."""
    if len(paths) > 1:
        return attrgetter(*paths)
    if not paths:
        return lambda _: ()
    one = attrgetter(paths[0])
    return lambda found: (one(found),)
