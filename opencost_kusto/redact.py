"""Remove secrets from text before it is printed, logged or stored."""

from __future__ import annotations

import re

_SECRET_KEY = r"[\w.-]*(?:password|passwd|pwd|secret|token|key)"
_VALUE = r"""(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,}\]"']+)"""
_SECRETS = (
    # A complete signed query string (Azure SAS): its other fields show the lifetime of the signature.
    (re.compile(r"\?[^\s\"'<>]*\bsig=[^\s\"'<>]*", re.IGNORECASE), "?<signature>"),
    (re.compile(r"\b(sig|[\w-]{0,40}(?:token|secret|password|pwd))=[^\s&;\"'<>]+", re.IGNORECASE), r"\1=<secret>"),
    (re.compile(r"\b((?:api|app|application)[-_ ]?key)=[^\s&;\"'<>]+", re.IGNORECASE), r"\1=<secret>"),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 <secret>"),
    (re.compile(r"\b(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+)(\.[A-Za-z0-9_-]*)?"), "<token>"),
    (re.compile(r"(AccountKey|SharedAccessSignature)=[^\s;\"']+", re.IGNORECASE), r"\1=<secret>"),
    # A password may contain an @, and ends at the last one.
    (re.compile(r"(?<=://)[^\s/]+@"), "<credentials>@"),
    # A member of a JSON object, and of one inside a JSON string.
    (re.compile(rf"""(["']{_SECRET_KEY}["']\s*:\s*){_VALUE}""", re.IGNORECASE), r'\1"<secret>"'),
    (re.compile(rf"""(\\+"{_SECRET_KEY}\\+"\s*:\s*)\\+".*?\\+\"""", re.IGNORECASE), r"\1<secret>"),
)


def redacted(text: object) -> str:
    """The text without signatures, tokens, keys and passwords in URLs."""
    result = str(text)
    for pattern, replacement in _SECRETS:
        result = pattern.sub(replacement, result)
    return result


def first_sentence(text: str, limit: int = 200) -> str:
    """The first sentence of a long message, on one line, printable, of at most `limit` characters, without secrets.

    OpenCost's errors run to 36 KB when Prometheus is down, and in 1.112 begin with `Error: `.
    """
    line = " ".join(redacted(text).split()).removeprefix("Error: ")
    end = re.search(r"(?<=[.!?])\s|\s0\) Errors:", line)
    sentence = (line[: end.start()] if end else line).rstrip(" :")
    sentence = "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in sentence[: limit + 1])
    return sentence if len(sentence) <= limit else sentence[: limit - 1] + "…"
