"""Refuses JSON in which an object has a key twice."""

from __future__ import annotations

import json
from collections import Counter

import msgspec
from msgspec import Raw

from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.names import shown
from opencost_kusto.schema.columns import Json

_ENCODE = msgspec.json.Encoder().encode
# Fractions stay text, so that they encode as they were written.
_DECODE = msgspec.json.Decoder(float_hook=Raw).decode


def check_once(text: bytes) -> Json:
    """The value of a JSON text in which no object has a key twice.

    A text that encodes to itself has no key twice, since encoding writes each key once. Raises ContentError where a key
    comes twice, DecodeError for what is no JSON.
    """
    value = msgspec.json.decode(text)
    if _ENCODE(value) != text and _ENCODE(_DECODE(text)) != text:
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
