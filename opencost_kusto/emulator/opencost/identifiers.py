"""Identifiers as Kubernetes generates them, the same each time they are made of the same text."""

from __future__ import annotations

import zlib
from typing import Final

_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"


def suffix(text: str) -> str:
    """Five letters as Kubernetes ends a pod's name with, the same for the same text."""
    number = zlib.crc32(text.encode())
    letters = []
    for _ in range(5):
        number, letter = divmod(number, len(_SUFFIX))
        letters.append(_SUFFIX[letter])
    return "".join(letters)


def digest(text: str, length: int) -> str:
    """Hexadecimal digits, the same for the same text."""
    return f"{zlib.crc32(text.encode()):08x}{zlib.crc32(text[::-1].encode()):08x}{zlib.adler32(text.encode()):08x}"[
        :length
    ]


def uid(text: str) -> str:
    """An identifier in the shape of a UUID, the same for the same text."""
    digits = digest(text, 24) + digest(f"{text}.", 8)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
