"""Decodes a record as far as the checks read it, and refuses one that has a key twice.

JSON decoders accept a key twice and use the last. A record that encodes to the text it was decoded from has none, and
comparing the two is faster than a decoder that looks at each key; any other record is read by such a decoder.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from keyword import iskeyword
from typing import Any, Protocol, cast

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, defstruct

from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.names import shown
from opencost_kusto.schema.columns import Json, Table

# What the checks read: values, which are None where a record has none, and numbers, which are not decoded until then.
_VALUES = ("name", "type", "properties", "window", "start", "end")
_NUMBERS = ("minutes", "cpuCores", "cpuCoreHours", "totalCost")


class Record(Protocol):
    """What the checks read of a record of any dataset."""

    name: Json
    type: Json
    properties: Json
    window: Json
    start: Json
    end: Json
    minutes: Raw | UnsetType
    cpuCores: Raw | UnsetType
    cpuCoreHours: Raw | UnsetType
    totalCost: Raw | UnsetType


def number(value: Raw | UnsetType) -> float | None:
    """A number of a record; None where it is null, missing, of another type or too large."""
    try:
        found = math.nan if value is UNSET else float(bytes(value))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def title(record: Record) -> str:
    """What a message calls a record."""
    return shown(record.name or record.type or "a record without a name")


class RecordDecoder:
    """Decodes the records of one response of one dataset."""

    def __init__(self, table: Table) -> None:
        self._numbers = frozenset(key.path for key in table.keys() if key.type in ("real", "long"))
        self._order: tuple[str, ...] = ()
        self._compiled = _compiled((), self._numbers)
        self._encode = msgspec.json.Encoder().encode

    def decode(self, text: bytes) -> Record:
        """A record, decoded; raises ContentError for one that is no JSON object, or has a key twice."""
        try:
            record = self._compiled.decode(text)
            if self._encode(record) != text:
                record = self._learned(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ContentError(f"OpenCost's response has a record that cannot be read: {error}.") from error
        return cast(Record, record)

    def _learned(self, text: bytes) -> Struct:
        """A record with keys, an order or a spelling that no record before it had."""
        json.loads(text, object_pairs_hook=_once)
        whole = msgspec.json.decode(text, type=dict[str, Json])
        self._order = _merged(self._order, whole)
        self._compiled = _compiled(self._order, self._numbers)
        return self._compiled.decode(text)


def _merged(order: tuple[str, ...], keys: Iterable[str]) -> tuple[str, ...]:
    """An order of keys with further ones, each behind the one that it came behind."""
    merged, at = list(order), 0
    for key in keys:
        if key in merged:
            at = merged.index(key) + 1
        elif key.isidentifier() and not key.startswith("_") and not iskeyword(key):
            merged.insert(at, key)
            at += 1
    return tuple(merged)


@lru_cache(maxsize=64)
def _compiled(order: tuple[str, ...], numbers: frozenset[str]) -> msgspec.json.Decoder[Struct]:
    """A decoder for records with these keys in this order, which leaves numbers as they are."""
    fields: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys((*order, *_VALUES, *_NUMBERS)):
        if key in _VALUES:
            fields.append((key, Json, None))
        else:
            fields.append((key, (Raw if key in numbers or key in _NUMBERS else Json) | UnsetType, UNSET))
    return msgspec.json.Decoder(defstruct("Record", fields, omit_defaults=True, gc=False))


def _once(pairs: list[tuple[str, Json]]) -> None:
    """Refuse an object that has a key twice."""
    if len(dict(pairs)) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ContentError(
            f"OpenCost's response has the key {shown(twice)} twice in one object, so its costs cannot be trusted.",
            code=ReasonCode.DUPLICATE_KEY,
        )
