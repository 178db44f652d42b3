"""One name, one cluster: what the run log knows of a name is held against the cluster that responds."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from opencost_kusto.emulator import Answers, json_reply
from opencost_kusto.errors import KustoError, OpenCostKustoError, UsageError
from tests.support.world import World

ONE, OTHER = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def namespaces(uid: str | None) -> Answers:
    """Derived from facts/identity: /allNamespaces of a cluster with this uid; None has no such route."""
    items = [{"metadata": {"name": "default", "uid": "x"}}, {"metadata": {"name": "kube-system", "uid": uid}}]
    body = json.dumps({"items": items}).encode()
    return lambda path, _: json_reply(body) if uid and path == "/allNamespaces" else None


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One cluster has landed as prod."""
    with World(answers=namespaces(ONE)) as world:
        assert world.sync(cluster="prod").exit_code == 0
        yield world


@pytest.mark.parametrize(
    ("name", "uid", "said"),
    [
        ("prod", ONE, None),
        ("prod", None, None),
        ("other", OTHER, None),
        ("other", None, None),
        ("prod", OTHER, "another cluster under the name prod.* uid " + ONE + ".*--cluster, or confirm with --adopt"),
        ("new", ONE, "the costs of this cluster under the name prod; under new .* Use --cluster prod"),
        ("PROD", OTHER, "The cluster PROD differs from prod, which Kusto has, only in case"),
        ("PROD", None, "only in case"),
    ],
)
def test_a_cluster_is_what_its_name_stands_for(world: World, name: str, uid: str | None, said: str | None) -> None:
    """Growth, upgrades and a version without uids pass; another cluster, another name and a case twin do not."""
    world.opencost.answers = namespaces(uid)
    world.opencost.requests.clear()
    if said is None:
        assert world.sync(cluster=name).exit_code == 0
        return
    with pytest.raises((KustoError, UsageError), match=said) as caught:
        world.sync(cluster=name)
    assert isinstance(caught.value, OpenCostKustoError)
    assert caught.value.exit_code == (2 if isinstance(caught.value, UsageError) else 5)
    assert not [request for request in world.opencost.requests if request.path == "/allocation"]


def test_a_cluster_made_anew_is_adopted_once() -> None:
    """--adopt accepts the new cluster under its old name; from then on the name stands for it."""
    with World(answers=namespaces(ONE)) as world:
        world.sync(cluster="prod")
        world.opencost.answers = namespaces(OTHER)
        assert world.sync(cluster="prod", adopt=True).exit_code == 0
        assert world.sync(cluster="prod").exit_code == 0
        world.opencost.answers = namespaces(ONE)
        with pytest.raises(KustoError, match="another cluster"):
            world.sync(cluster="prod")
