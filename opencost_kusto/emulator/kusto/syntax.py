"""The grammar of Kusto management commands, as far as the emulator has it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from opencost_kusto.emulator.kusto.catalog import TYPES, KustoRefusal

_FENCED: Final = r"```.*?```"
_QUOTED: Final = r"""@"(?:[^"]|"")*"|@'(?:[^']|'')*'|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
_LITERAL: Final = re.compile(f"{_FENCED}|{_QUOTED}", re.DOTALL)
_OPAQUE: Final = re.compile(rf"{_FENCED}|{_QUOTED}|//[^\n]*", re.DOTALL)
_BLANK: Final = re.compile(r"(?:\s|//[^\n]*)*")
_NAME: Final = re.compile(r"""\[\s*(?:'([^']*)'|"([^"]*)")\s*\]|([A-Za-z_][A-Za-z0-9_]*)""")
_IDENTIFIER: Final = re.compile(r"(?!__)[\w .-]{1,1024}(?<!__)")
_BARE: Final = re.compile(r"[A-Za-z0-9_.\-]+")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r"}
_SYNONYMS: Final = {
    **{"boolean": "bool", "double": "real", "date": "datetime"},
    **{"time": "timespan", "uuid": "guid", "uniqueid": "guid"},
}


def masked(text: str) -> str:
    """The text with literals and comments blanked, at unchanged positions."""
    return _OPAQUE.sub(lambda found: " " * len(found[0]), text)


def split_pipe(text: str) -> tuple[str, str]:
    """The command before its first pipe and the query operators from that pipe on, which may be empty."""
    depth = 0
    for at, char in enumerate(masked(text)):
        depth += (char in "([{") - (char in ")]}")
        if char == "|" and depth == 0 and text[at - 1 : at] != "<":
            return text[:at], text[at:]
    return text, ""


def split_commas(text: str) -> list[str]:
    """The parts between commas that are in no bracket and no literal."""
    return split(text, ",")


def split(text: str, sign: str) -> list[str]:
    """The parts between signs that are in no bracket and no literal; empty ones are left out."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(masked(text)):
        depth += (char in "([{") - (char in ")]}")
        if char == sign and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def unquoted(literal: str) -> str:
    """The value of a string literal in any of Kusto's spellings."""
    if literal.startswith("```"):
        return literal[3:-3].strip()
    if literal.startswith("@"):
        return literal[2:-1].replace(literal[1] * 2, literal[1])
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), literal[1:-1])


def texts(options: Mapping[str, str], name: str) -> list[str]:
    """A property that is a JSON array of texts: https://learn.microsoft.com/kusto/ingestion-properties."""
    try:
        found = json.loads(options.get(name, "[]"))
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise KustoRefusal(f"The property '{name}' is not an array of texts")
    return found


def flag(options: Mapping[str, str], name: str) -> bool:
    """A property that is a bool."""
    text = options.get(name, "false").lower()
    if text not in ("true", "false"):
        raise KustoRefusal(f"The property '{name}' is not a bool")
    return text == "true"


class Cursor:
    """A reading position in a command; whatever does not fit is a syntax error, as in Kusto."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._skip()

    def accept(self, keywords: str) -> bool:
        """Step over these words or this sign, if they come next."""
        pattern = r"\s+".join(re.escape(word) for word in keywords.split())
        found = re.compile(pattern + (r"(?![\w-])" if keywords[-1].isalnum() else ""), re.I).match(self._text, self._at)
        return found is not None and self._step(found.end())

    def expect(self, keywords: str) -> None:
        """Step over these words or this sign."""
        if not self.accept(keywords):
            raise self._unexpected(f"'{keywords}'")

    def name(self) -> str:
        """The name of an entity, plain or in brackets and quotes."""
        found = _NAME.match(self._text, self._at)
        if found is None:
            raise self._unexpected("a name")
        self._step(found.end())
        return next(group for group in found.groups() if group is not None)

    def new_name(self) -> str:
        """The name of an entity to be made: https://learn.microsoft.com/kusto/query/schema-entities/entity-names."""
        name = self.name()
        if not _IDENTIFIER.fullmatch(name):
            raise KustoRefusal(
                f"'{name[:60]}' is not a valid name: letters, digits, _, blanks, . and -, 1 to 1024 of them, and no two"
                " underscores at an end",
                code="BadRequest_InvalidEntityName",
            )
        return name

    def literal(self) -> str:
        """A string literal, or JSON between three backticks."""
        found = _LITERAL.match(self._text, self._at)
        if found is None:
            raise self._unexpected("a string literal")
        self._step(found.end())
        return unquoted(found[0])

    def value(self) -> str:
        """A literal or a bare word."""
        found = _BARE.match(self._text, self._at)
        if found is None:
            return self.literal()
        self._step(found.end())
        return found[0]

    def options(self) -> dict[str, str]:
        """`with (name=value, …)`, which may be absent."""
        found: dict[str, str] = {}
        if not self.accept("with"):
            return found
        self.expect("(")
        while not self.accept(")"):
            name = self.value().lower()
            self.expect("=")
            found[name] = self.value()
            self.accept(",")
        return found

    def schema(self) -> dict[str, str]:
        """`(column:type, …)`."""
        columns: dict[str, str] = {}
        self.expect("(")
        while not self.accept(")"):
            name = self.new_name()
            self.expect(":")
            kind = self.value().lower()
            kind = _SYNONYMS.get(kind, kind)
            if kind not in TYPES:
                raise KustoRefusal(f"Syntax error: '{kind}' is not a type")
            if name in columns:
                raise KustoRefusal(f"Semantic error: column '{name}' is declared twice")
            columns[name] = kind
            self.accept(",")
        return columns

    def block(self, brackets: str = "{}") -> str:
        """The text between the next bracket and its partner, as it stands."""
        opening, closing = brackets[0], brackets[1]
        if not self._text.startswith(opening, self._at):
            raise self._unexpected(f"'{opening}'")
        depth, start = 1, self._at + 1
        for at, char in enumerate(masked(self._text)[start:], start):
            depth += (char == opening) - (char == closing)
            if depth == 0:
                self._step(at + 1)
                return self._text[start:at]
        raise self._unexpected(f"'{closing}'")

    def rest(self) -> str:
        """Everything that is left."""
        left = self._text[self._at :].strip()
        self._at = len(self._text)
        return left

    def end(self) -> None:
        """Nothing may be left."""
        self.accept(";")
        if self._at < len(self._text):
            raise self._unexpected("the end of the command")

    def _skip(self) -> None:
        blank = _BLANK.match(self._text, self._at)
        self._at = blank.end() if blank else self._at

    def _step(self, to: int) -> bool:
        self._at = to
        self._skip()
        return True

    def _unexpected(self, wanted: str) -> KustoRefusal:
        line = self._text.count("\n", 0, self._at) + 1
        found = self._text[self._at : self._at + 20] or "the end"
        return KustoRefusal(f"Syntax error: SYN0002: expected {wanted}, found '{found}' [line {line}]")
