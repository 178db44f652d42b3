"""Cuts a JSON response of OpenCost into its records while it streams in.

The body is `{"code":200,"status":"success","data":D}`; newer servers leave `status` out. D is a list of maps, one for
each step (/allocation), or one map (/assets), and a record is a value of such a map. All records of a body begin alike
(`":{"name":` or `":{"type":`), so what has arrived is cut at the last such place, and the part in front, closed with
the brackets that are missing, is decoded by a real JSON decoder: by that of the dataset's records, where these encode
to the text they were decoded from, else by one that leaves each as text. That it decodes proves the cut, since JSON has
one reading from the left. It does not where the same bytes stand deeper inside a record; then the place before is
tried. What is left gets the brackets that were open, so it is the beginning of a response again, and the last of it is
decoded with the envelope around it. A body that does not begin as expected, or has its records elsewhere
(`Table.records_at`), is collected and decoded in one piece.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import overload

import msgspec

from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.extract.envelope import DATA, ENVELOPE, MESSAGE, Data, check_text, decode, maps, place
from opencost_kusto.extract.refusals import failure
from opencost_kusto.redact import first_sentence
from opencost_kusto.schema.decoder import Decoded

# The first bytes of encodings that a server has to declare, and did not.
_ENCODINGS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"{\0": "UTF-16",
    b"\0{": "UTF-16",
}

# Everything up to `data`; ahead of it sets without records, the first key, and how its record begins.
_START = re.compile(
    rb'(\{"code":200,(?:"status":"success",)?"data":)'
    rb'(?=(\[)?(?:(?:\{\}|null),)*\{"(?:[^"\\]|\\.)*(":\{"\w+":))',
)


# The keys and the records of each set of a list that is given as text; None for one to read record by record.
DecodeSets = Callable[[bytes], Sequence[tuple[list[str], list[Decoded]]] | None]


@overload
def records(chunks: Iterable[bytes], at: str = ..., decode_sets: None = None) -> Iterator[bytes]: ...
@overload
def records(
    chunks: Iterable[bytes], at: str = ..., decode_sets: DecodeSets | None = ...
) -> Iterator[bytes | Decoded]: ...
def records(
    chunks: Iterable[bytes], at: str = "[]", decode_sets: DecodeSets | None = None
) -> Iterator[bytes | Decoded]:
    """Yield each record of a response as the JSON object OpenCost sent, in its order, over all sets.

    `at` is where its maps of records are, as `Table.records_at` says it; a list of maps and one map are read alike.
    `decode_sets` may decode several records at once; what it returns is yielded.
    `chunks` is the body in pieces of any size. A record is UTF-8 without a line break, whatever the body's layout; the
    keys of the maps are not given (an allocation's `name` repeats its key). Memory is bounded by a chunk, a record, and
    eight bytes for each record of the current set.

    Records come out before the end of the body was seen, so keep them back until the iterator has ended: **if it ends
    without an error, the body was complete and valid**. `{}`, `[]`, `[{}]`, `null` and `[null]` hold no records.

    Raises ContentError if the body is empty, breaks off, is not valid JSON in UTF-8 or not an OpenCost envelope, if a
    record is not an object, or if a key comes twice in one set; OpenCostError if the envelope's own `code` is not 200.
    The envelope was read in OpenCost 1.112 (pkg/costmodel/router.go) and in recorded responses of 1.112 and 1.119.
    """
    cutter = _Cutter(at, decode_sets)
    for chunk in chunks:
        yield from cutter.feed(chunk)
    yield from cutter.end()


class _Set:
    """The keys of one set, to detect duplicates."""

    def __init__(self) -> None:
        self._last = ""
        self._sorted = True
        self._hashes = array("q")

    def add(self, key: str) -> None:
        """Take the next key."""
        self._sorted = self._sorted and key > self._last
        self._last = key
        self._hashes.append(hash(key))

    def extend(self, keys: list[str]) -> None:
        """Take the next keys, none of which comes twice among them."""
        if keys:
            self._sorted = self._sorted and keys[0] > self._last and sorted(keys) == keys
            self._last = keys[-1]
            self._hashes.extend(map(hash, keys))

    def end(self) -> None:
        """Raise if a key came twice; OpenCost sorts its keys, and ascending keys need no second look."""
        if not self._sorted and len(set(self._hashes)) < len(self._hashes):
            raise ContentError(
                "OpenCost's response has two records under one key, so its costs cannot be trusted.",
                code=ReasonCode.DUPLICATE_KEY,
            )


class _Cutter:
    """The part of a body that has arrived and has not been given out."""

    def __init__(self, at: str, decode_sets: DecodeSets | None) -> None:
        self._at = "" if at == "[]" else at
        self._decode_sets = decode_sets
        self._head = b""
        self._buffer = bytearray()
        self._marker = b""
        self._brackets = (b"{", b"}")
        self._searched = 0
        self._received = 0
        self._set = _Set()

    def feed(self, chunk: bytes) -> Iterable[bytes | Decoded]:
        """Take the next chunk; the records that are complete with it."""
        self._received += len(chunk)
        self._buffer += chunk
        if not self._marker:
            start = None if self._at else _START.match(self._buffer)
            if not start:
                return ()
            self._head, self._marker = start[1], start[3]
            self._brackets = (b"[{", b"}]") if start[2] else (b"{", b"}")
            del self._buffer[: len(self._head)]
        found: Iterable[bytes | Decoded] | None = None
        at = self._buffer.rfind(self._marker, self._searched)
        while at >= 0 and (found := self._cut(at)) is None:
            at = self._buffer.rfind(self._marker, self._searched, at)
        # What was tried fails for good; a marker may still be cut in two by the chunk's end.
        self._searched = max(0, len(self._buffer) - len(self._marker) + 1)
        return found or ()

    def _cut(self, at: int) -> Iterable[bytes | Decoded] | None:
        """Cut before the key that ends at `at`; the records in front of it, or None if no record starts there."""
        comma = self._buffer.rfind(b',"', 0, at)
        open_, close = self._brackets
        # The first key of a further set stands after the bracket of its map.
        further = self._buffer.rfind(b',{"', max(comma, 0), at)
        if further >= 0:
            comma, open_, close = further, open_[:-1], close[1:]
        if comma < 0:
            return None
        with memoryview(self._buffer) as buffer:
            fragment = b"".join((buffer[:comma], close))
        sets = self._at_once(fragment)
        if sets is not None:
            self._buffer[: comma + 1] = open_
            return self._together(sets, ends=further >= 0)
        try:
            data = decode(DATA, fragment)
        except msgspec.DecodeError as error:
            # Wrong before the cut is wrong for good: waiting for more would only collect the rest of the body.
            if place(error) < comma:
                raise self._broken(error) from error
            return None
        self._buffer[: comma + 1] = open_
        return self._records(_one_by_one(data, fragment), ends=further >= 0)

    def _at_once(self, fragment: bytes) -> Sequence[tuple[list[str], list[Decoded]]] | None:
        """The sets of a part of the body whose records can be decoded together; None for any other."""
        if self._decode_sets is None or b"\n" in fragment or b"\r" in fragment:
            return None
        return self._decode_sets(fragment if fragment.startswith(b"[") else b"[%b]" % fragment)

    def end(self) -> Iterator[bytes]:
        """Check the end of the body; yield the records not given yet."""
        body = self._head + bytes(self._buffer)
        if not body.strip():
            raise ContentError("OpenCost responded with an empty body: it could not write the costs of this window.")
        for mark, encoding in _ENCODINGS.items():
            if body.startswith(mark):
                raise ContentError(f"OpenCost's response is {encoding}, which its headers do not say; JSON is UTF-8.")
        try:
            check_text(body)
            envelope = decode(ENVELOPE, body)
            fields = {str(key): bytes(value) for key, value in envelope.items()}
            code = fields.get("code", b"")
            if len(fields) < len(envelope) or not code.isdigit():
                raise ContentError("OpenCost's response has no `code` or a field twice, as no OpenCost sends it.")
            if code != b"200":
                message = decode(MESSAGE, fields.get("message", b"null")) or "it does not say why"
                raise failure(f"OpenCost responded with code {code.decode()}: {first_sentence(message)}", message)
            if "data" not in fields:
                raise ContentError("OpenCost's response has no `data`; is this really an OpenCost?")
            data = fields["data"]
            yield from self._records(_one_by_one(maps(data, self._at), data), ends=True)
        except msgspec.DecodeError as error:
            broke_off = place(error) >= len(body) and "trailing" not in str(error)
            raise self._broken(error, broke_off=broke_off) from error

    def _together(self, sets: Sequence[tuple[list[str], list[Decoded]]], *, ends: bool) -> list[Decoded]:
        """The records of sets that were decoded together; `ends` says that the last one is complete."""
        for number, (keys, _) in enumerate(sets):
            if number:
                self._next_set()
            self._set.extend(keys)
        if ends:
            self._next_set()
        return [record for _, records in sets for record in records]

    def _records(self, sets: Iterable[Iterable[tuple[str, bytes]]], *, ends: bool) -> Iterator[bytes]:
        """Yield the records of sets, as `_together`, one by one."""
        for number, members in enumerate(sets):
            if number:
                self._next_set()
            for key, record in members:
                self._set.add(key)
                yield record
        if ends:
            self._next_set()

    def _next_set(self) -> None:
        """Close a set and begin another."""
        self._set.end()
        self._set = _Set()

    def _broken(self, error: msgspec.DecodeError, *, broke_off: bool = False) -> ContentError:
        """Say what is wrong with the body."""
        if broke_off:
            text = f"OpenCost's response broke off after {self._received:,} bytes, inside its JSON."
            return ContentError(text, code=ReasonCode.INCOMPLETE)
        reason = str(error).partition(" (byte")[0]
        start = (self._head + self._buffer[:60])[:60].decode(errors="replace")
        return ContentError(f"OpenCost's response is not the JSON an OpenCost sends ({reason}); it begins {start!r}.")


def _one_by_one(data: Data, text: bytes) -> Iterator[Iterator[tuple[str, bytes]]]:
    """The keys and the records of each set of `data`, which was decoded from `text`."""
    lines = b"\n" in text or b"\r" in text
    for members in data if isinstance(data, list) else [data]:
        yield ((key, _record(key, bytes(raw), lines)) for key, raw in (members or {}).items())


def _record(key: str, record: bytes, lines: bool) -> bytes:
    """A record on one line; raises ContentError for what is no object or no UTF-8."""
    if not record.isascii():
        check_text(record)
    if record[:1] != b"{":
        raise ContentError(f"OpenCost's response has a record that is not an object: {key[:200]!r}.")
    return msgspec.json.format(record, indent=-1) if lines else record
