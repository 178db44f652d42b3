"""What a Kusto may do by its documentation, switched on: no outcome is worse, and none is untrue."""

from __future__ import annotations

import json

import pytest

from opencost_kusto.emulator import Behaviour, Reply, json_reply
from opencost_kusto.pipeline.request import SyncRequest
from tests.faults.ending import Ending, fault
from tests.support.recordings import recording
from tests.support.world import HOUR, NAMESPACES, PATIENT, ROWS, World, result_of

SEVERAL = SyncRequest(HOUR, None, ("allocation", "assets", "metrics"), NAMESPACES)


def test_one_slot_takes_several_batches(world: World) -> None:
    """The smallest cluster ingests one blob after the other; the timeout counts from the last landing.

    https://learn.microsoft.com/kusto/management/capacity-policy
    """
    world.kusto.behaviour = Behaviour(slot_seconds=0.1)
    report = world.sync(request=SEVERAL, timeout=60, deadlines=PATIENT)
    assert (report.exit_code, report.counts) == (0, {"landed": 3})


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour(stale_reads=1.0, stale_seconds=30.0), Behaviour(cached_seconds=60.0)],
    ids=["a workload group with weak consistency", "a workload group with cached results"],
)
def test_what_proves_is_strong_and_fresh(world: World, behaviour: Behaviour) -> None:
    """Landed, already landed and replaced, whatever a workload group sets.

    https://learn.microsoft.com/kusto/management/query-consistency-policy
    """
    world.kusto.behaviour = behaviour
    assert result_of(world.sync()).outcome == "landed"
    again = world.sync(replace=True)
    assert (result_of(again).outcome, again.exit_code) == ("already landed", 0)


@fault(
    "The ingestion service refuses a blob, and lists it nowhere",
    "timed out",
    exit_code=6,
    says="not landed within … s of the last landing: Kusto lists no failure: the blob is still queued, or the "
    "ingestion service refused it (rights, limits). Run again later.",
)
def test_a_refusal_that_shows_nowhere(world: World, ending: Ending) -> None:
    """The command covers the engine alone: https://learn.microsoft.com/kusto/management/ingestion-failures."""
    world.kusto.behaviour = Behaviour(unlisted_refusals=1.0)
    ending.result_of(world.sync(timeout=1))
    world.kusto.behaviour = Behaviour()
    assert result_of(world.sync()).outcome == "landed"


def test_tags_and_extents_change_under_way(world: World) -> None:
    """Extents merge and compact, and tags expire, at any request: a batch lands once, and is found again."""
    world.kusto.behaviour = Behaviour(merges=1.0, compactions=1.0, tags_expire=True)
    report = world.sync(request=SEVERAL, timeout=60, deadlines=PATIENT)
    assert report.counts == {"landed": 3}
    again = world.sync("allocation", "assets", deadlines=PATIENT)
    assert again.counts == {"already landed": 2}
    world.settle(ROWS)


def test_a_source_with_a_blank_in_its_name(world: World) -> None:
    """Tags are parted by line breaks, so a name with a blank keeps its guard; its neighbour still lands once."""
    for cluster in ("prod west", "prod"):
        # The emulators answer for one cluster, under whichever name.
        assert result_of(world.sync(cluster=cluster, adopt=True)).outcome == "landed"
        again = world.sync(cluster=cluster, replace=True)
        assert (result_of(again).outcome, again.exit_code) == ("already landed", 0)


def heavy(path: str, _: object) -> Reply | None:
    """Derived from the recorded hour: one namespace with an annotation of more than 1 MiB."""
    if path != "/allocation":
        return None
    response = json.loads(recording("1.112", "allocation_hour_agg_namespace.json"))
    record = next(iter(response["data"][0].values()))
    record["properties"]["namespaceAnnotations"] = {"note": "x" * (1 << 20)}
    return json_reply(json.dumps(response, separators=(",", ":")).encode())


def test_a_value_that_kusto_drops(world: World) -> None:
    """The row lands and is proven, the value is null, and the run says so.

    https://learn.microsoft.com/kusto/query/scalar-data-types/dynamic
    """
    world.opencost.responder = heavy
    landed = result_of(world.sync())
    assert (landed.outcome, landed.rows) == ("landed", ROWS)
    [note] = [note for note in landed.notes if "1 MiB" in note]
    assert note.startswith("a row has 1,05")
    assert len(world.query("OpenCostAllocation | where isnull(Properties)")) == 1
    world.opencost.responder = None
