"""`config`: the effective settings, and where each comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterable, Iterator
from typing import Annotated, Any

import typer

from opencost_kusto.cli.configuration import key
from opencost_kusto.cli.console import Console
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.option_groups import ExplicitOptions
from opencost_kusto.cli.options import LoadOptions, RunOptions
from opencost_kusto.cli.schedule_options import TimesOptions
from opencost_kusto.cli.source_options import DataOptions, SourceOptions
from opencost_kusto.cli.termination import Process
from opencost_kusto.config import Config
from opencost_kusto.coverage.gaps import Target
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.kubernetes.address import KubernetesAddress
from opencost_kusto.extract.kubernetes.kubeconfig import contexts
from opencost_kusto.names import identity, shown
from opencost_kusto.redact import redacted
from opencost_kusto.rendering import Column, Document, Table
from opencost_kusto.schedule.trigger import Trigger
from opencost_kusto.schema.columns import Json


def config_command(
    context: typer.Context,
    kusto_options: KustoOptions,
    source: SourceOptions,
    data: DataOptions,
    run_options: RunOptions,
    load: LoadOptions,
    when: TimesOptions,
    from_kubeconfig: Annotated[
        bool, typer.Option("--from-kubeconfig", help="Print [[clusters]] for each context of the kubeconfig instead.")
    ] = False,
    *,
    explicit: ExplicitOptions,
    process: Process,
    console: Console,
) -> None:
    """Print the effective settings, and where each comes from: the command line, the environment, the file, a default.

    The options are those of schedule.
    """
    del load
    if from_kubeconfig:
        if "format_" in explicit:
            raise UsageError("--from-kubeconfig prints TOML: leave out --format.")
        console.out("\n".join(proposed(contexts(os.environ))))
        return
    _check(kusto_options, source, data, run_options, when)
    rows = list(_settings(context, process.config))
    clusters = list(_clusters(process.config, source))
    console.show(document(rows, clusters))


def _check(
    kusto_options: KustoOptions, source: SourceOptions, data: DataOptions, run_options: RunOptions, when: TimesOptions
) -> None:
    """Raise UsageError for what `schedule` would refuse, without signing in; the database need not be named."""
    kusto_options.check()
    run_options.run()
    Target(when.step, data.datasets(), data.options())
    Trigger(when.step, when.lookback().lag, when.cron)
    when.delay()
    with source.opencosts():
        pass


def document(rows: list[tuple[str, Json, str]], clusters: list[tuple[str, str, Json, str]]) -> Document:
    """Two tables, and the same as JSON."""
    names = ("Setting", "Value", "From")
    settings = Table(tuple(map(Column, names)), [(name, _text(value), place) for name, value, place in rows])
    found = Table(
        tuple(map(Column, ("Cluster", *names))),
        [(cluster, name, _text(value), place) for cluster, name, value, place in clusters],
    )
    facts = {
        "settings": {name: {"value": value, "from": place} for name, value, place in rows},
        "clusters": [
            {"cluster": cluster, "setting": name, "value": value, "from": place}
            for cluster, name, value, place in clusters
        ],
    }
    return Document(facts, [settings, *([found] if clusters else [])])


def _settings(context: typer.Context, file: Config) -> Iterator[tuple[str, Json, str]]:
    """Each option that the file could set: its key, its value, and the origin of that."""
    for one in sorted(context.command.params, key=lambda one: str(key(one))):
        name = key(one)
        if name is None:
            continue
        source = context.get_parameter_source(str(one.name))
        place = {"COMMANDLINE": "command line", "ENVIRONMENT": f"environment {one.envvar}"}.get(
            source.name if source else ""
        )
        if place is None:
            place = file.settings[name].place if name in file.settings else "default"
        yield name, _shown(context.params.get(str(one.name))), place


def _clusters(file: Config, source: SourceOptions) -> Iterator[tuple[str, str, Json, str]]:
    """The settings of each cluster of the file, or of --cluster, and those that an option for all overrides."""
    for one in file.clusters:
        if source.cluster and one.name not in source.cluster:
            continue
        yield one.name, "endpoint", _shown(one.endpoint), one.place
        if one.retired:
            yield one.name, "retired", True, one.place
        for name, setting in one.settings.items():
            before = name in source.configured.stronger
            yield one.name, name, _shown(setting.value), "not used: set for all" if before else setting.place


def proposed(found: Iterable[tuple[str, str]]) -> Iterator[str]:
    """TOML with a cluster for each context; a comment where the name is no name of a cluster, or is there already."""
    seen: set[str] = set()
    for context, cluster in found:
        lines = ["[[clusters]]", f"name = {_quoted(cluster)}", f"endpoint = {_quoted(str(KubernetesAddress(context)))}"]
        why = _unfit(context, cluster, seen)
        seen.add(cluster.lower())
        if why:
            yield f"# {why}"
        yield from (f"# {line}" if why else line for line in lines)
        yield ""
    if not seen:
        raise UsageError("The kubeconfig has no context. Get one with az aks get-credentials, or set KUBECONFIG.")


def _unfit(context: str, cluster: str, seen: Container[str]) -> str:
    """Why the cluster of a context cannot be one of the file as it is; empty where it can."""
    try:
        identity(cluster, f"The cluster of the context {shown(context)}")
    except UsageError as error:
        return f"{error} Choose a name:"
    return f"{cluster} again, by another context:" if cluster.lower() in seen else ""


def _quoted(text: str) -> str:
    """A text of TOML, in which a character is written as it is: a pair of surrogates, as in JSON, is none."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _shown(value: Any) -> Json:
    """A value without possible secrets."""
    if isinstance(value, list | tuple):
        return [redacted(one) for one in value]
    if isinstance(value, dict):
        # With its name, by which a value may be secret.
        return {name: redacted(f"{name}={one}").partition("=")[2] for name, one in value.items()}
    return value if isinstance(value, bool | int | float | None) else redacted(value)


def _text(value: Json) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={text}" for name, text in value.items())
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
