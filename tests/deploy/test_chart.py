"""The chart renders what `manifest` prints, and what a cluster takes."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from opencost_kusto.cli import app
from opencost_kusto.cli.termination import Process
from opencost_kusto.version import __version__
from tests.deploy import helm
from tests.schedule.test_manifest import objects

VALUES: dict[str, Any] = yaml.safe_load((helm.CHART / "values.yaml").read_text("utf-8"))
SCHEMA: dict[str, Any] = json.loads((helm.CHART / "values.schema.json").read_text("utf-8"))
# What Helm writes on each object and `manifest` does not.
HELM_LABELS = {
    "app.kubernetes.io/managed-by": "Helm",
    "helm.sh/chart": f"opencost-kusto-{__version__}",
}
# What of a Role and its binding grants something.
PARTS = ("rules", "roleRef", "subjects")
# The words of `manifest` that say the same as the values of a case.
SAME = {
    "default": (),
    "deployment": ("--deployment",),
    "cron": ("--cron", "5 3 * * *", "--", "--cluster", "prod", "--catch-up", "30h"),
    "add-on": ("--endpoint", "in-cluster://kube-system/pod:cost-analysis-agent:9003"),
}


def by_kind(case: str) -> dict[str, Any]:
    """The objects of a case; several of one kind by kind and name."""
    found = helm.recorded(case)
    names = [each["kind"] for each in found]
    return {
        kind if names.count(kind) == 1 else f"{kind} {each['metadata']['name']}": each
        for kind, each in zip(names, found, strict=True)
    }


def test_the_recordings_are_of_this_chart() -> None:
    """The chart has not changed since it was rendered; else run python -m tests.deploy.helm."""
    assert (helm.RECORDED / "digest").read_text("utf-8").strip() == helm.digest()


@pytest.mark.skipif(helm.helm() is None, reason="python -m tests.deploy.helm --install builds helm")
@pytest.mark.parametrize("case", helm.CASES)
def test_helm_renders_what_is_recorded(case: str) -> None:
    """Where this machine has helm, it renders the recorded text."""
    done = helm.template(case)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (helm.RECORDED / case / "rendered.yaml").read_text("utf-8")


@pytest.mark.parametrize("case", SAME)
def test_it_is_what_manifest_prints(case: str) -> None:
    """With default values, each object is that of `manifest`, but for Helm's own labels."""
    rendered = {each["kind"]: each for each in helm.recorded(case) if not each["kind"].startswith("ClusterRole")}
    for each in rendered.values():
        labels = each["metadata"]["labels"]
        assert {name: labels.pop(name) for name in HELM_LABELS} == HELM_LABELS
    assert rendered == {each["kind"]: each for each in objects(*SAME[case])}


@pytest.mark.parametrize("version", ["1.37", "1.29"])
@pytest.mark.parametrize("case", helm.CASES)
def test_kubernetes_takes_them(case: str, version: str) -> None:
    """Each object passes Kubernetes' own schemas, in which no unknown key is allowed."""
    for each in helm.recorded(case):
        if not each["apiVersion"].startswith("monitoring.coreos.com/"):
            assert kubernetes_validate.validate(each, version, strict=True) == version


def rights(found: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Rights and who gets them: all of Roles and bindings but names of labels."""
    kinds = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    some = sorted((each for each in found if each["kind"] in kinds), key=lambda each: str(each["kind"]))
    return [(each["kind"], each["metadata"].get("namespace"), *map(each.get, PARTS)) for each in some]


@pytest.mark.parametrize(("case", "arguments"), [("fleet", ()), ("add-on", ("--cluster-wide",))])
def test_roles_are_those_that_manifest_prints(
    case: str, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Pods of another namespace are listed, and nothing else; only then is a token mounted."""
    words = ("manifest", "--rbac", "--endpoint", "in-cluster://kube-system/pod:cost-analysis-agent:9003", *arguments)
    app(list(words), standalone_mode=False, obj=Process())
    printed = rights(list(yaml.safe_load_all(capsys.readouterr().out)))
    assert rights(helm.recorded(case)) == printed
    assert len(printed) == 2
    mounted = {
        one: by_kind(one)["Deployment"]["spec"]["template"]["spec"]["automountServiceAccountToken"]
        for one in ("fleet", "deployment")
    }
    assert mounted == {"fleet": True, "deployment": False}


def test_a_configuration_is_mounted_and_read() -> None:
    """The file is in a ConfigMap, mounted where the variable points; what it has is no option."""
    found = by_kind("fleet")
    assert tomllib.loads(found["ConfigMap"]["data"]["opencost-kusto.toml"])["clusters"][0]["name"] == "prod"
    pod = found["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    env = {each["name"]: each["value"] for each in container["env"]}
    assert env["OPENCOST_KUSTO_CONFIG"] == "/etc/opencost-kusto/opencost-kusto.toml"
    assert {"name": "config", "mountPath": "/etc/opencost-kusto", "readOnly": True} in container["volumeMounts"]
    assert {"name": "config", "configMap": {"name": "opencost-kusto"}} in pod["volumes"]
    assert not {"--endpoint", "--kusto-uri", "--database"} & set(container["args"])


def test_the_monitor_scrapes_and_the_policy_admits_the_health_port() -> None:
    """PodMonitor, NetworkPolicy and probes name the container's port; the policy lets out DNS, HTTPS and OpenCost."""
    found = by_kind("fleet")
    template = found["Deployment"]["spec"]["template"]
    [port] = template["spec"]["containers"][0]["ports"]
    policy = found["NetworkPolicy"]["spec"]
    assert found["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["port"] == port["name"]
    assert policy["ingress"] == [{"ports": [{"port": port["name"], "protocol": "TCP"}]}]
    assert [each["port"] for each in policy["egress"][0]["ports"]] == [53, 53, 443, 9003]
    for selector in (
        policy["podSelector"],
        found["PodMonitor"]["spec"]["selector"],
        found["Deployment"]["spec"]["selector"],
    ):
        assert selector["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_alerts_have_their_limits() -> None:
    """The rules of the file, with a day more where a run comes once a day."""
    rules = [by_kind(case)["PrometheusRule"]["spec"]["groups"][0]["rules"] for case in ("fleet", "shards-deployment")]
    [group] = yaml.safe_load((helm.CHART / "files" / "alerts.yaml").read_text("utf-8"))["groups"]
    assert rules[0] == group["rules"]
    for name, hours in (("OpenCostKustoRunsFail", 3), ("OpenCostKustoLate", 6)):
        hourly, daily = [next(rule for rule in some if rule["alert"] == name) for some in rules]
        for rule, limit in ((hourly, hours), (daily, hours + 24)):
            assert rule["expr"].endswith(f" > {limit} * 3600")
            assert f" {limit} hours." in rule["annotations"]["summary"]
        assert daily["annotations"].keys() == hourly["annotations"].keys()


def test_pods_share_the_clusters() -> None:
    """The pods of an indexed job, or one Deployment for each shard: each has its number and its own pod."""
    job = by_kind("shards")["CronJob"]["spec"]["jobTemplate"]["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 3, 3)
    # Set in each pod: https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode
    [container] = job["template"]["spec"]["containers"]
    assert container["args"][-2:] == ["--shard", "$(JOB_COMPLETION_INDEX)/3"]
    found = [each for each in helm.recorded("shards-deployment") if each["kind"] == "Deployment"]
    assert [each["metadata"]["name"] for each in found] == [f"opencost-kusto-{index}" for index in range(3)]
    for index, each in enumerate(found):
        [container] = each["spec"]["template"]["spec"]["containers"]
        assert container["args"][-2:] == ["--shard", f"{index}/3"]
        labels = each["spec"]["selector"]["matchLabels"]
        assert labels["opencost-kusto/shard"] == str(index)
        assert labels.items() <= each["spec"]["template"]["metadata"]["labels"].items()


def test_secrets_are_named_and_never_written() -> None:
    """Secrets are referred to by name: as environment, as volumes, for the registry."""
    found = by_kind("fleet")
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "opencost-kusto-doors"}}]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert "Secret" not in {each["kind"] for each in found.values()}


def test_values_pass_their_schema() -> None:
    """The default values and those of each case pass the schema, which names every value."""
    jsonschema.validate(VALUES, SCHEMA)
    assert SCHEMA["properties"].keys() == {*VALUES, "global"}
    for name, value in VALUES.items():
        properties = SCHEMA["properties"][name].get("properties")
        if properties is not None:
            assert properties.keys() == value.keys(), name
    for case in helm.CASES:
        jsonschema.validate(yaml.safe_load((helm.RECORDED / case / "values.yaml").read_text("utf-8")), SCHEMA)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("evry", "1h"),
        ("every", "hourly"),
        ("kind", "DaemonSet"),
        ("shards", 0),
        ("image", {"digest": "latest"}),
        ("kusto", {"url": "https://x"}),
        ("kusto", {"uri": "http://x.kusto.windows.net"}),
        ("workloadIdentity", {"clientId": "CLIENT_ID"}),
        ("rbac", {"routes": [{"namespace": "opencost", "service": "opencost", "port": 9003}]}),
        ("rbac", {"podNamespaces": "kube-system"}),
        ("networkPolicy", {"enabled": "yes"}),
        ("extraArgs", "--include-idle"),
        ("prometheusRule", {"extraHours": "a day"}),
    ],
)
def test_mistakes_are_refused_by_the_schema(name: str, value: object) -> None:
    """A misspelt value, or one of another type, ends the installation."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(deepcopy(VALUES) | {name: value}, SCHEMA)


@pytest.mark.skipif(helm.helm() is None, reason="python -m tests.deploy.helm --install builds helm")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "image.repository="), "Name the container image with image.repository"),
        (("--set", "workloadIdentity.clientId="), "Name the managed identity by its client id"),
        (("--set", "kusto.database="), "Name the Kusto database with kusto.uri and kusto.database"),
        (("--set", "every=30m"), "every: 30m has no crontab line of its own; say when with cron."),
        (("--set", "podMonitor.enabled=true"), "a CronJob has no /metrics"),
        (("--set", "evry=1h"), "evry"),
        (("--set", "shards=2"), "there is no config"),
    ],
)
def test_what_is_missing_is_named(arguments: tuple[str, ...], message: str) -> None:
    """Helm refuses to render what cannot run, and names the value."""
    done = helm.template("default", *arguments)
    assert done.returncode != 0
    assert message in done.stderr


def test_versions_are_the_programs() -> None:
    """The chart and the image it takes have the version of the program."""
    chart = yaml.safe_load((helm.CHART / "Chart.yaml").read_text("utf-8"))
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
