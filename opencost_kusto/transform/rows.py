"""Records to rows: each record with the types that its table declares, and the other values of a row.

Does not depend on OpenCost's HTTP or on Kusto. A record is the JSON text of one allocation, asset, sample or batch
result; a row is one line of newline-delimited JSON: what all rows of the batch share, the record as OpenCost sent it,
its number, and what is derived from it. The ingestion mapping makes columns of it (`Table.path`), so that no value is
written twice or in another spelling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from hashlib import sha256
from itertools import accumulate
from operator import attrgetter

import msgspec
from msgspec import UNSET, Raw

from opencost_kusto.batch import BatchContext
from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.schema import micros
from opencost_kusto.schema.columns import (
    RECORD,
    Column,
    Derived,
    FromContext,
    FromOption,
    Json,
    RowNumber,
    Table,
    Total,
    Unmapped,
)
from opencost_kusto.schema.decoder import Decoded, Decoder, compile_decoder, text_of
from opencost_kusto.schema.micros import from_cost

_encode = msgspec.json.Encoder(order="sorted").encode
# Bytes of each key's SHA-256 that the digest adds up.
_KEY_BYTES = 16
# Writes a row: the beginning that all rows of a batch share, the record, and the other members, each with a comma.
Write = Callable[[bytes, bytes | Decoded, bytes], bytes]
# Characters of a record's name that an error quotes.
_NAME_SHOWN = 200


def joined(begin: bytes, record: bytes | Decoded, rest: bytes) -> bytes:
    """A row as it is loaded, which has the record as it was sent."""
    return b"".join((begin, text_of(record), rest, b"}\n"))


class Encoder:
    """Encodes the records of one batch as rows that prove their batch: each has its number, the last one the totals.

    `rows`, `bytes` and `micros` count the rows so far, their bytes before compression, and their summed cost in
    millionths. `unmapped` holds the keys that OpenCost sent and no column reads; the rows' Unmapped has their values.
    `longest` is the number of bytes of the longest row. Both are of rows as they are loaded, whatever `write` makes of
    them.
    """

    def __init__(self, table: Table, context: BatchContext, write: Write = joined) -> None:
        self.rows = 0
        self.bytes = 0
        self.micros = 0
        self.longest = 0
        self.unmapped: set[str] = set()
        self._table = table
        self._write = write
        self._layout = _layout(table)
        self._begin, self._number = self._layout.begin(context), self._layout.number
        self._shared = self._layout.shared(context)
        self._key_sum = 0
        # Many rows of a batch are derived from the same values: one start, one end.
        self._derived = lru_cache(maxsize=1024)(self._derive)

    @property
    def cost(self) -> float | None:
        """The summed cost; None where the table has none."""
        return micros.to_cost(self.micros) if self._table.cost else None

    @property
    def keys(self) -> str:
        """A digest of what identifies the rows so far (`Table.key`), as 32 hexadecimal digits.

        The sum of the hashes of the keys: it needs no memory for each row, depends on no order, and differs when a key
        comes twice.
        """
        return f"{self._key_sum % (1 << 8 * _KEY_BYTES):0{2 * _KEY_BYTES}x}"

    def lines(self, records: Iterable[bytes | Decoded]) -> Iterator[bytes]:
        """The records as lines. Each is held back until the next one is encoded, since only the last has the totals.

        Raises ContentError, which names the record and the key, for one that does not decode.
        """
        following = iter(records)
        first = next(following, None)
        if first is None:
            return
        decoder = self._compiled(text_of(first))
        row = self._row(decoder, first)
        for record in following:
            encoded = self._row(decoder, record)
            yield self._line(*row)
            row = encoded
        last, rest = row
        yield self._line(last, rest + self._totals())

    def _compiled(self, record: bytes) -> Decoder:
        try:
            return compile_decoder(self._table, record)
        except (ValueError, RecursionError) as error:
            raise unusable(self._table, record, error) from error

    def _row(self, decoder: Decoder, record: bytes | Decoded) -> tuple[bytes | Decoded, bytes]:
        """A record, counted, and the other members of its row."""
        table, unknown = self._table, None
        try:
            if isinstance(record, Decoded):
                values = decoder.values(record)
            else:
                values, unknown = decoder.decode(record)
            derived = self._derived(values[decoder.derived])
            if table.cost:
                self.micros += from_cost(values[-1] or 0.0)
        except (ValueError, OverflowError, RecursionError) as error:
            raise unusable(table, text_of(record), error) from error
        if any(lists := values[decoder.lists]):
            for path, names in zip(table.unordered, lists, strict=True):
                if names and names != sorted(names):
                    record = _with(text_of(record), path, sorted(names))
        self.rows += 1
        self._key_sum += int.from_bytes(sha256(_encode(values[decoder.key])).digest()[:_KEY_BYTES])
        rest = self._number % self.rows + derived if self._number else derived
        return record, rest + self._unmapped(unknown) if unknown else rest

    def _unmapped(self, unknown: dict[str, Json]) -> bytes:
        """The keys that no column reads, for the column that keeps them."""
        self.unmapped |= unknown.keys()
        return b"%b%b" % (self._layout.rest, msgspec.json.encode(unknown)) if self._layout.rest else b""

    def _line(self, record: bytes | Decoded, rest: bytes) -> bytes:
        size = len(self._begin) + len(text_of(record)) + len(rest) + len(b"}\n")
        self.bytes += size
        if size > self.longest:
            self.longest = size
        return self._write(self._begin, record, rest)

    def _totals(self) -> bytes:
        """The totals, on the last row of a batch. Raises ContentError for a cost that is more than Kusto can sum."""
        totals: dict[str, Json] = {"rows": self.rows, "keys": self.keys}
        if self._table.cost:
            try:
                totals["micros"] = micros.within_limit(self.micros)
            except OverflowError as error:
                message = f"OpenCost's response for {self._table.dataset} cannot be loaded: {error}."
                raise ContentError(message, code=ReasonCode.TOO_LARGE) from error
        return _members({name: totals[of] for name, of in self._layout.totals if of in totals})

    def _derive(self, values: tuple[Json, ...]) -> bytes:
        """The derived columns of a row that are not null."""
        values = tuple(None if value is UNSET else value for value in values)
        columns = zip(self._layout.derived, self._shared, strict=True)
        made = {name: derive(*shared, *values[place]) for (name, derive, place), shared in columns}
        return _members({name: value for name, value in made.items() if value is not None})


class _Named(msgspec.Struct):
    name: Json = None


class _Layout:
    """The layout of the rows of one table: the order and the names of the columns in a line."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._sources = [(column, column.source) for column in table.columns if isinstance(column.source, Derived)]
        ends = list(accumulate(len(source.keys) for _, source in self._sources))
        self.derived = [
            (column.name, source.derive, slice(end - len(source.keys), end))
            for (column, source), end in zip(self._sources, ends, strict=True)
        ]
        self.totals = [(column.name, column.source.of) for column in table.columns if isinstance(column.source, Total)]
        self.number = b"%b%%d" % _member_of(table, RowNumber) if _member_of(table, RowNumber) else b""
        self.rest = _member_of(table, Unmapped)

    def begin(self, context: BatchContext) -> bytes:
        """The part before the record in every row of a batch: the values they share that are not null."""
        shared = {column.name: _value(column, context) for column in self._table.columns}
        shared = {name: value for name, value in shared.items() if value is not None}
        return msgspec.json.encode({**shared, RECORD: None}).removesuffix(b"null}")

    def shared(self, context: BatchContext) -> list[tuple[Json, ...]]:
        """The values of the batch for each derived column."""
        return [tuple(attrgetter(path)(context) for path in source.context) for _, source in self._sources]


def _value(column: Column, context: BatchContext) -> Json:
    """The value of a column that all rows of a batch share; None for any other column."""
    match column.source:
        case FromContext(path=path):
            return attrgetter(path)(context)
        case FromOption(name=name):
            return context.batch.requested[name]
        case _:
            return None


@cache
def _layout(table: Table) -> _Layout:
    return _Layout(table)


def _member_of(table: Table, kind: type) -> bytes:
    """The name of the column with a source of that kind, as the beginning of a further member of a JSON object."""
    return next((b",%b:" % msgspec.json.encode(one.name) for one in table.columns if isinstance(one.source, kind)), b"")


def _members(values: dict[str, Json]) -> bytes:
    """Further members of a JSON object that has some already."""
    return b",%b" % msgspec.json.encode(values)[1:-1] if values else b""


def _with(record: bytes, path: str, value: Json) -> bytes:
    """A record with another value at a path; everything else is unchanged."""
    name, _, rest = path.partition(".")
    members = msgspec.json.decode(record, type=dict[str, Raw])
    members[name] = Raw(_with(bytes(members[name]), rest, value) if rest else msgspec.json.encode(value))
    return msgspec.json.encode(members)


def unusable(table: Table, record: bytes, error: Exception) -> ContentError:
    """The error for a record: its name, as far as it has one, and what is wrong."""
    try:
        name = str(msgspec.json.decode(record, type=_Named).name or "")[:_NAME_SHOWN]
    except (ValueError, RecursionError):
        name = ""
    shown = repr(name) if name else "a record without a name"
    code = ReasonCode.TOO_LARGE if isinstance(error, OverflowError) else None
    return ContentError(
        f"A value in OpenCost's response for {table.dataset} cannot be used, in {shown}: {error}.", code=code
    )
