"""What identifies a cluster is read from two routes, whichever an OpenCost has (facts of 1.111, 1.112 and 1.119)."""

from __future__ import annotations

import json
import random

import pytest

from opencost_kusto.extract.fingerprint import ARM, NODES, UID, VOLUMES, of_metrics, of_namespaces

SYSTEM = 'kube_namespace_labels{namespace="kube-system",uid="u1"} 1'
GROUPED = 'node_total_hourly_cost{{node="{0}",provider_id="azure:///subscriptions/S1/resourceGroups/{1}/x/{0}"}} {2}'
VOLUME = 'kube_persistentvolume_capacity_bytes{{persistentvolume="{0}"}} 1'


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            {"items": [{"metadata": {"name": "a", "uid": "x"}}, {"metadata": {"name": "kube-system", "uid": "u1"}}]},
            "u1",
        ),
        ({"items": [{"metadata": {"name": "a", "uid": "x"}}]}, None),
        ({"items": [{"metadata": {"name": "kube-system"}}]}, None),
        ({"items": []}, None),
        ({"items": "none"}, None),
        ([], None),
    ],
)
def test_the_uid_of_kube_system_is_in_the_list_of_namespaces(body: object, found: str | None) -> None:
    """The uid of another namespace is none, and another shape says nothing."""
    assert of_namespaces(json.dumps(body).encode()) == ({UID: found} if found else {})
    assert of_namespaces(b"404 page not found") == {}


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([SYSTEM], {UID: "u1"}),
        (['kube_namespace_labels{uid="u1",label_a="b\\"}c",namespace="kube-system"} 1'], {UID: "u1"}),
        (['kube_namespace_labels{namespace="default",uid="u2"} 1', SYSTEM], {UID: "u1"}),
        (['kube_namespace_labels{namespace="default",uid="u2"} 1'], {}),
        (['kube_namespace_labels{namespace="kube-system",uid=""} 1'], {}),
        ([GROUPED.format("n1", "MC_A", 1)], {ARM: "s1/mc_a", NODES: ["n1"]}),
        ([GROUPED.format("n1", "MC_A", 1), GROUPED.format("n2", "mc_a", 1)], {ARM: "s1/mc_a", NODES: ["n1", "n2"]}),
        # Two groups do not say which is the cluster's own.
        ([GROUPED.format("n1", "MC_A", 1), GROUPED.format("n2", "MC_B", 1)], {NODES: ["n1", "n2"]}),
        (['node_total_hourly_cost{node="n1",provider_id="i-0abc"} 1'], {NODES: ["n1"]}),
        (['node_total_hourly_cost{instance="n1"} 1'], {NODES: ["n1"]}),
        ([VOLUME.format("v1"), VOLUME.format("")], {VOLUMES: ["v1"]}),
        (["up 1", "# HELP node_total_hourly_cost x"], {}),
    ],
)
def test_a_scrape_identifies_its_cluster(lines: list[str], found: dict[str, object]) -> None:
    """Each scheme by its own sample, wherever the chunks end; what a scrape does not have is left out."""
    body = "\n".join(lines).encode()
    for size in (1, 7, 1000):
        scraped = of_metrics(body[at : at + size] for at in range(0, len(body), size)).fingerprint
        assert {name: sorted(one) if isinstance(one, list) else one for name, one in scraped.items()} == found


def test_prices_are_by_the_id_of_the_cloud_or_by_name() -> None:
    """The price of a node that has no id is found by its name, and what is no number is no price."""
    lines = [
        GROUPED.format("n1", "g", "0.25"),
        'node_total_hourly_cost{node="n2"} 0.5',
        'node_total_hourly_cost{node="n3"} x',
    ]
    prices = of_metrics(["\n".join(lines).encode()]).prices
    assert prices == {"azure:///subscriptions/S1/resourceGroups/g/x/n1": 0.25, "n2": 0.5, "n3": 0.0}


def test_of_many_names_the_same_few_are_kept() -> None:
    """Fifty of a large set, in one order whatever the scrape's, spread over it, so that a set that grows keeps most."""
    names = [f"pvc-{number:04}" for number in range(1000)]
    lines = [VOLUME.format(name) for name in names]
    kept = of_metrics(["\n".join(lines).encode()]).fingerprint[VOLUMES]
    random.Random(0).shuffle(lines)
    assert of_metrics(["\n".join(lines).encode()]).fingerprint[VOLUMES] == kept
    assert len(kept) == 50
    assert len([name for name in kept if name < "pvc-0500"]) in range(10, 40)
    grown = of_metrics(["\n".join([*lines, *(VOLUME.format(f"new-{n}") for n in range(100))]).encode()]).fingerprint
    assert len(set(grown[VOLUMES]) & set(kept)) > 30
