"""What a real API server said, recorded by `python -m tests.kube --record`, is understood, and requested as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opencost_kusto.errors import ContentError, OpenCostError, ReasonCode
from opencost_kusto.extract.client import OpenCost
from tests.kube.play import play
from tests.kube.recorder import Exchange, Replay, kubeconfig, of_the_api, recorded
from tests.kube.scenarios import SCENARIOS, SERVICE, Scenario


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[one.name for one in SCENARIOS])
def test_a_recorded_api_server(scenario: Scenario, tmp_path: Path) -> None:
    """Every request is spelled as the real server was requested, and the end is the same."""
    with Replay(recorded(scenario.name)) as server:
        play(scenario, kubeconfig(tmp_path / "config", server.url, scenario.user))
    assert of_the_api(server.requested) == of_the_api(one.path for one in recorded(scenario.name))


UID = "75cd8cba-8ce8-ff68-2957-0f0b2515755c"
SYSTEM = "/api/v1/namespaces/kube-system"
NAMESPACE = Exchange(SYSTEM, 200, "application/json", json.dumps({"metadata": {"name": "kube-system", "uid": UID}}))
NO_RIGHT = next(one for one in recorded("forbidden-add-on") if one.status == 403)._replace(path=SYSTEM)


@pytest.mark.parametrize(
    ("system", "expected"), [(NAMESPACE, {"k8s": UID}), (NO_RIGHT, None)], ids=["read", "forbidden"]
)
def test_the_api_identifies_a_cluster_where_opencost_does_not(
    tmp_path: Path, system: Exchange, expected: dict[str, str] | None
) -> None:
    """Some versions of OpenCost have no uid; without the right to read the namespace there is none."""
    proxied = [one for one in recorded("service") if not one.path.endswith("/allNamespaces")]
    with Replay([*proxied, system]) as server:
        environment = {"KUBECONFIG": str(kubeconfig(tmp_path / "config", server.url))}
        with OpenCost(SERVICE, environment=environment, attempts=1) as client:
            assert client.source().fingerprint == expected


def test_a_portal_is_no_api_server(tmp_path: Path) -> None:
    """A server that returns a page instead of objects is named."""
    page = Exchange("/api/v1/services?labelSelector=app.kubernetes.io%2Fname%3Dopencost", 200, "text/html", "<html>")
    with Replay([page]) as server:
        environment = {"KUBECONFIG": str(kubeconfig(tmp_path / "config", server.url))}
        client = OpenCost("kube://", environment=environment, attempts=1)
        with client, pytest.raises(ContentError, match="is not what a Kubernetes API returns"):
            client.source()


SERVICES = "/api/v1/services?labelSelector=app.kubernetes.io%2Fname%3Dopencost"
PODS = f"{SYSTEM}/pods?labelSelector=app"
WEB = {"metadata": {"namespace": "cost", "name": "web"}, "spec": {"ports": [{"port": 80, "name": "web"}]}}


@pytest.mark.parametrize(
    ("services", "says"),
    [(None, "This cluster has no OpenCost"), ([WEB], "The Service cost/web has the label .* its ports: 80")],
    ids=["null", "another port"],
)
def test_a_search_that_finds_nothing_lists_what_exists(tmp_path: Path, services: object, says: str) -> None:
    """A list may be null, as Go writes it; a Service of the chart without a known port is named, with its ports."""
    kind = "application/json"
    lists = [Exchange(SERVICES, 200, kind, json.dumps({"items": services}))]
    for label in ("%3Dcost-analysis-agent", ".kubernetes.io%2Fname%3Dcost-analysis-agent"):
        lists.append(Exchange(f"{PODS}{label}", 200, kind, '{"items": null}'))
    with Replay(lists) as server:
        environment = {"KUBECONFIG": str(kubeconfig(tmp_path / "config", server.url))}
        client = OpenCost("kube://", environment=environment, attempts=1)
        with client, pytest.raises(OpenCostError, match=says):
            client.source()


@pytest.mark.parametrize(("status", "code"), [(401, ReasonCode.UNAUTHORIZED), (404, ReasonCode.NOT_FOUND)])
def test_what_opencost_refuses_is_opencosts(tmp_path: Path, status: int, code: ReasonCode) -> None:
    """A refusal without a Status is OpenCost's; a sign-in does not get through to it."""
    path = "/api/v1/namespaces/opencost/services/http:opencost:9003/proxy/clusterInfo"
    expected = Exchange(path, status, "application/json", '{"code":1,"message":"words of OpenCost"}')
    with Replay([expected]) as server:
        environment = {"KUBECONFIG": str(kubeconfig(tmp_path / "config", server.url))}
        client = OpenCost(SERVICE, environment=environment, attempts=1)
        with client, pytest.raises(OpenCostError, match="words of OpenCost") as failed:
            client.source()
    assert (type(failed.value), failed.value.code) == (OpenCostError, code)
    assert ("does not let a sign-in for OpenCost through" in str(failed.value)) == (status == 401)
