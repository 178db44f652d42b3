"""Stage the batches of many sources with few queries, each of which reads what tables hold for many batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from opencost_kusto.batch import Batch
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.loader import stage_all
from opencost_kusto.load.staged import StagedBatch

# Batches whose tables are read in one query: a day of hours of one source, or more of more sources.
_LEAST, _MOST = 24, 100


class Staging:
    """The batches of several sources, staged in turn: the first of each, then the second of each.

    Safe to use from several threads, each of which reads the batches of another source.
    """

    def __init__(self, kusto: Kusto, batches: Sequence[Iterable[Batch]]) -> None:
        self._kusto = kusto
        self._remaining = in_turn(batches)
        self._staged: list[deque[StagedBatch]] = [deque() for _ in batches]
        self._size = min(max(_LEAST, len(batches)), _MOST)
        self._lock = threading.Lock()

    def of(self, number: int) -> Iterator[StagedBatch]:
        """The batches of one source, in their order."""
        while (staged := self._next(number)) is not None:
            yield staged

    def _next(self, number: int) -> StagedBatch | None:
        with self._lock:
            while not self._staged[number]:
                some = list(islice(self._remaining, self._size))
                if not some:
                    return None
                for (index, _), staged in zip(some, stage_all(self._kusto, (batch for _, batch in some)), strict=True):
                    self._staged[index].append(staged)
            return self._staged[number].popleft()


def in_turn(many: Sequence[Iterable[Batch]]) -> Iterator[tuple[int, Batch]]:
    """The items of several iterables with their numbers: the first of each, then the second of each."""
    waiting = deque(enumerate(map(iter, many)))
    while waiting:
        number, items = waiting.popleft()
        for item in islice(items, 1):
            yield number, item
            waiting.append((number, items))
