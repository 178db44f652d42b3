"""A declaration compiles to a decoder: any depth, nulls on the way, and keys that no column reads."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import pytest

from opencost_kusto.batch import BatchContext
from opencost_kusto.schema.columns import Column, Derived, FromContext, Json, Key, Table, Type, Unmapped
from opencost_kusto.schema.decoder import compile_decoder
from opencost_kusto.schema.tables import TABLES


def same(_: BatchContext, *values: Json) -> Json:
    """A derivation that the decoder never calls."""
    return values


def table(*keys: tuple[str, Type], key: str = "a", cost: str | None = None, **more: Any) -> Table:
    """A table whose columns copy some keys, and whose last column is derived from all that are no objects."""
    copied = [Column(f"C{number}", type_, path, "Copied.") for number, (path, type_) in enumerate(keys)]
    names = {column.source: column.name for column in copied}
    scalars = tuple(Key(path, type_) for path, type_ in keys if type_ != "dynamic")
    columns = (*copied, Column("All", "dynamic", Derived(same, scalars), "Derived."), *more.pop("further", ()))
    return Table("T", "t", "A table.", columns, (names[key],), cost=names[cost] if cost else None, **more)


class Decoded(NamedTuple):
    """What a decoder finds in a record."""

    derived: tuple[Json, ...]
    lists: tuple[Json, ...]
    key: tuple[Json, ...]
    cost: Json
    unknown: dict[str, Json]


def decode(declared: Table, record: Json, like: Json = None) -> Decoded:
    """What the decoder of a table finds in a record; it is compiled for that record, or for one `like` it."""
    text = msgspec.json.encode(record)
    decoder = compile_decoder(declared, text if like is None else msgspec.json.encode(like))
    values, unknown = decoder.decode(text)
    cost = values[-1] if declared.cost else None
    return Decoded(values[decoder.derived], values[decoder.lists], values[decoder.key], cost, unknown)


DEEP = table(("a", "string"), ("b.c.d.e", "real"), ("b.c.f", "string"), ("b.g", "bool"), cost="b.c.d.e")


@pytest.mark.parametrize(
    ("record", "values"),
    [
        ({"a": "x", "b": {"c": {"d": {"e": 1.5}, "f": "y"}, "g": True}}, ("x", 1.5, "y", True)),
        ({"b": {"g": False, "c": {"f": "y", "d": {"e": 2}}}, "a": "x"}, ("x", 2.0, "y", False)),
        ({"a": "x", "b": {"c": {"d": {"e": None}}}}, ("x", None, None, None)),
        ({"a": "x", "b": {"c": {"d": {}}}}, ("x", None, None, None)),
        ({"a": "x", "b": {"c": {"d": None, "f": "y"}}}, ("x", None, "y", None)),
        ({"a": "x", "b": {"c": None, "g": True}}, ("x", None, None, True)),
        ({"a": "x", "b": None}, ("x", None, None, None)),
        ({"a": None}, (None, None, None, None)),
        ({}, (None, None, None, None)),
    ],
)
def test_keys_are_found_at_any_depth(record: Json, values: tuple[Json, ...]) -> None:
    """A value is found wherever its path leads; where an object on the way is null, empty or missing, it is null."""
    found = decode(DEEP, record)
    assert (found.derived, found.key, found.cost) == (values, (values[0],), values[1])
    assert found.unknown == {}


def test_one_null_does_not_show_in_the_next_record() -> None:
    """The replacement of a null object is never changed, whatever follows."""
    records = [{"b": None}, {"b": {"c": {"d": {"e": 1}}}}, {"b": {"c": None}}, {"b": {"c": {"d": {"e": 2}}}}, {}]
    assert [decode(DEEP, record, like=records[0]).cost for record in records] == [None, 1.0, None, 2.0, None]


@pytest.mark.parametrize(
    ("record", "unknown"),
    [
        ({"a": "x", "z": [1, {"y": None}]}, {"z": [1, {"y": None}]}),
        ({"b": {"z": 1, "c": {"d": {"e": 1}}}}, {"b.z": 1}),
        ({"b": {"c": {"z": {"e": 1}, "d": {"e": 1, "z": None}}}}, {"b.c.z": {"e": 1}, "b.c.d.z": None}),
        ({"z": 1, "b": None}, {"z": 1}),
        ({"z": 1, "b": {"c": None, "z": 2}}, {"z": 1, "b.z": 2}),
    ],
)
def test_keys_that_no_column_reads_are_found_at_any_depth(record: Json, unknown: Json) -> None:
    """An unknown key is set apart by its dotted path and with its value; the others decode as ever."""
    found = decode(DEEP, record)
    assert found.unknown == unknown
    known = msgspec.json.decode(msgspec.json.encode(record))
    assert found.derived[0] == known.get("a")


def test_an_object_column_may_hold_anything() -> None:
    """Where a column keeps an object, nothing in it is lost, so no key in it is unknown, at any depth."""
    kept = table(("a", "string"), ("b", "dynamic"), ("b.c.d", "real"))
    found = decode(kept, {"a": "x", "b": {"c": {"d": 1, "z": 2}, "y": {"x": 3}}})
    assert (found.derived, found.unknown) == (("x", 1.0), {})


@pytest.mark.parametrize("ignored", ["z", "b.z", "b.c.d.z"])
def test_ignored_keys_are_not_unknown(ignored: str) -> None:
    """A key that the table leaves out on purpose is left out wherever it stands."""
    declared = table(("a", "string"), ("b.c.d.e", "real"), ignored={ignored: "left out on purpose"})
    record: Json = {"b": {"c": {"d": {"e": 1}}}}
    inner = record
    for name in ignored.split(".")[:-1]:
        inner = inner[name]
    inner["z"] = {"anything": [1]}
    assert decode(declared, record).unknown == {}
    inner["y"] = 1
    assert decode(declared, record).unknown == {ignored[:-1] + "y": 1}


@pytest.mark.parametrize(
    "record",
    [
        {"a": 1},
        {"b": [1]},
        {"b": {"c": "text"}},
        {"b": {"c": {"d": 3}}},
        {"b": {"c": {"d": {"e": "much"}}}},
        {"z": 1, "b": {"c": {"d": {"e": "much"}}}},
        {"z": 1, "b": {"c": [{}]}},
    ],
)
def test_a_value_of_another_type_is_refused(record: Json) -> None:
    """A value that is not what the table declares is an error, also beside keys that no column reads."""
    with pytest.raises(msgspec.ValidationError):
        decode(DEEP, record)


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b'"a"', b'{"a":', b'{"a":NaN}', b'{"a":"\xff"}'])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    """Text that is not one JSON object is an error, as the first record and as a later one."""
    with pytest.raises(ValueError, match=r".+"):
        compile_decoder(DEEP, text).decode(text)
    with pytest.raises(ValueError, match=r".+"):
        compile_decoder(DEEP, b"{}").decode(text)


def test_lists_without_an_order_are_given() -> None:
    """Lists of names whose order changes are read beside the values of derived columns."""
    declared = table(("a", "string"), ("b.c.names", "dynamic"), unordered=("b.c.names",))
    assert decode(declared, {"b": {"c": {"names": ["y", "x"]}}}).lists == (["y", "x"],)
    assert decode(declared, {"b": {"c": None}}).lists == (None,)
    with pytest.raises(msgspec.ValidationError):
        decode(declared, {"b": {"c": {"names": [1]}}})


@pytest.mark.parametrize("record", [{"b": {"c": {"d": 1}, "e": 2}}, {"b": None}, {}])
def test_an_object_may_be_a_key(record: Json) -> None:
    """A key that is an object is its complete value, also where other columns read keys in it."""
    declared = table(("a", "string"), ("b", "dynamic"), ("b.c.d", "real"), key="b")
    assert decode(declared, record).key == (record.get("b"),)


@pytest.mark.parametrize(
    "keys", [(("a", "string"), ("a.b", "real")), (("a", "string"), ("c.d", "long"), ("c.d.e", "real"))]
)
def test_a_value_that_is_declared_as_an_object_too_is_refused(keys: tuple[tuple[str, Type], ...]) -> None:
    """A declaration that reads a key as a number or text and looks inside it is a mistake that compiling finds."""
    with pytest.raises(ValueError, match="declared as a value and as an object"):
        decode(table(*keys), {})


@pytest.mark.parametrize("order", [["a", "b"], ["b", "a"], ["a"], []])
def test_the_order_of_the_first_record_decides_nothing(order: list[str]) -> None:
    """A decoder that was compiled for one order of keys decodes any other to the same values."""
    record = {"b": {"g": True, "c": {"d": {"e": 1}}}, "a": "x"}
    assert decode(DEEP, record, like=dict.fromkeys(order)).derived == ("x", 1.0, None, True)


def test_every_table_compiles_and_decodes_an_empty_record() -> None:
    """Every declared table has a decoder, to which an empty record is one of nulls."""
    for declared in TABLES:
        found = decode(declared, {})
        assert set(found.derived) | set(found.key) | {found.cost} == {None}


def test_context_and_unmapped_columns_read_nothing() -> None:
    """Columns that are not read from the record make no key a read one."""
    further = (
        Column("Run", "string", FromContext("run.id"), "The run."),
        Column("Rest", "dynamic", Unmapped(), "Rest."),
    )
    assert decode(table(("a", "string"), further=further), {"run": {"id": 1}}).unknown == {"run": {"id": 1}}
