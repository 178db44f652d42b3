"""One word, one meaning: the words that the glossary has retired are in no name and in no text."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path
from token import NAME

import pytest

ROOT = Path(__file__).parents[1]
# Words that are no part of a name, and the words to use instead.
IN_NAMES = {
    "answered": "responded",
    "asked": "requested, queried",
    "asking": "requesting",
    "asks": "requests",
    "brought": "loaded",
    "doubt": "inconclusive",
    "forgotten": "expired",
    "grain": "step",
    "heed": "obey",
    "knows": "has",
    "lacking": "missing",
    "lacks": "does not have",
    "ledger": "run log, schema",
    "looks": "checks",
    "narrator": "progress",
    "question": "request, query, check",
    "said": "message, reason",
    "stretch": "window, interval",
    "tell": "report",
    "tells": "reports",
    "told": "reported",
}
# Words that are in no text that ships, and what to write instead.
IN_TEXTS = {
    "besides": "in addition",
    "by itself": "alone",
    "dearest": "most expensive",
    "given back": "returned",
    "gives back": "returns",
    "heed": "obey",
    "likewise": "also",
    "made ready": "staged",
    "of all time": "so far",
    "stand-in": "emulator",
    "taken in": "ingested",
    "tells": "reports, prints",
    "thereby": "so",
    "told": "reported",
}


def parts(name: str) -> set[str]:
    """The words of a name, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def files(*patterns: str) -> list[Path]:
    """The files of the repository that match."""
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern) if "node_modules" not in path.parts)


@pytest.mark.parametrize("folder", ["opencost_kusto", "tests"])
def test_no_name_has_a_retired_word(folder: str) -> None:
    """Names of modules, and every name in the code, use the words of the field."""
    found, retired = [], re.compile("|".join(IN_NAMES), re.IGNORECASE)
    for path in files(f"{folder}/**/*.py"):
        text, names = path.read_text("utf-8"), {path.stem}
        if path == Path(__file__):
            continue
        if retired.search(text):
            names |= {one.string for one in tokenize.generate_tokens(io.StringIO(text).readline) if one.type == NAME}
        for name in sorted(names):
            found += [f"{path.relative_to(ROOT)}: {name}: {IN_NAMES[one]}" for one in parts(name) & IN_NAMES.keys()]
    assert not found, "\n".join(found)


def test_no_text_has_a_retired_word() -> None:
    """Code, KQL and guides read like the documentation of Kubernetes and Azure."""
    retired = re.compile(rf"\b({'|'.join(IN_TEXTS)})\b", re.IGNORECASE)
    found = []
    for path in files("opencost_kusto/**/*.py", "opencost_kusto/guides/*.md", "kql/**/*.kql", "README.md"):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            found += [f"{path.relative_to(ROOT)}:{number}: {one[0]}" for one in retired.finditer(line)]
    assert not found, "\n".join(found)


def test_the_words_of_a_name_are_found() -> None:
    """Snake case, camel case and constants are split into their words."""
    assert parts("test_what_was_Told") == {"test", "what", "was", "told"}
    assert parts("LargestAnswer") | parts("_ASKED") == {"largest", "answer", "asked"}
