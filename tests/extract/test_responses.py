"""A response is split into exactly the records it holds, or refused; wherever its chunks end."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencost_kusto.errors import ContentError, OpenCostError, OpenCostKustoError
from opencost_kusto.extract.responses import records
from opencost_kusto.redact import first_sentence
from tests.support.recordings import VERSIONS, names, recording

Json = Any
repeatable = settings(derandomize=True, max_examples=200, deadline=None)

RESPONSES = [
    (version, name)
    for version in VERSIONS
    for name in names(version)
    if name.endswith(".json") and name.startswith(("allocation", "assets", "two_clusters")) and "summary" not in name
]
FAILURES = ("parc_noidle", "window_reversed", "filter_bad")
COMPLETE = [(version, name) for version, name in RESPONSES if not any(word in name for word in FAILURES)]


def chunked(body: bytes, size: int) -> Iterator[bytes]:
    """The body in chunks of one size."""
    return (body[at : at + size] for at in range(0, len(body), size))


def cut(body: bytes, size: int = 1 << 16) -> list[bytes]:
    """All records of a body that arrives in chunks of one size."""
    return list(records(chunked(body, size)))


class Pairs(list[tuple[str, Json]]):
    """A JSON object with its keys as sent, also when one is duplicated."""

    def once(self) -> dict[str, Json]:
        """The object as a dict, or ValueError if a key is duplicated."""
        if len(dict(self)) < len(self):
            raise ValueError("a key twice")
        return dict(self)


def refuse(constant: str) -> float:
    """JSON has no NaN or Infinity, whatever json.loads thinks."""
    raise ValueError(constant)


def plain(body: bytes) -> list[Json]:
    """The records by json.loads alone; ValueError if the body is not a complete response."""
    response = json.loads(body.decode(), object_pairs_hook=Pairs, parse_constant=refuse)
    json.dumps(response, ensure_ascii=False).encode()  # half a surrogate pair is not text
    if not isinstance(response, Pairs):
        raise ValueError("no envelope")
    envelope = response.once()
    if json.dumps(envelope.get("code")) != "200" or "data" not in envelope:
        raise ValueError("no answer")
    data = envelope["data"]
    sets = data if type(data) is list else [data]
    if not all(isinstance(members, Pairs) for members in sets if members is not None):
        raise ValueError("no sets")
    found = [record for members in sets if members is not None for record in members.once().values()]
    if not all(isinstance(record, Pairs) for record in found):
        raise ValueError("no records")
    return found


def parsed(found: list[bytes]) -> list[Json]:
    """Records as json.loads reads them."""
    return [json.loads(record, object_pairs_hook=Pairs, parse_constant=refuse) for record in found]


def envelope(data: str, code: str = "200") -> bytes:
    """A body around `data`, as OpenCost 1.119 sends it."""
    return f'{{"code":{code},"data":{data}}}\n'.encode()


@pytest.mark.parametrize(("version", "name"), COMPLETE)
def test_every_recording_has_its_records(version: str, name: str) -> None:
    """Each recorded response has the records of json.loads, in the same order, with chunks large and small."""
    body = recording(version, name)
    found = cut(body)
    assert parsed(found) == plain(body)
    assert found == cut(body, 1499)
    assert found == cut(body, len(body))
    assert all(record in body for record in found)


def test_the_recorded_numbers_of_records() -> None:
    """The index of the recordings has the number of records."""
    assert len(cut(recording("1.112", "allocation_hour.json"))) == 61
    assert len(cut(recording("1.112", "allocation_day_step1h.json"))) == 1478
    assert len(cut(recording("1.119", "allocation_hour.json"))) == 61
    assert sum(len(cut(recording("1.112", name))) for name in names("1.112", "assets_hours/")) == 24 * 19
    assert len(cut(recording("1.119", "assets_hour.json"))) == 20


@pytest.mark.parametrize(("version", "name"), sorted(set(RESPONSES) - set(COMPLETE)))
def test_a_recorded_failure_is_quoted(version: str, name: str) -> None:
    """An envelope whose code is not 200 is OpenCost's error, with its own message."""
    response = json.loads(recording(version, name))
    with pytest.raises(OpenCostError, match=f"code {response['code']}: ") as raised:
        cut(recording(version, name))
    assert str(raised.value).endswith(first_sentence(response["message"]))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_long_failure_is_quoted_in_short(version: str) -> None:
    """36 KB about an unreachable Prometheus become one line."""
    with pytest.raises(OpenCostError) as raised:
        cut(recording(version, "down_allocation.json"))
    printed = str(raised.value).removeprefix("OpenCost responded with code 500: ")
    assert printed.startswith("error computing allocations for [2026-11-23T10:00:00+0000")
    assert len(printed) <= 200
    assert "\n" not in printed


@pytest.mark.parametrize("data", ["{}", "[]", "[{}]", "null", "[null]", "[{},null,{}]"])
@pytest.mark.parametrize(
    "form", ['{"code":200,"data":%s}\n', '{"code":200,"status":"success","data":%s}', '{ "data" :%s,"code":200}']
)
def test_responses_without_records(data: str, form: str) -> None:
    """No data, in every form OpenCost has for it, is a response with no records."""
    assert cut((form % data).encode()) == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty body"),
        (b" \n", "empty body"),
        (b"<html><body>Sign in</body></html>", "begins '<html><body>"),
        (b"Invalid 'window' parameter\n{}", "not the JSON"),
        (b"404 page not found\n", "not the JSON"),
        (b"[]", "not the JSON"),
        (b"{}", "no `code`"),
        (b'{"data":[{}]}', "no `code`"),
        (b'{"code":"200","data":[{}]}', "no `code`"),
        (b'{"code":200}', "no `data`"),
        (b'{"code":200,"status":"success"}', "no `data`"),
        (b'{"code":200,"data":[],"data":[]}', "twice"),
        (b'{"code":500,"code":200,"data":[]}', "twice"),
        (envelope("[{}]") + b"x", "trailing characters"),
        (envelope("[{}]") * 2, "trailing characters"),
        (b"\xef\xbb\xbf" + envelope("[{}]"), "not the JSON"),
        (gzip.compress(envelope("[{}]"), mtime=0), "is gzip, which its headers do not say"),
        (envelope("[{}]").decode().encode("utf-16"), "is UTF-16"),
        (envelope("[{}]").decode().encode("utf-16-le"), "is UTF-16"),
        (envelope("7"), "not the JSON"),
        (envelope('"text"'), "not the JSON"),
        (envelope("[[]]"), "not the JSON"),
        (envelope('{"a":null}'), "not an object: 'a'"),
        (envelope('[{"a":{}},{"b":[]}]'), "not an object: 'b'"),
        (envelope('{"step":3600,"sets":[]}'), "not an object: 'step'"),
        (envelope('[{"a":{"name":"a","cpuCost":NaN}}]'), "not the JSON"),
        (envelope('[{"a":{"name":"a","cpuCost":-Infinity}}]'), "not the JSON"),
        (envelope('[{"a":{"name":"\n"}}]'), "not the JSON"),
        (envelope('[{"a":{"name":"a"}}]').replace(b'a"}', b'\xe9"}'), "UTF-8"),
        (envelope('{"\xe9":{}}').replace(b"\xc3", b""), "UTF-8"),
        (b'{"code":200,"data":[{"a":{"x":' + b"[" * 100_000, "nested deeper"),
    ],
)
def test_what_cannot_be_trusted_is_refused(body: bytes, says: str) -> None:
    """A body that is no complete response ends in one sentence with the reason, in whatever chunks it arrives."""
    for size in (1, 7, len(body) or 1):
        with pytest.raises(ContentError, match=says) as raised:
            cut(body, size)
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("message", "printed"), [('"Error: no.\\nMore"', "no."), ("null", "it does not say why"), ('""', "it does")]
)
def test_the_envelopes_own_code(message: str, printed: str) -> None:
    """A failure inside a 200 response is OpenCost's failure, with or without a message."""
    with pytest.raises(OpenCostError, match=f"code 500: {printed}"):
        cut(f'{{"code":500,"status":"","data":null,"message":{message}}}'.encode())


@pytest.mark.parametrize("name", ["allocation_hour_agg_node.json", "assets_filter_clustermanagement.json"])
def test_truncation_at_every_byte(name: str) -> None:
    """Wherever a body breaks off, it is refused, and the message has the number of bytes that arrived."""
    body = recording("1.119", name).rstrip(b"\n")
    for length in range(len(body)):
        with pytest.raises(ContentError, match=f"broke off after {length:,} bytes" if length else "empty"):
            cut(body[:length], 700)


def rows(count: int, first: str = "name", size: int = 500) -> Iterator[str]:
    """Members in the order of their keys, each with a place inside that resembles the start of a record."""
    for n in range(count):
        yield f'"key{n:06}":{{"{first}":"k","labels":{{"{first}":"{"v" * size}"}},"x":{n}}}'


@pytest.mark.parametrize("other", [0, 1, 4, 9])
def test_a_key_twice_in_one_set_is_refused(other: int) -> None:
    """A repeated key is found next to its twin and far from it, in one chunk and across chunks."""
    members = list(rows(10))
    body = envelope("[{" + ",".join([*members, members[other]]) + "}]")
    for size in (100, 1200, len(body)):
        with pytest.raises(ContentError, match="under one key"):
            cut(body, size)


def test_a_key_may_be_repeated_in_another_set() -> None:
    """Each step has its own map, so the same pod is in each, in whatever order."""
    members = list(rows(10))
    body = envelope("[" + ",".join("{" + ",".join(members[::step]) + "}" for step in (1, -1, 3, 1)) + "]")
    for size in (100, 1200, len(body)):
        assert parsed(cut(body, size)) == plain(body)


def test_a_record_never_holds_a_line_break() -> None:
    """A pretty-printed body gives records on one line each, with the numbers as they were written."""
    body = json.dumps({"code": 200, "data": [{"a": {"name": "x\ny", "labels": {"b": [1.5, None]}}}]}, indent=2).encode()
    body = body.replace(b"1.5", b"1.500000")
    once = [b'{"name":"x\\ny","labels":{"b":[1.500000,null]}}']
    assert cut(body) == cut(body.replace(b"\n", b"\r")) == cut(body, 3) == once
    assert cut(envelope('[{"a":{"name":"a"},\n"b":{"name":\n"b"},"c":{"name":"c"}}]'), 9)[1] == b'{"name":"b"}'


@pytest.mark.parametrize("first", ["name", "type", "somethingNew"])
def test_records_are_read_while_the_body_arrives(first: str) -> None:
    """All but the last record that has arrived are returned, whatever records begin with and wherever chunks end."""
    members = list(rows(30, first))
    body = envelope("{" + ",".join(members) + "}")
    arrived = 0

    def arriving() -> Iterator[bytes]:
        nonlocal arrived
        for arrived in range(len(body)):
            yield body[arrived : arrived + 1]

    for number, _ in enumerate(records(arriving())):
        assert arrived <= body.index(members[number].encode()) + len(members[number]) + 40 or number == 29


def shape_one_set(count: int) -> Iterator[bytes]:
    """A body with one large set, a chunk a record."""
    yield b'{"code":200,"data":[{'
    yield from (f"{',' if n else ''}{row}".encode() for n, row in enumerate(rows(count, size=2000)))
    yield b"}]}"


def shape_many_sets(count: int) -> Iterator[bytes]:
    """A body with many sets of one record each, and empty ones."""
    yield b'{"code":200,"status":"success","data":[{},null'
    yield from (f",{{{row}}},{{}}".encode() for row in rows(count, size=2000))
    yield b"]}"


def shape_assets(count: int) -> Iterator[bytes]:
    """An /assets body."""
    yield b'{"code":200,"data":{'
    yield from (f"{',' if n else ''}{row}".encode() for n, row in enumerate(rows(count, first="type", size=2000)))
    yield b"}}"


@pytest.mark.parametrize("shape", [shape_one_set, shape_many_sets, shape_assets])
def test_memory_does_not_grow_with_the_body(shape: Callable[[int], Iterator[bytes]]) -> None:
    """Eight megabytes of records pass through a few kilobytes."""
    tracemalloc.start()
    try:
        found = sum(1 for _ in records(shape(4000)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == 4000
    assert peak < 100_000


@pytest.mark.parametrize(
    "wrong", [b'{"name":NaN}', b'{"name":"\xff"}', b'{"name":"a"},"x":null', b'{"name":"a"}},7,{"y":{"name":"y"}']
)
def test_a_broken_body_is_not_collected(wrong: bytes) -> None:
    """What is wrong in the middle of a body ends the reading there."""
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield b'{"code":200,"data":[{"a":'
        yield wrong
        for taken in range(10_000):
            yield f',"k{taken}":{{"name":"k"}}'.encode()

    with pytest.raises(ContentError):
        list(records(endless()))
    assert taken < 3


def test_an_error_while_reading_passes_through() -> None:
    """What reading the chunks raises is passed to the caller."""

    def breaking() -> Iterator[bytes]:
        yield b'{"code":200,'
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        list(records(breaking()))


HOSTILE = st.sampled_from(
    [
        '":{"name":"',
        '"},"k":{"name":"',
        '}},{"k":{"type":"',
        "\\",
        '\\"',
        '"',
        ',{"',
        "\n",
        "\u2028",
        "é",
        "日本",
        "\U0001f600",
        "}]}",
        "name",
    ]
)
texts = (
    st.lists(HOSTILE | st.text(max_size=4), max_size=4)
    .map("".join)
    .filter(lambda text: text.isascii() or text.encode("utf-8", "ignore").decode() == text)
)
fields = st.sampled_from(["name", "type", "labels", "cpuCost"]) | texts
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=3),
    max_leaves=6,
)
found_records = st.builds(
    lambda head, rest: head | rest,
    st.dictionaries(st.sampled_from(["name", "type"]), values, max_size=1),
    st.dictionaries(fields, values, max_size=4),
)
sets = st.dictionaries(texts, found_records, max_size=5)
data = st.lists(st.none() | sets, max_size=4) | sets | st.none()
envelopes = st.builds(
    lambda data, status, extra: {"code": 200} | status | {"data": data} | extra,
    data,
    st.sampled_from([{}, {"status": "success"}, {"status": ""}]),
    st.sampled_from([{}, {"message": "", "warning": 'a":{"name":"'}]),
)
layouts = st.sampled_from(
    [{"separators": (",", ":")}, {"separators": (",", ":"), "ensure_ascii": False}, {}, {"indent": 1}]
)
bodies = st.builds(lambda response, layout: json.dumps(response, **layout).encode(), envelopes, layouts)
sizes = st.integers(1, 80)


@repeatable
@given(bodies, sizes)
def test_hostile_responses_are_split_as_by_json_loads(body: bytes, size: int) -> None:
    """Whatever names, labels and layouts hold, and wherever chunks end, the records are those json.loads finds."""
    found = cut(body, size)
    assert parsed(found) == plain(body)
    assert not any(b"\n" in record for record in found)


@repeatable
@given(
    bodies,
    sizes,
    st.integers(0),
    st.integers(0, 6),
    st.sampled_from([b"", b'"', b"\\", b"{", b"}", b",", b"\xe9", b"null", b'}},{"', b"0"]),
)
def test_damaged_responses_are_read_as_by_json_loads_or_refused(
    body: bytes, size: int, at: int, gone: int, new: bytes
) -> None:
    """After any damage, either json.loads finds the same records or the answer is refused; never anything between."""
    at %= len(body)
    body = body[:at] + new + body[at + gone :]
    try:
        expected = plain(body)
    except ValueError:
        with pytest.raises(OpenCostKustoError):
            cut(body, size)
    else:
        assert parsed(cut(body, size)) == expected


@repeatable
@given(bodies, sizes, st.data())
def test_a_hostile_response_that_breaks_off_is_refused(body: bytes, size: int, where: st.DataObject) -> None:
    """No beginning of a response passes for a response."""
    with pytest.raises(ContentError):
        cut(body[: where.draw(st.integers(0, len(body) - 1))], size)
