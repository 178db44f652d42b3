"""The JSON of a response, decoded without loss: duplicate keys are kept."""

from __future__ import annotations

import math
import re
from typing import TypeVar

import msgspec

from opencost_kusto.errors import ContentError


class Key(str):
    """A key equal to itself alone, so that a dict keeps what a JSON object repeats."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


T = TypeVar("T")
Map = dict[Key, msgspec.Raw]
Data = list[Map | None] | Map | None


def _key(_type: type, text: str) -> Key:
    """Make a key of its text, for the decoders."""
    return Key(text)


def decode(decoder: msgspec.json.Decoder[T], text: bytes) -> T:
    """Decode text; what it leaves raw is still to be checked."""
    try:
        return decoder.decode(text)
    except UnicodeDecodeError as error:
        raise _not_utf8() from error
    except RecursionError as error:
        raise ContentError("OpenCost's response is nested deeper than any OpenCost sends.") from error


def check_text(raw: bytes) -> None:
    """Check what the decoder does not check in the values that it leaves raw: that every string is UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8() from error


def _not_utf8() -> ContentError:
    return ContentError("OpenCost's response is not valid UTF-8, so its names cannot be trusted.")


DATA: msgspec.json.Decoder[Data] = msgspec.json.Decoder(Data, dec_hook=_key)
ENVELOPE: msgspec.json.Decoder[Map] = msgspec.json.Decoder(Map, dec_hook=_key)
_MAP: msgspec.json.Decoder[Map | None] = msgspec.json.Decoder(Map | None, dec_hook=_key)
_LIST: msgspec.json.Decoder[list[msgspec.Raw] | None] = msgspec.json.Decoder(list[msgspec.Raw] | None)
MESSAGE: msgspec.json.Decoder[str | None] = msgspec.json.Decoder(str | None)


def place(error: msgspec.DecodeError) -> float:
    """Where the decoder stopped: behind the text's end if it was cut short, before its start if a type is wrong."""
    if isinstance(error, msgspec.ValidationError):
        return -1
    found = re.search(r"\(byte (\d+)\)$", str(error))
    return int(found[1]) if found else math.inf


def maps(data: bytes, at: str) -> Data:
    """The maps of records at a place in `data`; null has none."""
    if not at:
        return decode(DATA, data)
    found = [data]
    for step in re.findall(r"\[\]|[^.\[\]]+", at):
        if step == "[]":
            found = [bytes(inner) for outer in found for inner in decode(_LIST, outer) or ()]
        else:
            found = [_member(outer, step) for outer in found if outer != b"null"]
    return [decode(_MAP, members) for members in found]


def _member(text: bytes, name: str) -> bytes:
    """The value of an object's key. Raises ContentError where the object has no such key, or one key twice."""
    found = decode(ENVELOPE, text)
    members = {str(key): bytes(value) for key, value in found.items()}
    if name not in members or len(members) < len(found):
        raise ContentError(f"OpenCost's response has no {name!r} where its records should be, or a key twice.")
    return members[name]
