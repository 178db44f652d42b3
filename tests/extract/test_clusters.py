"""Of an OpenCost with several clusters, its own is loaded; the others are left out, with a note, or kept on request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from opencost_kusto.batch import Batch, BatchContext, RequestOptions
from opencost_kusto.emulator import OpenCostEmulator, Reply, json_reply
from opencost_kusto.errors import ContentError, OpenCostKustoError, ReasonCode
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.pipeline.request import new_run
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.transform.flat import flatten
from opencost_kusto.transform.rows import Encoder
from opencost_kusto.window import Window
from tests.extract.test_client import batch
from tests.support.recordings import recording

BOUNDS = {"start": "2026-11-23T10:00:00Z", "end": "2026-11-23T11:00:00Z"}
HOUR = Window(datetime(2026, 11, 19, 10, tzinfo=UTC), datetime(2026, 11, 19, 11, tzinfo=UTC))
PROD, STAGE = "aks-shop-prod-weu", "aks-shop-stage-weu"


def read(
    *clusters: str | None,
    own: str | None = "c1",
    listed: tuple[str, ...] | None = ("c1", "c2"),
    named: str | None = None,
    every: bool = False,
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
    with OpenCostEmulator(responder=respond) as server, OpenCost(server.url, cluster=named) as opencost:
        opencost.source()
        found = [
            json.loads(record)["properties"].get("cluster", "")
            for record in opencost.records(
                batch(all_clusters=every), lambda text, code=None: notes.append((text, code))
            )
        ]
        return found, notes, [request.path for request in server.requests].count("/clusterInfoMap")


def test_records_of_other_clusters_are_left_out_and_noted_once() -> None:
    """Each cluster is counted by its own source; rows that name no cluster are this one's."""
    found, notes, sent = read("c1", "c2", "c1", "c2", "c2", None)
    assert found == ["c1", "c1", ""]
    assert [code for _, code in notes] == [ReasonCode.FOREIGN_CLUSTERS]
    assert notes[0][0].startswith("3 records of other clusters ('c2') were left out")
    assert sent == 0


def test_a_name_that_the_user_gave_is_not_the_servers_id() -> None:
    """What is compared is what the server calls its cluster, whatever the user calls it."""
    assert read("c1", "c2", named="production")[0] == ["c1"]


def test_only_records_of_other_clusters_are_an_error_that_names_both() -> None:
    """A server that calls itself otherwise than Prometheus does would load nothing, or another's costs."""
    with pytest.raises(ContentError, match=r"'c3', and all its records are of 'c2'") as refused:
        read("c2", "c2", own="c3")
    assert refused.value.code is ReasonCode.FOREIGN_CLUSTERS


@pytest.mark.parametrize("listed", [None, (), ("c1",), ("c2",), ("c1", "c3")])
def test_one_cluster_that_is_labelled_otherwise_is_one(listed: tuple[str, ...] | None) -> None:
    """A server that calls its cluster otherwise than Prometheus does has one, where it lists and sends no other."""
    found, notes, _ = read("c2", "c2", listed=listed)
    assert (found, notes) == (["c2", "c2"], [])


@pytest.mark.parametrize("listed", [None, (), ("c1",)])
def test_clusters_that_only_the_rows_show_are_several(listed: tuple[str, ...] | None) -> None:
    """The server learns of another cluster only once Prometheus has scraped it; its rows are there before."""
    found, notes, _ = read("c2", "c1", "c2", listed=listed)
    assert found == ["c1"]
    assert notes[0][0].startswith("2 records of other clusters ('c2') were left out")


def test_an_ordinary_server_gets_no_further_request() -> None:
    """Where all records are of its own cluster, or of one while it reports no id, its list is not requested."""
    assert read("c1", None)[1:] == ([], 0)
    assert read("c1", "c1", own=None, named="c1")[1:] == ([], 0)


def test_a_server_that_does_not_say_which_of_several_clusters_is_its_own_is_refused() -> None:
    """The records of another cluster must not be loaded under the name that the user gave."""
    with pytest.raises(ContentError, match=r"'c1', 'c2'.* does not say which is its own. Set CLUSTER_ID") as refused:
        read("c1", "c2", own=None, named="c1")
    assert refused.value.code is ReasonCode.FOREIGN_CLUSTERS


def recorded(
    dataset: str, *, listed: tuple[str, ...] = (PROD,), version: str = "1.112", **options: Any
) -> tuple[list[dict[str, Any]], list[str], list[Mapping[str, str]]]:
    """The rows of the recorded hour of two clusters, the notes, and the queries sent.

    `listed` are the clusters that the server knows of: only its own where it was recorded.
    """
    names = {"": "allocation", "namespace": "namespace", "cluster,namespace": "cluster_namespace"}
    queries: list[Mapping[str, str]] = []

    def respond(path: str, query: Mapping[str, str]) -> Reply | None:
        if path == "/clusterInfo":
            return json_reply(json.dumps({"code": 200, "data": {"id": PROD, "region": "westeurope"}}).encode())
        if path == "/clusterInfoMap":
            return json_reply(json.dumps({"code": 200, "data": {one: {"id": one} for one in listed}}).encode())
        if path not in ("/allocation", "/assets"):
            return Reply(404)
        queries.append(query)
        name = "assets" if path == "/assets" else names[query.get("aggregate", "")]
        return json_reply(recording(version, f"two_clusters_{name}.json"))

    notes: list[str] = []
    sent = Batch(DATASETS[dataset], "prod", HOUR, RequestOptions(**options))
    with OpenCostEmulator(responder=respond) as server, OpenCost(server.url, cluster="prod") as opencost:
        source = opencost.source()
        encoder = Encoder(sent.table, BatchContext(new_run(), source, sent))

        def read() -> list[dict[str, Any]]:
            lines = encoder.lines(opencost.records(sent, lambda text, _=None: notes.append(text)))
            return [flatten(sent.table, line) for line in lines]

        try:
            return read(), notes, queries
        except OpenCostKustoError as error:
            if not error.transient:
                raise
            encoder = Encoder(sent.table, BatchContext(new_run(), source, sent))
            return read(), notes, queries


@pytest.mark.parametrize(("dataset", "kept", "left_out"), [("allocation", 60, 20), ("assets", 15, 13)])
@pytest.mark.parametrize("listed", [(PROD,), (PROD, STAGE)])
def test_of_recorded_responses_of_two_clusters_one_is_loaded(
    dataset: str, kept: int, left_out: int, listed: tuple[str, ...]
) -> None:
    """The rows of the other cluster are left out, whether the server lists it yet or not."""
    rows, notes, _ = recorded(dataset, listed=listed)
    assert {row["Cluster"] for row in rows} == {"prod"}
    assert {row["ClusterReported"] for row in rows} == {PROD}
    assert len(rows) == kept
    assert notes[0].startswith(f"{left_out} records of other clusters ('{STAGE}')")


@pytest.mark.parametrize(("dataset", "count"), [("allocation", 80), ("assets", 28)])
def test_with_all_clusters_each_row_is_of_its_own(dataset: str, count: int) -> None:
    """Source and Cluster differ: the source's own cluster keeps the user's name, another has its id."""
    rows, notes, _ = recorded(dataset, all_clusters=True)
    assert len(rows) == count
    assert {row["Source"] for row in rows} == {"prod"}
    assert {(row["Cluster"], row["ClusterReported"]) for row in rows} == {("prod", PROD), (STAGE, STAGE)}
    assert notes == []
    if dataset == "assets":
        assert len({row["AssetName"] for row in rows}) == count
        assert all(row["AssetName"].startswith(row["Cluster"]) for row in rows)


@pytest.mark.parametrize("listed", [(PROD,), (PROD, STAGE)])
@pytest.mark.parametrize("every", [True, False])
def test_merged_rows_are_requested_by_cluster(listed: tuple[str, ...], *, every: bool) -> None:
    """By namespace OpenCost merges clusters; `cluster` is part of the aggregate as soon as several are listed."""
    rows, _, queries = recorded("allocation", listed=listed, aggregate="namespace", all_clusters=every)
    assert [query["aggregate"] for query in queries] == ["namespace", "cluster,namespace"][-len(queries) :]
    assert len(queries) == (1 if STAGE in listed else 2)
    assert {row["Cluster"] for row in rows} == ({"prod", STAGE} if every else {"prod"})
    assert {row["Aggregate"] for row in rows} == {"namespace"}


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("aggregate", ["container", "namespace"])
def test_idle_of_several_clusters_is_refused(aggregate: str, *, every: bool) -> None:
    """OpenCost makes one row of the idle cost of all clusters, which names none."""
    with pytest.raises(
        OpenCostKustoError, match=r"one idle cost for all of them\. Leave out --include-idle"
    ) as refused:
        recorded("allocation", listed=(PROD, STAGE), aggregate=aggregate, include_idle=True, all_clusters=every)
    assert refused.value.code is ReasonCode.FOREIGN_CLUSTERS


def test_a_cluster_that_is_no_name_is_refused_with_all_clusters() -> None:
    """A row's own cluster is a name as any other."""
    with pytest.raises(OpenCostKustoError, match=r"The cluster of a record is .*control character"):
        read("c1", "c\x1b", every=True)


def test_all_clusters_is_another_batch_and_changes_no_other() -> None:
    """With the option a batch has other rows; without it, it is the batch of a release that had no such option."""
    one, other = (
        Batch(DATASETS["assets"], "prod", HOUR, RequestOptions(all_clusters=given)) for given in (True, False)
    )
    assert one.id != other.id
    assert other.id == "OpenCostAssets/prod/20261119T1000Z-20261119T1100Z/1a3e4524c313"
