"""Addresses of an OpenCost in a cluster: what they say, and what is none."""

from __future__ import annotations

import pytest

from opencost_kusto.address import Address
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.extract.doors import Doors
from opencost_kusto.extract.kubernetes.address import KubernetesAddress, Place, is_kubernetes, parse
from opencost_kusto.extract.kubernetes.discovery import target
from opencost_kusto.extract.kubernetes.objects import Objects
from opencost_kusto.extract.routes import parse as endpoint

SERVICE = Place("opencost", "oc-opencost", 9003)
POD = Place("kube-system", "cost-analysis-agent", 9003, pods=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kube://", KubernetesAddress()),
        ("KUBE://aks-1/", KubernetesAddress("aks-1")),
        (" kube:///opencost/oc-opencost ", KubernetesAddress(place=SERVICE)),
        ("kube://aks/opencost/oc-opencost:9090", KubernetesAddress("aks", Place("opencost", "oc-opencost", 9090))),
        (
            "kube://arn:aws:eks:eu-1:1:cluster%2Fa%25/opencost/oc-opencost",
            KubernetesAddress("arn:aws:eks:eu-1:1:cluster/a%", SERVICE),
        ),
        ("kube://jane@aks/kube-system/pod:cost-analysis-agent:9003", KubernetesAddress("jane@aks", POD)),
        ("in-cluster://", KubernetesAddress(in_cluster=True)),
        ("in-cluster://opencost/oc-opencost:9003", KubernetesAddress(place=SERVICE, in_cluster=True)),
        ("in-cluster:///kube-system/pod:cost-analysis-agent", KubernetesAddress(place=POD, in_cluster=True)),
    ],
)
def test_an_address_is_read_and_printed(text: str, expected: KubernetesAddress) -> None:
    """It is read into its parts, and what is printed of it is read as the same."""
    assert is_kubernetes(text)
    assert parse(text) == endpoint(text) == expected
    assert parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "kube",
        "kube:aks",
        "Kube:/aks",
        "in-cluster",
        "in-cluster:opencost/oc-opencost",
        "kube://aks/opencost",
        "kube://aks/opencost/opencost/more",
        "kube://aks/Opencost/opencost",
        "kube://aks/opencost/opencost:http",
        "kube://aks/opencost/opencost:0",
        "kube://aks/opencost/opencost:65536",
        "kube://aks/opencost/opencost:",
        "kube://aks/opencost/pod:",
        "kube://aks/opencost/pod:a b",
        "kube://aks%0A/opencost/opencost",
        "in-cluster://opencost",
        "in-cluster://aks/opencost/opencost",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """The message says how to write one."""
    with pytest.raises(UsageError, match="write kube://CONTEXT/NAMESPACE/SERVICE:PORT"):
        endpoint(text)


def test_other_schemes_are_addresses_of_http() -> None:
    """One function reads every endpoint."""
    assert endpoint("http://opencost:9003") == Address("http", "opencost", 9003)


def test_a_sign_in_for_opencost_does_not_get_through() -> None:
    """The API server removes Authorization, so both are refused together."""
    with pytest.raises(UsageError, match="removes a sign-in for OpenCost"):
        OpenCost("kube://", doors=Doors(token=lambda: "secret"))


def _unreachable() -> Objects:
    raise AssertionError("the API server was requested")


def test_a_full_address_needs_no_request() -> None:
    """Inside the cluster a Service has its name, outside its path; neither needs the API server."""
    inside = target(parse("in-cluster://opencost/opencost:9003"), _unreachable)
    assert inside.host == "opencost.opencost.svc"
    outside = target(parse("kube://aks/opencost/opencost:9003"), _unreachable)
    assert outside.path == "/api/v1/namespaces/opencost/services/http:opencost:9003/proxy"
