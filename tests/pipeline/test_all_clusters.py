"""An OpenCost over a Prometheus of several clusters, and the OpenCosts of these clusters, count each cluster once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from opencost_kusto.batch import RequestOptions
from opencost_kusto.database import script
from opencost_kusto.emulator import Reply, Responder, json_reply
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.window import Window
from tests.support.recordings import recording
from tests.support.world import World

HOUR = Window(datetime(2026, 11, 19, 10, tzinfo=UTC), datetime(2026, 11, 19, 11, tzinfo=UTC))
PROD, STAGE = "aks-shop-prod-weu", "aks-shop-stage-weu"


def responder(own: str) -> Responder:
    """The recorded hour of two clusters, as an OpenCost that calls its own cluster so sends it."""
    uid = {PROD: "0f8fad5b", STAGE: "7c9e6679"}[own]
    replies = {
        "/clusterInfo": json.dumps({"code": 200, "data": {"id": own}}).encode(),
        "/allocation": recording("1.112", "two_clusters_allocation.json"),
        "/allNamespaces": json.dumps({"items": [{"metadata": {"name": "kube-system", "uid": uid}}]}).encode(),
    }

    def respond(path: str, _: Mapping[str, str]) -> Reply:
        return json_reply(replies[path]) if path in replies else Reply(404)

    return respond


@pytest.mark.parametrize("order", [(PROD, STAGE), (STAGE, PROD)])
def test_each_minute_of_a_cluster_counts_by_its_own_source(order: tuple[str, str]) -> None:
    """The source of PROD has all clusters, that of STAGE its own: in whatever order they land, no cost counts twice."""
    costs = dict.fromkeys((PROD, STAGE), 0.0)
    for record in json.loads(recording("1.112", "two_clusters_allocation.json"))["data"][0].values():
        costs[record["properties"]["cluster"]] += record["totalCost"]
    with World() as world:
        world.command(*(command.text for command in script.commands("functions")))
        for own in order:
            world.opencost.responder = responder(own)
            options = RequestOptions(all_clusters=own == PROD)
            report = world.sync(request=SyncRequest(HOUR, None, ("allocation",), options))
            assert report.exit_code == 0
            bounds = f"datetime({HOUR.start:%Y-%m-%dT%H:%MZ}), datetime({HOUR.end:%Y-%m-%dT%H:%MZ})"
            found = {row["Cluster"]: row["TotalCost"] for row in world.query(f"OpenCostByCluster({bounds})")}
            seen = (PROD, STAGE) if PROD in order[: order.index(own) + 1] else (STAGE,)
            assert found == pytest.approx({one: costs[one] for one in seen})
        pairs = world.query("OpenCostAllocation | distinct Source, Cluster | order by Source asc, Cluster asc")
        assert [(row["Source"], row["Cluster"]) for row in pairs] == [(PROD, PROD), (PROD, STAGE), (STAGE, STAGE)]
        assert all(row["IsComplete"] for row in world.query("OpenCostProof()"))
