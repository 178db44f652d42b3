"""A folder that is no spool is not taken for one that has been emptied."""

from __future__ import annotations

from pathlib import Path

import pytest

from opencost_kusto.errors import UsageError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.pipeline.replay import replay
from tests.bench.fleet import nameless
from tests.support.world import World

UNREACHABLE = "http://127.0.0.1:9"


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    """Where there are other things and no batch, the folder is not the spool that was meant."""
    (tmp_path / "README.md").write_text("not a batch", "utf-8")
    (tmp_path / "src").mkdir()
    with (
        Kusto(UNREACHABLE, "OpenCost", auth="none") as kusto,
        pytest.raises(UsageError, match="it holds no batch"),
    ):
        replay(tmp_path, kusto)


def test_the_batches_of_a_cluster_are_replayed_alone(tmp_path: Path) -> None:
    """Those of other clusters are kept in the spool."""
    with World(responder=nameless) as world:
        for cluster in ("a", "b"):
            assert world.sync(cluster=cluster, spool=tmp_path, wait=False).counts == {"queued": 1}
        world.kusto.wait_idle()
        with world.client() as kusto:
            found = [replay(tmp_path, kusto, clusters=each) for each in (["nope"], ["b"], ["b"], [])]
    assert [list(each.sources) for each in found] == [[], ["b"], [], ["a"]]
    assert [each.warnings for each in found] == [
        ["The spool holds no batch of 'nope'; it holds some of a, b."],
        [],
        ["The spool holds no batch of 'b'; it holds some of a."],
        [],
    ]


def test_an_empty_spool_has_nothing_to_send(tmp_path: Path) -> None:
    """A spool whose batches have all landed is empty, or holds what the file system itself put there."""
    with Kusto(UNREACHABLE, "OpenCost", auth="none") as kusto:
        assert replay(tmp_path, kusto).results == []
        (tmp_path / "lost+found").mkdir()
        assert replay(tmp_path, kusto).results == []
