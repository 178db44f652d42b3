"""Of an OpenCost with several clusters, its own is loaded; the others are left out, with a note."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opencost_kusto.emulator import OpenCostEmulator, Reply, json_reply
from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.extract.client import OpenCost
from tests.extract.test_client import batch

BOUNDS = {"start": "2026-11-23T10:00:00Z", "end": "2026-11-23T11:00:00Z"}


def answered(
    *clusters: str | None,
    own: str | None = "c1",
    listed: tuple[str, ...] | None = ("c1", "c2"),
    named: str | None = None,
) -> tuple[list[str], list[tuple[str, ReasonCode | None]], int]:
    """The clusters of the records that are kept, what is noted, and how often the list of clusters was requested."""
    rows = {
        f"{at}": {"name": f"{at}", "properties": {"cluster": one} if one else {}, "window": BOUNDS, **BOUNDS}
        for at, one in enumerate(clusters)
    }
    replies: dict[str, Any] = {
        "/clusterInfo": {"code": 200, "data": {"id": own}},
        "/allocation": {"code": 200, "data": [rows]},
        "/clusterInfoMap": {"code": 200, "data": {one: {"id": one} for one in listed or ()}},
    }

    def respond(path: str, _: object) -> Reply | None:
        if path == "/clusterInfoMap" and listed is None:
            return Reply(404)
        return json_reply(json.dumps(replies[path]).encode()) if path in replies else Reply(404)

    notes: list[tuple[str, ReasonCode | None]] = []
    with OpenCostEmulator(answers=respond) as server, OpenCost(server.url, cluster=named) as opencost:
        opencost.source()
        found = [
            json.loads(record)["properties"].get("cluster", "")
            for record in opencost.records(batch(), lambda text, code=None: notes.append((text, code)))
        ]
        return found, notes, [request.path for request in server.requests].count("/clusterInfoMap")


def test_records_of_other_clusters_are_left_out_and_said_once() -> None:
    """Each cluster is counted by its own source; rows that name no cluster are this one's."""
    found, notes, asked = answered("c1", "c2", "c1", "c2", "c2", None)
    assert found == ["c1", "c1", ""]
    assert [code for _, code in notes] == [ReasonCode.FOREIGN_CLUSTERS]
    assert notes[0][0].startswith("3 records of other clusters ('c2') were left out")
    assert asked == 1


def test_a_name_that_the_user_gave_is_not_the_servers_id() -> None:
    """What is compared is what the server calls its cluster, whatever the user calls it."""
    assert answered("c1", "c2", named="production")[0] == ["c1"]


def test_only_records_of_other_clusters_are_an_error_that_names_both() -> None:
    """A server that calls itself otherwise than Prometheus does would load nothing, or another's costs."""
    with pytest.raises(ContentError, match=r"'c3', and all its records are of 'c2'") as refused:
        answered("c2", "c2", own="c3")
    assert refused.value.code is ReasonCode.FOREIGN_CLUSTERS


@pytest.mark.parametrize("listed", [None, (), ("c1",), ("c2",), ("c1", "c3")])
def test_one_cluster_that_is_labelled_otherwise_is_one(listed: tuple[str, ...] | None) -> None:
    """Only what the server lists as several clusters is several."""
    found, notes, _ = answered("c2", "c2", listed=listed)
    assert (found, notes) == (["c2", "c2"], [])


def test_an_ordinary_server_is_asked_nothing_more() -> None:
    """Where all records are of its own cluster, or it is unknown which that is, its list is not requested."""
    assert answered("c1", None)[1:] == ([], 0)
    assert answered("c1", "c2", own=None, named="c1")[1:] == ([], 0)
