"""Pieces of bytes joined to blocks, for work that costs as much for a small piece as for a large one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def blocks(pieces: Iterable[bytes], least: int) -> Iterator[bytes]:
    """The pieces in blocks of at least so many bytes; the last may have fewer."""
    block: list[bytes] = []
    size = 0
    for piece in pieces:
        block.append(piece)
        size += len(piece)
        if size >= least:
            yield b"".join(block)
            block, size = [], 0
    if block:
        yield b"".join(block)
