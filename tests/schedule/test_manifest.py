"""The printed Kubernetes objects are what Kubernetes takes, safe, and run a command that our own command line takes."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer.main
import yaml

from opencost_kusto.cli import app
from opencost_kusto.schedule.health import Health
from opencost_kusto.schedule.manifest import CRONS, PORT, quoted
from opencost_kusto.schedule.trigger import Trigger
from opencost_kusto.window import duration
from tests.support import forked
from tests.support.documents import GUIDES

ROOT = Path(__file__).parents[2]
CLIENT = "0a1b2c3d-1234-5678-9abc-0123456789ab"
GIVEN = {
    "--image": "registry.example/opencost-kusto:1",
    "--client-id": CLIENT,
    "--kusto-uri": "https://costs.westeurope.kusto.windows.net",
    "--database": "OpenCost",
}
# The newest that the schemas know, and one that clusters with long support still run.
VERSIONS = ["1.37", "1.29"]
KINDS = {"CronJob": (), "Deployment": ("--deployment",)}


def run(*arguments: str, without: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `manifest` with what it needs, except one option."""
    given = [word for name, value in GIVEN.items() if name != without for word in (name, value)]
    environment = {"PATH": os.environ["PATH"], **variables}
    return forked.run(["manifest", *given, *arguments], Path("/"), environment)


def objects(*arguments: str) -> list[dict[str, Any]]:
    """The objects that `manifest` prints."""
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    """The template of the pods of a CronJob or a Deployment."""
    spec = workload["spec"]
    template: dict[str, Any] = (spec["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else spec)["template"]
    return template


def args(workload: dict[str, Any]) -> list[str]:
    """The arguments of the container."""
    found: list[str] = pod(workload)["spec"]["containers"][0]["args"]
    return found


@pytest.fixture(scope="module", params=KINDS)
def workload(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What is printed beside the service account."""
    account, found = objects(*KINDS[request.param])
    assert (account["kind"], found["kind"]) == ("ServiceAccount", request.param)
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_kubernetes_takes_them(kind: str, version: str) -> None:
    """Each object passes Kubernetes' own schemas, in which no unknown key is allowed."""
    for each in objects(*KINDS[kind]):
        assert kubernetes_validate.validate(each, version, strict=True) == version


def _misspelt(workload: dict[str, Any]) -> None:
    pod(workload)["spec"]["containers"][0]["securityContext"]["readonlyRootFilesystem"] = True


def _mistyped(workload: dict[str, Any]) -> None:
    pod(workload)["spec"]["containers"][0]["args"] = "schedule --once"


def _missing(workload: dict[str, Any]) -> None:
    del pod(workload)["spec"]["containers"]


def _nonsense(workload: dict[str, Any]) -> None:
    workload["spec"]["concurrency"] = "Forbid"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("break_it", [_misspelt, _mistyped, _missing, _nonsense])
def test_broken_ones_are_refused(
    workload: dict[str, Any], break_it: Callable[[dict[str, Any]], None], version: str
) -> None:
    """A manifest with a misspelt, missing or mistyped key does not pass, so passing means something."""
    broken = deepcopy(workload)
    break_it(broken)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


@pytest.mark.parametrize(
    "more", [(), ("--every", "10m"), ("--cron", "5 3 * * *"), ("--", "--cluster", "prod", "--catch-up", "24h")]
)
def test_the_command_line_accepts_the_arguments(workload: dict[str, Any], more: tuple[str, ...]) -> None:
    """The container's arguments parse as `schedule`, and set what was requested."""
    _, found = objects(*KINDS[workload["kind"]], *more)
    name, *arguments = args(found)
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    parsed = command.make_context(name, arguments).params
    forever = workload["kind"] == "Deployment"
    assert {key: parsed[key] for key in ("endpoint", "kusto_uri", "database", "auth", "once", "listen")} == {
        "endpoint": "http://opencost.opencost:9003",
        "kusto_uri": GIVEN["--kusto-uri"],
        "database": "OpenCost",
        "auth": "workload-identity",
        "once": not forever,
        "listen": ":8080" if forever else None,
    }
    assert parsed["every"] == ("10m" if "10m" in more else "1h")
    assert parsed["cron"] == ("5 3 * * *" if forever and "--cron" in more else None)
    assert list(parsed["cluster"] or ()) == (["prod"] if "prod" in more else [])
    if not forever and "--cron" in more:
        assert found["spec"]["schedule"] == "5 3 * * *"


def test_several_sources_take_the_place_of_the_one() -> None:
    """Sources named after -- are requested instead of the cluster's own OpenCost."""
    _, job = objects("--", "--source", "a=http://a:9003", "--source=b=http://b:9003")
    assert "--endpoint" not in args(job)
    assert args(job)[-3:] == ["--source", "a=http://a:9003", "--source=b=http://b:9003"]


def test_what_the_identity_needs_stands_above_the_objects() -> None:
    """Its federated credential, with the limit of those, and its roles; the guide has the same limit."""
    head = run("--namespace", "costs").stdout.partition("\napiVersion")[0]
    for message in (
        "system:serviceaccount:costs:opencost-kusto, of which it can have 20",
        "roles Database Ingestor and Database Viewer",
    ):
        assert message in head
    assert "at most **20 federated credentials**" in GUIDES["operations"]


def test_it_signs_in_as_a_workload(workload: dict[str, Any]) -> None:
    """The account names the identity, the pod bears the label, and no token of Kubernetes' API is mounted."""
    account, _ = objects()
    assert account["metadata"]["annotations"] == {"azure.workload.identity/client-id": CLIENT}
    template = pod(workload)
    assert template["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert template["spec"]["serviceAccountName"] == account["metadata"]["name"]
    assert template["spec"]["automountServiceAccountToken"] is False
    assert "system:serviceaccount:opencost:opencost-kusto" in run().stdout


def test_the_pod_meets_the_restricted_standard(workload: dict[str, Any]) -> None:
    """The pod is what the restricted standard requires, and can write to /tmp only."""
    spec = pod(workload)["spec"]
    [container] = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    assert list(spec["volumes"][0]) == ["name", "emptyDir"]


def test_memory_is_what_was_measured_and_room() -> None:
    """What is requested is above the peak of the guide to performance, and the limit at least four times it."""
    measured = re.search(r"peak memory .* \| (\d+) and (\d+) MB", GUIDES["performance"])
    assert measured is not None
    peak = max(map(int, measured.groups()))
    resources = pod(objects()[1])["spec"]["containers"][0]["resources"]
    requested, limit = (int(resources[name]["memory"].removesuffix("Mi")) for name in ("requests", "limits"))
    assert peak * 1.5 < requested
    assert peak * 4 <= limit


def test_it_is_given_time_to_end(workload: dict[str, Any]) -> None:
    """Kubernetes waits longer than a tick that is terminated may take."""
    command = typer.main.get_command(app).commands["schedule"]  # type: ignore[attr-defined]
    [grace] = [parameter.default for parameter in command.params if parameter.name == "grace"]
    assert grace + 10 < pod(workload)["spec"]["terminationGracePeriodSeconds"]


def test_one_at_a_time() -> None:
    """Neither jobs nor pods run beside each other, and a job that hangs is ended before the next."""
    (_, job), (_, forever) = objects(), objects("--deployment")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert job["spec"]["startingDeadlineSeconds"] > 10
    assert job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 3600
    assert (forever["spec"]["replicas"], forever["spec"]["strategy"]) == (1, {"type": "Recreate"})
    labels = pod(forever)["metadata"]["labels"]
    assert forever["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_probes_use_paths_that_are_served() -> None:
    """The probes request the port of the server, and paths that a schedule serves."""
    [container] = pod(objects("--deployment")[1])["spec"]["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [PORT]
    health = Health(timedelta(hours=1), clock=lambda: datetime.now(UTC))
    for probe, fresh in (("livenessProbe", HTTPStatus.OK), ("readinessProbe", HTTPStatus.SERVICE_UNAVAILABLE)):
        sent = container[probe]["httpGet"]
        assert sent["port"] == container["ports"][0]["name"]
        assert health.response(sent["path"])[0] == fresh


@pytest.mark.parametrize("every", CRONS)
def test_jobs_start_when_windows_have_just_closed(every: str) -> None:
    """The crontab line of each length fires a minute after the end of a window and the lag of `schedule`."""
    step, lag = duration(every), timedelta(minutes=10)
    _, job = objects("--every", every)
    moment = datetime(2026, 11, 24, 7, 41, tzinfo=UTC)
    for fire in islice(Trigger(step, lag, job["spec"]["schedule"]).after(moment), 20):
        closed = fire - lag - timedelta(minutes=1)
        assert (closed - datetime(1970, 1, 1, tzinfo=UTC)) % step == timedelta()
    assert job["spec"]["timeZone"] == "Etc/UTC"


REFUSED = {
    "no image": ((), "--image", "none is published"),
    "an image that is none": (("--image", "<image>"), "--image", "none is published"),
    "no identity": ((), "--client-id", "by its client id, a GUID"),
    "an identity that is none": (("--client-id", "CLIENT_ID"), "--client-id", "by its client id, a GUID"),
    "no Kusto": ((), "--kusto-uri", "--kusto-uri and --database"),
    "no database": ((), "--database", "--kusto-uri and --database"),
    "a token over http": (("--kusto-uri", "http://kusto"), "--kusto-uri", "must not carry a token"),
    "OpenCost": (("--endpoint", "opencost:9003"), "", "is not the address of an OpenCost"),
    "namespace": (("--namespace", "Open_Cost"), "", "is not the name of a Kubernetes namespace"),
    "every": (("--every", "7m", "--cron", "* * * * *"), "", "do not tile a day"),
    "every without a line": (("--every", "30m"), "", "say when with --cron"),
    "cron": (("--cron", "hourly"), "", "is no crontab line"),
    "an option schedule has not": (("--", "--no-such-option"), "", "--no-such-option"),
    "a word too many": (("--", "sync"), "", "sync"),
    "shared idle": (("--", "--include-idle", "--share-idle"), "", "--share-idle is not for schedule and backfill"),
    "a dataset that is none": (("--", "--dataset", "costs"), "", "There is no dataset 'costs'"),
    "metadata": (("--", "--metadata", "team"), "", "is not key=value"),
    "no time to look back to": (("--", "--catch-up", "5m"), "", "--catch-up"),
    "signing in": (("--", "--auth", "cli"), "", "--auth is set by manifest"),
    "another Kusto": (("--", "--kusto-uri=https://y.kusto.windows.net"), "", "--kusto-uri is set by manifest"),
    "another database": (("--", "--database", "Other"), "", "--database is set by manifest"),
    "another OpenCost": (("--", "--endpoint", "http://o:9003"), "", "--endpoint is set by manifest"),
    "another pace": (("--", "--every", "10m"), "", "--every is set by manifest"),
    "other times": (("--", "--cron", "1 * * * *"), "", "--cron is set by manifest"),
    "once": (("--deployment", "--", "--once"), "", "--once is set by manifest"),
    "a port": (("--", "--listen", ":9"), "", "--listen is set by manifest"),
    "a spool": (("--", "--spool", "/data"), "", "--spool needs a volume"),
    "a password": (("--endpoint", "http://u:SECRETPW@oc:9003"), "", "would stand in the pod for all to read"),
    "a password of one of several": (
        ("--", "--source", "a=http://u:SECRETPW@oc:9003"),
        "",
        "would stand in the pod for all to read",
    ),
    "two ways to name OpenCost": (("--endpoint", "http://o:9003", "--", "--source", "a=http://a:9003"), "", "--source"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_run_is_not_printed(case: str) -> None:
    """What is missing, a placeholder, or what the container would refuse, ends with exit code 2 and prints nothing."""
    arguments, without, message = REFUSED[case]
    done = run(*arguments, without=without)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "SECRETPW" not in done.stderr


def test_a_file_is_not_that_of_the_container(tmp_path: Path) -> None:
    """Of a file, manifest takes its own options; clusters that it would leave out are refused."""
    path = tmp_path / "c.toml"
    path.write_text("[defaults]\nevery = '10m'\ncatch_up = '5m'\n")
    done = run(OPENCOST_KUSTO_CONFIG=str(path))
    assert done.returncode == 0, done.stderr
    args = pod(list(yaml.safe_load_all(done.stdout))[1])["spec"]["containers"][0]["args"]
    assert args[args.index("--every") + 1] == "10m"
    assert not {"--catch-up", "--config"} & set(args)
    with path.open("a") as file:
        file.write("[[clusters]]\nname = 'a'\nendpoint = 'http://a'\n")
    for done in (run(OPENCOST_KUSTO_CONFIG=str(path)), run("--config", str(path), "--deployment")):
        assert (done.returncode, done.stdout) == (2, "")
        assert "has [[clusters]], and the manifest is of one OpenCost: name it with --endpoint" in done.stderr
    for words in (("--endpoint", "http://o:9003"), ("--", "--source", "a=http://o:9003")):
        assert run(*words, OPENCOST_KUSTO_CONFIG=str(path)).returncode == 0


@pytest.mark.parametrize("word", ["1e3", "0o17", "no", "12:30:45", "~", "a: b", "#x", "%y", "&z", "*", "é\n"])
def test_strings_are_read_as_strings(word: str) -> None:
    """Whatever reader of YAML Kubernetes uses, a string is quoted, and is read back unchanged."""
    assert yaml.safe_load(f"args:\n  - {quoted(word)}\n") == {"args": [word]}
    assert re.fullmatch(r'".*"', quoted(word))


def test_templates_are_yaml_that_people_can_read() -> None:
    """Each value that is filled in stands in both templates once, or in each place where it belongs."""
    for name in ("cronjob", "deployment"):
        text = (ROOT / "opencost_kusto" / "schedule" / "templates" / f"{name}.yaml").read_text("utf-8")
        placeholders = re.findall(r"\$(\w+)", text)
        assert set(placeholders) == {
            "namespace",
            "client_id",
            "image",
            "version",
            "args",
            *(["cron"] if name == "cronjob" else []),
        }
        assert len(list(yaml.safe_load_all(text))) == 2


def test_the_container_logs_json() -> None:
    """Lines of events are JSON in a pod, whose reader is a program."""
    for kind in KINDS.values():
        [container] = pod(objects(*kind)[1])["spec"]["containers"]
        assert {"name": "OPENCOST_KUSTO_LOG_FORMAT", "value": "json"} in container["env"]
