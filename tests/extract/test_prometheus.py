"""Prometheus text is read as prometheus_client reads it, or refused; only faster, and line by line."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from opencost_kusto.errors import ContentError
from opencost_kusto.extract.prometheus import Sample, samples
from tests.support.recordings import VERSIONS, recording

repeatable = settings(derandomize=True, max_examples=300, deadline=None)
Fields = tuple[str, str, str, str, dict[str, str], float | None, float | None]


def read(text: str | bytes, size: int = 1 << 16) -> list[Sample]:
    """All samples of a text that arrives in chunks of one size."""
    body = text.encode() if isinstance(text, str) else text
    return list(samples(body[at : at + size] for at in range(0, len(body), size)))


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
    """Every recorded exposition gives the same samples, in the same order, in whatever chunks it comes."""
    body = recording(version, name)
    found = read(body)
    assert len(found) == sum(not line.startswith(b"#") for line in body.splitlines())
    assert ours(found) == theirs(body.decode())
    assert found == read(body, 311)


def test_a_sample_says_all_that_is_known_of_it() -> None:
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
    """`_total` stays where OpenCost has it and is not added where it has none."""
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


def test_a_type_counts_for_the_samples_below_it() -> None:
    """A TYPE line behind samples of its family, which the format forbids, does not reach back to them."""
    found = read("# HELP a x\na 1\n# TYPE a gauge\na 2\n")
    assert [(sample.family, sample.type, sample.help) for sample in found] == [
        ("a", "unknown", "x"),
        ("a", "gauge", "x"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        'a{b="\\n",c="\\\\",d="\\"",e="\\x"} 1\n',
        'a{b="\\n"} 1\na{b="\\\\"} 2\na{b="\\x"} 3\n',
        'a{b="},{=",} 1\na{} 2\na{b=""} 3\n',
        '{"a.b","c d"="e"} 1\na { b = "c" } 2\n',
        "  # TYPE a gauge\n\ta 1\r\n",
        "# TYPE a gauge\na 1\n# HELP\na 2\n",
        "# TYPE a gauge\nb 1\na 2\n",
        '# HELP "a" b\n# TYPE a untyped\na 1\n',
        "# TYPE a gauge\n#TYPE a counter\n# TYPEa b\na 1\n",
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
        (b"<html><body>Sign in</body></html>", "middle of a line: '<html><body>Sign in"),
        (b"<!DOCTYPE html>\n<html>\n", "not Prometheus text: '<!DOCTYPE html>'"),
        (b'{"code":500,"data":null}\n', 'not Prometheus text: \'{"code":500'),
        (b"404 page not found\n", "not Prometheus text: '404 page not found'"),
        (b"a 1\na 2", "middle of a line: 'a 2'"),
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
        (b'a{b="c"} 1 NaN\n', "not Prometheus text"),
        (b"a 1 " + b"9" * 400 + b"\n", "not Prometheus text"),
        (b"a 1 " + b"9" * 5000 + b"\n", "not Prometheus text"),
        (b'{"a\n', "not Prometheus text"),
        (b'{"\n', "not Prometheus text"),
        (b"# TYPE a\na 1\n", "name a type"),
        (b"# TYPE a weird\na 1\n", "name a type"),
        (b"x" * 5000 + b"\n", "x…'"),
        (b"x" * 5000, "x…'"),
    ],
)
def test_what_is_no_whole_exposition_is_refused(body: bytes, says: str) -> None:
    """A text that is not whole or not Prometheus text ends in one sentence that quotes the line, shortened."""
    for size in (1, len(body) or 1):
        with pytest.raises(ContentError) as raised:
            read(body, size)
        assert says in str(raised.value)
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 300


def test_truncation_at_every_byte() -> None:
    """A text that breaks off inside a line is refused, even where the piece of line is one by itself."""
    body = recording("1.119", "metrics.txt")[:3000].rpartition(b"\n")[0] + b"\n"
    for length in range(len(body)):
        if not body[:length].endswith(b"\n"):
            with pytest.raises(ContentError):
                read(body[:length])


def test_memory_does_not_grow_with_the_text() -> None:
    """Ten megabytes of samples pass through a few kilobytes."""
    tracemalloc.start()
    try:
        found = sum(1 for _ in samples(f'a{{b="{"v" * 2000}",c="{n}"}} 1\n'.encode() for n in range(5000)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == 5000
    assert peak < 100_000


def test_an_error_while_reading_passes_through() -> None:
    """What reading the chunks raises is the caller's to know."""

    def breaking() -> Iterator[bytes]:
        yield b"a 1\n"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        list(samples(breaking()))


names = st.sampled_from(["a", "a_total", "b:c", "_", "A1", "a_sum", "a_count", "a_bucket", "d"])
hostile = st.sampled_from(
    [
        "\\\\",
        "\\n",
        '\\"',
        "\\x",
        "}",
        "{",
        ",",
        "=",
        '=\\"',
        " ",
        "\t",
        "#",
        " # ",
        "é",
        "日",
        "\u2028",
        "\x85",
        "\r",
        "\x0b",
        "",
    ]
)
values_inside = st.lists(hostile | st.sampled_from(["x", "10.0.0.1", "le"]), max_size=3).map("".join)
label_names = st.sampled_from(["le", "quantile", "namespace", "_x", "b:c", "node", "N1"]) | st.just('"quoted.name"')
gaps = st.sampled_from(["", "", "", " ", "\t"])
spaces = st.sampled_from([" ", " ", " ", "  ", "\t"])
numbers = st.sampled_from(
    [
        "1",
        "0",
        "-1",
        "+2",
        "1.5",
        ".5",
        "5.",
        "1e3",
        "1.5E-7",
        "1e+09",
        "NaN",
        "+Inf",
        "-Inf",
        "Inf",
        "9" * 30,
        "-0",
        "1e400",
    ]
) | st.floats().map(repr)
times = st.sampled_from(["", "", "", " 1395066363000", " -5", "\t12", " 0", " 1.5"])


@st.composite
def label_sets(draw: st.DrawFn) -> str:
    """Labels in braces, none, or no braces; spaced and closed in every way the format has."""
    if draw(st.booleans()):
        return ""
    gap = draw(st.sampled_from([st.just(""), gaps]))
    found = draw(st.lists(label_names, max_size=4, unique=True))
    pairs = [f'{draw(gap)}{name}{draw(gap)}={draw(gap)}"{draw(values_inside)}"{draw(gap)}' for name in found]
    comma = draw(st.sampled_from(["", ","])) if pairs else ""
    return "{" + ",".join(pairs) + comma + draw(gap) + "}"


sample_lines = st.builds("".join, st.tuples(gaps, names, label_sets(), spaces, numbers, times, gaps)) | st.builds(
    "{} {}{} {}".format, names, gaps, label_sets(), numbers
)
others = st.sampled_from(["", "  ", "# a comment", "#", "#TYPE a gauge", "# UNIT a seconds", "# EOF"])


@st.composite
def families(draw: st.DrawFn, name: str) -> list[str]:
    """What is said of one family, some of it, in any order, and samples before, after and of others."""
    types = "counter gauge histogram summary untyped unknown info"
    said = [
        f"{draw(gaps)}#{draw(spaces)}TYPE{draw(spaces)}{name}{draw(spaces)}{draw(st.sampled_from(types.split()))}{draw(gaps)}"
    ]
    said += [f"#{draw(spaces)}HELP {name} {draw(values_inside)}" for _ in range(draw(st.integers(0, 1)))]
    said = draw(st.permutations(said))[draw(st.integers(0, 1)) :]
    lines = st.lists(sample_lines | others, max_size=3)
    return [*draw(lines), *said, *draw(lines)]


@st.composite
def expositions(draw: st.DrawFn) -> str:
    """A text of some families, each at most once, and a sample at least."""
    chosen = draw(st.lists(names, max_size=3, unique=True))
    lines = [line for name in chosen for line in draw(families(name))]
    return "".join(line + draw(st.sampled_from(["\n", "\n", "\r\n"])) for line in [*lines, "last 1"])


@repeatable
@given(expositions(), st.integers(1, 60))
def test_hostile_text_is_read_as_prometheus_client_reads_it(text: str, size: int) -> None:
    """Whatever is legal, common or not, gives what prometheus_client gives, wherever chunks end."""
    try:
        expected = theirs(text)
    except ValueError:
        with pytest.raises(ContentError):
            read(text, size)
    else:
        assert ours(read(text, size)) == expected


tokens = st.sampled_from(list('a_{}"\\=,.1- \t\r\x85\u2028\u0661é')) | st.sampled_from(
    ["b_total", "e3", "NaN", "# ", "HELP ", "TYPE ", "gauge", 'b="c"', "__name__", 'a{b="c"} 1']
)


@settings(repeatable, max_examples=1000)
@given(st.lists(tokens, max_size=10).map("".join))
@example("{a 1")
@example('a{"" = "c"} 1')
@example('a{b="c"} 1 # {x="y"} 1')
@example("# HELP")
@example("# TYPE")
def test_any_line_is_read_as_prometheus_client_reads_it_or_refused(line: str) -> None:
    """Any line at all, before a good one, is taken or refused by the verdict of prometheus_client."""
    text = f"{line}\na 1\n"
    try:
        expected = theirs(text)
    except (ValueError, IndexError):
        with pytest.raises(ContentError):
            read(text)
    else:
        assert ours(read(text)) == expected
