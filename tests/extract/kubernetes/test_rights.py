"""The least Roles, by address and subject."""

from __future__ import annotations

from typing import Any

import pytest

from opencost_kusto.errors import UsageError
from opencost_kusto.extract.kubernetes.address import parse
from opencost_kusto.extract.kubernetes.rights import needed, roles, subject

ACCOUNT = {"kind": "ServiceAccount", "name": "opencost-kusto", "namespace": "jobs"}
ADD_ON = "kube-system/pod:cost-analysis-agent:9003"


def rules(endpoint: str) -> list[tuple[str, str, list[str] | None]]:
    """The rules of the Roles for an endpoint: resource, verb, names."""
    found = roles(needed(parse(endpoint)), ACCOUNT)
    every = (rule for each in found if each["kind"] == "Role" for rule in each["rules"])
    return [(rule["resources"][0], rule["verbs"][0], rule.get("resourceNames")) for rule in every]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("kube://aks/opencost/oc-opencost:9003", [("services/proxy", "get", ["http:oc-opencost:9003"])]),
        (f"kube://aks/{ADD_ON}", [("pods", "list", None), ("pods/proxy", "get", None)]),
        ("kube://", [("pods", "list", None), ("pods/proxy", "get", None)]),
        (f"in-cluster://{ADD_ON}", [("pods", "list", None)]),
        ("in-cluster://", [("pods", "list", None)]),
        ("in-cluster://opencost/opencost", []),
    ],
)
def test_an_address_needs_these_rights(endpoint: str, expected: list[Any]) -> None:
    """No more than the way to it takes; a Service by its object, spelled as in the URL."""
    assert rules(endpoint) == expected


@pytest.mark.parametrize(
    ("text", "named", "of"),
    [
        ("User:Jane.Doe@example.com", "opencost-kusto-jane.doe-example.com", "User"),
        ("Group:1b2c", "opencost-kusto-1b2c", "Group"),
        ("ServiceAccount:jobs:opencost-kusto", "opencost-kusto", "ServiceAccount"),
    ],
)
def test_a_role_is_named_after_its_subject(text: str, named: str, of: str) -> None:
    """A second subject does not take the place of the first."""
    role, binding = roles(needed(parse(f"kube://{''}/opencost/opencost")), subject(text))
    assert role["metadata"]["name"] == binding["metadata"]["name"] == binding["roleRef"]["name"] == named
    assert binding["subjects"][0]["kind"] == of


def test_a_cluster_role_is_for_all_namespaces() -> None:
    """AKS Automatic takes no Role in kube-system."""
    found = roles(needed(parse("in-cluster://")), ACCOUNT, wide=True)
    assert [each["kind"] for each in found] == ["ClusterRole", "ClusterRoleBinding"]
    assert all("namespace" not in each["metadata"] for each in found)


@pytest.mark.parametrize("text", ["jane", "User:", "ServiceAccount:opencost-kusto", "Robot:x"])
def test_a_subject_has_a_kind(text: str) -> None:
    """Everything else is refused."""
    with pytest.raises(UsageError, match="write User:NAME"):
        subject(text)
