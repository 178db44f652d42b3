"""`doctor` walks the way into a cluster, and `manifest` prints what it needs there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from opencost_kusto.cli import app
from opencost_kusto.cli.doctor import examine
from opencost_kusto.cli.termination import Process
from opencost_kusto.database.finding import Finding
from opencost_kusto.emulator import OpenCostEmulator
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.window import Window
from tests.extract.kubernetes.test_forward import Replies, reply
from tests.kube.recorder import Proxy, Replay, kubeconfig, recorded
from tests.kube.scenarios import ADD_ON, SCENARIOS, SERVICE
from tests.support.port_forward import PortForward
from tests.support.world import HOUR, NAMESPACES, World

Command = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command: what is on stdout."""

    def run(*arguments: str) -> str:
        app(list(arguments), standalone_mode=False, obj=Process())
        return capsys.readouterr().out

    return run


def findings(folder: Path, name: str) -> dict[str, Finding]:
    """What doctor finds in a recording, by hop."""
    scenario = next(one for one in SCENARIOS if one.name == name)
    # The API server's version is recorded once.
    version = next(one for one in recorded("service") if one.path == "/version")
    with Replay([version, *recorded(name)]) as server:
        environment = {"KUBECONFIG": str(kubeconfig(folder / "config", server.url, scenario.user))}
        with OpenCost(scenario.endpoint, environment=environment, attempts=1) as client:
            return {one.hop: one for one in examine(client)}


def test_doctor_walks_the_way_into_a_cluster(tmp_path: Path) -> None:
    """The API server, the sign-in, what was found, and then OpenCost."""
    found = findings(tmp_path, "add-on")
    assert list(found)[:3] == ["Kubernetes", "OpenCost in the cluster", "OpenCost"]
    assert "cluster aks-tests, signed in by a token" in found["Kubernetes"].message
    assert found["OpenCost in the cluster"].message == "pod kube-system/cost-analysis-agent-0, port 9003"
    assert ADD_ON in found["OpenCost"].message


@pytest.mark.parametrize(
    ("name", "endpoint", "found"),
    [
        ("found", "kube://", "Service opencost/opencost, port 9003"),
        ("add-on-found", "kube://tests", "pod kube-system/cost-analysis-agent-0, port 9003"),
        ("service", SERVICE, "Service opencost/opencost, port 9003"),
        ("add-on", ADD_ON, "pod kube-system/cost-analysis-agent-0, port 9003"),
    ],
)
def test_doctor_walks_each_route(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, endpoint: str, found: str
) -> None:
    """On the command line, from the API server to the cost of the last hour; the token is not printed."""
    version = next(one for one in recorded("service") if one.path == "/version")
    with OpenCostEmulator() as live, Proxy(live.url, [version, *recorded(name)]) as server:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", server.url)))
        out = run("doctor", "--endpoint", endpoint)
    for line in ("Kubernetes", "OpenCost in the cluster", "OpenCost", "OpenCost's clock", "cost"):
        assert f"ok      {line}: " in out, out
    assert found in out
    assert "signed in by a token" in out
    assert "me-token" not in out


def test_doctor_walks_a_port_forward(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the proxy is forbidden, the last hops are ok over the port-forward."""
    version = next(one for one in recorded("service") if one.path == "/version")
    replies = Replies(refused=False)
    replies["/version"] = reply(200, version.body)
    with OpenCostEmulator() as live, PortForward(int(live.url.rpartition(":")[2]), replies) as api:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", api.url)))
        out = run("doctor", "--endpoint", ADD_ON)
        assert api.forwarded
    for line in ("Kubernetes", "OpenCost in the cluster", "OpenCost", "cost"):
        assert f"ok      {line}: " in out, out


@pytest.mark.parametrize(
    ("endpoint", "host", "says"),
    [
        ("in-cluster://", None, "failed  Kubernetes:         This is not a pod"),
        ("in-cluster://", "127.0.0.1", "failed  Kubernetes:         This pod has no token of its service account"),
    ],
)
def test_doctor_says_where_a_way_of_pods_ends_outside(
    run: Command, monkeypatch: pytest.MonkeyPatch, endpoint: str, host: str | None, says: str
) -> None:
    """The ways of a pod are walked by the same command, and fail with a sentence where this is none."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    if host is not None:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    assert says in run("doctor", "--endpoint", endpoint)


def test_a_service_in_the_cluster_is_walked_by_its_name() -> None:
    """It needs no API server, and elsewhere its name is none."""
    with OpenCost("in-cluster://opencost/opencost", attempts=1, environment={}) as client:
        found, reached = examine(client)
    assert (found.hop, found.message) == ("OpenCost in the cluster", "Service opencost/opencost, port 9003")
    assert (reached.exit_code, reached.message[:44]) == (3, "OpenCost at http://opencost.opencost.svc:900")


@pytest.mark.parametrize(
    ("name", "hop", "code"),
    [
        ("forbidden-service", "OpenCost", 3),
        ("forbidden-add-on", "OpenCost in the cluster", 3),
        ("several", "OpenCost in the cluster", 2),
        ("none", "OpenCost in the cluster", 3),
        ("policy", "OpenCost", 3),
    ],
)
def test_doctor_stops_where_the_way_ends(tmp_path: Path, name: str, hop: str, code: int) -> None:
    """The last hop has failed, with the sentence, and its exit code."""
    scenario = next(one for one in SCENARIOS if one.name == name)
    *_, last = findings(tmp_path, name).values()
    assert (last.hop, last.exit_code) == (hop, code)
    assert scenario.says[0] in last.message


def test_a_role_is_printed_for_an_address(run: Command) -> None:
    """The Role and its binding, and nothing else; a namespace of the manifest is that of its service account."""
    role, binding = yaml.safe_load_all(run("manifest", "--rbac", "--endpoint", SERVICE, "--namespace", "jobs"))
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["services/proxy"], "resourceNames": ["http:opencost:9003"], "verbs": ["get"]}
    ]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "opencost-kusto", "namespace": "jobs"}]


@pytest.mark.parametrize(
    ("name", "endpoint", "found"),
    [
        ("service", "kube:///opencost/opencost:9003", "Service opencost/opencost, port 9003"),
        (
            "add-on",
            "kube:///kube-system/pod:cost-analysis-agent",
            "pod kube-system/cost-analysis-agent-0, port 9003",
        ),
    ],
)
def test_a_run_says_how_opencost_was_reached(
    run: Command,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    endpoint: str,
    found: str,
) -> None:
    """The Service or the pod and the way to it: in the run log, with -v, and in the report as JSON."""
    with World() as world, Proxy(world.opencost.url, recorded(name)) as server:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", server.url)))
        target = ("--auth", "none", "--kusto-uri", world.kusto.url, "--database", "OpenCost")
        message = f"{found}, by the proxy of the API server {server.url}"
        requested = ("--window", str(HOUR), "--dataset", "allocation", "--aggregate", "namespace")
        arguments = ("sync", "--endpoint", endpoint, *requested, *target)
        verbose = run(*arguments, "-v")
        assert f"route: aks-tests: {message}" in verbose
        assert "me-token" not in verbose
        assert f"route: aks-tests: {message}" not in run(*arguments)
        app([*arguments[:-6], "-v", "--output", "-"], standalone_mode=False, obj=Process())
        assert f"route: aks-tests: {message}" in capsys.readouterr().err
        assert json.loads(run(*arguments, "-o", "json"))["routes"] == {"aks-tests": message}
        assert {one["Route"] for one in world.log()} == {message}
        assert {one["OpenCostVersion"][:5] for one in world.log()} == {"1.112"}
        assert "me-token" not in json.dumps(world.log() + world.query("OpenCostAllocation"), default=str)


def test_another_pod_in_one_run_is_noted(tmp_path: Path) -> None:
    """A pod that was replaced between two windows: both load, and the second says which pod it is from."""
    window, pod = Window(HOUR.start, HOUR.end + HOUR.length), "cost-analysis-agent-0"
    with World() as world, Proxy(world.opencost.url, recorded("add-on"), replaced=pod) as server:
        environment = {"KUBECONFIG": str(kubeconfig(tmp_path / "config", server.url))}
        request = SyncRequest(window, HOUR.length, ("allocation",), NAMESPACES)
        with OpenCost(ADD_ON, environment=environment) as opencost, world.client() as kusto:
            report = sync(opencost, kusto, request)
    first, second = sorted(report.results, key=lambda one: one.window_start)
    assert (first.outcome, second.outcome) == ("landed", "landed")
    assert first.notes == []
    (note,) = second.notes
    assert f"pod kube-system/{pod}-new, port 9003" in note
    assert f"when the run began, as pod kube-system/{pod}, port 9003" in note


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--rbac", "--endpoint", "http://opencost:9003"), "needs no right in Kubernetes"),
        (("--rbac", "--endpoint", "in-cluster://opencost/opencost"), "needs no right in Kubernetes"),
        (("--rbac", "--endpoint", SERVICE, "--subject", "jane"), "write User:NAME"),
        (("--endpoint", SERVICE), "needs a kubeconfig, which a pod has not"),
    ],
)
def test_what_has_no_role_or_no_pod_is_refused(run: Command, arguments: tuple[str, ...], says: str) -> None:
    """An address without rights has no Role, and a pod has no kubeconfig."""
    given = ("--image", "i", "--client-id", "0a1b2c3d-1234-5678-9abc-0123456789ab")
    with pytest.raises(UsageError, match=says):
        run("manifest", *given, "--kusto-uri", "https://c.kusto.windows.net", "--database", "d", *arguments)


@pytest.mark.parametrize(
    ("endpoint", "token"),
    [
        ("in-cluster://kube-system/pod:cost-analysis-agent:9003", True),
        ("in-cluster://", True),
        ("in-cluster://opencost/opencost:9003", False),
        ("http://opencost.opencost:9003", False),
    ],
)
@pytest.mark.parametrize("kind", [(), ("--deployment",)], ids=["CronJob", "Deployment"])
def test_a_token_is_mounted_where_the_address_needs_one(
    run: Command, endpoint: str, token: bool, kind: tuple[str, ...]
) -> None:
    """A pod that lists pods has a token, and says which Role it needs; all others have none."""
    given = ("--image", "i", "--client-id", "0a1b2c3d-1234-5678-9abc-0123456789ab", *kind)
    target = ("--kusto-uri", "https://c.kusto.windows.net", "--database", "d")
    text = run("manifest", *given, *target, "--endpoint", endpoint)
    assert (f"manifest --rbac --endpoint {endpoint}" in text) == token
    assert ("automountServiceAccountToken: true" in text) == token
    assert ("automountServiceAccountToken: false" in text) == (not token)


def test_without_kubelogin_the_chosen_method_signs_in(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token for AKS is requested by --opencost-auth, whose environment is checked."""
    arguments = ["get-token", "--server-id", "6dae42f8-4368-4678-94ff-3960e28e3630"]
    program = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "no-such-folder/kubelogin",
        "args": arguments,
    }
    path = kubeconfig(tmp_path / "config", "https://127.0.0.1:1", "jane", {"exec": program})
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.delenv("AZURE_FEDERATED_TOKEN_FILE", raising=False)
    out = run("doctor", "--endpoint", "kube://", "--opencost-auth", "workload-identity")
    assert "failed  Kubernetes" in out
    assert "workload-identity needs" in out
