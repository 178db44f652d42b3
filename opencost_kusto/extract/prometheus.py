"""Reads Prometheus text, line by line, into samples. The door to `prometheus_client`.

OpenCost's /metrics is version 0.0.4 of the text format; the newer server adds `escaping=underscores` to its content
type, which changes nothing in the text. One pattern takes the lines that Go's encoder writes; a line it does not take
whole is given to prometheus_client's parser, so what such a line means is not decided here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

import msgspec
from prometheus_client.metrics_core import METRIC_TYPES, Metric
from prometheus_client.parser import text_string_to_metric_families

from opencost_kusto.errors import ContentError

_SAMPLE = re.compile(
    r"([a-zA-Z_:][\w:]*)"
    r'(?:\{((?:[a-zA-Z_]\w*="[^"\\]*"(?:,|(?=\})))*)\})?'
    r" ([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|Inf)|NaN)"
    r"(?: (-?\d{1,18}))?",
    re.ASCII,
)
_LABEL = re.compile(r'(\w+)="([^"]*)"', re.ASCII)
_COMMENT = re.compile(r"#\s+(HELP|TYPE)(?!\S)", re.ASCII)

# Samples of a family are named after it, with these endings.
_ENDINGS = {"summary": ("", "_sum", "_count"), "histogram": ("_bucket", "_sum", "_count")}


class Sample(msgspec.Struct, frozen=True):
    """One sample: a line of the exposition, and what the lines above it said about its family.

    `value` is null for NaN and infinities, and `raw` is then "NaN", "+Inf" or "-Inf". `family`, `type` and `help` are
    the sample's own name, "unknown" and "" where the exposition does not say; `family` is as in its `# TYPE` line, so a
    counter keeps its `_total`. `timestamp` is in Unix seconds, if the line has one.
    """

    name: str
    family: str
    type: str
    help: str
    labels: dict[str, str]
    value: float | None
    timestamp: float | None
    raw: str | None = None


def samples(chunks: Iterable[bytes]) -> Iterator[Sample]:
    """Yield the samples of an exposition, in its order; `chunks` is its text in pieces of any size.

    Samples come out before the end was seen; if the iterator ends without an error, the text was whole. A family's
    `# HELP` and `# TYPE` count for the samples below them. Memory is bounded by a chunk and a line.

    Raises ContentError for a line that is neither sample nor comment, text that is not UTF-8, has no sample, or does
    not end in a line feed, as the format demands of the last line.
    """
    parser = _Parser()
    rest = b""
    some = False
    for chunk in chunks:
        block, feed, rest = (rest + chunk).rpartition(b"\n")
        for line in _text(block).split("\n") if feed else ():
            sample = parser.line(line)
            if sample is not None:
                some = True
                yield sample
    if rest:
        raise ContentError(
            f"OpenCost's metrics broke off in the middle of a line: {_short(rest[:200].decode(errors='replace'))}."
        )
    if not some:
        raise ContentError("OpenCost's metrics hold no sample at all; is this really an OpenCost?")


def _text(block: bytes) -> str:
    """Whole lines as text."""
    try:
        return block.decode()
    except UnicodeDecodeError as error:
        line = block[: error.start].rpartition(b"\n")[2] + block[error.start :].partition(b"\n")[0]
        raise ContentError(f"OpenCost's metrics are not UTF-8: {_short(line.decode(errors='replace'))}.") from error


def _short(line: str) -> str:
    """A line as it can be quoted."""
    return repr(line if len(line) <= 120 else line[:119] + "…")


def _unreadable(line: str) -> ContentError:
    """A line that is no exposition."""
    return ContentError(f"OpenCost's metrics have a line that is not Prometheus text: {_short(line)}.")


def _ask(line: str) -> Iterator[Metric]:
    """What prometheus_client finds in one line."""
    try:
        yield from text_string_to_metric_families(line)
    except (ValueError, IndexError, OverflowError) as error:
        raise _unreadable(line) from error


def _real(number: float) -> float:
    """A whole number too large for a float is infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


class _Parser:
    """The family the lines are in."""

    def __init__(self) -> None:
        self._family, self._type, self._help = "", "unknown", ""
        self._names: tuple[str, ...] = ()

    def _enter(self, family: str) -> None:
        """Begin a family of which nothing more is known; "" is none."""
        self._family, self._type, self._help, self._names = family, "unknown", "", (family,)

    def line(self, line: str) -> Sample | None:
        """Take the next line; the sample it holds, if it holds one."""
        line = line.strip()
        ordinary = _SAMPLE.fullmatch(line)
        if ordinary:
            name, inside, number, milliseconds = ordinary.groups()
            labels = dict(_LABEL.findall(inside)) if inside else {}
            if not inside or (inside.count('"') == 2 * len(labels) and "__name__" not in labels):
                return self._sample(name, labels, float(number), int(milliseconds) / 1000 if milliseconds else None)
        elif line.startswith("#"):
            about = _COMMENT.match(line)
            if about:
                self._comment(about[1], line[about.end() :])
            return None
        return self._other(line)

    def _sample(self, name: str, labels: dict[str, str], value: float, timestamp: float | None) -> Sample:
        """A sample of the current family, or one that ends it and stands alone."""
        if name not in self._names:
            self._enter("")
        family = self._family or name
        if math.isfinite(value):
            return Sample(name, family, self._type, self._help, labels, value, timestamp)
        raw = "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
        return Sample(name, family, self._type, self._help, labels, None, timestamp, raw)

    def _comment(self, about: str, said: str) -> None:
        """Learn what a HELP or TYPE line says about a family."""
        # As help, since prometheus_client renames counters.
        metric = next(_ask(f"# HELP {said}"), None)
        family, text = (metric.name, metric.documentation) if metric else ("", "")
        if family != self._family:
            self._enter(family)
        if about == "HELP":
            self._help = text
        elif text == "untyped" or text in METRIC_TYPES:
            self._type = "unknown" if text == "untyped" else text
            self._names = tuple(family + ending for ending in _ENDINGS.get(text, ("",)))
        else:
            raise ContentError(f"OpenCost's metrics name a type that Prometheus does not have: {_short(said)}.")

    def _other(self, line: str) -> Sample | None:
        """A sample as prometheus_client reads it; None for a line that is empty."""
        for metric in _ask(line):
            for name, labels, number, timestamp, *_ in metric.samples:
                seconds = None if timestamp is None else float(timestamp)
                if seconds is not None and not math.isfinite(seconds):
                    raise _unreadable(line)
                return self._sample(name, labels, _real(number), seconds)
        return None
