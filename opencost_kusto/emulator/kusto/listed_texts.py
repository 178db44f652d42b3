"""Lists of texts apart from their query, so that queries that differ in them alone share one translation.

`T | where Id in ("a", "b", "c")` becomes a query over four places, the last text repeated, and the SQL that it is
translated to gets the texts put in. Translating takes longer than running, and a sync queries lists of batches.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from opencost_kusto.emulator.kusto.syntax import masked

_TEXT: Final = r'"[^"\\\n]*"'
_LIST: Final = re.compile(rf"\bin\s*\((\s*{_TEXT}(?:\s*,\s*{_TEXT})*\s*)\)")
_TEXTS: Final = re.compile(r'"([^"]*)"')
# Characters for private use: no table or query has them.
_OPEN, _CLOSE = "\ue000", "\ue001"
_PLACE: Final = re.compile(f"'{_OPEN}(\\d+){_CLOSE}'")


def without_lists(text: str) -> tuple[str, list[str]]:
    """A query with places for the texts of its `in` lists, and the texts in the order of the places."""
    if _OPEN in text:
        return text, []
    plain, start = masked(text), 0
    parts: list[str] = []
    texts: list[str] = []
    for found in _LIST.finditer(text):
        # Within a literal or a comment nothing is a list.
        if not plain.startswith("in", found.start()):
            continue
        some = _TEXTS.findall(found[1])
        # As many places as the next power of two, so that a list that shrinks has few lengths.
        some += some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some))
        places = ", ".join(f'"{_OPEN}{len(texts) + at}{_CLOSE}"' for at in range(len(some)))
        parts += [text[start : found.start(1)], places]
        texts += some
        start = found.end(1)
    return "".join([*parts, text[start:]]), texts


def filled(sql: str, texts: Sequence[str]) -> str:
    """The SQL with the texts in their places."""
    return _PLACE.sub(lambda place: "'" + texts[int(place[1])].replace("'", "''") + "'", sql) if texts else sql
