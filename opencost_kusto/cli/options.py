"""Options that several commands take, as groups: a command names a group, and gets its options as one object.

Those of Kusto, of the sources and of the window are in modules of their own.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from opencost_kusto.batch import Run
from opencost_kusto.ci.metadata import pipeline
from opencost_kusto.cli.console import Format, LogFormat
from opencost_kusto.cli.usage import read_option
from opencost_kusto.errors import UsageError
from opencost_kusto.load.policy import GZIP_LEVEL, TIMEOUT, WORKERS, LoadPolicy
from opencost_kusto.names import flag, identity, variable
from opencost_kusto.pipeline.request import new_run
from opencost_kusto.shard import Shard

# Longer than any useful wait, and shorter than the longest timer.
_LONGEST = 1e7
# Sections of the help.
WINDOW, OPENCOST, MARKS = "Window", "OpenCost", "Marks on every row"
KUSTO, LOADING, OUTPUT = "Kusto", "Loading", "Output"


def option(name: str, text: str, *others: str, panel: str | None = None, **more: Any) -> Any:
    """An option that can also be given as OPENCOST_KUSTO_<NAME>.

    `panel` is its section of the help, `others` are its other spellings.
    """
    word = name.split("/", maxsplit=1)[0].removeprefix("--").replace("-", "_").upper()
    variable = f"OPENCOST_KUSTO_{word}"
    before, after = [one for one in others if len(one) == 2], [one for one in others if len(one) > 2]
    return typer.Option(
        *before, name, *after, help=text, envvar=variable, show_envvar=False, rich_help_panel=panel, **more
    )


Shards = Annotated[
    str | None,
    option(
        "--shard", "I/N: the clusters of replica I of N alone, by a digest of the name; the first is 0.", panel=OPENCOST
    ),
]
FailOnEmpty = Annotated[
    bool | None,
    option(
        "--fail-on-empty/--no-fail-on-empty",
        "End with 8 when nothing had a cost; on unless --window is used.",
        panel=OUTPUT,
    ),
]
Summary = Annotated[
    Path | None, option("--summary", "Append the run as Markdown to this file, for a pipeline's page.", panel=OUTPUT)
]


Tags = Annotated[
    bool,
    option(
        "--tags/--no-tags",
        "Tag each blob, so that Kusto skips a second copy; without, Kusto ingests blobs together, for large fleets.",
        panel=LOADING,
    ),
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
class RunOptions:
    """What marks every row of a run."""

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
        option("--adopt", "Accept another cluster, its rows, or another currency, under the name of a known one."),
    ] = False
    spool: Annotated[Path | None, option("--spool", "Keep batches in this folder until they have landed.")] = None
    gzip_level: Annotated[int, option("--gzip-level", "Compression of the blobs.", min=1, max=9)] = GZIP_LEVEL
    tags: Tags = True
    workers: Annotated[int, option("--workers", "Sources that are requested side by side.", min=1)] = WORKERS

    def __post_init__(self) -> None:
        seconds("--timeout", self.timeout)

    def policy(self) -> LoadPolicy:
        """The same as a policy, which every command passes on."""
        return LoadPolicy(**{field.name: getattr(self, field.name) for field in fields(self)})


def seconds(name: str, value: float) -> float:
    """A time to wait; raises UsageError for zero or less, and for an unlimited one."""
    if not 0 < value <= _LONGEST:
        raise UsageError(f"{flag(name)} {value:g} is not possible: write a number of seconds above 0.")
    return value


def shard_of(text: str | None) -> Shard | None:
    """The shard of --shard, if there is one; raises UsageError."""
    return None if text is None else read_option("--shard", Shard.parse, text)


def listed(values: Collection[str] | None) -> list[str]:
    """Plain words, given one by one or separated by commas or blanks."""
    return [word for value in values or () for word in value.replace(",", " ").split()]


def key_values(pairs: list[str], flag: str = "--metadata", form: str = "key=value") -> dict[str, str]:
    """`key=value` texts as a dict, keys as `names.identity` has them.

    Raises UsageError for one without `=`, whose key is no name, or a key given twice.
    """
    result: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key.strip() or (form == "name=URL" and "://" in key):
            raise UsageError(f"{flag} {pair!r} is not {form}.")
        key = identity(key, f"A key of {variable(flag)}")
        if key in result:
            raise UsageError(f"{flag} names {key!r} twice.")
        result[key] = value
    return result
