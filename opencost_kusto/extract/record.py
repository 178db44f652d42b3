"""Decodes a record once, for its checks and for its row, and refuses one that has a key twice.

JSON decoders accept a key twice and use the last. Records that encode to the text they were decoded from have none, and
comparing the two is faster than a decoder that looks at each key; any other record is read by such a decoder. What is
left as text, such as labels, is checked once for all records that have the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

import msgspec
from msgspec import Raw, Struct, defstruct

from opencost_kusto.errors import ContentError
from opencost_kusto.extract.repeated import check_once
from opencost_kusto.names import shown
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.schema.decoder import Decoded, reader
from opencost_kusto.schema.shape import Node, raw_paths, reordered, struct_of, tree

# How often records may bring a new order of keys before further ones are read without one.
_MOST_COMPILED = 20
# How often several records that are decoded at once may not encode to their text before each is decoded alone.
_MOST_TRIES = 20
# The parts of records that were checked: most records have the labels of an earlier one, and each window those of the
# last. At most so many are kept, of at most so many bytes each.
_CHECKED: set[bytes] = set()
_MOST_KEPT, _LONGEST_KEPT = 2048, 4096
_NUMBERS = ("minutes", "cpuCores", "cpuCoreHours", "totalCost")
_VALUES = ("name", "type", "properties", "start", "end", *_NUMBERS)
_PROPERTIES = ("name", "node", "cluster", "providerID")


class Properties(Protocol):
    """What the checks read of the properties of a record; None where it has none, or its table does not declare it."""

    name: Json
    node: Json
    cluster: Json
    providerID: Json


class Record(Protocol):
    """What the checks read of a record; None where it has none, or its table does not declare it."""

    name: Json
    type: Json
    properties: Properties | None
    window: Raw | None
    start: Json
    end: Json
    minutes: float | None
    cpuCores: float | None
    cpuCoreHours: float | None
    totalCost: float | None


def _nulls(*names: str) -> type[Struct]:
    """A base class in which every name is None."""
    return defstruct("Nulls", [], namespace=dict.fromkeys(names), frozen=True, gc=False)


_BASES = {"Record": _nulls(*_VALUES, "window"), "properties": _nulls(*_PROPERTIES)}
_Loose = defstruct("Loose", [*((name, Json, None) for name in _VALUES), ("window", Raw, None)])
_LooseProperties = defstruct("Properties", [(name, Json, None) for name in _PROPERTIES])


class _Layout(NamedTuple):
    """How records are read whose keys stand in one order: decoders, and the keys that were left as text.

    The decoders are of records with types, of records as text, and of several in a list of sets. `compiled` is how many
    orders preceded this one.
    """

    root: Node
    compiled: int
    typed: Callable[[bytes], Struct]
    as_text: Callable[[bytes], Struct]
    sets: Callable[[bytes], list[dict[str, Struct]]]
    raw: Callable[[Struct], tuple[Json, ...]]


# The last layout of each table by version of OpenCost, whose next response has the same order of keys. Never changed,
# so that threads can share them.
_LAYOUTS: dict[tuple[Table, str | None], _Layout] = {}
_MOST_LAYOUTS = 64


def title(record: Record) -> str:
    """The name of a record in messages."""
    return shown(record.name or record.type or "a record without a name")


class RecordDecoder:
    """Decodes the records of one response of one dataset; `version` is that of OpenCost."""

    def __init__(self, table: Table, version: str | None = None) -> None:
        self._of = table, version
        self._tries = _MOST_TRIES
        self._encode = msgspec.json.Encoder().encode
        self._use(_LAYOUTS.get(self._of) or _compiled(tree(table, spelled=True)))

    def decode(self, text: bytes) -> tuple[Record, bytes | Decoded]:
        """A record as the checks read it, and with what was found; its text alone where it is not as its table has it.

        Raises ContentError for one that is no JSON object, or has a key twice.
        """
        try:
            found = self._typed(text)
            if found is None:
                check_once(text)
                return _loose(text), text
            exact = self._encode(found) == text
            if exact or self._is_respelled(text):
                self._check_raw(found, text)
            else:
                self._learn(check_once(text))
        except (msgspec.DecodeError, RecursionError) as error:
            raise ContentError(f"OpenCost's response has a record that cannot be read: {error}.") from error
        return cast(Record, found), Decoded(text, found, exact)

    def decode_sets(self, text: bytes) -> list[tuple[list[str], list[Decoded]]] | None:
        """The keys and the records of each set of a list; None where these do not encode to the text.

        Where they do, no key comes twice and no record does, and the text of each is what it encodes to: one look at it
        is enough. Nor do they where a string is not UTF-8. Raises ContentError for a record that has a key twice in
        what was left as text.
        """
        if self._tries <= 0:
            return None
        encode = self._encode
        try:
            found = self._decode_list(text)
            sets = [([*members], [Decoded(encode(each), each, True) for each in members.values()]) for members in found]
            if _join(sets) != text:
                self._tries -= 1
                return None
            for _, records in sets:
                for record in records:
                    self._check_raw(record.found, record.text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Read one by one, the record that cannot be read is named: one with a number that no float holds, for one.
            return None
        return sets

    def _typed(self, text: bytes) -> Struct | None:
        try:
            return self._decode(text)
        except msgspec.ValidationError:
            return None

    def _is_respelled(self, text: bytes) -> bool:
        """Whether a record encodes to its text but for the spelling of its values, as 60.000 for 60."""
        return self._encode(self._decode_text(text)) == text

    def _check_raw(self, found: Struct, text: bytes) -> None:
        """Refuse a duplicate key in values that were left as text."""
        try:
            parts = self._raw(found)
        except AttributeError:
            # An object is null, so that nothing is in it.
            check_once(text)
            return
        # One check of all of them together is enough for most records. JSON has no NUL, which separates them.
        together = b"\0".join(filter(None, parts))
        if together not in _CHECKED:
            for part in filter(None, parts):
                if (content := bytes(part)) not in _CHECKED:
                    check_once(content)
                    _keep(content)
            _keep(together)

    def _learn(self, document: dict[str, Json]) -> None:
        """Take the order of keys of a record, so that further ones encode to their text."""
        layout = self._layout
        if layout.compiled >= _MOST_COMPILED:
            # The next response begins with the declared order again.
            _LAYOUTS.pop(self._of, None)
        elif (root := reordered(layout.root, document)) is not layout.root:
            self._use(_compiled(root, layout.compiled + 1))

    def _use(self, layout: _Layout) -> None:
        """Read records with a layout from now on, and those of the next response."""
        if self._of not in _LAYOUTS and len(_LAYOUTS) >= _MOST_LAYOUTS:
            _LAYOUTS.clear()
        self._layout = _LAYOUTS[self._of] = layout
        self._decode, self._decode_text, self._decode_list, self._raw = layout[2:]


def _keep(part: bytes) -> None:
    """Keep a part that was checked."""
    if len(_CHECKED) >= _MOST_KEPT:
        _CHECKED.clear()
    if len(part) <= _LONGEST_KEPT:
        _CHECKED.add(part)


def _compiled(root: Node, compiled: int = 0) -> _Layout:
    """A layout of keys; compiling it takes milliseconds."""
    typed = struct_of("Record", root, bases=_BASES)
    return _Layout(
        root,
        compiled,
        msgspec.json.Decoder(typed).decode,
        msgspec.json.Decoder(struct_of("Record", root, as_text=True)).decode,
        msgspec.json.Decoder(list[dict[str, typed]]).decode,  # type: ignore[valid-type]
        reader(raw_paths(root)),
    )


def _join(sets: list[tuple[list[str], list[Decoded]]]) -> bytes:
    """The text of a list of sets, as OpenCost writes it."""
    pieces: list[bytes] = []
    for keys, records in sets:
        between = b'},{"' if pieces else b'[{"'
        for key, record in zip(keys, records, strict=True):
            pieces += (between, key.encode(), b'":', record.text)
            between = b',"'
    return b"".join((*pieces, b"}]"))


def _loose(text: bytes) -> Record:
    """What the checks read of a record that is not as its table declares it."""
    found: Any = msgspec.json.decode(text, type=_Loose)
    of = found.properties
    found.properties = msgspec.convert(of, _LooseProperties) if isinstance(of, dict) else None
    for name in _NUMBERS:
        setattr(found, name, _number(getattr(found, name)))
    return cast(Record, found)


def _number(value: Json) -> float | None:
    """A number; None for another type, which is refused with the types of the columns, or where it is too large."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None
