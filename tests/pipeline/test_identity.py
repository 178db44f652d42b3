"""One name, one cluster: the run log's entry of a name is compared with the cluster that responds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opencost_kusto.batch import Run, Source, SourceSettings
from opencost_kusto.coverage.backfill import backfill, survey
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.emulator import Reply, Request, Responder, json_reply, text_reply
from opencost_kusto.errors import KustoError, OpenCostKustoError, ReasonCode, UsageError
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.fleet import sync_all
from opencost_kusto.pipeline.identity import Identity, refusal
from opencost_kusto.pipeline.name_entries import NameEntry
from opencost_kusto.pipeline.replay import replay
from opencost_kusto.pipeline.request import SyncRequest, new_run
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.schedule.tick import Lookback, tick
from opencost_kusto.window import Window
from tests.support.world import HOUR, NAMESPACES, ROWS, World

ONE, OTHER = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"
NODE = 'node_total_hourly_cost{{node="{0}",provider_id="azure:///subscriptions/S/resourceGroups/{1}/vm/{0}"}} 0.3\n'
VOLUME = 'kube_persistentvolume_capacity_bytes{{persistentvolume="{0}"}} 1\n'
FIRST = datetime(2026, 11, 1, tzinfo=UTC)


def cluster(
    uid: str | None, *, group: str | None = None, nodes: tuple[str, ...] = (), volumes: tuple[str, ...] = ()
) -> Responder:
    """Derived from facts/identity: a cluster with this uid, nodes in this resource group, and volumes."""
    items = [{"metadata": {"name": "default", "uid": "x"}}, {"metadata": {"name": "kube-system", "uid": uid}}]
    metrics = "".join(NODE.format(node, group) for node in nodes) + "".join(map(VOLUME.format, volumes))

    def respond(path: str, _: Mapping[str, str]) -> Reply | None:
        if path == "/allNamespaces":
            return json_reply(json.dumps({"items": items}).encode()) if uid else text_reply("not found", status=404)
        return text_reply(metrics, status=200) if path == "/metrics" else None

    return respond


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One cluster has landed as prod, and one whose version has no uid as azure."""
    with World(responder=cluster(ONE)) as world:
        assert world.sync(cluster="prod").exit_code == 0
        world.opencost.responder = cluster(None, group="MC_A", nodes=("n1", "n2"), volumes=("v1",))
        assert world.sync(cluster="azure").exit_code == 0
        yield world


@pytest.mark.parametrize(
    ("name", "responder", "message"),
    [
        ("prod", cluster(ONE), None),
        ("prod", cluster(None), None),
        ("other", cluster(OTHER), None),
        ("other", cluster(None), None),
        ("prod", cluster(OTHER), "another cluster under the name prod.* uid " + ONE + ".*--cluster, or confirm with"),
        ("new", cluster(ONE), "the costs of this cluster under the name prod; under new .* Use --cluster prod"),
        ("PROD", cluster(OTHER), "The cluster PROD differs from prod, which Kusto has, only in case"),
        ("PROD", cluster(None), "only in case"),
        ("azure", cluster(None, group="mc_a", nodes=("n7", "n8")), None),
        ("azure", cluster(None, group="MC_B", nodes=("n1",)), "its nodes are in s/mc_a, those of this one in s/mc_b"),
        ("moved", cluster(None, group="MC_A", nodes=("n9",)), "under the name azure"),
    ],
)
def test_a_cluster_is_what_its_name_stands_for(
    world: World, name: str, responder: Responder, message: str | None
) -> None:
    """Growth, node rolls and a version without uids pass; another cluster, another name and a case twin do not."""
    world.opencost.responder = responder
    world.opencost.requests.clear()
    if message is None:
        assert world.sync(cluster=name).exit_code == 0
        return
    with pytest.raises((KustoError, UsageError), match=message) as caught:
        world.sync(cluster=name)
    assert isinstance(caught.value, OpenCostKustoError)
    assert caught.value.exit_code == (2 if isinstance(caught.value, UsageError) else 5)
    assert not [request for request in world.opencost.requests if request.path == "/allocation"]


def test_a_cluster_made_anew_is_adopted_once() -> None:
    """--adopt accepts the new cluster under its old name; from then on the name stands for it."""
    with World(responder=cluster(ONE)) as world:
        world.sync(cluster="prod")
        world.opencost.responder = cluster(OTHER)
        assert world.sync(cluster="prod", adopt=True).exit_code == 0
        assert world.sync(cluster="prod").exit_code == 0
        world.opencost.responder = cluster(ONE)
        with pytest.raises(KustoError, match="another cluster"):
            world.sync(cluster="prod")


def test_a_cluster_that_was_renamed_is_adopted_under_its_new_name() -> None:
    """--adopt moves a cluster on to a new name; the old one is refused then, or its costs would count twice."""
    with World(responder=cluster(ONE)) as world:
        world.sync(cluster="old")
        assert world.sync(cluster="new", adopt=True).exit_code == 0
        with pytest.raises(KustoError, match="under the name new"):
            world.sync(cluster="old")


def test_the_currency_of_a_cluster_changes_where_it_is_adopted() -> None:
    """Once it is recorded, another currency is refused before any request, and accepted with --adopt."""
    with World(responder=cluster(ONE)) as world, world.client() as kusto:

        def load(currency: str | None, *, adopt: bool = False) -> str:
            with world.source("prod", settings=SourceSettings(currency)) as opencost:
                request = SyncRequest(HOUR, None, ("allocation",), NAMESPACES)
                report = sync(opencost, kusto, request, policy=LoadPolicy(timeout=10, adopt=adopt))
            return ",".join(report.counts)

        assert [load(None), load("EUR"), load(None), load("EUR")] == ["landed", *["already landed"] * 3]
        world.opencost.requests.clear()
        with pytest.raises(KustoError, match=r"the costs of prod in EUR, and .*says USD\. Set EUR") as caught:
            load("USD")
        assert caught.value.code is ReasonCode.OTHER_CURRENCY
        assert not [request for request in world.opencost.requests if request.path == "/allocation"]
        assert [load("USD", adopt=True), load("USD")] == ["already landed"] * 2
        with pytest.raises(KustoError, match="in USD"):
            load("EUR")


def test_a_name_is_taken_before_anything_else() -> None:
    """The first contact writes the fingerprint before the first request for costs and the first row."""
    with World(responder=cluster(ONE, group="MC_A", nodes=("n1",), volumes=("v1",))) as world:
        found: list[int] = []

        def fault(request: Request) -> None:
            if request.path == "/allocation":
                found.append(len(world.kusto.engine.tables["OpenCostSyncRuns"].extents))

        world.opencost.fault = fault
        assert world.sync(cluster="prod").exit_code == 0
        assert found == [1]
        (entry,), (batch,) = world.identities(), world.log()
        print_ = {"k8s": ONE, "arm": "s/mc_a", "nodes": ["n1"], "volumes": ["v1"]}
        assert (entry["Fingerprint"], entry["ReasonCode"], entry["BatchId"]) == (print_, "identified", "")
        assert (entry["Source"], entry["Cluster"], batch["Fingerprint"]) == ("prod", "prod", None)
        world.sync(cluster="prod")
        assert [one["ReasonCode"] for one in world.identities()] == ["identified"]


def recorded(name: str, uid: str, at: int, *, adopted: bool = False) -> NameEntry:
    """Entries that were written at a second, and no others."""
    moment = FIRST + timedelta(seconds=at)
    return NameEntry(name, {"k8s": uid}, moment, moment, adopted)


@pytest.mark.parametrize(
    ("entries", "at_once", "refused"),
    [
        ([recorded("a", ONE, 1), recorded("a", OTHER, 2)], False, False),
        ([recorded("a", OTHER, 1), recorded("a", ONE, 2)], False, True),
        ([recorded("a", OTHER, 1), recorded("a", ONE, 2, adopted=True)], False, False),
        ([recorded("a", ONE, 1), recorded("a", OTHER, 2, adopted=True)], False, True),
        ([recorded("a", ONE, 1), recorded("b", ONE, 2)], False, False),
        ([recorded("b", ONE, 1), recorded("a", ONE, 2)], False, True),
        ([recorded("a", ONE, 1), recorded("a", OTHER, 2)], True, True),
        ([recorded("a", ONE, 1), recorded("b", ONE, 2)], True, True),
        ([recorded("a", ONE, 1)], True, False),
        ([recorded("A", OTHER, 1), recorded("a", ONE, 2)], False, True),
        ([recorded("a", ONE, 1), recorded("A", OTHER, 2)], False, False),
        ([recorded("a", ONE, 1), recorded("A", OTHER, 2)], True, True),
    ],
)
def test_the_earliest_entry_since_an_adoption_wins(entries: list[NameEntry], *, at_once: bool, refused: bool) -> None:
    """Of two clusters at the same moment, neither passes at first contact, and the earlier one from then on."""
    source = Source("a", fingerprint={"k8s": ONE})
    assert (refusal(source, entries, at_once=at_once) is not None) is refused
    assert (refusal(source, list(reversed(entries)), at_once=at_once) is not None) is refused


@pytest.mark.parametrize(
    ("name", "print_", "refused"),
    [
        # The uid decides, whatever the resource group of the nodes is by now.
        ("a", {"k8s": ONE, "arm": "s/g2"}, False),
        ("a", {"k8s": OTHER, "arm": "s/g1"}, True),
        # Without a uid in both, the group does.
        ("a", {"arm": "s/g2"}, True),
        ("a", {"arm": "s/g1"}, False),
        ("b", {"arm": "s/g1"}, True),
        # A cluster that was made anew in the same group, under a name of its own.
        ("b", {"k8s": OTHER, "arm": "s/g1"}, False),
        ("b", {"k8s": ONE, "arm": "s/g2"}, True),
        ("b", {"nodes": ["n1"], "volumes": ["v1"]}, False),
        ("a", {"nodes": ["n2"], "volumes": ["v2"]}, False),
    ],
)
def test_the_surest_scheme_that_both_have_decides(name: str, print_: dict[str, Any], *, refused: bool) -> None:
    """Sets of nodes and volumes never refuse."""
    there = NameEntry("a", {"k8s": ONE, "arm": "s/g1", "nodes": ["n1"], "volumes": ["v1"]}, FIRST, FIRST)
    assert (refusal(Source(name, fingerprint=print_), [there]) is not None) is refused


def test_a_cluster_that_was_adopted_again_stands_from_then_on() -> None:
    """One cluster, then another, then the first again: the last adoption decides, though the first is older."""
    first, second = FIRST, FIRST + timedelta(days=1)
    entries = [
        NameEntry("a", {"k8s": ONE}, first, second + timedelta(days=1), adopted=True),
        NameEntry("a", {"k8s": OTHER}, second, second, adopted=True),
    ]
    assert refusal(Source("a", fingerprint={"k8s": ONE}), entries) is None
    assert refusal(Source("a", fingerprint={"k8s": OTHER}), entries) is not None


def test_adopt_does_not_accept_a_name_that_differs_only_in_case() -> None:
    """A cluster may be made anew or be renamed; a second spelling is a mistake."""
    with World(tables=False) as world, world.client() as kusto:
        identity = Identity(kusto, Source("A", fingerprint={"k8s": OTHER}), new_run(), adopt=True)
        assert identity.decide([recorded("a", ONE, 1)]) is None
        assert isinstance(identity.refused, UsageError)


def test_two_clusters_at_once_under_a_new_name_are_not_both_loaded() -> None:
    """A cluster that takes the same name between the look and the entry of this one is seen before anything is sent."""
    with World() as world, world.client() as kusto:
        mine, theirs = (Identity(kusto, Source("prod", fingerprint={"k8s": one}), new_run()) for one in (ONE, OTHER))
        queried: list[Any] = []

        class Between(type(kusto)):  # type: ignore[misc]
            """A Kusto that another cluster writes to after the first look."""

            def query(self, text: str, *, fresh: bool = False) -> Any:
                queried.append(kusto.query(text, fresh=fresh))
                if len(queried) == 1:
                    theirs.hold()
                return queried[-1]

            def command(self, text: str, *, retry: bool = True, creates: bool = False) -> Any:
                return kusto.command(text, retry=retry, creates=creates)

        mine.kusto = Between.__new__(Between)
        with pytest.raises(KustoError, match="another cluster"):
            mine.hold()
        theirs = replace(theirs, held=False)
        theirs.hold()


@pytest.mark.parametrize(
    ("name", "first", "then", "warned"),
    [
        ("default-cluster", None, cluster(None), "default-cluster is a name that many clusters have"),
        ("default-cluster", cluster(None), cluster(None), None),
        ("prod", cluster(None, nodes=("n1", "n2")), cluster(None, nodes=("n2", "n3")), None),
        ("prod", cluster(None, nodes=("n1",), volumes=("v1",)), cluster(None, nodes=("n3",), volumes=("v1",)), None),
        (
            "prod",
            cluster(None, volumes=("v1",)),
            cluster(None, volumes=("v2",)),
            "None of the volumes that the run log has",
        ),
        ("prod", cluster(ONE, volumes=("v1",)), cluster(ONE, volumes=("v2",)), None),
    ],
)
def test_what_may_be_another_cluster_is_warned_of(
    name: str, first: Responder | None, then: Responder, warned: str | None
) -> None:
    """Sets of nodes and volumes without anything in common warn, as does a vague name at the first contact."""
    with World(responder=first or then) as world:
        if first is not None:
            world.sync(cluster=name)
        world.opencost.responder = then
        report = world.sync(cluster=name)
        assert report.exit_code == 0
        assert [one[: len(warned or "")] for one in report.document()["warnings"]] == ([warned] if warned else [])


def test_a_set_that_has_changed_is_written_again() -> None:
    """After node rolls the run log has the nodes of today, so that those of a year ago need not be there."""
    with World(responder=cluster(None, nodes=("n1", "n2", "n3"))) as world:
        for nodes in (("n2", "n3", "n4"), ("n4", "n5", "n6"), ("n6", "n7", "n8")):
            world.sync(cluster="prod")
            world.opencost.responder = cluster(None, nodes=nodes)
        assert world.sync(cluster="prod").warnings == []
        assert len(world.identities()) == 3


def test_no_command_loads_a_cluster_under_the_name_of_another() -> None:
    """Of several sources the refused one fails alone; a backfill, which is requested by hand, ends with the reason."""
    target, now = Target(timedelta(hours=1), ("allocation",), NAMESPACES), HOUR.end + timedelta(minutes=15)
    with World(responder=cluster(ONE)) as world, world.client() as kusto:
        world.sync(cluster="prod")
        world.opencost.responder = cluster(OTHER)
        with world.source("prod") as prod, world.source("new") as new:
            world.opencost.requests.clear()
            fleet = sync_all([prod, new], kusto, SyncRequest(HOUR, None, ("allocation",), NAMESPACES))
            assert [one.path for one in world.opencost.requests].count("/allocation") == 1
            run, lookback = Run("tick", now, "1.0"), Lookback(timedelta(hours=3))
            ticked = tick([prod, new], kusto, target, lookback, run=run)
            world.opencost.requests.clear()
            assert tick([prod], kusto, target, lookback, run=run).exit_code == 5
            assert "/allocation" not in [one.path for one in world.opencost.requests]
            for report in (fleet, ticked):
                found = {one.source: (one.outcome, one.reason_code) for one in report.results}
                assert found == {"prod": ("failed", "other cluster"), "new": ("landed", None)}
                assert report.exit_code == 7
            day = Window(HOUR.start.replace(hour=0), HOUR.end)
            with pytest.raises(KustoError, match="another cluster under the name prod"):
                survey([prod], kusto, target, day, now=now, closed=now)
            surveyed = survey([prod, new], kusto, target, day, now=now, closed=now)
            backfilled = backfill(surveyed, kusto, run=Run("backfill", now, "1.0"))
            found = {one.source: (one.outcome, one.reason_code) for one in backfilled.results}
            assert found["prod"] == ("failed", "other cluster")
        (kept,) = world.query('OpenCostAllocation | where Source == "prod" | count')
        assert kept["Count"] == ROWS


def test_a_scheme_that_is_new_is_written() -> None:
    """An upgrade of OpenCost that adds the uid records it: the next cluster of the name is then refused."""
    with World(responder=cluster(None, nodes=("n1",))) as world:
        world.sync(cluster="prod")
        world.opencost.responder = cluster(ONE, nodes=("n1",))
        world.sync(cluster="prod")
        assert [one["Fingerprint"].get("k8s") for one in world.identities()] == [None, ONE]
        world.opencost.responder = cluster(OTHER, nodes=("n1",))
        with pytest.raises(KustoError, match="another cluster"):
            world.sync(cluster="prod")


def test_a_source_is_held_against_its_name_before_the_first_batch_where_kusto_was_down(tmp_path: Path) -> None:
    """Kusto cannot be read at the start: with a spool OpenCost is read, and nothing is sent of another cluster."""
    with World(responder=cluster(ONE)) as world:
        world.sync(cluster="prod")
        landed, world.opencost.responder = world.count(), cluster(OTHER)

        def down_until_opencost_responds(_: Request) -> Reply | None:
            requested = any(one.path == "/allocation" for one in world.opencost.requests)
            return None if requested else text_reply("down", status=403)

        world.opencost.requests.clear()
        world.kusto.fault = down_until_opencost_responds
        report = world.sync(cluster="prod", spool=tmp_path)
        assert [(one.outcome, one.reason_code) for one in report.results] == [("failed", "other cluster")]
        world.settle(landed)
        with world.client() as kusto:
            (again,) = replay(tmp_path, kusto).results
            assert (again.outcome, again.reason_code) == ("failed", "other cluster")
            world.opencost.responder = cluster(OTHER)
            world.sync(cluster="prod", adopt=True)
            assert replay(tmp_path, kusto).exit_code == 0
        world.settle(ROWS)


def test_a_source_whose_entry_cannot_be_written_is_not_loaded() -> None:
    """Without an entry of the first contact, a second cluster of the name could not be distinguished."""
    with World(responder=cluster(ONE)) as world:
        denied = text_reply("denied", status=403)
        world.kusto.fault = lambda request: denied if b".set-or-append" in request.body else None
        report = world.sync(cluster="prod")
        assert [one.reason_code for one in report.results] == [ReasonCode.FORBIDDEN]
        world.settle(0)
