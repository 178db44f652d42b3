"""Numbers and moments as the server writes them.

/allocation rounds to five decimals and writes whole numbers bare; /assets writes six decimals always, but for
fractions. No number has an exponent, as recorded.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

import msgspec

from opencost_kusto.emulator.opencost.sampling import Span

ZERO: Final = msgspec.Raw(b"0")


def stamp(moment: float) -> str:
    """A moment as RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode(value: object) -> bytes:
    """A document as text."""
    return msgspec.json.encode(value)


def plain(value: float) -> msgspec.Raw:
    """A number as Go writes it, unrounded."""
    if not value:
        return ZERO
    text = repr(float(value))
    if "e" in text:
        text = f"{value:.0f}" if abs(value) >= 1 else f"{value:.25f}".rstrip("0")
    return msgspec.Raw(text.removesuffix(".0").encode())


def rounded(value: float) -> msgspec.Raw:
    """A number of /allocation: five decimals, halves away from zero."""
    return plain(math.copysign(math.floor(abs(value) * 100000 + 0.5) / 100000, value)) if value else ZERO


def six(value: float) -> msgspec.Raw:
    """A number of /assets."""
    return msgspec.Raw(b"%.6f" % (value + 0.0))


def bounds(span: Span) -> dict[str, str]:
    """A window of a row, a set or an asset."""
    return {"start": stamp(span.start), "end": stamp(span.end)}
