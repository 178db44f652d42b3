"""Records to rows: decodes each record with the types the ledger gives its keys, and encodes the row.

Knows the ledger, and neither OpenCost's HTTP nor Kusto. A record is the JSON text of one allocation, asset,
sample or outcome; a row is one line of newline-delimited JSON with every column of the table, in order.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from operator import attrgetter, itemgetter
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, defstruct
from msgspec.structs import astuple

from opencost_kusto.batch import Origin
from opencost_kusto.errors import ContentError
from opencost_kusto.schema import Asked, Derived, Json, Key, Rest, Table

_NULL = Raw(b"null")
_DECODED: dict[str, tuple[Any, Any]] = {
    "real": (float | None, None),
    "long": (int | None, None),
    "bool": (bool | None, None),
    "string": (str | None, None),
    "datetime": (Annotated[datetime, Meta(tz=True)] | None, None),
    "dynamic": (Raw, _NULL),
}


class Encoder:
    """Encodes the records of one batch.

    `rows`, `bytes` and `micros` count what was encoded: rows, bytes of newline-delimited JSON before
    compression, and the summed cost in millionths, an integer so that it does not depend on the order of
    the rows (OpenCost rounds costs to five decimals, /assets to six).
    `unmapped` holds the keys that OpenCost sent and no column reads; their values are in the rows' Unmapped.
    """

    def __init__(self, table: Table, origin: Origin) -> None:
        self.rows = 0
        self.bytes = 0
        self.micros = 0
        self.unmapped: set[str] = set()
        self._shape = _shape(table)
        self._origin = origin
        self._asked = tuple(read(origin) for read in self._shape.asked)
        self._json = msgspec.json.Encoder()

    @property
    def cost(self) -> float | None:
        """The summed cost; None where the table has none."""
        return None if self._shape.cost is None else self.micros / 1e6

    def encode(self, record: bytes) -> bytes:
        """One record as one line; raises ContentError, naming the record and the key, when it does not decode."""
        shape = self._shape
        try:
            row = self._row(shape.decode(record))
        except msgspec.ValidationError:
            row = self._tolerant(record)
        except ValueError as error:
            raise _bad(shape.table, record, error) from error
        line = self._json.encode(row) + b"\n"
        self.rows += 1
        self.bytes += len(line)
        if shape.cost is not None:
            self.micros += round((shape.cost(row) or 0.0) * 1e6)
        return line

    def _row(self, decoded: tuple[Json, ...]) -> Struct:
        """Assemble the row: what was decoded, asked and derived, brought into the order of the table."""
        shape = self._shape
        origin = self._origin
        derived = [derive(origin, *keys(decoded)) for derive, keys in shape.derived]
        return shape.row(*shape.in_order((*decoded, *self._asked, *derived, None)))

    def _tolerant(self, record: bytes) -> Struct:
        """The slower way for a record with keys nobody knows: keep them in Unmapped, or find what is wrong."""
        shape = self._shape
        try:
            whole = msgspec.json.decode(record, type=dict[str, Json])
            unknown = shape.take_unknown(whole)
            row = self._row(shape.decode(msgspec.json.encode(whole)))
        except ValueError as error:
            raise _bad(shape.table, record, error) from error
        self.unmapped |= unknown.keys()
        if shape.rest is not None:
            setattr(row, shape.rest, unknown)
        return row


class _Shape:
    """What the ledger says of one table, compiled once: decoders for records, and the struct of a row."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._keys = list(table.keys())
        self._nested = sorted({path.split(".")[0] for path in (key.path for key in self._keys) if "." in path})
        whole = {key.path for key in self._keys if "." not in key.path}
        top = [key for key in self._keys if "." not in key.path and key.path not in self._nested]
        raw = [Key(name, "dynamic") for name in self._nested]
        self._top = msgspec.json.Decoder(_struct(table.name, (*top, *raw), strict=True))
        self._inner = {
            name: msgspec.json.Decoder(
                # What is kept whole loses nothing, so only the others must know every key.
                _struct(name, [_tail(key) for key in self._keys if key.path.startswith(name + ".")], name not in whole)
                | None
            )
            for name in self._nested
        }
        # A record is decoded into one tuple; joining tuples is several times faster than reading attributes by name.
        fields = [key.path for key in (*top, *raw)]
        self._steps = []
        for name, decoder in self._inner.items():
            empty = msgspec.json.decode(b"{}", type=decoder.type)
            self._steps.append((fields.index(name), decoder, astuple(empty)))
            fields += [f"{name}.{field}" for field in empty.__struct_fields__]
        asked = [column for column in table.columns if isinstance(column.source, Asked)]
        self.asked = [attrgetter(column.source.path) for column in asked if isinstance(column.source, Asked)]
        derived = [column for column in table.columns if isinstance(column.source, Derived)]
        self.derived = [
            (column.source.derive, _getter([fields.index(key.path) for key in column.source.keys]))
            for column in derived
            if isinstance(column.source, Derived)
        ]
        places = {column.name: len(fields) + place for place, column in enumerate((*asked, *derived))}
        places |= {
            column.name: fields.index(column.source) for column in table.columns if isinstance(column.source, str)
        }
        # The last place holds null, for what no record has.
        order = [places.get(column.name, -1) for column in table.columns]
        self.in_order: Callable[[tuple[Json, ...]], tuple[Json, ...]] = itemgetter(*order)
        self.row = defstruct(table.name + "Row", [(column.name, Any, None) for column in table.columns])
        self.rest = next((column.name for column in table.columns if isinstance(column.source, Rest)), None)
        self.cost: Callable[[Struct], float | None] | None = attrgetter(table.cost) if table.cost else None

    def decode(self, record: bytes) -> tuple[Json, ...]:
        """The record's values, those of nested objects behind; a nested null reads like an empty object."""
        top = astuple(self._top.decode(record))
        values = top
        for place, decoder, empty in self._steps:
            inner = decoder.decode(top[place])
            values += empty if inner is None else astuple(inner)
        return values

    def take_unknown(self, whole: dict[str, Json]) -> dict[str, Json]:
        """Remove from a record, and return by dotted path, the keys that no column reads."""
        unknown: dict[str, Json] = {}
        known = {key.path for key in self._keys}
        for name in list(whole):
            inner = whole[name]
            if name in known:
                continue
            if name in self._nested and isinstance(inner, dict):
                unknown |= {f"{name}.{key}": inner.pop(key) for key in list(inner) if f"{name}.{key}" not in known}
            elif name not in self._nested:
                unknown[name] = whole.pop(name)
        return unknown


def _struct(name: str, keys: Any, strict: bool) -> Any:
    fields = [(key.path, *_DECODED[key.type]) for key in keys]
    return defstruct(name, fields, forbid_unknown_fields=strict)


def _tail(key: Key) -> Key:
    return Key(key.path.split(".", 1)[1], key.type)


def _getter(places: list[int]) -> Callable[[tuple[Json, ...]], tuple[Json, ...]]:
    if len(places) == 1:
        one = places[0]
        return lambda decoded: (decoded[one],)
    return itemgetter(*places)


@cache
def _shape(table: Table) -> _Shape:
    return _Shape(table)


def _bad(table: Table, record: bytes, error: Exception) -> ContentError:
    try:
        name = msgspec.json.decode(record).get("name") or "a record"
    except (ValueError, AttributeError):
        name = "a record"
    return ContentError(f"OpenCost's {table.dataset} answer has a value that cannot be used, in {name!r}: {error}.")
