"""Records are found where a table declares them, at any depth of a response."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opencost_kusto.errors import ContentError
from opencost_kusto.extract.responses import records

AT = "sets[].costs"
A, B, C = ({"name": name, "cost": {"cost": 1.5}} for name in "abc")


def cut(data: Any, at: str = AT, size: int = 1 << 16) -> list[Any]:
    """The records of a response, in chunks of some size."""
    body = data if isinstance(data, bytes) else json.dumps({"code": 200, "data": data}).encode()
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    return [json.loads(record) for record in records(chunks, at)]


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
@pytest.mark.parametrize(
    ("at", "data", "found"),
    [
        ("[]", [{"a": A}, {"b": B, "c": C}], [A, B, C]),
        ("", {"a": A, "b": B}, [A, B]),
        # A list of maps and one map are read alike, since OpenCost has changed from one to the other before.
        ("[]", {"a": A}, [A]),
        (AT, {"sets": [{"costs": {"a": A, "b": B}, "window": {}}, {"costs": {"a": C}}], "window": {}}, [A, B, C]),
        (AT, {"window": {"start": {"x": 1}}, "sets": [{"costs": {"a": A}}]}, [A]),
        (AT, {"sets": [{"costs": {}}, {"costs": None}, {"costs": {"a": A}}, None]}, [A]),
        (AT, {"sets": []}, []),
        (AT, {"sets": None}, []),
        (AT, None, []),
        ("x.y", {"x": {"y": {"a": A}}}, [A]),
        ("[].x[][]", [{"x": [[{"a": A}], [{"b": B}, {}]]}], [A, B]),
    ],
)
def test_records_are_found_where_they_are_declared(at: str, data: Any, found: list[Any], size: int) -> None:
    """Keys and lists lead to the maps of records; where a list, a map or all of it is null, there are none."""
    assert cut(data, at, size) == found


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"window": {}}, "no 'sets'"),
        ({"sets": [{"window": {}}]}, "no 'costs'"),
        ({"sets": {"costs": {"a": A}}}, "not the JSON"),
        ({"sets": [[]]}, "not the JSON"),
        ({"sets": [{"costs": [A]}]}, "not the JSON"),
        ({"sets": [{"costs": {"a": 3}}]}, "not an object: 'a'"),
        ([], "not the JSON"),
        (b'{"code":200,"data":{"sets":[],"sets":[]}}', "a key twice"),
        (b'{"code":200,"data":{"sets":[{"costs":{"a":{},"a":{}}}]}}', "two records under one key"),
        (b'{"code":200,"data":{"sets":[{"costs":{"a":{"name":"\xe9"}}}]}}', "UTF-8"),
        (b'{"code":200,"data":{"sets":[{"costs":{"a":{}', "broke off"),
        (b'{"code":200}', "no `data`"),
    ],
)
def test_a_response_of_another_shape_is_refused(data: Any, says: str) -> None:
    """A response without the declared place, or with anything else there, ends in one sentence that says why."""
    with pytest.raises(ContentError, match=says):
        cut(data)


def test_the_same_key_may_be_in_another_set() -> None:
    """Each map of records is a set of its own."""
    assert cut({"sets": [{"costs": {"a": A}}, {"costs": {"a": B}}]}) == [A, B]
