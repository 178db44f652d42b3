"""Options that several commands take, as groups: a command names a group, and gets what was given as one object."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from opencost_kusto.batch import RequestOptions, Run
from opencost_kusto.cancel import CancelToken
from opencost_kusto.ci.elapsed import Elapsed
from opencost_kusto.ci.metadata import pipeline
from opencost_kusto.ci.settle import SETTLE, clock, settle_time, settled
from opencost_kusto.cli.console import Format, LogFormat
from opencost_kusto.cli.help import REQUIRED
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.kusto.signin import METHODS
from opencost_kusto.load.policy import GZIP_LEVEL, TIMEOUT, LoadPolicy
from opencost_kusto.names import identity, variable
from opencost_kusto.pipeline.request import new_run
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.options import Option
from opencost_kusto.schema.tables import DATASETS, DEFAULT_DATASETS, OPTIONS
from opencost_kusto.window import Window, parse, resolution, since

_ENDPOINT = "http://localhost:9003"
# Longer than any useful wait, and shorter than the longest timer.
_LONGEST = 1e7
# The word for every dataset that is declared.
EVERY = "all"
# Sections of the help.
WINDOW, OPENCOST, MARKS = "Window", "OpenCost", "Marks on every row"
KUSTO, LOADING, OUTPUT = "Kusto", "Loading", "Output"


def option(name: str, text: str, *short: str, panel: str | None = None, **more: Any) -> Any:
    """An option that can also be given as OPENCOST_KUSTO_<NAME>; `panel` is its section of the help."""
    word = name.split("/", maxsplit=1)[0].removeprefix("--").replace("-", "_").upper()
    variable = f"OPENCOST_KUSTO_{word}"
    return typer.Option(*short, name, help=text, envvar=variable, show_envvar=False, rich_help_panel=panel, **more)


FailOnEmpty = Annotated[
    bool | None,
    option(
        "--fail-on-empty/--no-fail-on-empty",
        "End with 8 when nothing had a cost; on unless --window is used.",
        panel=OUTPUT,
    ),
]
Step = Annotated[
    str | None, option("--step", "Cut the window into steps of this length, aligned: 1h, 1d.", panel=WINDOW)
]
Summary = Annotated[
    Path | None, option("--summary", "Append the run as Markdown to this file, for a pipeline's page.", panel=OUTPUT)
]
Settle = Annotated[
    str, option("--settle", "How long after the end of a window OpenCost is requested: 2m, or 0.", panel=WINDOW)
]
Resolution = Annotated[
    str,
    option("--opencost-resolution", "How often OpenCost samples; windows begin and end on these marks.", panel=WINDOW),
]


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """How a report, or rows, are printed."""

    PANEL = OUTPUT
    format_: Annotated[
        Format | None, option("--format", "Print the report or the rows on stdout as table, json, csv or md.", "-o")
    ] = None


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How much is printed on stderr, and how."""

    PANEL = OUTPUT
    quiet: Annotated[bool, option("--quiet", "Print warnings and errors only, and reports with -o only.", "-q")] = False
    verbose: Annotated[bool, option("--verbose", "Print each batch, and the traceback of an internal error.", "-v")] = (
        False
    )
    log_format: Annotated[LogFormat, option("--log-format", "Events on stderr: text or json.")] = LogFormat.TEXT


@dataclass(frozen=True, slots=True)
class KustoOptions:
    """Which Kusto database, and how to sign in."""

    PANEL = KUSTO
    kusto_uri: Annotated[str | None, option("--kusto-uri", "Address of the cluster or Eventhouse.", panel=REQUIRED)] = (
        None
    )
    ingest_uri: Annotated[
        str | None, option("--ingest-uri", "Its ingestion address, where it is not ingest-<cluster>.")
    ] = None
    database: Annotated[str | None, option("--database", "Kusto database.", panel=REQUIRED)] = None
    auth: Annotated[str, option("--auth", f"How to sign in: {', '.join(METHODS)} (none is for plain http).")] = (
        "default"
    )
    trusted_host: Annotated[
        list[str] | None,
        option("--trusted-host", "Host of your own that may get a token; *.example.com is all below it; repeatable."),
    ] = None

    def kusto(self, say: Callable[[str], None] = lambda _: None, *, otherwise: str = "") -> Kusto:
        """The database; `say` is given a line with its two addresses.

        Raises UsageError when it is not named; the message then ends with what could be done `otherwise`.
        """
        if not self.kusto_uri or not self.database:
            names = {"--kusto-uri": self.kusto_uri, "--database": self.database}
            missing = " and ".join(variable(name) for name, value in names.items() if not value)
            raise UsageError(f"Name the Kusto database with {missing}{otherwise}.")
        kusto = Kusto(
            self.kusto_uri,
            self.database,
            auth=self.auth,  # type: ignore[arg-type]
            ingest_uri=self.ingest_uri,
            trusted_hosts=self.trusted_host or (),
        )
        say(f"Kusto: {kusto.uri} (ingestion: {kusto.ingest_uri}), database {kusto.database}")
        return kusto


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Which OpenCost is requested."""

    PANEL = OPENCOST
    EXCLUSIVE = (("endpoint", "cluster"), ("source",))
    endpoint: Annotated[str, option("--endpoint", "Address of OpenCost.")] = _ENDPOINT
    cluster: Annotated[str | None, option("--cluster", "Name of the source, where OpenCost gives none.")] = None
    source: Annotated[
        list[str] | None, option("--source", "name=URL, instead of --endpoint and --cluster; repeatable.")
    ] = None
    request_timeout: Annotated[float, option("--request-timeout", "Seconds to wait for one response of OpenCost.")] = (
        600.0
    )

    def __post_init__(self) -> None:
        seconds("--request-timeout", self.request_timeout)

    @contextmanager
    def opencosts(self) -> Iterator[list[OpenCost]]:
        """The servers, closed at the end; raises UsageError for an address or a name that cannot be one."""
        named: dict[str | None, str] = dict(key_values(self.source or [], "--source", "name=URL").items())
        if named and (self.cluster is not None or self.endpoint != _ENDPOINT):
            raise UsageError("Name OpenCost with --endpoint and --cluster, or with --source for each; not with both.")
        with ExitStack() as stack:
            yield [
                stack.enter_context(OpenCost(url, cluster=name, timeout=self.request_timeout))
                for name, url in (named or {self.cluster: self.endpoint}).items()
            ]


T = TypeVar("T")


def _with_declared(group: type[T]) -> type[T]:
    """Give a group one more option for each that the datasets declare."""
    for declared in reversed(OPTIONS.values()):
        words = not isinstance(declared.default, str | bool)
        default = None if words else declared.default
        kind: Any = list[str] | None if words else type(default)
        annotations = {declared.field: Annotated[kind, option(declared.flag, declared.doc)]}
        group.__annotations__ = annotations | group.__annotations__
        setattr(group, declared.field, default)
    return group


@dataclass(frozen=True)
@_with_declared
class AskOptions:
    """What is requested from OpenCost for a window: datasets, and an attribute for each of their options."""

    PANEL = OPENCOST
    dataset: Annotated[
        list[str] | None,
        option(
            "--dataset",
            f"Of {', '.join(DATASETS)}; repeatable or with commas. {', '.join(DEFAULT_DATASETS)} by default, or all.",
        ),
    ] = None

    def check(self, written: Collection[str]) -> None:
        """Raise UsageError for an option on the command line that no requested dataset has."""
        for name, declared in OPTIONS.items():
            of = [dataset for dataset, table in DATASETS.items() if declared in table.options]
            if name in written and not set(of) & set(self.datasets()):
                raise UsageError(f"{declared.flag} is of {', '.join(of)}: leave it out, or add it to --dataset.")

    def datasets(self) -> tuple[str, ...]:
        """The datasets in the order given, each once; the default ones when none was named."""
        named = dict.fromkeys(listed(self.dataset) or DEFAULT_DATASETS)
        return tuple(dict.fromkeys((*(name for name in named if name != EVERY), *(DATASETS if EVERY in named else ()))))

    def optional(self) -> frozenset[str]:
        """The datasets that are neither requested by default nor by name, and that an OpenCost may lack."""
        return frozenset(self.datasets()) - set(listed(self.dataset)) - set(DEFAULT_DATASETS)

    def options(self) -> RequestOptions:
        """The options, checked; raises UsageError for a value that OpenCost would ignore."""
        values = {name: getattr(self, name) for name in OPTIONS}
        for name, declared in OPTIONS.items():
            needed = next((one for one in OPTIONS.values() if one.name == declared.needs), None)
            if needed and values[name] and not values[needed.field]:
                raise UsageError(f"{declared.flag} has no effect alone: add {needed.flag}.")
        return RequestOptions(**{name: _parsed(OPTIONS[name], value) for name, value in values.items()})


def _parsed(declared: Option, value: Json) -> Json:
    """The value of a declared option, where it is given as words."""
    if isinstance(value, bool):
        return value
    return declared.parse(value if isinstance(value, str) else ",".join(listed(value)))


@dataclass(frozen=True, slots=True)
class WhenOptions:
    """Which window: in a word or two times, or from a moment until now."""

    PANEL = WINDOW
    EXCLUSIVE = (("window",), ("since",))
    window: Annotated[str | None, option("--window", "30m, 1h (the default), 7d, today, yesterday, START,END, …")] = (
        None
    )
    since: Annotated[
        str | None, option("--since", "Instead of --window: from this time to now; a time, or how long ago.")
    ] = None
    settle: Settle = SETTLE
    opencost_resolution: Resolution = "5m"

    def interval(self, now: Callable[[], datetime] = clock, say: Callable[[str], None] = lambda _: None) -> Window:
        """The window, said where it is not as written; raises UsageError for two, and for words that say none."""
        settle_time(self.settle)
        marks = resolution(self.opencost_resolution)
        if (elapsed := self.elapsed(now)) is not None:
            return elapsed.window
        text = "1h" if self.window is None else self.window
        return parse(text, now=now(), resolution=marks, on_result=say)

    def elapsed(self, now: Callable[[], datetime] = clock) -> Elapsed | None:
        """From --since to now; None without it. Raises UsageError as `interval` does."""
        if self.since is None:
            return None
        if self.window is not None:
            raise UsageError(f"Use either {variable('--window')} or {variable('--since')}, not both.")
        moment = now()
        return Elapsed(since(self.since, now=moment), moment, resolution(self.opencost_resolution))

    def ready(self, run: Run, window: Window, stop: CancelToken, say: Callable[[str], None]) -> Run:
        """The run, once OpenCost can be requested; waits if the window has not ended."""
        if self.since is None:
            return run
        return settled(run, window, settle_time(self.settle), sleep=stop.sleep, on_result=say)


@dataclass(frozen=True, slots=True)
class MarkOptions:
    """What every row is marked with."""

    PANEL = MARKS
    run_id: Annotated[str | None, option("--run-id", "The run every row is marked with.")] = None
    scenario_name: Annotated[str | None, option("--scenario-name", "The scenario every row is marked with.")] = None
    metadata: Annotated[list[str] | None, option("--metadata", "key=value for every row; repeatable.")] = None

    def run(self, environment: Mapping[str, str] = os.environ) -> Run:
        """A run that begins now, marked with its pipeline too; raises UsageError for metadata that is not key=value."""
        metadata = pipeline(environment) | key_values(self.metadata or [])
        return new_run(self.run_id, self.scenario_name, metadata)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How rows are loaded, and whether they are waited for."""

    PANEL = LOADING
    wait: Annotated[bool, option("--wait/--no-wait", "Wait until the rows are counted in their tables.")] = True
    timeout: Annotated[float, option("--timeout", "Seconds to wait for the next batch to land.")] = TIMEOUT
    replace: Annotated[
        bool, option("--replace", "Replace the rows that landed where OpenCost's response has changed since.")
    ] = False
    adopt: Annotated[
        bool,
        option("--adopt", "Accept another cluster, or rows of another one, under the name of a known one."),
    ] = False
    spool: Annotated[Path | None, option("--spool", "Keep batches in this folder until they have landed.")] = None
    gzip_level: Annotated[int, option("--gzip-level", "Compression of the blobs.", min=1, max=9)] = GZIP_LEVEL

    def __post_init__(self) -> None:
        seconds("--timeout", self.timeout)

    def policy(self) -> LoadPolicy:
        """The same as the policy that every command hands down."""
        return LoadPolicy(**{field.name: getattr(self, field.name) for field in fields(self)})


def seconds(name: str, value: float) -> float:
    """A time to wait; raises UsageError for none at all, and for one without end."""
    if not 0 < value <= _LONGEST:
        raise UsageError(f"{name} {value:g} is not possible: write a number of seconds above 0.")
    return value


def listed(values: Collection[str] | None) -> list[str]:
    """Plain words that were given one by one, or with commas or blanks between them."""
    return [word for value in values or () for word in value.replace(",", " ").split()]


def key_values(pairs: list[str], said: str = "--metadata", form: str = "key=value") -> dict[str, str]:
    """`key=value` texts as a dict, keys as `names.identity` has them.

    Raises UsageError for one without `=`, whose key is no name, or a key given twice.
    """
    result: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key.strip() or (form == "name=URL" and "://" in key):
            raise UsageError(f"{said} {pair!r} is not {form}.")
        key = identity(key, f"A key of {variable(said)}")
        if key in result:
            raise UsageError(f"{said} names {key!r} twice.")
        result[key] = value
    return result
