"""The ways to an OpenCost, through a real API server: which is taken, and what arrives."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from opencost_kusto.emulator import CloseConnection, OpenCostEmulator, Reply, Request
from opencost_kusto.errors import ContentError, OpenCostError, ReasonCode
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.extract.kubernetes.address import parse
from opencost_kusto.extract.kubernetes.rights import needed, subject
from opencost_kusto.extract.kubernetes.route import KubernetesRoute
from opencost_kusto.extract.kubernetes.service_account import service_account
from opencost_kusto.schedule.manifest import rbac
from tests.extract.test_client import batch
from tests.kube.cluster import Cluster
from tests.kube.recorder import kubeconfig
from tests.kube.scenarios import ADD_ON, SERVICE, in_state

pytestmark = pytest.mark.kube

SIZE = 50_000_000
_RECORD = b'"%d":{"name":"%d","note":"' + b"x" * 1000 + b'"}'


def large() -> Iterator[bytes]:
    """A response of 50 MB, in chunks."""
    yield b'{"code":200,"data":[{'
    for number in range(SIZE // 1000):
        yield (b"," if number else b"") + _RECORD % (number, number)
    yield b"}]}"


LARGE = hashlib.md5(b"".join(large())).hexdigest()


def broken() -> Iterator[bytes]:
    """A response that breaks off."""
    yield b'{"code":200,"data":[{"a":{"name":"a"}'
    raise CloseConnection


@contextmanager
def responding(opencost: OpenCostEmulator, fault: Callable[[Request], Reply | None]) -> Iterator[None]:
    """OpenCost responds to /allocation as the fault says."""

    def only(request: Request) -> Reply | None:
        return fault(request) if request.path == "/allocation" else None

    opencost.fault = only
    yield
    opencost.fault = None


def route(cluster: Cluster, user: str, endpoint: str, *, timeout: float = 60) -> KubernetesRoute:
    """A route of a user."""
    environment = {"KUBECONFIG": str(cluster.kubeconfig(user))}
    return KubernetesRoute(parse(endpoint), connect_timeout=10, timeout=timeout, environment=environment)


def refused(way: KubernetesRoute) -> OpenCostError:
    """How a request for allocations ends."""
    with pytest.raises(OpenCostError) as failed:
        list(way.get("/allocation", {}))
    way.close()
    return failed.value


@pytest.fixture(scope="module")
def kubelet(cluster: Cluster, opencost: OpenCostEmulator) -> None:
    """A kubelet that forwards ports, and `late`, who may do nothing else than that."""
    cluster.kubelet(int(opencost.url.rpartition(":")[2]))
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]},
    ]
    grant(cluster, "late", rules)


def grant(cluster: Cluster, user: str, rules: list[dict[str, Any]]) -> None:
    """Rights in all namespaces."""
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": user}}
    cluster.apply({"kind": "ClusterRole", **head, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]
    cluster.apply({"kind": "ClusterRoleBinding", **head, "roleRef": reference, "subjects": subjects})


@pytest.mark.usefixtures("kubelet")
@pytest.mark.parametrize("user", ["reader", "late"], ids=["proxy", "port-forward"])
@pytest.mark.parametrize("endpoint", [SERVICE, ADD_ON], ids=["Service", "pod"])
def test_fifty_megabytes_arrive(cluster: Cluster, opencost: OpenCostEmulator, user: str, endpoint: str) -> None:
    """A response of 50 MB is streamed as it was sent, chunk by chunk."""
    digest, longest, size = hashlib.md5(), 0, 0
    way = route(cluster, user, endpoint)
    with responding(opencost, lambda _: Reply(body=large())):
        for chunk in way.get("/allocation", {}):
            digest.update(chunk)
            longest, size = max(longest, len(chunk)), size + len(chunk)
    way.close()
    assert size > SIZE
    assert digest.hexdigest() == LARGE
    assert longest <= 1 << 20


@pytest.mark.usefixtures("kubelet")
@pytest.mark.parametrize("user", ["reader", "late"], ids=["proxy", "port-forward"])
def test_a_silent_pod_meets_the_deadline(cluster: Cluster, opencost: OpenCostEmulator, user: str) -> None:
    """The deadline for a response holds on each way."""
    ended = threading.Event()

    def silent(_: Request) -> Reply | None:
        ended.wait(30)
        return None

    with responding(opencost, silent):
        error = refused(route(cluster, user, ADD_ON, timeout=2))
        ended.set()
    assert error.code is ReasonCode.TIMED_OUT


def test_a_pod_that_breaks_off_leaves_no_response(cluster: Cluster, opencost: OpenCostEmulator) -> None:
    """A response that the pod did not end is incomplete, and is requested again."""
    way = route(cluster, "reader", ADD_ON)
    with responding(opencost, lambda _: Reply(body=broken())), pytest.raises(ContentError) as failed:
        list(way.get("/allocation", {}))
    way.close()
    assert (failed.value.code, failed.value.transient) == (ReasonCode.INCOMPLETE, True)


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_what_opencost_refuses_is_opencosts(cluster: Cluster, opencost: OpenCostEmulator, status: int) -> None:
    """A status of OpenCost itself, with its own message, does not count as the API server's."""
    body = b'{"code":%d,"message":"words of OpenCost"}' % status
    with responding(opencost, lambda _: Reply(status, {"Content-Type": "application/json"}, body)):
        error = refused(route(cluster, "reader", SERVICE))
    assert "words of OpenCost" in str(error)
    assert type(error) is OpenCostError


@pytest.mark.usefixtures("kubelet")
def test_port_forward_is_only_for_where_the_proxy_is_forbidden(cluster: Cluster, opencost: OpenCostEmulator) -> None:
    """Who may use the proxy does; who may not is forwarded, for a Service to one of its pods."""
    seen = {}
    for user in ("reader", "late"):
        with OpenCost(SERVICE, environment={"KUBECONFIG": str(cluster.kubeconfig(user))}, timeout=30) as client:
            assert client.source().reported == "aks-shop-prod-weu"
            seen[user] = opencost.requests[-1].headers
    assert "x-forwarded-uri" in seen["reader"]
    assert "x-forwarded-uri" not in seen["late"]


@pytest.mark.usefixtures("kubelet")
def test_half_a_right_to_forward_is_named(cluster: Cluster) -> None:
    """Since Kubernetes 1.35 a port-forward needs two verbs; the server gives no reason where one is missing."""
    grant(
        cluster,
        "nobody",
        [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get"]},
        ],
    )
    error = refused(route(cluster, "nobody", ADD_ON))
    for name in ("clusterrolebindings", "clusterroles"):
        cluster.delete(f"/apis/rbac.authorization.k8s.io/v1/{name}/nobody")
    assert error.code is ReasonCode.FORBIDDEN
    assert "get pods/proxy" in str(error)
    assert "A port-forward is refused too" in str(error)
    assert "get and create pods/portforward" in str(error)


def test_a_replaced_pod_is_found_again(cluster: Cluster, opencost: OpenCostEmulator) -> None:
    """The next request finds the new pod, with only one more request of the API server."""
    path = "/api/v1/namespaces/kube-system/pods"
    way = route(cluster, "reader", ADD_ON)
    with responding(opencost, lambda _: Reply(body=b"{}")):
        list(way.get("/allocation", {}))
        old = cluster.get(f"{path}/cost-analysis-agent-0")
        new = {"apiVersion": "v1", "kind": "Pod", "spec": old["spec"]}
        labels = old["metadata"]["labels"]
        cluster.delete(f"{path}/cost-analysis-agent-0")
        cluster.post(path, new | {"metadata": {"name": "cost-analysis-agent-1", "labels": labels}})
        cluster.ready("kube-system", "cost-analysis-agent-1", "10.244.0.5")
        try:
            assert way.taken is not None
            assert "cost-analysis-agent-0" in way.taken
            assert b"".join(way.get("/allocation", {})) == b"{}"
            assert "cost-analysis-agent-1" in way.taken
        finally:
            way.close()
            cluster.delete(f"{path}/cost-analysis-agent-1")
            cluster.post(path, new | {"metadata": {"name": "cost-analysis-agent-0", "labels": labels}})
            cluster.ready("kube-system", "cost-analysis-agent-0", "10.244.0.5")


def in_cluster(cluster: Cluster, mounted: Path, endpoint: str) -> KubernetesRoute:
    """A route of a pod with a service account."""
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(cluster.port)}
    return KubernetesRoute(
        parse(endpoint), connect_timeout=10, timeout=30, sign_in=lambda: service_account(environment, mounted)
    )


def test_a_pod_reaches_the_add_on_by_its_address(cluster: Cluster, opencost: OpenCostEmulator, tmp_path: Path) -> None:
    """A real token of a service account, read again once rotated, lists pods; costs are read from the pod itself."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": "opencost"}}
    cluster.apply(account)
    requested = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = cluster.post("/api/v1/namespaces/opencost/serviceaccounts/reader/token", requested)["status"]["token"]
    grant_list(cluster)
    (tmp_path / "ca.crt").write_text(Path(cluster.ca).read_text())
    (tmp_path / "token").write_text("expired\n")
    port = opencost.url.rpartition(":")[2]
    with in_state(cluster, "loopback"):
        way = in_cluster(cluster, tmp_path, f"in-cluster://kube-system/pod:cost-analysis-agent:{port}")
        assert refused(way).code is ReasonCode.UNAUTHORIZED
        (tmp_path / "token").write_text(token)
        with responding(opencost, lambda _: Reply(body=b"{}")):
            assert b"".join(way.get("/allocation", {})) == b"{}"
        assert "authorization" not in opencost.requests[-1].headers
        way.close()


def grant_list(cluster: Cluster) -> None:
    """The Role that is printed for the address."""
    to = subject("ServiceAccount:opencost:reader")
    for document in yaml.safe_load_all(rbac(needed(parse("in-cluster://")), to, wide=True)):
        cluster.apply(document)


def test_a_client_certificate_signs_in(cluster: Cluster, tmp_path: Path) -> None:
    """The user of a certificate is its common name."""
    certificate, key = cluster.certificate("reader")
    settings = {"client-certificate": certificate, "client-key": key}
    path = kubeconfig(tmp_path / "config", cluster.url, "reader", settings, **{"certificate-authority": cluster.ca})
    with OpenCost(SERVICE, environment={"KUBECONFIG": str(path)}, timeout=30) as client:
        assert client.source().name == "aks-tests"


def test_it_loads_costs(cluster: Cluster) -> None:
    """Records of a window are the same through the API server as from OpenCost."""
    with OpenCost("kube://", environment={"KUBECONFIG": str(cluster.kubeconfig("admin"))}, timeout=60) as client:
        assert len(list(client.records(batch("allocation"), lambda *_: None))) > 0
