"""A record is of the window that was requested, lies in it, and repeats nothing, whatever its form."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencost_kusto.batch import Batch
from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.extract.checks import RecordChecks
from opencost_kusto.extract.fingerprint import of_metrics
from opencost_kusto.extract.responses import records
from opencost_kusto.schema.tables import ALLOCATION, ASSETS
from opencost_kusto.window import Window
from tests.support.recordings import ALL_VERSIONS, VERSIONS, names, recording

HOUR = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
repeatable = settings(derandomize=True, max_examples=300, deadline=None)


def record(**changed: Any) -> dict[str, Any]:
    """A record of the hour, with other fields."""
    window = {"start": "2026-11-23T10:00:00Z", "end": "2026-11-23T11:00:00Z"}
    return {"name": "a", "properties": {"labels": {"app": "x"}}, "window": window, **window, "cpuCost": 1.5} | changed


def compact(value: object) -> bytes:
    """JSON as Go writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def check(*found: bytes | dict[str, Any], window: Window = HOUR) -> RecordChecks:
    """What is counted of some records."""
    checks = RecordChecks(Batch(ALLOCATION, "c", window))
    for one in found:
        checks(one if isinstance(one, bytes) else compact(one))
    return checks


def code(*found: bytes | dict[str, Any]) -> ReasonCode:
    """Why the last of some records is refused, which all of them before are not."""
    checks = check(*found[:-1])
    with pytest.raises(ContentError) as refused:
        checks(found[-1] if isinstance(found[-1], bytes) else compact(found[-1]))
    assert len(str(refused.value)) < 400
    assert str(refused.value).isprintable()
    return refused.value.code


@pytest.mark.parametrize("version", VERSIONS)
def test_every_recording_is_of_its_window(version: str) -> None:
    """Of all recorded responses, each record is of the window that all the others of its set are of, and within it."""
    for name in names(version):
        if name.startswith(("allocation_hour.", "allocation_hour_agg", "allocation_hour_idle", "assets_hour.")):
            found = list(records([recording(version, name)]))
            checks = check(*found)
            assert (checks.records, checks.undated) == (len(found), 0)


OTHERS = [
    ("2026-11-23T09:00:00Z", "2026-11-23T10:00:00Z"),
    ("2026-11-23T10:05:00Z", "2026-11-23T11:00:00Z"),
    ("2026-11-23T10:00:00Z", "2026-11-24T11:00:00Z"),
    ("2026-11-23T10:00:01Z", "2026-11-23T11:00:00Z"),
    ("2026-11-23T10:00:00+01:00", "2026-11-23T11:00:00+01:00"),
    ("null", "2026-11-23T12:00:00Z"),
]


@pytest.mark.parametrize(("start", "end"), OTHERS)
def test_a_record_of_another_window_is_refused(start: str, end: str) -> None:
    """The response to another request is no response, whether its first record says so or a later one."""
    other = record(window={"start": start, "end": end})
    assert code(other) is ReasonCode.OTHER_WINDOW
    assert code(record(), record(), other) is ReasonCode.OTHER_WINDOW
    with pytest.raises(ContentError, match=r"instead of 2026-11-23T10:00:00Z,2026-11-23T11:00:00Z, in 'a'"):
        check(other)


@pytest.mark.parametrize(
    "changed",
    [
        {"start": "2026-11-23T09:59:00Z"},
        {"end": "2026-11-23T11:01:00Z"},
        {"end": "12026-11-23T10:30:00Z"},
        {"start": "2026-11-24T10:00:00Z", "end": "2026-11-24T11:00:00Z"},
    ],
)
def test_a_record_that_reaches_out_of_its_window_is_refused(changed: dict[str, str]) -> None:
    """What a record says of its own time lies in the window."""
    with pytest.raises(ContentError):
        check(record(), record(**changed))


@pytest.mark.parametrize(
    "window",
    [
        "null",
        None,
        {"start": "null", "end": "null"},
        {"start": None, "end": None},
        {},
        {"start": "2026-11-23T10:00:00Z"},
    ],
)
def test_a_record_without_a_window_passes_and_is_counted(window: object) -> None:
    """An unset window, as OpenCost 1.112 writes it, says nothing and is no contradiction."""
    assert check(record(), record(window=window), record()).undated == 1
    without = record()
    del without["window"]
    assert check(without).undated == 1


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-23T11:00:00+01:00", "2026-11-23T12:00:00+01:00"),
        ("2026-11-23T10:00:00.5Z", "2026-11-23T11:00:00.999Z"),
        ("2026-11-23T10:00:00+00:00", "2026-11-23T11:00:00+00:00"),
    ],
)
def test_a_window_may_be_spelled_otherwise(start: str, end: str) -> None:
    """A server with UTC_OFFSET writes the same window in its own zone; seconds are what counts."""
    found = record(window={"start": start, "end": end})
    assert check(found, found, record()).undated == 0


@pytest.mark.parametrize("window", ["x", 7, [], {"start": "soon", "end": "later"}, {"start": 7, "end": 8}])
def test_a_window_that_is_none_is_refused(window: object) -> None:
    """What cannot be read as a window is not OpenCost's."""
    with pytest.raises(ContentError):
        check(record(window=window))


LABELS = (
    b'{"name":"a","properties":{"labels":{"a":"1","b":"2",%b}},'
    b'"window":{"start":"2026-11-23T10:00:00Z","end":"2026-11-23T11:00:00Z"},'
    b'"start":"2026-11-23T10:00:00Z","end":"2026-11-23T11:00:00Z","pvs":{"p1":{"cost":1},%b},%b}'
)


@pytest.mark.parametrize(
    ("label", "volume", "field"),
    [
        (b'"a":"3"', b'"p2":{}', b'"x":1'),
        (b'"c":"3"', b'"p1":{}', b'"x":1'),
        (b'"c":"3"', b'"p2":{"cost":1,"cost":1}', b'"x":1'),
        (b'"c":"3"', b'"p2":{}', b'"x":1,"x":2'),
        (b'"c":"3"', b'"p2":{}', b'"name":"b"'),
        (b'"c":"3"', b'"p2":{}', b'"start":"2026-11-23T10:00:00Z"'),
        (b'"c":"3"', b'"p2":{}', b'"window":null'),
        (b'"c":"3"', b'"p2":{}', b'"x":[{"deep":{"y":1,"y":1}}]'),
        (b'"\\u0061":"3"', b'"p2":{}', b'"x":1'),
        (b'"c":":"', b'"p2":{}', b'"\\u0073tart":1'),
        (b'"c":"3","c":":"', b'"p2":{}', b'"x":1'),
        # A blank hides one key from the count, so that another may come twice.
        (b'"c" :"3"', b'"p2":{}', b'"x":1,"x":2'),
        (b'"c"\t:"3"', b'"p2":{}', b'"x":1,"x":2'),
    ],
)
def test_a_key_twice_is_refused_at_any_depth(label: bytes, volume: bytes, field: bytes) -> None:
    """In a record that resembles the one before but for a duplicate key, however it is spelled."""
    good = LABELS % (b'"c":"3"', b'"p2":{}', b'"x":1')
    assert check(good, good).records == 2
    bad = LABELS % (label, volume, field)
    assert code(good, bad) is ReasonCode.DUPLICATE_KEY
    assert code(bad) is ReasonCode.DUPLICATE_KEY


NULLS = (
    b'{"name":"a","properties":%b,"window":{"start":"2026-11-23T10:00:00Z","end":"2026-11-23T11:00:00Z"},'
    b'"pvs":{%b},"gpuAllocation":%b}'
)


@pytest.mark.parametrize("objects", [(b"null", b"null"), (b'{"labels":{"a":"1"}}', b"null"), (b"{}", b'{"x":{}}')])
def test_a_key_twice_is_refused_beside_objects_that_are_null(objects: tuple[bytes, bytes]) -> None:
    """What is left undecoded is read where other objects of the record are null, or have keys that no column reads."""
    properties, gpu = objects
    before = [NULLS % (b'{"labels":{}}', b'"p":{}', b'{"isGPUShared":null,"x":{}}')] * 2
    assert check(*before, NULLS % (properties, b'"p":{}', gpu)).records == 3
    assert code(*before, NULLS % (properties, b'"p":{},"p":{}', gpu)) is ReasonCode.DUPLICATE_KEY
    assert code(*before, NULLS % (b"null", b'"p":{}', b'{"x":{"y":1,"y":1}}')) is ReasonCode.DUPLICATE_KEY


def test_records_of_ever_other_orders_are_read() -> None:
    """Keys may be in another order in every record; a duplicate key is found nevertheless."""
    names = [f"k{number}" for number in range(6)]
    orders = list(itertools.permutations(names))[:60]
    found = [record(gpuAllocation=dict.fromkeys(order, 1.5)) for order in orders]
    assert check(*found).records == 60
    assert code(*found, compact(found[0])[:-2] + b',"k0":1}}') is ReasonCode.DUPLICATE_KEY


@pytest.mark.parametrize("number", [b"1e400", b"-1E+999", b"1" + b"0" * 310 + b".5"])
@pytest.mark.parametrize("where", [b'"labels":{"a":%b}', b'"raw":{"labels":{"a":%b}}', b'"pvs":{"p":%b}'])
def test_a_number_that_none_can_hold_is_refused(number: bytes, where: bytes) -> None:
    """A number beyond every float, also in what is passed on unread, is no cost and no column's value."""
    good, bad = (compact(record())[:-1] + b"," + where % value + b"}" for value in (b"1e4", number))
    ahead = (good.replace(b'"app":"x"', b'"app":%b' % number), bad)
    for before, bad in itertools.product(([], [good], [good, good]), ahead):
        checks = check(*before)
        with pytest.raises(ContentError):
            checks(bad)


def test_a_name_is_quoted_in_short() -> None:
    """Whatever a record is called, the reason is one line."""
    assert code(record(name="x" * 80_000, window={"start": "2026-11-23T09:00:00Z"})) is ReasonCode.OTHER_WINDOW


def remarked(*found: dict[str, Any], window: Window = HOUR) -> list[ReasonCode | None]:
    """The reason codes of what is remarkable about some records."""
    return [code for _, code in check(*found, window=window).remarks()]


def test_a_window_whose_beginning_is_missing_is_remarked() -> None:
    """When every workload begins five minutes or more after the window, that is said; a pod that starts is not."""
    late = [record(name=at, start=f"2026-11-23T{at}Z") for at in ("10:05:00", "10:30:00")]
    standing = [record(name="a/__unmounted__"), record(name="__idle__")]
    assert remarked(*late, *standing) == [ReasonCode.LATE_START]
    assert remarked(*late, record(start="2026-11-23T10:04:59Z")) == []
    assert remarked(node("n", 0.3, start="2026-11-23T10:30:00Z")) == []


def test_a_window_without_any_workload_is_remarked() -> None:
    """Volumes that no pod mounts, and idle, are what OpenCost sends of a window it has not sampled."""
    assert remarked(record(name="__unmounted__"), record(name="__idle__")) == [ReasonCode.IMPLAUSIBLE_COST]
    assert remarked(record(name="__unmounted__"), record()) == []
    assert remarked() == []


def node(name: str, cost: float, minutes: float | None = 60, **more: Any) -> dict[str, Any]:
    """A node as an asset, by its name and its id at the cloud provider."""
    properties = {"name": name, "providerID": f"azure:///{name}"}
    return record(name=None, type="Node", properties=properties, totalCost=cost, minutes=minutes, **more)


@pytest.mark.parametrize(
    ("nodes", "odd"),
    [
        ([node("a", 0.3), node("b", 0.6)], False),
        ([node("a", 0.3), node("b", 0.5)], True),
        ([node("a", 0.3), node("b", 0.7)], True),
        ([node("a", 0.15, 30), node("b", 0.6)], False),
        ([node("a", 0.3, 30)], True),
        ([node("unknown", 9.0)], False),
        ([node("a", 0.3), node("free", 9.0)], False),
        ([node("a", 0.0), node("b", 0.0)], True),
        ([node("unknown", 0.0)], True),
        ([node("a", 0.3, None)], False),
        ([record(name=None, type="Disk", totalCost=0.0)], False),
    ],
)
def test_nodes_that_are_off_their_price_are_remarked(nodes: list[dict[str, Any]], *, odd: bool) -> None:
    """Nodes cost their price and running time, give or take a tenth, and not nothing."""
    checks = RecordChecks(Batch(ASSETS, "prod", HOUR), {"azure:///a": 0.3, "b": 0.6, "free": 0.0})
    for one in nodes:
        checks(compact(one))
    assert [code for _, code in checks.remarks()] == [ReasonCode.IMPLAUSIBLE_COST] * odd


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_recorded_nodes_cost_their_price(version: str) -> None:
    """The prices of the recorded scrape explain what the recorded nodes cost."""
    prices = of_metrics([recording(version, "metrics.txt")]).prices
    found = json.loads(recording(version, "assets_hour.json"))["data"].values()
    checks = RecordChecks(Batch(ASSETS, "prod", HOUR), prices)
    for one in found:
        checks(compact(one))
    assert len(prices) == sum(one["type"] == "Node" for one in found) == 4
    assert list(checks.remarks()) == []


@pytest.mark.parametrize(
    ("cores", "minutes", "hours", "good"),
    [
        (2, 60, 2, True),
        (0.00472, 50, 0.00394, True),
        (2, 60, 2.01, True),
        (2, 60, 1, False),
        (2, 30, 2, False),
        (-2, 60, -2, True),
        (2, None, 2, True),
        (0, 60, 0.5, False),
    ],
)
def test_cores_and_minutes_make_core_hours(cores: float, minutes: float | None, hours: float, good: bool) -> None:
    """A record whose own numbers contradict each other is refused; rounding and nulls are no contradiction."""
    one = record(cpuCores=cores, minutes=minutes, cpuCoreHours=hours)
    if good:
        assert check(one).records == 1
    else:
        assert code(one) is ReasonCode.IMPLAUSIBLE_COST


keys = st.sampled_from(["a", "b", "a1", "a2", "start", "window", "name", "é", "x:y", ":", '"', "\\", "e"])
scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([1.5, 1e-9, 1e30, ":", '":', "", "é", "e1"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.lists(st.tuples(keys, inner), max_size=3).map(tuple)
)


def written(value: object, layout: str, escape: bool) -> str:
    """JSON in which tuples of pairs are objects, so that a key can be duplicated."""
    if isinstance(value, tuple):
        colon, comma = ":" + layout, "," + layout
        return (
            "{"
            + comma.join(f"{json.dumps(k, ensure_ascii=escape)}{colon}{written(v, layout, escape)}" for k, v in value)
            + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(written(one, layout, escape) for one in value) + "]"
    return json.dumps(value, ensure_ascii=escape)


def has_twice(value: object) -> bool:
    """Whether an object in a value has a key twice, going by its pairs."""
    if isinstance(value, tuple):
        return len({key for key, _ in value}) < len(value) or any(has_twice(one) for _, one in value)
    return isinstance(value, list) and any(map(has_twice, value))


@repeatable
@given(st.lists(st.tuples(values, values, values, st.sampled_from(["", " "]), st.booleans()), min_size=1, max_size=4))
def test_duplicate_keys_are_found_wherever_they_are(found: list[tuple[Any, Any, Any, str, bool]]) -> None:
    """Whatever objects records hold, before or after their window, and in whatever order."""
    checks = RecordChecks(Batch(ALLOCATION, "c", HOUR))
    window = (("start", "2026-11-23T10:00:00Z"), ("end", "2026-11-23T11:00:00Z"))
    for ahead, behind, more, layout, escape in found:
        tail = more if isinstance(more, tuple) else (("more", more),)
        fields = (("name", "a"), ("properties", ahead), ("window", window), *window, ("pvs", behind), *tail)
        text = written(fields, layout, escape).encode()
        if has_twice(fields):
            with pytest.raises(ContentError):
                checks(text)
            return
        checks(text)
