"""What would be ignored, endless or printed in the wrong place is refused, before anything is requested."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer.main

from opencost_kusto.cli import app
from opencost_kusto.cli.source_options import DataOptions
from opencost_kusto.cli.window_options import WhenOptions
from opencost_kusto.errors import OpenCostError, UsageError
from opencost_kusto.schema.tables import DEFAULT_DATASETS

UNREACHABLE = "http://127.0.0.1:9"
KUSTO = ("--kusto-uri", UNREACHABLE, "--database", "OpenCost", "--auth", "none")
DRY = ("sync", "--endpoint", UNREACHABLE, "--output", "rows")
REFUSED = {
    "no time for rows": (("sync", *KUSTO, "--timeout", "0"), "--timeout 0 is not possible"),
    "less than none": (("replay", ".", *KUSTO, "--timeout", "-5"), "--timeout -5 is not possible"),
    "no time for an answer": (("sync", *KUSTO, "--request-timeout", "0"), "--request-timeout 0 is not possible"),
    "no number": (("sync", *KUSTO, "--request-timeout", "nan"), "--request-timeout nan is not possible"),
    "no end": (("sync", *KUSTO, "--timeout", "inf"), "--timeout inf is not possible"),
    "two kinds of rows in one stream": (("sync", "--output", "-"), "add --dataset allocation"),
    "rows and a report in one stream": (
        ("sync", "--output", "-", "--dataset", "assets", "-o", "json"),
        "--format and --output - both write to stdout",
    ),
    "a dry run and Kusto": ((*DRY, *KUSTO), "--output is a dry run without Kusto; leave out --kusto-uri"),
    "a dry run that replaces": ((*DRY, "--replace"), "leave out --replace"),
    "a dry run with a spool": ((*DRY, "--spool", "spool"), "leave out --spool"),
    "a dry run that waits for nothing": ((*DRY, "--no-wait"), "leave out --wait/--no-wait"),
    "a dry run in no time": ((*DRY, "--timeout", "5"), "leave out --timeout"),
    "settling of a window": (("sync", *KUSTO, "--settle", "5m"), "--settle goes with --since"),
    "types of what is not requested": (
        ("sync", *KUSTO, "--dataset", "allocation", "--filter-types", "Disk"),
        "--filter-types is of assets",
    ),
    "metrics that are not requested": (("run", *KUSTO, "--dataset", "assets", "--all-metrics", "true"), "of metrics"),
    "idle that is not requested": (("sync", *KUSTO, "--dataset", "assets", "--include-idle"), "of allocation"),
    "printed and compared": (("bootstrap", "--print", "--check"), "one of --print, --check and --migrate"),
    "no window": (("sync", *KUSTO, "--window", ""), "'' is not a window"),
    "no time to begin at": (("backfill", *KUSTO, "--from", "foo"), "--from 'foo' is not a time"),
    "no time to end at": (("backfill", *KUSTO, "--from", "2026-11-23", "--to", ""), "--to '' is not a time"),
    "a range of the future": (("backfill", *KUSTO, "--from", "2999-01-01", "--to", "2999-01-02"), "in the future"),
    "a file where a folder is meant": (("sync", "--output", "costs.json"), "Write --output costs, or"),
    "a file and a folder": (("sync", "--output", "rows", "--assets-output", "a.json"), "Use either --output or"),
    "a file of what is not requested": (
        ("sync", "--dataset", "metrics", "--assets-output", "a.json"),
        "leave out --dataset, or name the same",
    ),
    "types without a file of them": (
        ("sync", "--allocation-output", "a.json", "--filter-types", "Disk"),
        "--filter-types is of assets",
    ),
    "a file and Kusto": (("sync", *KUSTO, "--assets-output", "a.json"), "--assets-output is a dry run without Kusto"),
    "an address in two ways": (
        ("sync", *KUSTO, "--endpoint", UNREACHABLE, "--host", "127.0.0.1"),
        "Use either --endpoint or --host and --port",
    ),
    "a report of a schedule": (("schedule", *KUSTO, "-o", "json"), "--format is for --once"),
    "a range backwards": (("backfill", *KUSTO, "--from", "2026-11-02", "--to", "2026-11-01"), "not after its start"),
    "a source without a name": (("sync", *KUSTO, "--source", UNREACHABLE), "is not name=URL"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_ignored_is_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ends as a UsageError that names the option, with no folder made."""
    monkeypatch.chdir(tmp_path)
    arguments, message = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        app(list(arguments), standalone_mode=False)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_variable_for_all_runs_is_no_contradiction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run where the environment names Kusto continues to OpenCost, which is unreachable here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENCOST_KUSTO_KUSTO_URI", UNREACHABLE)
    monkeypatch.setenv("OPENCOST_KUSTO_FILTER_TYPES", "Disk")
    with pytest.raises(Exception, match="cannot be reached"):
        app([*DRY, "--dataset", "allocation", "--request-timeout", "1"], standalone_mode=False)


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_ports_are_ports(port: str) -> None:
    """The emulators are not started on what is no port."""
    with pytest.raises(Exception, match=r"(?i)input should be|range"):
        app(["emulator", "--kusto-port", port], standalone_mode=False)


def now() -> datetime:
    """A quarter past eleven."""
    return datetime(2026, 11, 24, 11, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "shown"),
    [
        ("2026-11-24T10:00:00Z,2026-11-24T12:00:00Z", "2026-11-24T10:00:00Z,2026-11-24T11:15:00Z"),
        ("2026-11-24T10:00:30Z,2026-11-24T11:00:30Z", "2026-11-24T10:00:00Z,2026-11-24T11:05:00Z"),
        ("2026-11-24", "2026-11-24T00:00:00Z,2026-11-24T11:15:00Z"),
    ],
)
def test_a_window_that_differs_from_the_option_is_reported(window: str, shown: str) -> None:
    """Where times are cut to now, or widened to OpenCost's marks, the window that is requested is reported."""
    message: list[str] = []
    assert str(WhenOptions(window).interval(now, message.append)) == shown
    assert message == [f"The window is {shown}: it begins and ends on OpenCost's marks, every 5 minutes."]


@pytest.mark.parametrize("window", ["1h", "today", "yesterday", "2026-11-23", "2026-11-24T10:00Z,2026-11-24T11:00Z"])
def test_a_window_that_is_as_written_is_not(window: str) -> None:
    """What is documented, or written out, needs no word."""
    message: list[str] = []
    WhenOptions(window).interval(now, message.append)
    assert message == []


def command(name: str) -> Any:
    """A command of the program."""
    return typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(typer.main.get_command(app).commands))  # type: ignore[attr-defined]
def test_help_fits_a_narrow_terminal(name: str) -> None:
    """At 80 columns the help has every sentence and default in full, its groups, and examples as typed."""
    context = command(name).make_context(name, [], resilient_parsing=True, terminal_width=80)
    text = command(name).get_help(context)
    assert max(map(len, text.splitlines())) <= 80
    arguments = " ".join(text.split())
    assert not [line for line in text.splitlines() if line.endswith("...") and not line.startswith("Usage")]
    for parameter in command(name).params:
        if parameter.help:
            # A line may end after a hyphen.
            assert "".join(parameter.help.split()) in "".join(arguments.split()), parameter.name
    assert "Examples: opencost-kusto" in arguments or "Examples: export" in arguments
    assert "OPENCOST_KUSTO_RUN_ID" in arguments


def test_help_lists_required_options_first() -> None:
    """The section of required options is the first, also for the options of a dry run."""
    context = command("sync").make_context("sync", [], resilient_parsing=True)
    sections = re.findall(r"^(\w[\w ]*):$", command("sync").get_help(context), re.MULTILINE)
    assert sections[0] == "Required"
    assert {"OpenCost", "Kusto", "Window", "Loading", "Output", "Examples"} <= set(sections)


def test_the_overview_has_complete_sentences() -> None:
    """Each command is in the overview with its complete first sentence."""
    group = typer.main.get_command(app)
    text = " ".join(group.get_help(group.make_context("opencost-kusto", ["sync"], resilient_parsing=True)).split())
    for one in group.commands.values():  # type: ignore[attr-defined]
        assert " ".join(one.help.partition("\n\n")[0].split()) in text


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of options that exclude each other, one in the environment gives way to the other on the command line."""
    hour = "2026-11-23T10:00:00Z,2026-11-23T11:00:00Z"
    monkeypatch.setenv("OPENCOST_KUSTO_SINCE", "soon")
    monkeypatch.setenv("OPENCOST_KUSTO_SOURCE", f"a={UNREACHABLE}")
    quick = ("--endpoint", UNREACHABLE, "--request-timeout", "1", "--dataset", "allocation", "--output", "rows")
    with pytest.raises(OpenCostError, match="cannot be reached"):
        app(["sync", "--window", hour, *quick], standalone_mode=False)
    with pytest.raises(UsageError, match="'soon'"):
        app(["sync", *quick], standalone_mode=False)
    monkeypatch.setenv("OPENCOST_KUSTO_WINDOW", hour)
    with pytest.raises(UsageError, match=r"OPENCOST_KUSTO_WINDOW.*OPENCOST_KUSTO_SINCE"):
        app(["sync", *quick], standalone_mode=False)


@pytest.mark.parametrize(
    ("given", "datasets"),
    [
        (["allocation,assets"], ("allocation", "assets")),
        (["assets", "allocation, assets"], ("assets", "allocation")),
        (None, DEFAULT_DATASETS),
    ],
)
def test_lists_are_repeated_or_have_commas(given: list[str] | None, datasets: tuple[str, ...]) -> None:
    """Plain words are given one by one or with commas, and each counts once."""
    assert DataOptions(dataset=given).datasets() == datasets
    with pytest.raises(UsageError, match="'nod'"):
        app(
            [*DRY, "--dataset", "assets", "--filter-types", "Disk,nod", "--filter-types", "Node"], standalone_mode=False
        )


def test_completion_offers_the_commands() -> None:
    """A shell that completes `st` is offered `status`."""
    environment = os.environ | {
        "_OPENCOST_KUSTO_COMPLETE": "complete_bash",
        "COMP_WORDS": "opencost-kusto st",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from opencost_kusto.cli import app; app(prog_name='opencost-kusto')"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["status"]), done.stderr
