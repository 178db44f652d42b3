"""Records that are decoded together are those that are decoded alone, and what is refused alone is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, permutations

import msgspec
import pytest

from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.record import RecordDecoder
from opencost_kusto.extract.responses import records
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.decoder import Decoded, text_of
from opencost_kusto.schema.tables import ALLOCATION, ASSETS
from tests.support.recordings import VERSIONS, names, recording

RECORDED = [
    (table, version, name)
    for table in (ALLOCATION, ASSETS)
    for version in VERSIONS
    for name in names(version)
    if name in (f"{table.dataset}_hour.json", "allocation_day_step1h.json")
]
MEMBERS = 40


def read(body: bytes, table: Table, *, together: bool, size: int = 1 << 14) -> tuple[list[bytes], str, int]:
    """The records of a body, what refuses it, and how many were decoded together."""
    decoder, found, error, number = RecordDecoder(table), list[bytes](), "", 0
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    try:
        for record in records(chunks, table.records_at or "", decoder.decode_sets if together else None):
            if isinstance(record, Decoded):
                number += 1
            else:
                decoder.decode(record)
            found.append(text_of(record))
    except OpenCostKustoError as raised:
        error = str(raised)
    return found, error, number


@pytest.mark.parametrize(("table", "version", "name"), RECORDED)
def test_recorded_records_are_the_same(table: Table, version: str, name: str) -> None:
    """Every record of a recorded response is that which one by one gives."""
    body = recording(version, name)
    assert read(body, table, together=True)[:2] == read(body, table, together=False)[:2]


def members(count: int = MEMBERS, prefix: str = "pod") -> Iterator[bytes]:
    """Members of a map, each a recorded record under another name."""
    recorded = list(records([recording("1.112", "allocation_hour.json")]))
    for number in range(count):
        text = recorded[-1 - number % 5]
        name = f"{prefix}-{number:04}"
        record = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        yield b'"%b":%b' % (name.encode(), msgspec.json.encode({**record, "name": name}))


def body_of(*sets: list[bytes], listed: bool = True) -> bytes:
    """A response of some sets of members."""
    data = b",".join(b"{%b}" % b",".join(each) for each in sets)
    return b'{"code":200,"data":%b}' % (b"[%b]" % data if listed else data)


def test_most_records_are_decoded_together() -> None:
    """Once the order of their keys is seen, those of all parts but the last are: in a list, in one map, in sets."""
    sets = [list(members(200)), list(members(200, "other"))]
    for body in (body_of(sets[0]), body_of(sets[0], listed=False), body_of(*sets)):
        found, error, together = read(body, ALLOCATION, together=True)
        assert (found, error) == read(body, ALLOCATION, together=False)[:2]
        assert not error
        assert len(found) >= 200
        assert together > 0.7 * len(found)


def test_a_key_may_come_again_in_another_set() -> None:
    """Where a chunk ends with the first key of a further set, the keys of the set before do not count in it."""
    body = body_of(*[list(members())] * 3)
    last = body.rindex(b'"pod-0000"')
    found, error, together = read(body, ALLOCATION, together=True, size=(last + 60) // 2)
    assert not error
    assert len(found) == 3 * MEMBERS
    assert together


ODD = [
    b'"x":{"name":"x","name":"y","totalCost":1}',
    b'"x":{"name":"x","properties":{"labels":{"a":"1","a":"2"}}}',
    b'"x":{"name":"x","properties":{"namespace":"n","namespace":"m"}}',
    b'"x":{"name":"x","minutes":60.000,"totalCost":1e2}',
    b'"x":{"name":"x","totalCost":"much"}',
    b'"x":{"name":"x","something":{"new":[1,2]}}',
    b'"x":{"name":"x","properties":null,"gpuAllocation":null}',
    b'"x":{"name":"\\u00e9\\/","properties":{"labels":{"a":"\\":{\\"name\\":"}}}',
    '"é":{"name":"é","properties":{"labels":{"ä":"日本"}}}'.encode(),
    b'"x":{"name":"x","properties":{"labels":{"a":"\xe9"}}}',
    b'"x":{"name":"\xe9"}',
    b'"x":{"name":"x","properties":{"labels":{"a":\n"b"}}}',
    b'"x":{"name":"x","totalCost":18014398509481985}',
    b'"x":{"name":"x","totalCost":1e999}',
    b'"x":null',
    b'"x":3',
    b'"x":{}',
    b'"\\u0078":{"name":"x"}',
    b'"pod-0003":{"name":"pod-0003"}',
    b'"x":{"name":"x","properties":{"labels":' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"}}",
    b'"x":{"name":"x",,}',
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("place", [1, MEMBERS // 2, MEMBERS - 1])
def test_an_odd_record_ends_as_it_does_alone(odd: bytes, place: int) -> None:
    """What is refused alone is refused among others, with the same sentence; all else is the same record."""
    around = list(members())
    body = body_of([*around[:place], odd, *around[place:]])
    found, error, _ = read(body, ALLOCATION, together=True)
    alone, message, _ = read(body, ALLOCATION, together=False)
    assert error == message
    # A refusal may come before the records of its part of the body.
    assert found == (alone[: len(found)] if error else alone)


@pytest.mark.parametrize("second", [[], [b'"a":{"name":"a"}', b'"a":{"name":"a"}']], ids=["none", "a key twice"])
def test_a_set_of_its_own_kind_ends_as_it_does_alone(second: list[bytes]) -> None:
    """A set without records, and one with a key twice, between others."""
    body = body_of(list(members()), second, list(members(MEMBERS, "later")))
    found, error, _ = read(body, ALLOCATION, together=True)
    alone, message, _ = read(body, ALLOCATION, together=False)
    assert error == message
    assert found == (alone[: len(found)] if error else alone)


def test_records_that_never_encode_to_their_text_are_read_one_by_one() -> None:
    """Where many in a row do not, no more time is lost on trying."""
    body = body_of([member.replace(b'"minutes":60', b'"minutes":60.000') for member in members(600)])
    found, error, together = read(body, ALLOCATION, together=True, size=4096)
    assert not error
    assert len(found) == 600
    assert together == 0
    decoder = RecordDecoder(ALLOCATION)
    tried = [decoder.decode_sets(b'[{"a":{"minutes":60.000}}]') for _ in range(100)]
    assert tried == [None] * 100
    assert decoder.decode_sets(b'[{"a":{"name":"a"}}]') is None


def of_order(names: Iterable[str]) -> tuple[bytes, bytes]:
    """A record whose numbers stand in an order, and a list of one set of it."""
    record = msgspec.json.encode(dict.fromkeys(names, 1.5))
    return record, b'[{"a":%b}]' % record


def test_the_next_response_begins_with_the_order_of_the_last() -> None:
    """Of the same version of OpenCost; another version has an order of its own."""
    record, sets = of_order(["totalCost", "minutes", "cpuCost"])
    decoder = RecordDecoder(ALLOCATION, "this")
    assert decoder.decode_sets(sets) is None
    decoder.decode(record)
    for version, known in (("this", True), ("another", False)):
        assert (RecordDecoder(ALLOCATION, version).decode_sets(sets) is not None) == known


def test_the_order_of_too_many_is_not_kept() -> None:
    """Further records of the response are read without one, and the next begins with the declared order."""
    *some, (last, sets) = map(
        of_order, islice(permutations(["cpuCost", "ramCost", "gpuCost", "pvCost", "minutes"]), 60)
    )
    decoder = RecordDecoder(ALLOCATION, "of many orders")
    for record, _ in some:
        decoder.decode(record)
    decoder.decode(last)
    assert decoder.decode_sets(sets) is None
    declared = RecordDecoder(ALLOCATION, "of many orders")
    assert declared.decode_sets(of_order(["cpuCost", "ramCost", "minutes"])[1]) is not None
