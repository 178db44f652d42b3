"""Reads a scrape, in Prometheus text or OpenMetrics, into samples. The door to `prometheus_client`.

OpenCost's /metrics is version 0.0.4 of the text format; the newer server adds `escaping=underscores` to its content
type, which changes nothing in the text. What a line means is prometheus_client's to say. That the text is complete, and
which family a sample is of, is decided here: a family may come in several places, and keeps its type and its name.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from opencost_kusto.errors import ContentError
from opencost_kusto.extract.framing import broken_off
from opencost_kusto.extract.http import Body
from opencost_kusto.schema.columns import Table

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_COMMENT = re.compile(r'^[ \t]*#[ \t]+(TYPE|HELP)[ \t]+(?:"((?:[^"\\]|\\.)*)"|(\S+))[ \t]*(.*?)[ \t\r]*$', re.MULTILINE)
_END = "# EOF\n"
# Units have no column, and prometheus_client refuses a family whose name does not end in its unit.
_UNIT = re.compile(r"^# UNIT .*\n", re.MULTILINE)
# Samples of a family are named after it, with these endings.
_ENDINGS = {
    "counter": ("_total", "_created"),
    "summary": ("_sum", "_count", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "info": ("_info",),
}
_ALL_ENDINGS = sorted({ending for endings in _ENDINGS.values() for ending in endings})
_ESCAPES = {r"\n": "\n", r"\\": "\\", r"\"": '"'}


class Sample(msgspec.Struct, frozen=True):
    """One sample: a line of the scrape, with the description of its family.

    `value` is null for NaN and infinities, and `raw` is then "NaN", "+Inf" or "-Inf". `family`, `type` and `help` are
    the sample's own name, "unknown" and "" where the text has none; `family` is as in its `# TYPE` line, so that of a
    counter has its `_total` where the server writes it there. `timestamp` is in Unix seconds, if the line has one.
    """

    name: str
    family: str
    type: str
    help: str
    labels: dict[str, str]
    value: float | None
    timestamp: float | None
    raw: str | None = None


def records(body: Body, table: Table, kept: Callable[[bytes], bool], note: Callable[[str], object]) -> Iterator[bytes]:
    """The samples of a scrape that are kept, as JSON; `note` gets remarks about them."""
    encode = msgspec.json.Encoder().encode
    not_numbers = again = 0
    series: set[tuple[str, float | None, frozenset[tuple[str, str]]]] = set()
    for sample in samples(b"".join(body), framed=body.framed, content_type=body.content_type):
        record = encode(sample)
        if kept(record):
            not_numbers += sample.value is None
            one = sample.name, sample.timestamp, frozenset(sample.labels.items())
            again += one in series
            series.add(one)
            yield record
    if not_numbers:
        note(f"{not_numbers} samples are NaN or infinite, and null in {table.name}")
    if again:
        note(f"{again} samples are of a series that came before; each is a row of {table.name}")


def samples(body: bytes, *, framed: bool = True, content_type: str = "") -> Iterator[Sample]:
    """The samples of a scrape, in its order.

    It is read as OpenMetrics where the content type or its last line says so. Where the body is not `framed`, only that
    last line proves that it is complete. Raises ContentError for a body that is not so, is not UTF-8, has a line that
    is neither sample nor comment, or a time out of range, or has no sample.
    """
    is_open = "openmetrics" in content_type or body.endswith(f"\n{_END}".encode())
    if is_open and not body.endswith(_END.encode()):
        raise broken_off("its last line is not # EOF")
    if body and not body.endswith(b"\n"):
        last = body.rpartition(b"\n")[2].decode(errors="replace")
        raise broken_off(f"it ends in the middle of a line, {_short(last)}")
    if not (framed or is_open):
        raise broken_off("the connection ended, and no length, no last chunk and no # EOF says that it was over")
    text = _text(body)
    found = _families(text)
    some = False
    for metric in _metrics(_UNIT.sub("", text), _parser(is_open)):
        for name, labels, value, timestamp, *_ in metric.samples:
            if metric.type == "counter" and not is_open:
                name = _exposed(name, found)
            some = True
            yield _sample(name, found, labels, _real(value), None if timestamp is None else float(timestamp))
    if not some:
        raise ContentError("OpenCost's metrics hold no sample at all; is this really an OpenCost?")


def _parser(is_open: bool) -> Any:
    """The parser of a format, imported where there is a scrape to read: most runs have none."""
    from prometheus_client import parser
    from prometheus_client.openmetrics import parser as openmetrics

    return openmetrics.text_fd_to_metric_families if is_open else parser.text_fd_to_metric_families


def _metrics(text: str, parse: Callable[[Iterator[str]], Iterable[Metric]]) -> Iterator[Metric]:
    """The samples that prometheus_client finds; a line that it does not accept is quoted."""
    last = ""

    def lines() -> Iterator[str]:
        nonlocal last
        for line in io.StringIO(text, newline="\n"):
            last = line
            yield line

    try:
        yield from parse(lines())
    except (ValueError, IndexError, OverflowError, KeyError) as error:
        raise ContentError(f"OpenCost's metrics have a line that is not Prometheus text: {_short(last)}.") from error


def _families(text: str) -> dict[str, tuple[str, str]]:
    """Type and help of each family, by its name in the `# TYPE` and `# HELP` lines."""
    types: dict[str, str] = {}
    helps: dict[str, str] = {}
    for about, quoted, plain, content in _COMMENT.findall(text):
        name = _unescaped(quoted) if quoted else plain
        if about == "TYPE":
            types.setdefault(name, "unknown" if content == "untyped" else content)
        else:
            helps.setdefault(name, _unescaped(content))
    return {name: (types.get(name, "unknown"), helps.get(name, "")) for name in (types | helps)}


def _exposed(name: str, families: dict[str, tuple[str, str]]) -> str:
    """A counter's name as it is in the text, where prometheus_client has put `_total` behind it."""
    plain = name.removesuffix("_total")
    return name if families.get(name, ("",))[0] == "counter" or plain not in families else plain


def _sample(
    name: str, families: dict[str, tuple[str, str]], labels: dict[str, str], value: float, timestamp: float | None
) -> Sample:
    family = name
    if name not in families:
        bases = ((name.removesuffix(ending), ending) for ending in _ALL_ENDINGS if name.endswith(ending))
        family = next((base for base, end in bases if end in _ENDINGS.get(families.get(base, ("",))[0], ())), name)
    kind, text = families.get(family, ("unknown", ""))
    if timestamp is not None:
        _check_time(timestamp)
    if math.isfinite(value):
        return Sample(name, family, kind, text, labels, value, timestamp)
    raw = "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return Sample(name, family, kind, text, labels, None, timestamp, raw)


def _check_time(seconds: float) -> None:
    try:
        datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ContentError(f"OpenCost's metrics have a sample of no time: {seconds:g} Unix seconds.") from error


def _real(number: float) -> float:
    """A whole number too large for a float is infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        line = body[: error.start].rpartition(b"\n")[2] + body[error.start :].partition(b"\n")[0]
        raise ContentError(f"OpenCost's metrics are not UTF-8: {_short(line.decode(errors='replace'))}.") from error


def _unescaped(text: str) -> str:
    return re.sub(r'\\[n\\"]', lambda found: _ESCAPES[found[0]], text)


def _short(line: str) -> str:
    """A line as it can be quoted."""
    line = line.strip()
    return repr(line if len(line) <= 120 else line[:119] + "…")
