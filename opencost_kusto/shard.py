"""Split the clusters of a fleet among replicas by a digest of each name, without communication between them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from opencost_kusto.errors import UsageError
from opencost_kusto.names import shown


@dataclass(frozen=True, slots=True)
class Shard:
    """The clusters of replica `index` of `count`; the first is 0, as Kubernetes numbers pods."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`I/N` as a shard; raises UsageError."""
        found = re.fullmatch(r"\s*(\d{1,6})/(\d{1,6})\s*", text, re.ASCII)
        index, count = map(int, found.groups()) if found else (0, 0)
        if index >= count:
            raise UsageError(f"{shown(text)} is no shard: write I/N, from 0/3 to 2/3 for three replicas.")
        return cls(index, count)

    def has(self, cluster: str) -> bool:
        """Whether a cluster belongs to this replica; each belongs to one of `count`."""
        digest = hashlib.sha256(cluster.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
