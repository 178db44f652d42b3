"""Computed responses have the keys, their order and the JSON types of recorded ones, for each version."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest

from opencost_kusto.emulator.opencost.allocation import PROPERTIES
from tests.emulator.opencost.conftest import Requested
from tests.support.recordings import ALL_VERSIONS, recording

HOUR = "window=2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"
DAY = "window=2026-11-23T00:00:00Z,2026-11-24T00:00:00Z"
ALLOCATION = {
    "allocation_hour.json": f"/allocation?{HOUR}",
    "allocation_hour_idle.json": f"/allocation?{HOUR}&includeIdle=true",
    "allocation_hour_agg_namespace.json": f"/allocation?{HOUR}&aggregate=namespace",
    "allocation_hour_agg_node.json": f"/allocation?{HOUR}&aggregate=node",
    "allocation_hour_agg_service.json": f"/allocation?{HOUR}&aggregate=service",
    "allocation_hour_agg_foo.json": f"/allocation?{HOUR}&aggregate=foo",
    "allocation_hour_idle_namespace.json": f"/allocation?{HOUR}&aggregate=namespace&includeIdle=true",
    "allocation_hour_idle_share_namespace.json": (
        f"/allocation?{HOUR}&aggregate=namespace&includeIdle=true&shareIdle=true"
    ),
    "allocation_hour_metadata_namespace.json": (
        f"/allocation?{HOUR}&aggregate=namespace&includeAggregatedMetadata=true"
    ),
    "allocation_day_step1h_accumulate.json": f"/allocation?{DAY}&step=1h&aggregate=namespace&accumulate=true",
    "allocation_2days_namespace.json": (
        "/allocation?window=2026-11-22T00:00:00Z,2026-11-24T00:00:00Z&aggregate=namespace"
    ),
}
# What a name stands for differs from row to row.
_MAPS = {"pvs", "lbAllocations", "labels", "annotations", "namespaceLabels", "namespaceAnnotations", "properties"}
Keys = dict[str, set[tuple[str, ...]]]
Types = dict[str, set[str]]


def _type(value: Any) -> str:
    if value is None or isinstance(value, (bool, str, list, dict)):
        return type(value).__name__
    return "number"


def structure(rows: Iterable[dict[str, Any]]) -> tuple[Keys, Types]:
    """The orders in which keys come, and the JSON types of their values, by path."""
    orders: Keys = defaultdict(set)
    types: Types = defaultdict(set)

    def visit(path: str, value: Any) -> None:
        types[path].add(_type(value))
        if not isinstance(value, dict):
            return
        last = path.rpartition(".")[2]
        if last not in _MAPS:
            orders[path].add(tuple(value))
        for key, each in value.items():
            visit(f"{path}.*" if last in _MAPS and last != "properties" else f"{path}.{key}", each)

    for row in rows:
        visit("", row)
    return orders, types


@pytest.mark.parametrize("version", ALL_VERSIONS)
@pytest.mark.parametrize("name", ALLOCATION)
def test_allocation_rows(version: str, name: str) -> None:
    """The same kinds of rows: keys and their order, types, and properties, each computed kind among the recorded."""
    computed = json.loads(Requested(version).body(ALLOCATION[name]))
    recorded = json.loads(recording(version, name))
    assert list(computed) == list(recorded)
    assert len(computed["data"]) == len(recorded["data"])
    rows = [row for one in computed["data"] for row in one.values()]
    orders, types = structure(rows)
    expected_orders, expected_types = structure(row for one in recorded["data"] for row in one.values())
    for path, found in orders.items():
        assert found <= expected_orders[path], path
    assert set(orders[""]) == set(expected_orders[""])
    for path, kinds in types.items():
        # Merged GPU figures depend on the order of merging in the true server.
        if not path.startswith((".properties.", ".gpuAllocation")):
            assert kinds <= expected_types[path], path
    assert {path for path in expected_types if path.count(".") == 1} == {path for path in types if path.count(".") == 1}
    for row in rows:
        assert list(row["properties"]) == [each for each in PROPERTIES if each in row["properties"]]
    for one in computed["data"]:
        assert list(one) == sorted(one)
        assert all(row["name"] == key for key, row in one.items())


@pytest.mark.parametrize("version", ALL_VERSIONS)
@pytest.mark.parametrize("name", ["assets_hour.json", "assets_window_1h.json"])
def test_assets(version: str, name: str) -> None:
    """Every type of asset with its keys in their order, its types, and its key made of its properties."""
    computed = json.loads(Requested(version).body("/assets?window=1h" if "1h" in name else f"/assets?{HOUR}"))
    recorded = json.loads(recording(version, name))
    assert list(computed) == list(recorded)
    kinds = {asset["type"] for asset in recorded["data"].values()}
    assert {asset["type"] for asset in computed["data"].values()} == kinds
    for kind in kinds:
        ours = structure(asset for asset in computed["data"].values() if asset["type"] == kind)
        theirs = structure(asset for asset in recorded["data"].values() if asset["type"] == kind)
        assert ours[0] == theirs[0]
        assert {path: found for path, found in ours[1].items() if ".labels" not in path} == {
            path: found for path, found in theirs[1].items() if ".labels" not in path
        }
    for key, asset in computed["data"].items():
        held = asset["properties"]
        parts = [held.get(name, "__undefined__") for name in ("provider", "account", "project", "category", "cluster")]
        parts += [asset["type"], held["service"]]
        assert key.startswith("/".join(parts))
        assert key.endswith(held.get("name", "__undefined__"))


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_an_os_disk_is_named_as_recorded(version: str) -> None:
    """The key of the disk of the first cluster's system node, which has another form in 1.119."""
    key = next(key for key in json.loads(recording(version, "assets_hour.json"))["data"] if "Disk/Kubernetes/a" in key)
    assert key in json.loads(Requested(version).body(f"/assets?{HOUR}"))["data"]


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_numbers_are_written_as_recorded(version: str) -> None:
    """No exponents; six decimals in /assets, but for fractions; no `.0` in /allocation."""
    allocation = Requested(version).body(f"/allocation?{HOUR}")
    assets = Requested(version).body(f"/assets?{HOUR}")
    for body, name in ((allocation, "allocation_hour.json"), (assets, "assets_hour.json")):
        for text in (body, recording(version, name)):
            assert not re.search(rb":-?\d[\d.]*e[+-]?\d", text)
    assert not re.search(rb":-?\d+\.0[,}]", allocation)
    assert re.search(rb'"totalCost":\d+\.\d{6}[,}]', assets)
    assert not re.search(rb'"totalCost":\d+(\.\d{0,5})?[,}]', assets)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_summary_rows(version: str) -> None:
    """The summary's object, sets and rows."""
    computed = json.loads(Requested(version).body(f"/allocation/summary?{HOUR}&aggregate=namespace"))
    recorded = json.loads(recording(version, "allocation_summary.json"))
    for ours, theirs in ((computed, recorded), (computed["data"], recorded["data"])):
        assert list(ours) == list(theirs)
    [ours], [theirs] = computed["data"]["sets"], recorded["data"]["sets"]
    assert list(ours) == list(theirs)
    assert computed["data"]["step"] == recorded["data"]["step"]
    found, expected = structure(ours["allocations"].values()), structure(theirs["allocations"].values())
    assert found[0] == expected[0]
    # A merged row has GPU figures or null by the order of merging in the true server.
    assert all(kinds <= expected[1][path] for path, kinds in found[1].items() if path != ".gpuUsageAverage")


@pytest.mark.parametrize("version", ALL_VERSIONS)
@pytest.mark.parametrize("name", ["clusterinfo.json", "clusterinfomap.json", "healthz.txt", "notfound.txt"])
def test_what_does_not_move_has_the_recorded_bytes(version: str, name: str) -> None:
    """/clusterInfo, /clusterInfoMap, /healthz and an unknown path, of the cluster that was recorded."""
    paths = {"clusterinfo.json": "/clusterInfo", "clusterinfomap.json": "/clusterInfoMap", "healthz.txt": "/healthz"}
    assert Requested(version).body(paths.get(name, "/nosuchpath")) == recording(version, name)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_custom_costs_are_off(version: str) -> None:
    """The recorded document, with the recorded content type; of 1.111 there is none, so that of 1.112."""
    reply = Requested(version).reply("/customCost/status")
    recorded = recording("1.112" if version == "1.111" else version, "customcost_status.txt")
    assert reply.body == recorded
    assert reply.headers["Content-Type"].startswith("application/json" if version == "1.119" else "text/plain")


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_install_info(version: str) -> None:
    """The containers of the monitoring namespace, counts as text, and the version that was recorded."""
    computed = json.loads(Requested(version).body("/installInfo"))
    recorded = json.loads(recording(version, "installinfo.json"))
    assert structure([computed]) == structure([recorded])
    assert computed["version"] == recorded["version"]


REFUSALS = {
    "allocation_window_bad.txt": ("/allocation?window=banana", 400),
    "allocation_window_missing.txt": ("/allocation", 400),
    "allocation_window_reversed.json": ("/allocation?window=2026-11-23T11:00:00Z,2026-11-23T10:00:00Z", 500),
    "allocation_window_empty.json": ("/allocation?window=2026-11-23T10:00:00Z,2026-11-23T10:00:00Z", 200),
    "allocation_before_data.json": ("/allocation?window=2026-10-01T00:00:00Z,2026-10-01T01:00:00Z", 200),
    "assets_before_data.json": ("/assets?window=2026-10-01T00:00:00Z,2026-10-01T01:00:00Z", 200),
    "allocation_hour_parc_noidle.json": (
        f"/allocation?{HOUR}&aggregate=namespace&includeProportionalAssetResourceCosts=true",
        400,
    ),
    "assets_window_bad.txt": ("/assets?window=banana", 400),
    "assets_filter_bad.txt": (f"/assets?{HOUR}&filter=banana", 500),
    "assets_filter_disk_upper.json": (f"/assets?{HOUR}&filter=assetType:%22Disk%22", 200),
}


@pytest.mark.parametrize("version", ALL_VERSIONS)
@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_and_empty_responses_have_the_recorded_bytes(version: str, name: str) -> None:
    """Status and body of bad windows and filters, of hours without data and of windows without length."""
    target, status = REFUSALS[name]
    reply = Requested(version).reply(target)
    assert (reply.status, reply.body) == (status, recording(version, name))


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_metrics(version: str) -> None:
    """Each family of nodes, containers, objects and prices, with the recorded label names."""

    def families(text: str) -> dict[str, set[frozenset[str]]]:
        found: dict[str, set[frozenset[str]]] = defaultdict(set)
        for name, labels in re.findall(r"^([a-zA-Z_]+)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
            names = re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="', labels)
            found[name].add(frozenset(each for each in names if not each.startswith(("label_", "annotation_"))))
        # A failed job was there when 1.111 was recorded.
        found.pop("kube_job_status_failed", None)
        telemetry = ("go_", "process_", "promhttp_", "kubecost_http_")
        return {name: labels for name, labels in found.items() if not name.startswith(telemetry)}

    recorded = families(recording(version, "metrics.txt").decode())
    assert families(Requested(version).body("/metrics").decode()) == recorded
