"""One rule for every text that becomes an identity or a mark: cluster, run id, scenario, database, metadata keys.

Two spellings of one name are two clusters in every sum, so a name is trimmed and normalized to Unicode's form NFC, and
a text that is an accident of quoting, encoding or an unset variable is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import SequenceMatcher

from opencost_kusto.errors import UsageError

LONGEST = 512
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "«": "»"}
# A variable that nothing replaced: Azure Pipelines and Kubernetes $(…), shells ${…}, Azure's runtime $[…], GitHub
# ${{…}}, templates {{…}}, Windows %…%; and a shell's $NAME alone, which an env file keeps as it is.
_MACRO = re.compile(
    r"\$\([^()]*\)|\$\{[^{}]*\}|\$\[[^\[\]]*\]|\{\{.*?\}\}|%[A-Za-z_][\w.]*%|\A\$[A-Za-z_]\w*\Z", re.DOTALL
)
_SHOWN = 60
# Names in one sentence.
_LISTED = 20


# The places in the configuration file of the current command's options, for those that are set there.
_PLACES: ContextVar[Mapping[str, str]] = ContextVar("places")


@contextmanager
def placed(places: Mapping[str, str]) -> Iterator[None]:
    """Within it, messages name an option by its place in the configuration file, where it is from there.

    The places come before those of an enclosing one.
    """
    token = _PLACES.set({**_PLACES.get({}), **places})
    try:
        yield
    finally:
        _PLACES.reset(token)


def place_of(option: str) -> str | None:
    """The place where the configuration file sets an option of the current command; None where it does not."""
    return _PLACES.get({}).get(option)


def flag(option: str) -> str:
    """An option, or its place in the file if its value is from there, as a message names them."""
    return place_of(option) or option


def prefix(option: str) -> str:
    """The beginning of a message about an option's value: its place in the file, if it is from there; else nothing."""
    place = place_of(option)
    return "" if place is None else f"{place}: "


def variable(option: str) -> str:
    """An option and the environment variable that sets it, or its place in the file, as a message names them."""
    if (place := place_of(option)) is not None:
        return place
    return f"{option} (or OPENCOST_KUSTO_{option.removeprefix('--').replace('-', '_').upper()})"


def normalized(text: str) -> str:
    """A text without blanks around it, in Unicode's form NFC: two spellings of it are one text."""
    return unicodedata.normalize("NFC", text.strip())


def identity(text: object, field: str, *, longest: int = LONGEST) -> str:
    """A text as a name: trimmed, in NFC, of at most `longest` characters.

    `field` is the option or the field of a response that holds the text. Raises UsageError, which names `field`, for
    anything but a text, an empty text, one with a character that is not printable (control characters and half
    surrogate pairs among them), in quotes, or with a variable that was not replaced, and one that is too long.
    """
    if not isinstance(text, str):
        raise UsageError(f"{field} is not a text but {shown(text)}.")
    found = normalized(text)
    if not found:
        raise UsageError(f"{field} is empty.")
    if not found.isprintable():
        odd = next(one for one in found if not one.isprintable())
        raise UsageError(f"{field} is {shown(found)}: it holds {_described(odd)}, which a name cannot.")
    if _QUOTES.get(found[0]) == found[-1]:
        raise UsageError(f"{field} is {shown(found)}: the quotes are part of it. Remove them.")
    if macro := _MACRO.search(found):
        raise UsageError(
            f"{field} is {shown(found)}: {shown(macro[0])} is a variable that nothing has set or replaced."
        )
    if len(found) > longest:
        raise UsageError(
            f"{field} is {len(found)} characters long, and at most {longest} are possible: {shown(found)}."
        )
    return found


def unknown(name: str, known: Iterable[str]) -> str:
    """A sentence for a cluster that there is not: the others, or the most similar of many."""
    listed = some = sorted(known)
    if len(listed) > _LISTED:
        some = sorted(listed, key=lambda one: -SequenceMatcher(None, one, name).ratio())[: _LISTED // 2]
    more = f" and {len(listed) - len(some)} more" if len(some) < len(listed) else ""
    return f"There is no cluster {shown(name)}; there are {', '.join(some) or 'none'}{more}."


def shown(value: object) -> str:
    """A value from outside, as a message quotes it: printable, on one line, and short."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _described(character: str) -> str:
    """A character that cannot be printed, by its number and kind."""
    kind = {"Cc": "a control character", "Cs": "half of a character, from bytes that are not UTF-8"}
    return f"U+{ord(character):04X} ({kind.get(unicodedata.category(character), 'not printable')})"
