"""The clusters of a fleet are divided among replicas: each belongs to one, in every release."""

from __future__ import annotations

import pytest

from opencost_kusto.errors import UsageError
from opencost_kusto.shard import Shard

FLEET = [f"aks-{number:04}" for number in range(1000)]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_each_cluster_is_that_of_one_replica(count: int) -> None:
    """Every cluster is in one shard, and no shard has many more than its part."""
    shards = [Shard(index, count) for index in range(count)]
    found = [[one for one in FLEET if shard.has(one)] for shard in shards]
    assert sorted(name for names in found for name in names) == FLEET
    assert max(map(len, found)) <= 1.2 * len(FLEET) / count


def test_a_cluster_keeps_its_shard() -> None:
    """The digest is that of every release, so that replicas of two releases divide the fleet alike."""
    found = {name: index for name in ("prod", "aks-0001", "münchen") for index in range(3) if Shard(index, 3).has(name)}
    assert found == {"prod": 1, "aks-0001": 0, "münchen": 0}


@pytest.mark.parametrize(("text", "index", "count"), [("0/1", 0, 1), (" 2/3 ", 2, 3)])
def test_a_shard_is_written_from_nought(text: str, index: int, count: int) -> None:
    """The first is 0, as Kubernetes numbers pods."""
    assert Shard.parse(text) == Shard(index, count)
    assert str(Shard.parse(text)) == text.strip()


@pytest.mark.parametrize("text", ["", "3/3", "1", "0/0", "-1/3", "1/x", "$(JOB_COMPLETION_INDEX)/3", "٠/٣"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    """A shard that no replica has would load nothing."""
    with pytest.raises(UsageError, match="is no shard: write I/N, from 0/3 to 2/3"):
        Shard.parse(text)
