"""Many iterators on few threads: fair, bounded, each by one thread at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from opencost_kusto.batch import Batch, RequestOptions
from opencost_kusto.cancel import Cancelled, CancelToken
from opencost_kusto.pipeline.pool import pooled
from opencost_kusto.pipeline.staging import in_turn
from opencost_kusto.schema.tables import ALLOCATION
from tests.support.world import HOUR


class Producer:
    """Iterators that note how many of them produce at once, and whether one is advanced by two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = 0
        self.most = 0

    def items(self, name: str, count: int) -> Iterator[str]:
        """So many items, each of which takes a moment."""
        mine = threading.Lock()
        for number in range(count):
            assert mine.acquire(blocking=False)
            with self._lock:
                self._busy += 1
                self.most = max(self.most, self._busy)
            time.sleep(0.005)
            with self._lock:
                self._busy -= 1
            mine.release()
            yield f"{name}{number}"


@pytest.mark.parametrize(("workers", "sources"), [(1, 1), (1, 4), (3, 8), (16, 2)])
def test_every_item_is_returned_once_and_in_its_order(workers: int, sources: int) -> None:
    """All items are returned, each iterator's in their order, and no more than so many are produced at once."""
    producer = Producer()
    names = [chr(ord("a") + number) for number in range(sources)]
    found = list(pooled([producer.items(name, 5) for name in names], workers))
    assert sorted(found) == sorted(f"{name}{number}" for name in names for number in range(5))
    for name in names:
        assert [item for item in found if item[0] == name] == [f"{name}{number}" for number in range(5)]
    assert producer.most <= min(workers, sources)


def test_each_has_its_turn() -> None:
    """One worker takes one item of each, then the next of each."""
    found = list(pooled([iter(["a1", "a2", "a3"]), iter(["b1"]), iter(["c1", "c2"])], 1))
    assert found == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_a_slow_one_holds_up_one_worker() -> None:
    """While one iterator waits, the others go on."""
    others_are_done = threading.Event()

    def slow() -> Iterator[int]:
        assert others_are_done.wait(30)
        yield 0

    found = []
    for item in pooled([slow(), iter([1, 2, 3]), iter([4, 5, 6])], 2):
        found.append(item)
        if len(found) == 6:
            others_are_done.set()
    assert (sorted(found[:6]), found[6]) == ([1, 2, 3, 4, 5, 6], 0)


def test_no_iterators_have_no_items() -> None:
    """Without iterators there is no thread, and no item."""
    assert list(pooled([], 4)) == []


def test_an_error_is_raised() -> None:
    """What producing an item raises is raised where items are taken."""

    def wrong() -> Iterator[int]:
        yield 1
        raise KeyError("wrong")

    with pytest.raises(KeyError, match="wrong"):
        list(pooled([wrong(), iter([2, 3])], 2))


def test_cancelling_ends_the_threads() -> None:
    """Cancelled while it waits, it raises, and its threads end with the item that they are at."""
    cancel, before = CancelToken(), threading.active_count()

    def endless() -> Iterator[int]:
        while True:
            time.sleep(0.01)
            yield 1

    def take() -> None:
        for number, _ in enumerate(pooled([endless() for _ in range(3)], 3, cancel.check)):
            if number == 5:
                cancel.cancel()

    with pytest.raises(Cancelled):
        take()
    assert threading.active_count() == before


def test_batches_of_many_sources_are_staged_in_turn() -> None:
    """The first batch of each source is before the second of any."""
    batches = {
        name: [Batch(ALLOCATION, name, HOUR, RequestOptions(aggregate=aggregate)) for aggregate in aggregates]
        for name, aggregates in {"a": ("pod", "node", "namespace"), "b": (), "c": ("pod", "node")}.items()
    }
    found = [(number, batch.aggregate) for number, batch in in_turn([*batches.values()])]
    assert found == [(0, "pod"), (2, "pod"), (0, "node"), (2, "node"), (0, "namespace")]
