"""Records to rows: reads each record with the types the ledger gives its keys, and adds what it does not say itself.

Knows the ledger, and neither OpenCost's HTTP nor Kusto. A record is the JSON text of one allocation, asset, sample or
outcome; a row is one line of newline-delimited JSON: what all rows of the batch share, the record as it came, and what
is derived from it. The mapping makes columns of it (`Table.path`), so that nothing is written twice or anew.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache, lru_cache
from itertools import accumulate
from operator import attrgetter
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, defstruct

from opencost_kusto.batch import BatchContext
from opencost_kusto.errors import ContentError
from opencost_kusto.schema.columns import RECORD, Derived, FromContext, Json, Table, Unmapped

_DECODED: dict[str, Any] = {
    "real": float | None,
    "long": int | None,
    "bool": bool | None,
    "string": str | None,
    "datetime": Annotated[datetime, Meta(tz=True)] | None,
    "dynamic": Raw,
}


class Encoder:
    """Encodes the records of one batch.

    `rows`, `bytes` and `micros` count what was encoded: rows, bytes of newline-delimited JSON before
    compression, and the summed cost in millionths, an integer so that it does not depend on the order of
    the rows (OpenCost rounds costs to five decimals, /assets to six).
    `unmapped` holds the keys that OpenCost sent and no column reads; their values are in the rows' Unmapped.
    """

    def __init__(self, table: Table, origin: BatchContext) -> None:
        self.rows = 0
        self.bytes = 0
        self.micros = 0
        self.unmapped: set[str] = set()
        self._shape = _shape(table)
        self._origin = origin
        self._begin = self._shape.begin(origin)
        # Many rows of a batch are derived from the same: one cluster, one start, one end.
        self._end = lru_cache(maxsize=1024)(self._derive)

    @property
    def cost(self) -> float | None:
        """The summed cost; None where the table has none."""
        return None if self._shape.cost is None else self.micros / 1e6

    def encode(self, record: bytes) -> bytes:
        """One record as one line; raises ContentError, naming the record and the key, when it does not decode."""
        shape = self._shape
        unknown: dict[str, Json] = {}
        try:
            try:
                found = shape.decode(record)
            except msgspec.ValidationError:
                found, unknown = shape.decode_known(record)
            values, lists = shape.read(found)
            end = self._end(values)
            micros = round((shape.cost(found) or 0.0) * 1e6) if shape.cost else 0
        except (ValueError, OverflowError) as error:
            raise _bad(shape.table, record, error) from error
        if unknown:
            self.unmapped |= unknown.keys()
            end = b',"%b":%b%b' % (shape.rest, msgspec.json.encode(unknown), end) if shape.rest else end
        for path, names in zip(shape.table.unordered, lists, strict=True):
            if names and names != sorted(names):
                record = _with(record, path, sorted(names))
        line = b"".join((self._begin, record, end))
        self.rows += 1
        self.bytes += len(line)
        self.micros += micros
        return line

    def _derive(self, values: tuple[Json, ...]) -> bytes:
        """What comes behind the record in a row: the derived columns that are not null."""
        made = {name: derive(self._origin, *values[place]) for name, derive, place in self._shape.derived}
        made = {name: value for name, value in made.items() if value is not None}
        return b",%b\n" % msgspec.json.encode(made)[1:] if made else b"}\n"


class _Shape:
    """What the ledger says of one table, compiled once: a decoder for records, and what is read from them."""

    def __init__(self, table: Table) -> None:
        self.table = table
        keys = list(table.keys())
        self._known = {key.path for key in keys}
        self._nested = {key.path.split(".")[0] for key in keys if "." in key.path}
        types = {key.path: list[str] | None if key.path in table.unordered else _DECODED[key.type] for key in keys}
        top = {path: kind for path, kind in types.items() if "." not in path}
        self._empty: dict[str, Struct] = {}
        for name in self._nested:
            inner = [(path.split(".")[1], kind, None) for path, kind in types.items() if path.startswith(f"{name}.")]
            # What is kept whole loses nothing, so only the others must know every key.
            strict = name not in self._known
            struct: Any = defstruct(name, inner, forbid_unknown_fields=strict, frozen=True, gc=False)
            top[name] = struct | None
            self._empty[name] = struct()
        self._fields = [(name, kind, self._empty.get(name)) for name, kind in top.items()]
        self.decode: Callable[[bytes], Struct] = self._decode_first
        derived = [column for column in table.columns if isinstance(column.source, Derived)]
        self._read = _reader([key.path for column in derived for key in column.keys()])
        ends = list(accumulate(len(column.keys()) for column in derived))
        self.derived = [
            (column.name, column.source.derive, slice(end - len(column.keys()), end))
            for column, end in zip(derived, ends, strict=True)
            if isinstance(column.source, Derived)
        ]
        self._lists = _reader(list(table.unordered))
        self.rest = next((column.name for column in table.columns if isinstance(column.source, Unmapped)), "").encode()
        self.cost = attrgetter(str(table[table.cost].source)) if table.cost else None

    def begin(self, origin: BatchContext) -> bytes:
        """What comes ahead of the record in every row of a batch: the asked columns that are not null."""
        asked = {
            column.name: value
            for column in self.table.columns
            if isinstance(column.source, FromContext) and (value := attrgetter(column.source.path)(origin)) is not None
        }
        return msgspec.json.encode({**asked, RECORD: None}).removesuffix(b"null}")

    def _decode_first(self, record: bytes) -> Struct:
        """Compile the decoder with its fields in the order of a record: a key is looked for behind the one before."""
        order = list(msgspec.json.decode(record, type=dict[str, Raw]))
        fields = sorted(self._fields, key=lambda field: order.index(field[0]) if field[0] in order else len(order))
        # `gc` is off here and above, since values out of JSON cannot refer to themselves.
        kind = defstruct(self.table.name, fields, forbid_unknown_fields=True, gc=False)
        self.decode = msgspec.json.Decoder(kind).decode
        return self.decode(record)

    def read(self, found: Struct) -> tuple[tuple[Json, ...], tuple[Json, ...]]:
        """What columns are derived from, and the lists to put in order; a nested null reads like an empty object."""
        try:
            return self._read(found), self._lists(found)
        except AttributeError:
            for name, empty in self._empty.items():
                if getattr(found, name) is None:
                    setattr(found, name, empty)
            return self._read(found), self._lists(found)

    def decode_known(self, record: bytes) -> tuple[Struct, dict[str, Json]]:
        """The slower way for a record with keys nobody knows: set these apart, or raise for what is wrong."""
        whole = msgspec.json.decode(record, type=dict[str, Json])
        unknown = self._take_unknown(whole)
        return self.decode(msgspec.json.encode(whole)), unknown

    def _take_unknown(self, whole: dict[str, Json]) -> dict[str, Json]:
        """Remove from a record, and return by dotted path, the keys that no column reads."""
        unknown: dict[str, Json] = {}
        for name in list(whole):
            inner = whole[name]
            if name in self._known:
                continue
            if name in self._nested and isinstance(inner, dict):
                apart = [key for key in inner if f"{name}.{key}" not in self._known]
                unknown |= {f"{name}.{key}": inner.pop(key) for key in apart}
            elif name not in self._nested:
                unknown[name] = whole.pop(name)
        return unknown


def held(table: Table, line: bytes) -> dict[str, Json]:
    """A row as its table holds it: every column by its name, null where the row has nothing for it."""
    row = msgspec.json.decode(line)
    return {name: _at(row, keys) for name, keys in _paths(table)}


def _at(value: Json, keys: list[str]) -> Json:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


@cache
def _paths(table: Table) -> list[tuple[str, list[str]]]:
    return [(column.name, table.path(column).split(".")) for column in table.columns]


def _with(record: bytes, path: str, value: Json) -> bytes:
    """A record with another value at a path; everything else stays as it was sent."""
    name, _, rest = path.partition(".")
    members = msgspec.json.decode(record, type=dict[str, Raw])
    members[name] = Raw(_with(bytes(members[name]), rest, value) if rest else msgspec.json.encode(value))
    return msgspec.json.encode(members)


def _reader(paths: list[str]) -> Callable[[Struct], tuple[Json, ...]]:
    """A function that reads some keys of a record."""
    if len(paths) > 1:
        return attrgetter(*paths)
    if not paths:
        return lambda _: ()
    one = attrgetter(paths[0])
    return lambda found: (one(found),)


@cache
def _shape(table: Table) -> _Shape:
    return _Shape(table)


def _bad(table: Table, record: bytes, error: Exception) -> ContentError:
    try:
        name = msgspec.json.decode(record).get("name") or "a record"
    except (ValueError, AttributeError):
        name = "a record"
    return ContentError(f"OpenCost's {table.dataset} answer has a value that cannot be used, in {name!r}: {error}.")
