"""What a request to the computed OpenCost returns: routes, relative windows, options by version, filters, retention."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import requests

from opencost_kusto.emulator import BUILT_IN_STORE, OpenCostEmulator
from opencost_kusto.emulator.http import CloseConnection
from opencost_kusto.emulator.opencost.fleet import NAMES
from opencost_kusto.errors import UsageError
from tests.emulator.opencost.conftest import NOW, Requested, Sets
from tests.support.recordings import ALL_VERSIONS

HOUR = "window=2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"


@pytest.mark.parametrize(
    ("word", "start", "end"),
    [
        ("1h", "24T05:00", "24T06:00"),
        ("30m", "24T05:17", "24T05:47"),
        ("1d", "24T00:00", "25T00:00"),
        ("2d", "23T00:00", "25T00:00"),
        ("today", "24T00:00", "25T00:00"),
        ("yesterday", "23T00:00", "24T00:00"),
        ("week", "22T00:00", "24T05:46"),
        ("lastweek", "15T00:00", "22T00:00"),
        ("month", "01T00:00", "24T05:46"),
        ("1w", "18T00:00", "25T00:00"),
        ("1795428000,1795431600", "23T10:00", "23T11:00"),
    ],
)
def test_relative_windows(opencost: Requested, word: str, start: str, end: str) -> None:
    """Durations end with the unfinished unit, weeks begin on Sunday, `week` and `month` end now; as recorded."""
    [rows] = json.loads(opencost.body(f"/allocation?window={word}&aggregate=cluster"))["data"]
    [row] = rows.values()
    expected = [f"2026-11-{bound}" for bound in (start, end)]
    assert [row["window"][bound][:16] for bound in ("start", "end")] == expected


@pytest.mark.parametrize(
    "text", ["2026-11-23T10:00:00+01:00,2026-11-23T11:00:00Z", "2026-11-23T10:00:00.0Z,2026-11-23T11:00:00Z", "1y", ""]
)
def test_illegal_windows(opencost: Requested, text: str) -> None:
    """Offsets, fractions and unknown units are 400 on /allocation and /assets; the summary closes the connection."""
    assert opencost.reply(f"/allocation?window={text}").status == 400
    assert opencost.reply(f"/assets?window={text}").status == 400
    with pytest.raises(CloseConnection):
        opencost.reply(f"/allocation/summary?window={text}")


def test_steps(opencost: Requested) -> None:
    """The last set runs past the end, a step that cannot be read is the window, and the future is empty."""
    sets = opencost.sets("23T00:00", "24T00:00", step="5h", aggregate="cluster")
    assert [one["aks-shop-prod-weu"]["window"]["end"][8:13] for one in sets] == [
        *("23T05", "23T10", "23T15", "23T20", "24T01")
    ]
    assert len(opencost.sets("23T10:00", "23T11:00", step="banana")) == 1
    assert [bool(one) for one in opencost.sets("24T04:00", "24T08:00", step="1h")] == [True, True, False, False]
    assert opencost.sets("25T00:00", "25T01:00") == [{}]
    assert opencost.assets("25T00:00", "25T01:00") == {}


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_idle_is_the_unused_cost_of_the_nodes(version: str) -> None:
    """Idle and the allocated cores, memory and GPUs are the cost of the nodes in /assets."""
    opencost = Requested(version)
    [rows] = opencost.sets("23T10:00", "23T11:00", includeIdle="true", aggregate="namespace")
    nodes = [one for one in opencost.assets("23T10:00", "23T11:00").values() if one["type"] == "Node"]
    resources = sum(row["cpuCost"] + row["ramCost"] + row["gpuCost"] for row in rows.values())
    assert resources == pytest.approx(sum(node["totalCost"] for node in nodes), abs=2e-4)
    assert rows["__idle__"]["totalCost"] > 0


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_shared_idle_by_version(version: str) -> None:
    """1.111 ignores `shareIdle`; the others spread idle by cluster, or by node with `idleByNode`."""
    opencost = Requested(version)

    def requested(**more: str) -> Sets:
        return opencost.sets("23T10:00", "23T11:00", aggregate="node", includeIdle="true", **more)

    [plain], [shared], [by_node] = (
        requested(),
        requested(shareIdle="true"),
        requested(shareIdle="true", idleByNode="true"),
    )
    total = sum(row["totalCost"] for row in plain.values())
    if version == "1.111":
        assert plain == shared == by_node
        return
    assert "__idle__" not in shared | by_node
    assert sum(row["totalCost"] for row in shared.values()) == pytest.approx(total, abs=1e-4)
    assert sum(row["totalCost"] for row in by_node.values()) == pytest.approx(total, abs=1e-4)
    assert any(abs(shared[name]["cpuCost"] - row["cpuCost"]) > 0.01 for name, row in by_node.items())
    nodes = [one for one in opencost.assets("23T10:00", "23T11:00").values() if one["type"] == "Node"]
    for node in nodes:
        name = node["properties"]["name"]
        assert by_node[name]["cpuCost"] == pytest.approx(node["cpuCost"], abs=1e-5)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_filters_by_version(version: str) -> None:
    """1.119 filters containers before it groups them, and drops sets and idle; older ones ignore `filter`."""
    opencost = Requested(version)
    [plain] = opencost.sets("23T10:00", "23T11:00", aggregate="namespace", includeIdle="true")
    named = opencost.sets(
        "23T10:00", "23T11:00", aggregate="namespace", includeIdle="true", filter='namespace:"shop","data"'
    )
    if version != "1.119":
        assert named == [plain]
        assert opencost.reply(f"/allocation?{HOUR}&filter=banana").status == 200
        return
    assert named == [{name: plain[name] for name in ("data", "shop")}]
    assert opencost.sets("23T10:00", "23T11:00", filter='namespace:"nosuch"') == []
    refused = (
        opencost.reply(f"/allocation?{HOUR}&filter=banana"),
        opencost.reply(f"/allocation/summary?{HOUR}&filter=banana"),
    )
    assert [reply.status for reply in refused] == [500, 400]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('label[app]:"web"', {"web"}),
        ('label[app]:"web"|controllerName:"redis"', {"web", "redis"}),
        ('namespace:"shop"%2B(pod<~:"cart-"|pod~>:"shell")', {"cart", "debug-shell"}),
        ('namespace:"shop"%2Bpod!~:"-"', set()),
        ('services:"ingress-nginx-controller-admission"', {"ingress-nginx-controller"}),
        ('controllerKind!:"deployment","statefulset","daemonset","job"%2Bnode:"nosuch"', set()),
    ],
)
def test_the_filter_grammar(text: str, names: set[str]) -> None:
    """Fields, keyed fields, the operators, values in a list, and, or and parentheses."""
    sets = Requested("1.119").sets("23T10:00", "23T11:00", aggregate="pod", filter=text)
    found = {name for one in sets for name in one}
    assert {name for name in names if any(pod.startswith(name) for pod in found)} == names
    assert all(pod.startswith(tuple(names)) for pod in found)


@pytest.mark.parametrize("version", ALL_VERSIONS)
@pytest.mark.parametrize(("kind", "count"), [("node", 5), ("disk", 15), ("loadbalancer", 2), ("clustermanagement", 1)])
def test_assets_by_type(version: str, kind: str, count: int) -> None:
    """`assetType` in lower case, in every version; the management fee is 1.119's."""
    found = json.loads(Requested(version).body(f'/assets?{HOUR}&filter=assetType:"{kind}"'))["data"]
    expected = 0 if kind == "clustermanagement" and version != "1.119" else count
    assert {one["type"].lower() for one in found.values()} <= {kind}
    assert len(found) == expected


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_the_clusters_uid(version: str) -> None:
    """/allNamespaces has it in older versions, /metrics in newer ones, and clusters differ in it."""
    found = set()
    for name in NAMES:
        opencost = Requested(version, name)
        namespaces = opencost.reply("/allNamespaces")
        metrics = opencost.body("/metrics").decode()
        [line] = [each for each in metrics.splitlines() if 'namespace="kube-system"' in each and "ce_labels" in each]
        if version == "1.119":
            assert namespaces.status == 404
            found.add(line.partition('uid="')[2].partition('"')[0])
        else:
            assert "uid=" not in line
            items = json.loads(opencost.body("/allNamespaces"))["items"]
            found.update(one["metadata"]["uid"] for one in items if one["metadata"]["name"] == "kube-system")
    assert len(found) == 2
    assert all(len(uid) == 36 for uid in found)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_a_window_without_length(version: str) -> None:
    """/allocation answers []; /assets refuses it in older versions and closes the connection in newer ones."""
    target = "?window=2026-11-23T10:00:00Z,2026-11-23T10:00:00Z"
    opencost = Requested(version)
    assert json.loads(opencost.body(f"/allocation{target}"))["data"] == []
    if version == "1.119":
        with pytest.raises(CloseConnection):
            opencost.reply(f"/assets{target}")
    else:
        assert opencost.reply(f"/assets{target}").status == 500


def test_load_balancer_assets_by_version() -> None:
    """An hour is 0.005 in 1.119 and five minutes more in older versions."""
    costs = {
        version: {one["totalCost"] for one in Requested(version).assets("23T10:00", "23T11:00").values() if "ip" in one}
        for version in ALL_VERSIONS
    }
    assert costs == {"1.111": {0.005417}, "1.112": {0.005417}, "1.119": {0.005}}


def test_a_bare_replicaset_by_version() -> None:
    """Its pods have a controller up to 1.112."""
    for version in ALL_VERSIONS:
        [rows] = Requested(version).sets("23T10:00", "23T11:00", aggregate="controller")
        assert ("replicaset:cart" in rows) == (version != "1.119")


@pytest.mark.parametrize(
    ("length", "kept"), [(timedelta(minutes=10), 36), (timedelta(hours=1), 49), (timedelta(days=1), 15)]
)
def test_the_built_in_store_expires_windows(length: timedelta, kept: int) -> None:
    """So many windows of a length, the unfinished one included; older ones are empty on both paths.

    Derived from OpenCost's source, since no built-in store was recorded: Resolution.Limit in modules/collector-source/
    pkg/util/resolution.go, and queryCollector in pkg/collector/metricsquerier.go, for which a bucket that is gone is no
    error.
    """
    opencost = Requested("1.119", keeps=BUILT_IN_STORE)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    unfinished = epoch + (NOW - epoch) // length * length
    for back, there in ((0, True), (kept - 1, True), (kept, False)):
        start = unfinished - back * length
        window = ",".join(f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in (start, start + length))
        for path in ("/allocation", "/assets"):
            reply = opencost.reply(f"{path}?window={window}")
            data = json.loads(reply.body)["data"]  # type: ignore[arg-type]
            assert bool(data[0] if path == "/allocation" else data) == there, (path, back)
    older = json.loads(opencost.reply("/allocation?window=3d&step=1h").body)["data"]  # type: ignore[arg-type]
    assert [bool(one) for one in older].count(True) == 49
    assert opencost.reply("/allocation?window=30m").status == 501


def test_proportions_are_not_computed(opencost: Requested) -> None:
    """With idle, the one option that is not computed is refused with 501 and named."""
    name = "includeProportionalAssetResourceCosts"
    reply = opencost.reply(f"/allocation?{HOUR}&includeIdle=true&{name}=true")
    assert reply.status == 501
    assert name.encode() in bytes(reply.body)  # type: ignore[arg-type]


def test_the_clock_is_injected() -> None:
    """The Date header, the unfinished hour and this minute's metrics follow the clock that was handed in."""
    now = datetime(2031, 5, 17, 12, 34, 56, tzinfo=UTC)
    with OpenCostEmulator(clock=lambda: now) as opencost, requests.Session() as session:
        response = session.get(f"{opencost.url}/allocation?window=1h&aggregate=namespace", timeout=10)
        assert response.headers["Date"] == "Sat, 17 May 2031 12:34:56 GMT"
        assert response.json()["data"][0]["shop"]["end"] == "2031-05-17T12:35:00Z"
        before = session.get(f"{opencost.url}/metrics", timeout=10).text
        now += timedelta(minutes=40)
        assert session.get(f"{opencost.url}/metrics", timeout=10).text != before
        assert session.get(f"{opencost.url}/clusterInfo", timeout=10).headers["Date"].endswith("13:14:56 GMT")


def test_an_old_window_is_the_same_a_day_later() -> None:
    """The fourteen days are fixed when the emulator is made, so a closed window always has the same response."""
    today = Requested().sets("20T00:00", "21T00:00")
    assert Requested(now=NOW + timedelta(days=2)).sets("20T00:00", "21T00:00") == today


def test_an_unknown_cluster_is_refused() -> None:
    """A sentence that names the clusters."""
    with pytest.raises(UsageError, match=r"no cluster prod. Choose one of aks-shop-prod-weu, aks-research-dev-neu"):
        OpenCostEmulator(cluster="prod")
