"""What `manifest` prints, and what Helm makes of the chart, is taken by a real API server.

Strictly, by a server-side dry run, and where Pod Security is restricted.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy import helm
from tests.kube.cluster import Cluster
from tests.schedule.test_manifest import objects, pod

pytestmark = pytest.mark.kube

STRICT = {"dryRun": "All", "fieldValidation": "Strict"}
SHAPES: dict[str, tuple[str, ...]] = {
    "CronJob": (),
    "every 10 minutes": ("--every", "10m"),
    "cron": ("--cron", "5 3 * * *"),
    "Deployment": ("--deployment",),
    "sources": ("--", "--source", "a=http://a.opencost:9003", "--source", "b=http://b.opencost:9003"),
    "in cluster": ("--endpoint", "in-cluster://opencost/opencost:9003"),
    "add-on": ("--endpoint", "in-cluster://kube-system/pod:cost-analysis-agent:9003"),
    "add-on Deployment": ("--deployment", "--endpoint", "in-cluster://"),
}
ROLES: dict[str, tuple[str, ...]] = {
    "Service": ("--endpoint", "kube://tests/opencost/opencost:9003"),
    "add-on": ("--endpoint", "kube://tests/kube-system/pod:cost-analysis-agent:9003", "--subject", "User:jane"),
    "in cluster": ("--endpoint", "in-cluster://", "--subject", "Group:1b2c"),
    "everywhere": ("--endpoint", "in-cluster://", "--cluster-wide"),
}


@pytest.fixture(scope="module")
def restricted(cluster: Cluster) -> str:
    """A namespace that enforces Pod Security restricted, with the service account of the manifests."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    metadata = {"name": "restricted", "labels": labels}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    # Which the values of a case name.
    low = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "low"}, "value": -1}
    cluster.apply(low)
    account, _ = objects("--namespace", "restricted")
    cluster.apply(account, fieldValidation="Strict")
    return "restricted"


def as_pod(cluster: Cluster, namespace: str, workload: dict[str, Any]) -> Any:
    """A dry run of the pod that a workload makes."""
    template = pod(workload)
    metadata = template["metadata"] | {"name": "template", "namespace": namespace}
    return cluster.apply({"apiVersion": "v1", "kind": "Pod", **template, "metadata": metadata}, **STRICT)


@pytest.mark.parametrize("case", helm.CASES)
def test_the_chart_and_its_pods_are_taken(cluster: Cluster, restricted: str, case: str) -> None:
    """Each object that Helm renders, but for the Prometheus operator's, whose kinds this server has not."""
    taken = []
    for each in helm.recorded(case):
        if each["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        if each["metadata"].get("namespace") == "opencost":
            each["metadata"]["namespace"] = restricted
        if each["kind"] != "ServiceAccount":
            cluster.apply(each, **STRICT)
        if each["kind"] in ("CronJob", "Deployment"):
            as_pod(cluster, restricted, each)
        taken.append(each["kind"])
    assert {"ServiceAccount"} < set(taken)
    assert case != "fleet" or {"ConfigMap", "NetworkPolicy", "Role", "RoleBinding", "Deployment"} < set(taken)
    assert case != "add-on" or {"ClusterRole", "ClusterRoleBinding", "CronJob"} < set(taken)


@pytest.mark.parametrize("arguments", SHAPES.values(), ids=SHAPES)
def test_objects_and_their_pods_are_taken(cluster: Cluster, restricted: str, arguments: tuple[str, ...]) -> None:
    """Pod Security is enforced on pods alone, so the template of the workload is sent as a pod too."""
    _, workload = objects("--namespace", restricted, *arguments)
    cluster.apply(workload, **STRICT)
    found = as_pod(cluster, restricted, workload)
    mounts = [volume for volume in found["spec"]["volumes"] if volume["name"].startswith("kube-api-access")]
    assert bool(mounts) == (arguments in (SHAPES["add-on"], SHAPES["add-on Deployment"]))


@pytest.mark.parametrize("arguments", ROLES.values(), ids=ROLES)
def test_roles_are_taken(cluster: Cluster, arguments: tuple[str, ...]) -> None:
    """Roles and bindings pass the server's own checks, in strict mode."""
    found = objects("--rbac", *arguments)
    assert len(found) == 2
    for each in found:
        cluster.apply(each, **STRICT)


def _root(spec: dict[str, Any]) -> None:
    spec["securityContext"]["runAsNonRoot"] = False


def _escalating(spec: dict[str, Any]) -> None:
    spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True


def _misspelt(spec: dict[str, Any]) -> None:
    spec["securityContext"]["readOnlyRootFilesystem"] = True


@pytest.mark.parametrize("break_it", [_root, _escalating, _misspelt])
def test_what_is_not_restricted_is_refused(cluster: Cluster, restricted: str, break_it: Any) -> None:
    """The same pod with less protection is refused, so passing means something."""
    _, workload = objects("--namespace", restricted)
    template = pod(workload)
    break_it(template["spec"])
    metadata = template["metadata"] | {"name": "template", "namespace": restricted}
    with pytest.raises(AssertionError, match=r"restricted|unknown field"):
        cluster.apply({"apiVersion": "v1", "kind": "Pod", **template, "metadata": metadata}, **STRICT)
