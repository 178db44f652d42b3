"""Refuses JSON in which an object has a key twice."""

from __future__ import annotations

import json
import math
from collections import Counter

import msgspec
from msgspec import Raw

from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.names import shown
from opencost_kusto.schema.columns import Json


def _spelled(number: str) -> Raw:
    """A number as it is written; raises DecodeError for one that no float can hold."""
    if not math.isfinite(float(number)):
        raise msgspec.DecodeError("Number out of range")
    return Raw(number)


_DECODER = msgspec.json.Decoder(float_hook=_spelled)
_ENCODER = msgspec.json.Encoder()


def check_once(text: bytes) -> Json:
    """The value of a JSON text in which no object has a key twice; its fractions stay text.

    A text that encodes to itself has no key twice, since encoding writes each key once. Raises ContentError where a key
    comes twice, DecodeError for what is no JSON.
    """
    value = _DECODER.decode(text)
    if _ENCODER.encode(value) != text:
        json.loads(text, object_pairs_hook=_once)
    return value


def _once(pairs: list[tuple[str, Json]]) -> None:
    """Refuse an object that has a key twice."""
    if len(dict(pairs)) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ContentError(
            f"OpenCost's response has the key {shown(twice)} twice in one object, so its costs cannot be trusted.",
            code=ReasonCode.DUPLICATE_KEY,
        )
