"""`manifest`: a scheduled sync as Kubernetes YAML."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from opencost_kusto import deploy
from opencost_kusto.cli.console import Console
from opencost_kusto.cli.help import REQUIRED
from opencost_kusto.cli.option_groups import ExplicitOptions, gathered
from opencost_kusto.cli.options import LoadOptions, RunOptions, option
from opencost_kusto.cli.schedule_options import TimesOptions, scheduled
from opencost_kusto.cli.source_options import DataOptions, SourceOptions
from opencost_kusto.cli.termination import Process
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.doors import CA, CERT, HEADER, KEY, PROXY, TOKEN
from opencost_kusto.extract.kubernetes.address import KubernetesAddress
from opencost_kusto.extract.kubernetes.rights import Right, needed
from opencost_kusto.extract.kubernetes.rights import subject as rbac_subject
from opencost_kusto.extract.routes import parse
from opencost_kusto.redact import redacted
from opencost_kusto.version import __version__
from opencost_kusto.window import duration

_ENDPOINT = "http://opencost.opencost:9003"
# Set by manifest: the objects depend on their values.
_OURS = (
    *("--kusto-uri", "--database", "--auth", "--endpoint", "--host", "--port"),
    *("--every", "--cron", "--once", "--listen"),
)
_FILES = ("--config", TOKEN, HEADER, CA, CERT, KEY)
_INSTEAD = {
    "--host": "give --endpoint before --",
    "--port": "give --endpoint before --",
    "--auth": "a pod signs in with workload-identity",
    "--once": "a CronJob runs once, a Deployment for ever",
    "--listen": "a Deployment listens for its probes, and a CronJob has none",
}


@dataclass(frozen=True, slots=True)
class ManifestOptions:
    """What the objects contain."""

    image: Annotated[str, option("--image", "The container image; none is published.", panel=REQUIRED)] = ""
    client_id: Annotated[
        str, option("--client-id", "Client id of the managed identity to sign in as.", panel=REQUIRED)
    ] = ""
    kusto_uri: Annotated[str, option("--kusto-uri", "Address of the cluster or Eventhouse.", panel=REQUIRED)] = ""
    database: Annotated[str, option("--database", "Kusto database.", panel=REQUIRED)] = ""
    endpoint: Annotated[str | None, option("--endpoint", f"Address of OpenCost; {_ENDPOINT} when left out.")] = None
    namespace: Annotated[str, option("--namespace", "Kubernetes namespace, which must exist.")] = "opencost"
    every: Annotated[str, option("--every", "How often, and how long each window is: 10m, 1h or 1d.")] = "1h"
    cron: Annotated[str | None, option("--cron", "When, as a crontab line in UTC, instead of every --every.")] = None
    deployment: Annotated[bool, option("--deployment", "A Deployment that runs for ever, instead of a CronJob.")] = (
        False
    )
    files: Annotated[
        Path | None,
        option("--files", "Copy the Dockerfile and the Helm chart to this new folder, and print nothing."),
    ] = None


@dataclass(frozen=True, slots=True)
class RbacOptions:
    """The options of the Role for an endpoint, instead of the objects."""

    rbac: Annotated[
        bool, option("--rbac", "Print the least Role for a kube:// or in-cluster:// --endpoint, and nothing else.")
    ] = False
    subject: Annotated[
        str | None,
        option("--subject", "Who gets it: User:NAME, Group:NAME or ServiceAccount:NAMESPACE:NAME."),
    ] = None
    cluster_wide: Annotated[
        bool, option("--cluster-wide", "A ClusterRole, where AKS Automatic takes no Role in kube-system.")
    ] = False


def manifest_command(
    context: typer.Context,
    options: ManifestOptions,
    role: RbacOptions,
    more: Annotated[list[str] | None, typer.Argument(help="Further options of schedule, after --.")] = None,
    *,
    process: Process,
    console: Console,
) -> None:
    """Print the Kubernetes YAML of a scheduled sync: a CronJob, or a Deployment."""
    from opencost_kusto.schedule import manifest

    if options.files is not None:
        _copy(options.files, console)
    elif role.rbac:
        to = rbac_subject(role.subject or f"ServiceAccount:{options.namespace}:opencost-kusto")
        console.out(manifest.rbac(_rights(options.endpoint), to, wide=role.cluster_wide))
    else:
        if process.config.clusters and options.endpoint is None and not _names_sources(more or []):
            raise UsageError(
                f"{process.config.path} has [[clusters]], and the manifest is of one OpenCost: name it with "
                "--endpoint, or install the Helm chart, whose value config is the file. See: opencost-kusto guide "
                "scheduled."
            )
        console.out(_objects(options, more or [], context.find_root().command))


def _objects(options: ManifestOptions, more: list[str], program: Any) -> str:
    """The objects as YAML, below their prerequisites; raises UsageError for what the containers would refuse."""
    from opencost_kusto.schedule import manifest

    _further(more)
    place = manifest.Place(options.image, options.client_id, options.namespace)
    line = _cron(options.every, options.cron)
    token = _uses_api(options.endpoint)
    database = _target(options.kusto_uri, options.database)
    args = ["schedule", *_source(options.endpoint, more), *database, "--every", options.every]
    if options.deployment:
        cron = ("--cron", options.cron) if options.cron else ()
        args += [*cron, "--listen", f":{manifest.PORT}", *more]
        text = manifest.deployment(place, args, token=token)
    else:
        args += ["--once", *more]
        text = manifest.cron_job(place, line, args, token=token)
    _check(args, program)
    role = f"\n# It needs the Role that manifest --rbac --endpoint {options.endpoint} prints." if token else ""
    return (
        f"# Written by opencost-kusto {__version__}. The identity needs a federated credential for the subject\n"
        f"# {place.subject}, of which it can have 20, and in the database the\n"
        f"# roles Database Ingestor and Database Viewer.{role}\n{text.rstrip()}"
    )


def _copy(folder: Path, console: Console) -> None:
    """Copy the Dockerfile and the chart; raises UsageError when the folder exists or cannot be written."""
    try:
        deploy.copy(folder)
    except OSError as error:
        raise UsageError(
            f"--files {folder}: {error.strerror or error}. Name a folder that does not exist yet."
        ) from None
    console.info(f"{folder} has a Dockerfile and a Helm chart; see: opencost-kusto guide scheduled.", "files")


def _further(more: list[str]) -> None:
    """Refuse options that manifest sets itself, and those that name files the containers do not have."""
    for name in (word.partition("=")[0] for word in more):
        if name in _OURS:
            raise UsageError(f"{name} is set by manifest; {_INSTEAD.get(name, 'give it before --')}.")
        if name == "--spool":
            raise UsageError("--spool needs a volume that outlives the pod, which the manifest has not; leave it out.")
        if name in _FILES or (name == PROXY and any("@" in word for word in more)):
            raise UsageError(f"{name} names a file, which the manifest does not mount into the pod; leave it out.")


def _source(endpoint: str | None, more: list[str]) -> list[str]:
    """Which OpenCost, as options: the one of this cluster unless others are named."""
    return [] if _names_sources(more) and endpoint is None else ["--endpoint", endpoint or _ENDPOINT]


def _names_sources(more: list[str]) -> bool:
    return any(word.partition("=")[0] == "--source" for word in more)


def _rights(endpoint: str | None) -> list[Right]:
    """The rights that an endpoint needs; raises UsageError for one that is not of Kubernetes, or needs none."""
    to = parse(endpoint or "in-cluster://")
    rights = needed(to) if isinstance(to, KubernetesAddress) else []
    if not rights:
        raise UsageError(f"{to} needs no right in Kubernetes, so there is no Role to print.")
    return rights


def _uses_api(endpoint: str | None) -> bool:
    """Whether a pod needs a token for an endpoint; raises UsageError for one that needs a kubeconfig."""
    to = parse(endpoint or _ENDPOINT)
    if not isinstance(to, KubernetesAddress):
        return False
    if not to.in_cluster:
        raise UsageError(f"{to} needs a kubeconfig, which a pod has not. Write in-cluster://NAMESPACE/SERVICE:PORT.")
    return bool(needed(to))


def _target(kusto_uri: str, database: str) -> list[str]:
    """The Kusto database as options; raises UsageError for one that no token can be sent to."""
    from opencost_kusto.kusto.client import Kusto

    if not kusto_uri or not database:
        raise UsageError("Name the Kusto database with --kusto-uri and --database.")
    with Kusto(kusto_uri, database) as kusto:
        return ["--kusto-uri", kusto.uri, "--database", kusto.database, "--auth", "workload-identity"]


def _cron(every: str, cron: str | None) -> str:
    """The crontab line of a CronJob; raises UsageError when there is none, or it is none."""
    from opencost_kusto.schedule.manifest import CRONS
    from opencost_kusto.schedule.trigger import Trigger

    line = cron or CRONS.get(every)
    if line is None:
        raise UsageError(f"--every {every} has no crontab line of its own: say when with --cron.")
    Trigger(duration(every), timedelta(), line)
    return line


def _check(args: list[str], program: Any) -> None:
    """Refuse now what the container would refuse in the cluster, and secrets in a pod."""
    if any(redacted(word) != word for word in args):
        raise UsageError("A password or key in an option would stand in the pod for all to read; leave it out.")
    name, *arguments = args
    # Without the file of this command, which the container does not have.
    parsed = program.commands[name].make_context(name, [*arguments, "--config", ""])
    explicit = ExplicitOptions.of(parsed)
    data = gathered(DataOptions, parsed.params, explicit)
    data.check(explicit)
    times = gathered(TimesOptions, parsed.params, explicit)
    source = gathered(SourceOptions, parsed.params, explicit)
    scheduled(times.step, data, data.datasets(), source)
    times.lookback()
    times.delay()
    gathered(RunOptions, parsed.params, explicit).run()
    gathered(LoadOptions, parsed.params, explicit)
    with source.opencosts():
        return
