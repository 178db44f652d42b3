"""`manifest`: a scheduled sync as Kubernetes YAML."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Annotated, Any, TypeVar

import typer

from opencost_kusto.cli.option_groups import ExplicitOptions
from opencost_kusto.cli.options import AskOptions, MarkOptions, SourceOptions, option
from opencost_kusto.cli.schedule import TimesOptions
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.errors import UsageError
from opencost_kusto.redact import redacted
from opencost_kusto.version import __version__
from opencost_kusto.window import duration

T = TypeVar("T")
_ENDPOINT = "http://opencost.opencost:9003"
# What the objects depend on, so that another word for it would break them.
_OURS = ("--kusto-uri", "--database", "--auth", "--endpoint", "--every", "--cron", "--once", "--listen")
_INSTEAD = {
    "--auth": "a pod signs in with workload-identity",
    "--once": "a CronJob ticks once, a Deployment for ever",
    "--listen": "a Deployment listens for its probes, and a CronJob has none",
}


def manifest_command(
    more: Annotated[list[str] | None, typer.Argument(help="Further options of schedule, after --.")] = None,
    image: Annotated[str, option("--image", "The container image; none is published.")] = "",
    client_id: Annotated[str, option("--client-id", "Client id of the managed identity to sign in as.")] = "",
    kusto_uri: Annotated[str, option("--kusto-uri", "Address of the cluster or Eventhouse.")] = "",
    database: Annotated[str, option("--database", "Kusto database.")] = "",
    endpoint: Annotated[str | None, option("--endpoint", f"Address of OpenCost; {_ENDPOINT} when left out.")] = None,
    namespace: Annotated[str, option("--namespace", "Kubernetes namespace, which must exist.")] = "opencost",
    every: Annotated[str, option("--every", "How often, and how long each window is: 10m, 1h or 1d.")] = "1h",
    cron: Annotated[str | None, option("--cron", "When, as a crontab line in UTC, instead of every --every.")] = None,
    deployment: Annotated[
        bool, option("--deployment", "A Deployment that runs for ever, instead of a CronJob.")
    ] = False,
) -> None:
    """Print the Kubernetes YAML of a scheduled sync: a CronJob, or a Deployment."""
    from opencost_kusto.schedule import manifest

    _further(more or [])
    place = manifest.Place(image, client_id, namespace)
    line = _cron(every, cron)
    args = ["schedule", *_source(endpoint, more or []), *_target(kusto_uri, database), "--every", every]
    if deployment:
        args += [*(("--cron", cron) if cron else ()), "--listen", f":{manifest.PORT}", *(more or [])]
        objects = manifest.deployment(place, args)
    else:
        args += ["--once", *(more or [])]
        objects = manifest.cron_job(place, line, args)
    _checked(args)
    print(f"# Written by opencost-kusto {__version__}. The identity needs a federated credential for the subject")
    print(f"# {place.subject}, and in the database the roles")
    print("# Database Ingestor and Database Viewer.")
    print(manifest.rendered(objects), end="")


def _further(more: list[str]) -> None:
    """Refuse what the manifest says already, and what its containers have no place for."""
    for name in (word.partition("=")[0] for word in more):
        if name in _OURS:
            raise UsageError(f"{name} is set by manifest itself; {_INSTEAD.get(name, 'give it before --')}.")
        if name == "--spool":
            raise UsageError("--spool needs a volume that outlives the pod, which the manifest has not; leave it out.")


def _source(endpoint: str | None, more: list[str]) -> list[str]:
    """Which OpenCost, as options: the one of this cluster unless others are named."""
    named = any(word.partition("=")[0] == "--source" for word in more)
    return [] if named and endpoint is None else ["--endpoint", endpoint or _ENDPOINT]


def _target(kusto_uri: str, database: str) -> list[str]:
    """Where to, as options; raises UsageError for what is no Kusto database that a token can be sent to."""
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


def _checked(args: list[str]) -> None:
    """Refuse now what the container would refuse in the cluster, as its command line itself says it, and secrets."""
    from opencost_kusto.cli import app

    if any(redacted(word) != word for word in args):
        raise UsageError("A password or key in an option would stand in the pod for all to read; leave it out.")
    name, *words = args
    context = typer.main.get_command(app).commands[name].make_context(name, words)  # type: ignore[attr-defined]
    given = context.params
    ask = _taken(AskOptions, given)
    ask.check(ExplicitOptions.of(context))
    Target(duration(given["every"]), ask.datasets(), ask.options())
    _taken(TimesOptions, given).lookback()
    _taken(MarkOptions, given).run()
    with _taken(SourceOptions, given).opencosts():
        return


def _taken(group: type[T], given: dict[str, Any]) -> T:
    """A group of options as it was given."""
    return group(**{one.name: given[one.name] for one in fields(group)})  # type: ignore[arg-type]
