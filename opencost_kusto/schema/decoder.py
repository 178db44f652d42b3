"""A table's declaration, compiled to a decoder for its records: each record is read once, with the declared types.

The checks of a record and its row read what one decode found; `Decoded` carries it from the one to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import attrgetter

import msgspec
from msgspec import Raw, Struct

from opencost_kusto.schema.columns import Derived, Json, Table
from opencost_kusto.schema.shape import Node, find, struct_of, tree


class Decoded(Struct, frozen=True, gc=False):
    """A record as it was sent, with what the decoder of its table found in it; `exact` if that encodes to its text."""

    text: bytes
    found: Struct
    exact: bool = False


def text_of(record: bytes | Decoded) -> bytes:
    """A record as it was sent."""
    return record.text if isinstance(record, Decoded) else record


class Decoder:
    """Decodes the records of one table to the values that a row needs in addition to its record.

    `derived`, `lists` and `key` are the places among the values of what columns are derived from, of the lists of
    `Table.unordered` and of the columns of `Table.key`, each in declared order. The cost, where there is one, is last.
    """

    def __init__(self, table: Table, root: Node, struct: type[Struct]) -> None:
        derived = [key.path for column in table.columns if isinstance(column.source, Derived) for key in column.keys()]
        key = table.key_paths
        cost = (table.copied(table.cost),) if table.cost else ()
        self.derived = slice(0, len(derived))
        self.lists = slice(len(derived), len(derived) + len(table.unordered))
        self.key = slice(self.lists.stop, self.lists.stop + len(key))
        self._read = reader([*derived, *table.unordered, *key, *cost])
        # A key that holds other keys is decoded as a struct, so its value is read from the record itself.
        self._key_paths = key if any(find(root, path).below for path in key) else ()
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
            document = msgspec.json.decode(record, type=dict[str, Json])
            unknown = dict(_take_unknown(self._root, document))
            found = self._decode(msgspec.json.encode(document))
        return self._values(record, found), unknown

    def values(self, record: Decoded) -> tuple[Json, ...]:
        """The values of a record that was decoded, as `decode`; they may be UNSET for None."""
        try:
            return self._with_key(record.text, self._read(record.found))
        except AttributeError:
            # What was found stays as it is, for whoever reads it next.
            return self._values(record.text, self._decode(record.text))

    def _values(self, record: bytes, found: Struct) -> tuple[Json, ...]:
        """The values of a record; an object that is null is filled."""
        try:
            values = self._read(found)
        except AttributeError:
            _fill(self._root, found)
            values = self._read(found)
        return self._with_key(record, values)

    def _with_key(self, record: bytes, values: tuple[Json, ...]) -> tuple[Json, ...]:
        """The values with those of the key as plain JSON, where one of them is an object."""
        if not self._key_paths:
            return values
        return *values[: self.key.start], *_plain_values(record, self._key_paths), *values[self.key.stop :]


def compile_decoder(table: Table, record: bytes) -> Decoder:
    """A decoder for a table's records that look like this one. Raises ValueError where it is no JSON object.

    Decoding is fastest where fields stand in the order in which OpenCost sends them: each is sought behind the last.
    """
    return _compiled(table, tuple(msgspec.json.decode(record, type=dict[str, Raw])))


@lru_cache(maxsize=64)
def _compiled(table: Table, order: tuple[str, ...]) -> Decoder:
    root = tree(table, order)
    return Decoder(table, root, struct_of(table.name, root))


def _fill(node: Node, found: Struct) -> None:
    """Put an empty object in the place of each null that has keys below it."""
    for name, inner in node.below.items():
        if inner.below:
            if getattr(found, name) is None:
                msgspec.structs.force_setattr(found, name, inner.empty)
            else:
                _fill(inner, getattr(found, name))


def _take_unknown(node: Node, document: dict[str, Json], path: str = "") -> Iterator[tuple[str, Json]]:
    """Remove from an object, and give by dotted path, the keys that no column reads."""
    for name in list(document):
        inner = node.below.get(name)
        if inner is None:
            yield f"{path}{name}", document.pop(name)
        elif inner.below and not inner.kept and isinstance(document[name], dict):
            yield from _take_unknown(inner, document[name], f"{path}{name}.")


def _plain_values(record: bytes, paths: tuple[str, ...]) -> tuple[Json, ...]:
    """The values of a record at some paths, as plain JSON."""
    document = msgspec.json.decode(record)
    return tuple(value_at(document, path.split(".")) for path in paths)


def value_at(value: Json, keys: list[str]) -> Json:
    """The value inside nested objects; None where one of them is missing, null or no object."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def reader(paths: list[str]) -> Callable[[Struct], tuple[Json, ...]]:
    """A function that reads some keys of a decoded record."""
    if len(paths) > 1:
        return attrgetter(*paths)
    if not paths:
        return lambda _: ()
    one = attrgetter(paths[0])
    return lambda found: (one(found),)
