"""Ten thousand responses, mutated by structure and by byte: each is read as an oracle reads it, or refused."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from opencost_kusto.batch import Batch
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.checks import RecordChecks
from opencost_kusto.extract.responses import records
from opencost_kusto.schema.decoder import text_of
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.window import Window
from tests.extract.test_responses import Pairs, plain, refuse
from tests.support.recordings import recording

HOUR = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
CASES, BATCHES = 10_000, 10
TIMES = ["2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z", "2026-11-23T12:00:00+01:00", "2026-11-23T10:30:00Z", "null"]
Tree = Any


class Token(str):
    """A value as it is to be written, whether it is JSON or not."""


HOSTILE: list[Tree] = [
    *(None, True, False, 0, -1, 2**63, -(2**63) - 1, 1.5, -0.0, 1e-300, "", "null", "NaN", ":", '":', "\\", '"', "é"),
    *("\u2028", "\U0001f600", "a\nb", '":{"name":"', *TIMES, "x" * 3000),
    *map(
        Token, ("1e400", "-1e999", "NaN", "Infinity", "01", "1.", "1e5", "0.1e-5", '"\\ud800"', '"\\u0061"', "{}", "[]")
    ),
    *map(Token, ("[" * 2000 + "]" * 2000, "tru", "'a'", '{"a":1,"a":2}', '{"a":{"b":[{"c":1,"c":1}]}}', "9" * 400)),
]
NAMES = ["name", "type", "window", "start", "end", "totalCost", "properties", "a", "é", ":", '"', "cpuCores", "minutes"]
NUMBERS = {key.path for key in ALLOCATION.keys() if key.type in ("real", "long")}


class NoNumberError(Exception):
    """A field of NUMBERS that is no number: the checks may refuse it, and the types of the columns do."""


def tree(value: Any) -> Tree:
    """A value whose objects are lists of pairs in tuples, so that a key can be duplicated."""
    if isinstance(value, Pairs):
        return ({"pairs": [[key, tree(inner)] for key, inner in value]},)
    return [tree(one) for one in value] if isinstance(value, list) else value


def written(value: Tree, chance: random.Random) -> str:
    """A tree as JSON, in some layout."""
    if isinstance(value, Token):
        return value
    if isinstance(value, tuple):
        blank = chance.choice(["", "", "", " ", "\n"]) if chance.random() < 0.02 else ""
        pairs = (
            f"{json.dumps(key, ensure_ascii=False)}:{blank}{written(inner, chance)}" for key, inner in pairs_of(value)
        )
        return "{" + ("," + blank).join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(one, chance) for one in value) + "]"
    return json.dumps(value, ensure_ascii=chance.random() < 0.1)


def pairs_of(value: Tree) -> list[list[Any]]:
    """The pairs of an object."""
    return value[0]["pairs"]  # type: ignore[no-any-return]


def objects(value: Tree) -> list[list[list[Any]]]:
    """The pairs of all objects in a tree."""
    if isinstance(value, tuple):
        return [pairs_of(value), *(found for _, inner in pairs_of(value) for found in objects(inner))]
    return [found for one in value for found in objects(one)] if isinstance(value, list) else []


def mutate(value: Tree, chance: random.Random) -> None:
    """Change one thing in one object."""
    pairs = chance.choice(objects(value))
    what = chance.randrange(7)
    if what == 0 or not pairs:
        pairs.insert(chance.randint(0, len(pairs)), [chance.choice(NAMES), chance.choice(HOSTILE)])
        return
    at = chance.randrange(len(pairs))
    if what == 1:
        del pairs[at]
    elif what == 2:
        pairs.insert(chance.randint(0, len(pairs)), list(pairs[at]))
    elif what == 3:
        pairs[at][0] = chance.choice(NAMES)
    elif what == 4:
        pairs.append([pairs[at][0], chance.choice(HOSTILE)])
    elif what == 5:
        chance.shuffle(pairs)
    else:
        pairs[at][1] = chance.choice(HOSTILE)


def damaged(body: bytes, chance: random.Random) -> bytes:
    """The body with a byte changed, added or taken, cut off, or with a part of it twice."""
    at, what = chance.randrange(len(body)), chance.randrange(5)
    if what == 0:
        return body[:at]
    if what == 1:
        return body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]
    if what == 2:
        return body[:at] + chance.choice([b'"', b"{", b"}", b",", b":", b"\\", b"\0", b"\xff", b" "]) + body[at:]
    return body[:at] + body[at + 1 :] if what == 3 else body[: at + 40] + body[at:]


def base(name: str) -> Tree:
    """Two records of a recorded response, with its envelope."""
    response: Pairs = json.loads(recording("1.119", name), object_pairs_hook=Pairs)
    data = dict(response)["data"]
    few = Pairs((data[0] if isinstance(data, list) else data)[2:4]) if not isinstance(data, Pairs) else Pairs(data[2:4])
    return tree(
        Pairs([("code", 200), ("data", [few] if isinstance(data, list) and not isinstance(data, Pairs) else few)])
    )


def complete(value: Any) -> None:
    """Raise ValueError for an object that has a key twice, or a number that no float holds."""
    if isinstance(value, Pairs):
        value.once()
        for _, inner in value:
            complete(inner)
    elif isinstance(value, list):
        for one in value:
            complete(one)
    elif isinstance(value, float) and math.isinf(value):
        raise ValueError("no number")


def time_of(text: Any) -> datetime | None:
    """A time, None where it is unset; ValueError for anything else."""
    if text in (None, "null"):
        return None
    if not isinstance(text, str) or (found := datetime.fromisoformat(text)).tzinfo is None:
        raise ValueError("no time")
    return found.replace(microsecond=0)


def oracle(body: bytes) -> list[Any]:
    """The records of a body that can be trusted, by json alone; ValueError for any other."""
    found = plain(body)
    for record in found:
        record.once()
        complete([value for key, value in record if key not in NUMBERS])
        try:
            complete(record)
        except ValueError as error:
            raise NoNumberError from error
        one = dict(record)
        window = one.get("window")
        if window not in (None, "null"):
            if not isinstance(window, Pairs):
                raise ValueError("no window")
            bounds = [time_of(dict(window).get(bound)) for bound in ("start", "end")]
            if bounds[0] not in (None, HOUR.start) or bounds[1] not in (None, HOUR.end):
                raise ValueError("another window")
        start, end = time_of(one.get("start")), time_of(one.get("end"))
        if (start and start < HOUR.start) or (end and end > HOUR.end):
            raise ValueError("outside")
        numbers: list[Any] = [one.get(name) for name in ("cpuCores", "minutes", "cpuCoreHours")]
        # What no float holds is for the columns' types to refuse.
        if all(isinstance(number, int | float) and abs(number) < 1e300 for number in numbers):
            cores, minutes, hours = numbers
            if abs(cores * minutes / 60 - hours) > 1e-4 * max(minutes / 60, 1) + 0.01 * abs(hours):
                raise ValueError("contradiction")
    return found


def ours(body: bytes, chance: random.Random) -> list[bytes]:
    """The records as we read them, in chunks of any size."""
    sizes = chance.choice([1 << 16, 4096, 300, 37])
    check, found = RecordChecks(Batch(ALLOCATION, "c", HOUR)), []
    chunks = (body[at : at + sizes] for at in range(0, len(body), sizes))
    for record in records(chunks, decode_sets=chance.choice([None, check.decode_sets])):
        check(record)
        found.append(text_of(record))
    return found


def cost(found: list[Any]) -> float:
    """What records cost, as far as their cost is a number."""
    costs = (dict(record).get("totalCost") for record in found)
    return math.fsum(one for one in costs if isinstance(one, int | float) and abs(one) < 1e300)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_response_is_read_in_full_or_refused(batch: int) -> None:
    """Rows, keys and cost are those of the oracle; what it refuses ends in one of our errors, in one short line."""
    chance = random.Random(batch)
    bases: list[Callable[[], Tree]] = [
        lambda: base("allocation_hour.json"),
        lambda: base("assets_hour.json"),
    ]
    good = refused = 0
    texts = [json.dumps(one(), ensure_ascii=False) for one in bases]
    for _ in range(CASES // BATCHES):
        value = restored(json.loads(chance.choice(texts)))
        for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
            mutate(value, chance)
        body = written(value, chance).encode("utf-8", "surrogatepass")
        if chance.random() < 0.3:
            body = damaged(body, chance)
        try:
            expected = oracle(body)
        except NoNumberError:
            continue
        except (ValueError, RecursionError):
            refused += 1
            with pytest.raises(OpenCostKustoError) as raised:
                ours(body, chance)
            assert str(raised.value).isprintable(), body
            assert len(str(raised.value)) < 500
            continue
        good += 1
        found = [json.loads(one, object_pairs_hook=Pairs, parse_constant=refuse) for one in ours(body, chance)]
        assert found == expected, body
        assert cost(found) == cost(expected)
    assert min(good, refused) > CASES / BATCHES / 10


def restored(value: Any) -> Tree:
    """A tree out of JSON, where its tuples have become lists."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        return ({"pairs": [[key, restored(inner)] for key, inner in value[0]["pairs"]]},)
    return [restored(one) for one in value] if isinstance(value, list) else value
