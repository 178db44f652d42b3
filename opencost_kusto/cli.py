"""The command line: reads options, calls the library, prints. The one place where our errors are caught."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opencost_kusto import printing
from opencost_kusto.aggregate import aggregate as known_aggregate
from opencost_kusto.aggregate import asset_types
from opencost_kusto.auth import METHODS
from opencost_kusto.batch import Options
from opencost_kusto.errors import KustoError, NotLandedError, OpenCostKustoError, UsageError
from opencost_kusto.extract import OpenCost
from opencost_kusto.kusto import Kusto
from opencost_kusto.output import LineWriter
from opencost_kusto.question import Question, new_run
from opencost_kusto.redact import redacted
from opencost_kusto.report import Outcome, Report
from opencost_kusto.spool import GZIP_LEVEL
from opencost_kusto.sync import export, replay, sync
from opencost_kusto.tables import DATASETS, TABLES
from opencost_kusto.version import __version__
from opencost_kusto.window import duration, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

app = typer.Typer(name="opencost-kusto", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def option(name: str, text: str, **more: Any) -> Any:
    """An option that can also be given as OPENCOST_KUSTO_<NAME>."""
    word = name.split("/", maxsplit=1)[0].removeprefix("--").replace("-", "_").upper()
    return typer.Option(name, help=text, envvar=f"OPENCOST_KUSTO_{word}", **more)


KustoUri = Annotated[str | None, option("--kusto-uri", "Address of the cluster or Eventhouse.")]
IngestUri = Annotated[str | None, option("--ingest-uri", "Its ingestion address, where it is not ingest-<cluster>.")]
DatabaseName = Annotated[str | None, option("--database", "Kusto database.")]
AuthMethod = Annotated[str, option("--auth", f"How to sign in: {', '.join(METHODS)} (none is for plain http).")]
Wait = Annotated[bool, option("--wait/--no-wait", "Wait until the rows are counted in their tables.")]
Timeout = Annotated[float, option("--timeout", "Seconds to wait for rows to land.")]
AsJson = Annotated[bool, option("--json", "Print one JSON document on stdout; lines go to stderr.")]


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Takes OpenCost's costs into Azure Data Explorer: each window exactly once, complete, proven by the exit code."""
    if show:
        print(__version__)
        raise typer.Exit


@app.command("sync")
def sync_command(
    endpoint: Annotated[str, option("--endpoint", "Address of OpenCost.")] = "http://localhost:9003",
    window: Annotated[str, option("--window", "30m, 1h, 24h, 7d, today, yesterday, START,END, …")] = "1h",
    step: Annotated[str | None, option("--step", "Cut the window into steps of this length, aligned: 1h, 1d.")] = None,
    aggregate: Annotated[
        str, option("--aggregate", "container (one row per container of a pod), pod, namespace, label:NAME, …")
    ] = "container",
    include_idle: Annotated[bool, option("--include-idle", "Ask for idle cost as a row.")] = False,
    share_idle: Annotated[bool, option("--share-idle", "Share idle cost out; needs --include-idle.")] = False,
    filter_types: Annotated[str, option("--filter-types", 'Asset types to keep: "Disk,LoadBalancer".')] = "",
    dataset: Annotated[list[str] | None, option("--dataset", f"One of {', '.join(DATASETS)}; repeatable.")] = None,
    all_metrics: Annotated[bool, option("--all-metrics", "Keep go_, process_ and promhttp_ metrics too.")] = False,
    run_id: Annotated[str | None, option("--run-id", "The run every row is marked with.")] = None,
    scenario_name: Annotated[str | None, option("--scenario-name", "The scenario every row is marked with.")] = None,
    metadata: Annotated[list[str] | None, option("--metadata", "key=value for every row; repeatable.")] = None,
    cluster: Annotated[str | None, option("--cluster", "Name of the source, where OpenCost gives none.")] = None,
    kusto_uri: KustoUri = None,
    ingest_uri: IngestUri = None,
    database: DatabaseName = None,
    auth: AuthMethod = "default",
    wait: Wait = True,
    timeout: Timeout = 900.0,
    request_timeout: Annotated[float, option("--request-timeout", "Seconds OpenCost may take for one answer.")] = 600.0,
    output: Annotated[str | None, option("--output", "Folder, or - for stdout: rows as lines, no Kusto.")] = None,
    spool: Annotated[Path | None, option("--spool", "Keep batches in this folder until they have landed.")] = None,
    gzip_level: Annotated[int, option("--gzip-level", "Compression of the blobs.", min=1, max=9)] = GZIP_LEVEL,
    as_json: AsJson = False,
) -> None:
    """Take a window of cost from OpenCost into Kusto, exactly once, and prove it."""
    options = Options(known_aggregate(aggregate), include_idle, share_idle, asset_types(filter_types), all_metrics)
    if share_idle and not include_idle:
        raise UsageError("--share-idle shares nothing unless idle is asked for: add --include-idle.")
    question = Question(
        parse(window, now=datetime.now(UTC)),
        duration(step) if step else None,
        tuple(dict.fromkeys(dataset or DATASETS)),
        options,
    )
    run = new_run(run_id, scenario_name, key_values(metadata or []))
    quiet_stdout = as_json or output == "-"
    with (
        OpenCost(endpoint, cluster=cluster, timeout=request_timeout) as opencost,
        narrator(question, quiet_stdout=quiet_stdout) as tell,
    ):
        if output is not None:
            with LineWriter(output) as write:
                report = export(opencost, question, write, run=run, tell=tell)
        else:
            loading: dict[str, Any] = {"wait": wait, "timeout": timeout, "spool": spool, "gzip_level": gzip_level}
            with _kusto(kusto_uri, database, auth, ingest_uri) as kusto:
                report = sync(opencost, kusto, question, run=run, tell=tell, **loading)
    _finish(report, as_json, quiet_stdout=quiet_stdout)


@app.command("replay")
def replay_command(
    folder: Annotated[Path, typer.Argument(help="The folder that sync was given as --spool.")],
    kusto_uri: KustoUri = None,
    ingest_uri: IngestUri = None,
    database: DatabaseName = None,
    auth: AuthMethod = "default",
    wait: Wait = True,
    timeout: Timeout = 900.0,
    as_json: AsJson = False,
) -> None:
    """Send what a spool still holds, exactly once."""
    with _kusto(kusto_uri, database, auth, ingest_uri) as kusto:
        report = replay(folder, kusto, wait=wait, timeout=timeout, tell=_teller(quiet_stdout=as_json))
    _finish(report, as_json, quiet_stdout=as_json)


@app.command("bootstrap")
def bootstrap_command(
    kusto_uri: KustoUri = None,
    database: DatabaseName = None,
    auth: AuthMethod = "default",
    show: Annotated[bool, typer.Option("--print", help="Print the KQL on stdout and change nothing.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Compare, change nothing, and fail on a difference.")] = False,
) -> None:
    """Create or converge every table, mapping, policy and function."""
    from opencost_kusto.bootstrap import bootstrap, differences
    from opencost_kusto.kql import commands

    if show:
        for command in commands():
            print(f"// {command.place}\n{command.text}\n")
        return
    with _kusto(kusto_uri, database, auth, None) as kusto:
        if check:
            found = [f"{one.what} ({one.command.place})" for one in differences(kusto)]
            if found:
                raise KustoError(f"{database} differs: {'; '.join(found)}. Run bootstrap without --check to mend it.")
            print(f"{database} holds everything the bundled KQL declares.")
            return
        changed = bootstrap(kusto, lambda one: print(f"{one.command.place}: {one.what}: done"))
    print(f"{changed} commands run." if changed else f"{database} is up to date; nothing changed.")


@app.command("status")
def status_command(
    kusto_uri: KustoUri = None,
    database: DatabaseName = None,
    auth: AuthMethod = "default",
    max_age: Annotated[str | None, option("--max-age", "Fail when the last landed window ended longer ago.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print how fresh Kusto is, by source and dataset."""
    from opencost_kusto.status import status

    limit = duration(max_age) if max_age else None
    now = datetime.now(UTC)
    with _kusto(kusto_uri, database, auth, None) as kusto:
        found = status(kusto)
    if as_json:
        print(json.dumps([one.document(now) for one in found], indent=2))
    else:
        print("\n".join(one.line(now) for one in found) or "Nothing was ever synced.")
    if limit is not None:
        old = [f"{one.dataset} of {one.source}" for one in found if (age := one.age(now)) is None or age > limit]
        if old or not found:
            raise NotLandedError(f"Older than {max_age}: {', '.join(old) or 'everything'}. See why sync stopped.")


@app.command("query")
def query_command(
    name: Annotated[str, typer.Argument(help="A shipped function; opencost-kusto tables lists them.")],
    param: Annotated[list[str] | None, option("--param", "k=v for a parameter of the function; repeatable.")] = None,
    format_: Annotated[str, option("--format", "table, json or csv.")] = "table",
    kusto_uri: KustoUri = None,
    database: DatabaseName = None,
    auth: AuthMethod = "default",
) -> None:
    """Run a shipped function and print its rows."""
    from opencost_kusto.questions import call

    if format_ not in printing.FORMATS:
        raise UsageError(f"--format {format_} is unknown; choose one of {', '.join(printing.FORMATS)}.")
    text = call(name, key_values(param or [], "--param"))
    with _kusto(kusto_uri, database, auth, None) as kusto:
        print(printing.FORMATS[format_](kusto.query(text)))


@app.command("tables")
def tables_command(as_json: AsJson = False) -> None:
    """Print the data dictionary: every column of every table, and the functions."""
    from opencost_kusto.questions import functions

    if as_json:
        print(json.dumps(printing.dictionary_document(TABLES, functions()), indent=2, ensure_ascii=False))
    else:
        print("\n".join(printing.dictionary(TABLES, functions())))


@app.command("demo")
def demo_command(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers up until Ctrl-C.")] = False,
) -> None:
    """Run the whole path on this machine, against a local stand-in for OpenCost and for Kusto."""
    from opencost_kusto.demo import demo

    demo(keep=keep)


@app.command("emulator")
def emulator_command(
    opencost_port: Annotated[int, option("--opencost-port", "Port of the stand-in for OpenCost; 0 chooses.")] = 0,
    kusto_port: Annotated[int, option("--kusto-port", "Port of the stand-in for Kusto; 0 chooses.")] = 0,
) -> None:
    """Start the local stand-ins alone, until Ctrl-C, to test a pipeline against."""
    from opencost_kusto.demo import emulator

    emulator(opencost_port, kusto_port)


def key_values(pairs: list[str], said: str = "--metadata") -> dict[str, str]:
    """`key=value` texts as a dict; raises UsageError for one without a key or `=`, or a key given twice."""
    result: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"{said} {pair!r} is not key=value.")
        if key.strip() in result:
            raise UsageError(f"{said} names {key.strip()!r} twice.")
        result[key.strip()] = value
    return result


@contextmanager
def narrator(question: Question, *, quiet_stdout: bool) -> Iterator[Callable[[Outcome], None]]:
    """A function that prints each outcome as it comes; on a terminal, a progress bar on stderr runs below the lines."""
    plainly = _teller(quiet_stdout=quiet_stdout)
    if not sys.stderr.isatty():
        yield plainly
        return
    from rich.console import Console
    from rich.progress import Progress

    steps = sum(1 for _ in question.window.steps(question.step))
    total = sum(steps if DATASETS[name].grain == "step" else 1 for name in question.datasets)
    # Gives the cursor back however the run ends.
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("batches", total=total)

        def tell(one: Outcome) -> None:
            progress.advance(task)
            plainly(one)

        yield tell


def _teller(*, quiet_stdout: bool) -> Callable[[Outcome], None]:
    stream = sys.stderr if quiet_stdout else sys.stdout
    return lambda one: print(printing.outcome_line(one), file=stream, flush=True)


def _kusto(uri: str | None, database: str | None, auth: str, ingest_uri: str | None) -> Kusto:
    if not uri or not database:
        raise UsageError("Name the Kusto database with --kusto-uri and --database, or use --output for a dry run.")
    kusto = Kusto(uri, database, auth=auth, ingest_uri=ingest_uri)  # type: ignore[arg-type]
    print(f"Kusto: {kusto.uri} (ingestion: {kusto.ingest_uri}), database {kusto.database}", file=sys.stderr)
    return kusto


def _finish(report: Report, as_json: bool, *, quiet_stdout: bool) -> None:
    if as_json:
        print(json.dumps(report.document(), default=str, indent=2, ensure_ascii=False))
    print(printing.report_line(report), file=sys.stderr if quiet_stdout else sys.stdout)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def main() -> None:
    """Run the command line, and end the process with the exit code of what went wrong."""
    try:
        code = app(standalone_mode=False)
    except OpenCostKustoError as error:
        print(f"opencost-kusto: {redacted(error)}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("opencost-kusto: interrupted; what was not reported landed may land still. Run again.", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader of our stdout went away; nothing can be told to it any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if not hasattr(error, "show") or not hasattr(error, "exit_code"):
            raise
        # Typer's own refusal of an option.
        error.show()
        code = error.exit_code
    sys.exit(code or 0)
