"""How requests through a Kubernetes API end: one table, played against a real API server and against its recordings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opencost_kusto.errors import ReasonCode

if TYPE_CHECKING:
    from tests.kube.cluster import Cluster

SERVICE = "kube://tests/opencost/opencost:9003"
ADD_ON = "kube://tests/kube-system/pod:cost-analysis-agent:9003"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A user, an endpoint, and the end: what is found, or the reason code and text of the error.

    `state` is what the cluster is like meanwhile, by a name of `STATES`.
    """

    name: str
    user: str
    endpoint: str
    found: str = ""
    code: ReasonCode | None = None
    transient: bool = False
    says: tuple[str, ...] = ()
    state: str = ""


_R = ReasonCode
SCENARIOS = (
    Scenario("service", "admin", SERVICE, "Service opencost/opencost, port 9003"),
    Scenario("found", "admin", "kube://", "Service opencost/opencost, port 9003"),
    Scenario("add-on", "admin", ADD_ON, "pod kube-system/cost-analysis-agent-0, port 9003"),
    Scenario("add-on-found", "admin", "kube://", "pod kube-system/cost-analysis-agent-0, port 9003", state="no chart"),
    Scenario("least-role", "reader", SERVICE, "Service opencost/opencost, port 9003"),
    Scenario("least-role-add-on", "reader", ADD_ON, "pod kube-system/cost-analysis-agent-0, port 9003"),
    Scenario(
        *("forbidden-service", "nobody", SERVICE),
        code=_R.FORBIDDEN,
        says=(
            "nobody has no right to get services/proxy http:opencost:9003 in the namespace opencost",
            f"manifest --rbac --endpoint {SERVICE} --subject User:nobody",
        ),
    ),
    Scenario(
        *("other-spelling", "reader", "kube://tests/opencost/opencost:9090"),
        code=_R.FORBIDDEN,
        says=("get services/proxy http:opencost:9090",),
    ),
    Scenario(
        *("forbidden-add-on", "nobody", ADD_ON),
        code=_R.FORBIDDEN,
        says=("nobody has no right to list pods in the namespace kube-system", "manifest --rbac --endpoint"),
    ),
    Scenario(
        *("forbidden-search", "nobody", "kube://"),
        code=_R.FORBIDDEN,
        says=("list services in all namespaces", "Write the full address"),
    ),
    Scenario("sign-in", "wrong", SERVICE, code=_R.UNAUTHORIZED, says=("does not accept this sign-in (401)",)),
    Scenario(
        *("no-service", "admin", "kube://tests/opencost/nope"),
        code=_R.UNREACHABLE,
        says=("There is no Service opencost/nope",),
    ),
    Scenario(
        *("no-endpoints", "admin", "kube://tests/opencost/empty"),
        code=_R.UNREACHABLE,
        says=("The Service opencost/empty has no endpoints",),
    ),
    Scenario(
        *("no-port", "admin", "kube://tests/opencost/opencost:1234"),
        code=_R.REFUSED,
        says=("The Service opencost/opencost has no port 1234",),
    ),
    Scenario(
        *("no-pod-on-port", "admin", "kube://tests/opencost/opencost:9090"),
        code=_R.UNAVAILABLE,
        transient=True,
        says=("No pod of the Service opencost/opencost is ready",),
    ),
    Scenario(
        *("no-pods", "admin", "kube://tests/opencost/pod:nope"),
        code=_R.UNREACHABLE,
        says=("No pod in opencost has the label app=nope",),
    ),
    Scenario(
        *("not-ready", "admin", ADD_ON),
        code=_R.UNAVAILABLE,
        transient=True,
        says=("cost-analysis-agent-0 (cost-analysis-opencost: CrashLoopBackOff, OOMKilled)",),
        state="killed",
    ),
    Scenario(
        *("no-address", "admin", ADD_ON),
        code=_R.UNAVAILABLE,
        transient=True,
        says=("does not respond (address not allowed)",),
        state="loopback",
    ),
    Scenario(
        *("no-response", "admin", ADD_ON),
        code=_R.UNAVAILABLE,
        transient=True,
        says=("does not respond", "network policy"),
        state="unreachable",
    ),
    Scenario(
        *("several", "admin", "kube://tests"),
        code=_R.USAGE,
        says=("several OpenCosts", "kube://tests/opencost/opencost:9003, kube://tests/team-a/opencost:9003"),
        state="two charts",
    ),
    Scenario(
        *("none", "admin", "kube://"),
        code=_R.UNREACHABLE,
        says=("This cluster has no OpenCost", "--enable-cost-analysis", "helm install opencost"),
        state="no opencost",
    ),
    Scenario(
        *("policy", "reader", ADD_ON),
        code=_R.FORBIDDEN,
        says=("aks-managed-protect-system-namespaces", "AKS Automatic", "in-cluster://", "port-forward is refused too"),
        state="automatic",
    ),
)

_POD = "/api/v1/namespaces/kube-system/pods/cost-analysis-agent-0"
_CHART = "/api/v1/namespaces/opencost/services/opencost"
_POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"


@contextmanager
def in_state(cluster: Cluster, name: str) -> Iterator[None]:
    """The cluster is like this, and afterwards as it was."""
    if not name:
        yield
        return
    with STATES[name](cluster):
        yield


@contextmanager
def _killed(cluster: Cluster) -> Iterator[None]:
    status = {
        "name": "cost-analysis-opencost",
        "ready": False,
        "image": "x",
        "imageID": "",
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
    }
    cluster.ready("kube-system", "cost-analysis-agent-0", "10.244.0.5", ready=False)
    cluster.patch(f"{_POD}/status", {"status": {"containerStatuses": [status]}})
    yield
    cluster.patch(f"{_POD}/status", {"status": {"containerStatuses": []}})
    cluster.ready("kube-system", "cost-analysis-agent-0", "10.244.0.5")


@contextmanager
def _loopback(cluster: Cluster) -> Iterator[None]:
    cluster.ready("kube-system", "cost-analysis-agent-0", "127.0.0.1")
    yield
    cluster.ready("kube-system", "cost-analysis-agent-0", "10.244.0.5")


@contextmanager
def _unreachable(cluster: Cluster) -> Iterator[None]:
    cluster.ready("kube-system", "cost-analysis-agent-0", "10.244.0.9")
    yield
    cluster.ready("kube-system", "cost-analysis-agent-0", "10.244.0.5")


@contextmanager
def _labelled(cluster: Cluster, *objects: tuple[str, str]) -> Iterator[None]:
    """Objects with another label during the block."""
    before = [cluster.get(path)["metadata"]["labels"][label] for path, label in objects]
    for path, label in objects:
        cluster.patch(path, {"metadata": {"labels": {label: "other"}}})
    yield
    for (path, label), value in zip(objects, before, strict=True):
        cluster.patch(path, {"metadata": {"labels": {label: value}}})


@contextmanager
def _two_charts(cluster: Cluster) -> Iterator[None]:
    cluster.load("second.yaml")
    yield
    cluster.delete("/api/v1/namespaces/team-a/services/opencost")


@contextmanager
def _automatic(cluster: Cluster) -> Iterator[None]:
    cluster.load("aks-automatic.yaml")
    cluster.wait_for_policy()
    yield
    name = "aks-managed-protect-system-namespaces"
    cluster.delete(f"{_POLICIES.replace('policies', 'policybindings')}/{name}-binding")
    cluster.delete(f"{_POLICIES}/{name}")


_NAME = "app.kubernetes.io/name"
STATES = {
    "killed": _killed,
    "loopback": _loopback,
    "unreachable": _unreachable,
    "no chart": lambda cluster: _labelled(cluster, (_CHART, _NAME)),
    "no opencost": lambda cluster: _labelled(cluster, (_CHART, _NAME), (_POD, "app")),
    "two charts": _two_charts,
    "automatic": _automatic,
}
