"""What a Kusto may do and a small one rarely does: switches for tests, each with its own seeded random stream."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the emulator does beyond the shortest way; rates are the share of occasions, from 0 to 1.

    Everything here is allowed by Kusto's documentation or follows from a queue that delivers at least once. Only what
    Kusto is documented to do always is on from the start. The same seed makes the same choices, as far as requests
    come in the same order.
    """

    seed: int = 0

    # The queue and the data management service.
    lost: float = 0.0
    """Messages that never become rows, and that no command lists."""
    repeated: float = 0.0
    """Messages that are delivered twice, one after the other."""
    twice_at_once: float = 0.0
    """Messages whose two copies are ingested at once, so that neither sees the other's tag."""
    late: float = 0.0
    """Messages that wait up to `late_seconds` longer."""
    late_seconds: float = 1.0
    out_of_order: float = 0.0
    """Occasions at which a later message is ingested before those that wait."""
    unlisted_refusals: float = 0.0
    """Blobs the data management service refuses; `.show ingestion failures` covers the engine alone."""
    slot_seconds: float = 0.0
    """How long a blob occupies the cluster's only ingestion slot."""
    hits_are_failures: bool = True
    """A hit of `ingestIfNotExists` is a permanent failure, Skipped_IngestByTagAlreadyExists."""

    # The engine.
    merges: float = 0.0
    """Requests before which extents of a table merge."""
    compactions: float = 0.0
    """Requests before which extents without rows left are dropped, with their tags."""
    tags_expire: bool = False
    """The extent tags retention policy removes tags as soon as it may."""
    stale_reads: float = 0.0
    """Queries that see the database of `stale_seconds` ago, unless they require strong consistency."""
    stale_seconds: float = 2.0
    cached_seconds: float = 0.0
    """How long the same query gets the same result, unless it sets an age of 0."""
    query_errors: float = 0.0
    """Queries that end with an error inside the response that is marked not permanent."""
    permanent_query_errors: float = 0.0
    """Queries that end with an error inside the response that is marked permanent."""
    throttled: float = 0.0
    """Requests that end with 429."""
    unanswered: float = 0.0
    """Commands that succeed, but whose response never reaches the client."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not field.name.endswith("_seconds") and not 0 <= value <= 1:
                raise ValueError(f"{field.name} is a rate from 0 to 1, not {value}")


ALL_OFF: Final = Behaviour()


class Chances:
    """Draws for a behaviour: each switch has a stream of its own, so that one does not move another."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._streams = {field.name: random.Random(f"{behaviour.seed}/{field.name}") for field in fields(behaviour)}

    def hit(self, switch: str) -> bool:
        """Whether this occasion is one; nothing is drawn for a rate of 0."""
        rate: float = getattr(self.behaviour, switch)
        return rate > 0 and self._streams[switch].random() < rate

    def share(self, switch: str) -> float:
        """A number from 0 to 1 of the switch's stream."""
        return self._streams[switch].random()

    def choice(self, switch: str, among: Sequence[T]) -> T:
        """One of some, by the switch's stream."""
        return self._streams[switch].choice(among)
