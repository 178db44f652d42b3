"""A scrape is read as prometheus_client reads it, with the names of the text, or refused when it is not complete."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.extract.prometheus import Sample, samples
from tests.support.recordings import VERSIONS, recording

Fields = tuple[str, str, str, str, dict[str, str], float | None, float | None]


def read(text: str | bytes, *, framed: bool = True, content_type: str = "") -> list[Sample]:
    """All samples of a text."""
    body = text.encode() if isinstance(text, str) else text
    return list(samples(body, framed=framed, content_type=content_type))


def finite(value: float | None) -> float | None:
    """The value as a float, or null if it is none or not finite."""
    try:
        return float(value) if value is not None and math.isfinite(value) else None
    except OverflowError:
        return None


def theirs(text: str) -> list[Fields]:
    """The samples by prometheus_client alone."""
    found: list[Fields] = []
    for metric in text_string_to_metric_families(text):
        for name, labels, value, timestamp, *_ in metric.samples:
            seconds = None if timestamp is None else float(timestamp)
            if seconds is not None and not math.isfinite(seconds):
                raise ValueError("no time")
            found.append((name, metric.name, metric.type, metric.documentation, labels, finite(value), seconds))
    return found


def ours(found: list[Sample]) -> list[Fields]:
    """Samples named as prometheus_client names them: counters end in `_total` and their families do not."""
    return [
        (
            sample.name + "_total"
            if sample.type == "counter" and not sample.family.endswith("_total")
            else sample.name,
            sample.family.removesuffix("_total") if sample.type == "counter" else sample.family,
            sample.type,
            sample.help,
            sample.labels,
            sample.value,
            sample.timestamp,
        )
        for sample in found
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["metrics.txt", "down_metrics.txt"])
def test_the_recordings_are_read_as_prometheus_client_reads_them(version: str, name: str) -> None:
    """Every recorded exposition gives the same samples, in the same order and named as the text names them."""
    body = recording(version, name)
    found = read(body)
    assert len(found) == sum(not line.startswith(b"#") for line in body.splitlines())
    assert ours(found) == theirs(body.decode())


def test_a_sample_has_everything_of_its_line() -> None:
    """Name, family, type, help, labels, value and time of a line, in their units."""
    text = '# HELP a_seconds How long.\\nReally.\n# TYPE a_seconds histogram\na_seconds_bucket{le="0.5",x="y"} 3 1500\n'
    assert read(text) == [
        Sample(
            name="a_seconds_bucket",
            family="a_seconds",
            type="histogram",
            help="How long.\nReally.",
            labels={"le": "0.5", "x": "y"},
            value=3.0,
            timestamp=1.5,
        )
    ]


def test_a_counter_keeps_the_name_the_exposition_gives_it() -> None:
    """`_total` is kept where OpenCost has it and not added where it has none."""
    found = read("# TYPE a_total counter\na_total 1\n# TYPE b counter\nb 2\n")
    assert [(sample.name, sample.family, sample.type) for sample in found] == [
        ("a_total", "a_total", "counter"),
        ("b", "b", "counter"),
    ]


@pytest.mark.parametrize(
    ("written", "raw"),
    [
        ("NaN", "NaN"),
        ("nan", "NaN"),
        ("+Inf", "+Inf"),
        ("Inf", "+Inf"),
        ("inf", "+Inf"),
        ("-Inf", "-Inf"),
        ("1e999", "+Inf"),
        ("-" + "9" * 400, "-Inf"),
        ("9" * 400, "+Inf"),
    ],
)
@pytest.mark.parametrize("spelled", ['a{b="c"} %s\n', 'a { b="\\\\" } %s\n'])
def test_what_is_not_a_number_is_null_and_named(spelled: str, written: str, raw: str) -> None:
    """NaN and the infinities have no value; `raw` says which it was, so that they can be counted."""
    (sample,) = read(spelled % written)
    assert (sample.value, sample.raw) == (None, raw)


def test_a_number_has_no_other_spelling() -> None:
    """`raw` is for what has no value."""
    assert [(sample.value, sample.raw) for sample in read("a 1.5e+09\na 0\na -2\n")] == [
        (1.5e9, None),
        (0.0, None),
        (-2.0, None),
    ]


def test_a_family_keeps_its_type_wherever_its_samples_are() -> None:
    """A family that another one splits is one family: its samples are found by their names."""
    text = (
        '# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 1\nb 1\na_sum 2\na_count 1\n'
        "# TYPE c_total counter\nc_total 1\nb 2\nc_total 3\n# TYPE d counter\nd 1\nb 3\nd_total 2\n"
    )
    assert [(sample.name, sample.family, sample.type, sample.help) for sample in read(text)] == [
        ("a_bucket", "a", "histogram", "x"),
        ("b", "b", "unknown", ""),
        ("a_sum", "a", "histogram", "x"),
        ("a_count", "a", "histogram", "x"),
        ("c_total", "c_total", "counter", ""),
        ("b", "b", "unknown", ""),
        ("c_total", "c_total", "counter", ""),
        ("d", "d", "counter", ""),
        ("b", "b", "unknown", ""),
        ("d_total", "d", "counter", ""),
    ]


OPEN = (
    '# TYPE cost gauge\n# UNIT cost dollars\ncost{node="n1"} 0.5 1795428000.5\n'
    '# TYPE requests counter\n# HELP requests Requests.\nrequests_total{code="200"} 3 # {trace_id="a1"} 1.0\n# EOF\n'
)


@pytest.mark.parametrize("content_type", ["", "application/openmetrics-text; version=1.0.0; charset=utf-8"])
def test_openmetrics_is_read_as_openmetrics(content_type: str) -> None:
    """Times are seconds, counters have a family without `_total`, and exemplars are no times."""
    cost, requests = read(OPEN, content_type=content_type)
    assert (cost.type, cost.timestamp) == ("gauge", 1795428000.5)
    assert requests == Sample("requests_total", "requests", "counter", "Requests.", {"code": "200"}, 3.0, None)


@pytest.mark.parametrize("length", [*range(0, len(OPEN) - 1, 7), len(OPEN) - 1])
def test_openmetrics_has_an_end(length: int) -> None:
    """Whatever is missing at the end, OpenMetrics without its last line is not complete."""
    with pytest.raises(ContentError, match=r"broke off|no sample"):
        read(OPEN[:length], content_type="application/openmetrics-text")
    if length:
        with pytest.raises(ContentError):
            read(OPEN[:length], framed=False)


def test_a_text_whose_end_nothing_proves_is_incomplete() -> None:
    """Without a length, chunks, compression or # EOF, a text that was cut at the end of a line appears complete."""
    with pytest.raises(ContentError, match="broke off") as refused:
        read("a 1\nb 2\n", framed=False)
    assert (refused.value.code, refused.value.transient) == (ReasonCode.INCOMPLETE, True)
    assert [sample.name for sample in read("a 1\nb 2\n# EOF\n", framed=False)] == ["a", "b"]


@pytest.mark.parametrize("time", ["99999999999999999999", "-99999999999999999", "NaN", "9" * 400])
def test_a_time_that_no_clock_has_is_refused(time: str) -> None:
    """A timestamp beyond the calendar is content that cannot be trusted, and no fault of a disk."""
    with pytest.raises(ContentError, match=r"no time|not Prometheus text"):
        read(f"a 1 {time}\n")


@pytest.mark.parametrize(
    "text",
    [
        'a{b="\\n",c="\\\\",d="\\"",e="\\x"} 1\n',
        'a{b="\\n"} 1\na{b="\\\\"} 2\na{b="\\x"} 3\n',
        'a{b="},{=",} 1\na{} 2\na{b=""} 3\n',
        '{"a.b","c d"="e"} 1\na { b = "c" } 2\n',
        "  # TYPE a gauge\n\ta 1\r\n",
        '# HELP "a" b\n# TYPE a untyped\na 1\n',
    ],
)
def test_uncommon_text_is_read_as_prometheus_client_reads_it(text: str) -> None:
    """Escapes, brackets in values, quoted names, loose spacing, and comments of every kind."""
    assert ours(read(text)) == theirs(text)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no sample"),
        (b"\n\n", "no sample"),
        (b"# HELP a b\n# TYPE a gauge\n", "no sample"),
        (b"<html><body>Sign in</body></html>", "middle of a line, '<html><body>Sign in"),
        (b"<!DOCTYPE html>\n<html>\n", "not Prometheus text: '<!DOCTYPE html>'"),
        (b'{"code":500,"data":null}\n', 'not Prometheus text: \'{"code":500'),
        (b"404 page not found\n", "not Prometheus text: '404 page not found'"),
        (b"a 1\na 2", "middle of a line, 'a 2'"),
        (b"a 1\n\xc3", "middle of a line"),
        (b'a 1\na{b="\xff"} 1\nc 2\n', "not UTF-8: 'a{b=\"\ufffd\"} 1'"),
        (b"a 1\nb\n", "not Prometheus text: 'b'"),
        (b"a one\n", "'a one'"),
        (b'a{b="c} 1\n', "not Prometheus text"),
        (b'a{b="c",b="d"} 1\n', "not Prometheus text"),
        (b'a{b="c"d="e"} 1\n', "not Prometheus text"),
        (b'a{__name__="b"} 1\n', "not Prometheus text"),
        (b"a\xc3\xa9 1\n", "not Prometheus text: 'aé 1'"),
        (b'a{a\xc3\xa9="b"} 1\n', "not Prometheus text"),
        (b"{, =\\=\n", "not Prometheus text"),
        (b'a{b="c"} 1 NaN\n', "of no time"),
        (b"a 1 " + b"9" * 400 + b"\n", "not Prometheus text"),
        (b"a 1 " + b"9" * 5000 + b"\n", "of no time"),
        (b'{"a\n', "not Prometheus text"),
        (b'{"\n', "not Prometheus text"),
        (b"# TYPE a\na 1\n", "not Prometheus text"),
        (b"# TYPE a weird\na 1\n", "not Prometheus text"),
        (b"x" * 5000 + b"\n", "x…'"),
        (b"x" * 5000, "x…'"),
    ],
)
def test_an_incomplete_exposition_is_refused(body: bytes, says: str) -> None:
    """A text that is cut off or not Prometheus text ends in one sentence that quotes the line, shortened."""
    with pytest.raises(ContentError) as raised:
        read(body)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_truncation_at_every_byte() -> None:
    """A text that breaks off inside a line is refused, even where the piece of line is one alone."""
    body = recording("1.119", "metrics.txt")[:3000].rpartition(b"\n")[0] + b"\n"
    for length in range(len(body)):
        if not body[:length].endswith(b"\n"):
            with pytest.raises(ContentError):
                read(body[:length])
