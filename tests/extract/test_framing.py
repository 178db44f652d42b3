"""A body is complete only if what surrounds it proves that."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.extract.framing import counted, decompressed, is_compressed

PLAIN = b'# TYPE a gauge\na{b="c"} 1\n' * 200


def squeezed(body: bytes) -> bytes:
    """A body as gzip, always the same."""
    return gzip.compress(body, mtime=0)


def pieces(body: bytes, size: int) -> list[bytes]:
    """A body in chunks of one size."""
    return [body[at : at + size] for at in range(0, len(body), size)]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("body", "plain"),
    [
        (squeezed(PLAIN), PLAIN),
        (squeezed(PLAIN) + squeezed(b"more"), PLAIN + b"more"),
        (squeezed(b""), b""),
        (zlib.compress(PLAIN), PLAIN),
    ],
    ids=["gzip", "members", "empty", "zlib"],
)
def test_what_is_compressed_is_read(body: bytes, plain: bytes, size: int) -> None:
    """gzip of one member or several, and zlib, wherever chunks end."""
    assert b"".join(decompressed(pieces(body, size))) == plain


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.integers(0, len(squeezed(PLAIN)) - 1), st.integers(1, 40))
def test_no_part_of_a_compression_is_complete(length: int, size: int) -> None:
    """Wherever gzip breaks off, in its trailer too, it is refused as broken off."""
    with pytest.raises(ContentError, match="broke off") as refused:
        list(decompressed(pieces(squeezed(PLAIN)[:length], size)))
    assert refused.value.code is ReasonCode.INCOMPLETE
    assert refused.value.transient


def test_the_second_member_may_break_off() -> None:
    """A complete first member proves nothing of the second."""
    with pytest.raises(ContentError, match="broke off"):
        list(decompressed([squeezed(PLAIN) + squeezed(PLAIN)[:-1]]))


@pytest.mark.parametrize("body", [PLAIN, b"\0" * 20, squeezed(PLAIN) + b"junk"], ids=["plain", "zeros", "junk"])
def test_what_does_not_decompress_is_content(body: bytes) -> None:
    """A body that is not what its header says is refused, and worth one more try."""
    with pytest.raises(ContentError, match="does not decompress") as refused:
        list(decompressed(pieces(body, 50)))
    assert (refused.value.transient, refused.value.once) == (True, True)


def test_a_checksum_that_is_wrong_is_content() -> None:
    """gzip's own checksum is compared."""
    body = bytearray(squeezed(PLAIN))
    body[-5] ^= 1
    with pytest.raises(ContentError):
        list(decompressed([bytes(body)]))


def test_a_megabyte_is_read_in_pieces() -> None:
    """A small chunk that becomes very large never stands in memory at once."""
    found = list(decompressed([squeezed(b"\0" * (5 << 20))]))
    assert max(map(len, found)) == 1 << 20
    assert sum(map(len, found)) == 5 << 20


def test_a_length_is_reached() -> None:
    """Fewer bytes than announced are no body; urllib3 checks that since version 2 alone."""
    assert list(counted([b"ab", b"c"], 3)) == [b"ab", b"c"]
    assert list(counted([b"ab"], None)) == [b"ab"]
    with pytest.raises(ContentError, match="2 of 3 bytes"):
        list(counted([b"ab"], 3))


def test_encodings() -> None:
    """What marks its own end, what is plain, and what was never requested."""
    assert [is_compressed(one) for one in ("gzip", "x-gzip", "deflate", "", "identity")] == [True] * 3 + [False] * 2
    for one in ("br", "gzip, gzip", "zstd"):
        with pytest.raises(ContentError, match=f"encoded as '{one}', which was not requested"):
            is_compressed(one)
