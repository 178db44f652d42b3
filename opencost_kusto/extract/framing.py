"""Whether a response's body is complete, by its framing: a length, the last chunk, the end of its compression.

Chunks are urllib3's to check. A length it checks since version 2 alone, and a missing gzip trailer it does not see at
all; both are checked here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from opencost_kusto.errors import ContentError, ReasonCode

_PIECE = 1 << 20
# zlib's number for either a gzip or a zlib header.
_EITHER = 47
_COMPRESSED = ("gzip", "x-gzip", "deflate")


def is_compressed(encoding: str) -> bool:
    """Whether an encoding is one that can be read and that marks its own end; raises ContentError for all others."""
    if encoding not in ("", "identity", *_COMPRESSED):
        raise ContentError(f"OpenCost's response is encoded as {encoding[:60]!r}, which was not requested.")
    return encoding in _COMPRESSED


def counted(chunks: Iterable[bytes], length: int | None) -> Iterator[bytes]:
    """The chunks as they arrive; raises ContentError when they are fewer bytes than were announced."""
    received = 0
    for chunk in chunks:
        received += len(chunk)
        yield chunk
    if length is not None and received < length:
        raise broken_off(f"{received:,} of {length:,} bytes came")


def decompressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The plain bytes of gzip (of one member or several) or zlib, in pieces of at most a megabyte.

    Raises ContentError for what does not decompress, and for what ends before its trailer.
    """
    decoder = zlib.decompressobj(_EITHER)
    for chunk in chunks:
        rest = chunk
        while rest:
            if decoder.eof:
                decoder = zlib.decompressobj(_EITHER)
            try:
                piece = decoder.decompress(rest, _PIECE)
            except zlib.error as error:
                raise ContentError(
                    f"OpenCost's response does not decompress: {error}.", transient=True, once=True
                ) from error
            if piece:
                yield piece
            rest = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
    if not decoder.eof:
        raise broken_off("its compression has no end")


def broken_off(how: str) -> ContentError:
    """The error for an incomplete body."""
    return ContentError(f"OpenCost broke off its response: {how}.", code=ReasonCode.INCOMPLETE, transient=True)
