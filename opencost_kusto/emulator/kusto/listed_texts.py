"""Lists of texts and times apart from their query, so that queries that differ in them alone share one translation.

`T | where Id in ("a", "b", "c")` becomes a query over four places, the last text repeated, and `datetime(2026-11-23)`
one over another place, the same for the same time. The SQL that it is translated to gets the texts put in. Translating
takes longer than running, and a sync queries lists of batches, each command other times.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from opencost_kusto.emulator.kusto.syntax import masked

_TEXT: Final = r'"[^"\\\n]*"'
TIME: Final = r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?Z?)?"
_LIST_OR_TIME: Final = re.compile(rf"\bin\s*\((\s*{_TEXT}(?:\s*,\s*{_TEXT})*\s*)\)|\bdatetime\s*\(\s*({TIME})\s*\)")
_TEXTS: Final = re.compile(r'"([^"]*)"')
# Characters for private use: no table or query has them.
_OPEN, _CLOSE = "\ue000", "\ue001"
PLACE: Final = f"{_OPEN}(\\d+){_CLOSE}"
_PLACE: Final = re.compile(f"'{PLACE}'")


def without_lists(text: str) -> tuple[str, list[str]]:
    """A query with places for the texts of its `in` lists and for its times, and these in the order of the places."""
    if _OPEN in text:
        return text, []
    plain, start = masked(text), 0
    parts: list[str] = []
    texts: list[str] = []
    times: dict[str, str] = {}
    for found in _LIST_OR_TIME.finditer(text):
        # Within a literal or a comment nothing is a list or a time.
        if plain[found.start()] == " ":
            continue
        if found[2]:
            # The same place for the same time: where a function is called twice with it, the calls stay equal.
            if found[2] not in times:
                times[found[2]] = f"{_OPEN}{len(texts)}{_CLOSE}"
                texts.append(found[2])
            places, group = times[found[2]], 2
        else:
            some = _TEXTS.findall(found[1])
            # As many places as the next power of two, so that a list that shrinks has few lengths.
            some += some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some))
            places, group = ", ".join(f'"{_OPEN}{len(texts) + at}{_CLOSE}"' for at in range(len(some))), 1
            texts += some
        parts += [text[start : found.start(group)], places]
        start = found.end(group)
    return "".join([*parts, text[start:]]), texts


def filled(sql: str, texts: Sequence[str]) -> str:
    """The SQL with the texts in their places."""
    return _PLACE.sub(lambda place: "'" + texts[int(place[1])].replace("'", "''") + "'", sql) if texts else sql
