"""What would be ignored, endless or told to the wrong place is refused, before anything is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer.main

from opencost_kusto.cli import app
from opencost_kusto.cli.options import WhenOptions
from opencost_kusto.errors import UsageError

NOBODY = "http://127.0.0.1:9"
KUSTO = ("--kusto-uri", NOBODY, "--database", "OpenCost", "--auth", "none")
DRY = ("sync", "--endpoint", NOBODY, "--output", "rows")
REFUSED = {
    "no time for rows": (("sync", *KUSTO, "--timeout", "0"), "--timeout 0 is no time"),
    "less than none": (("replay", ".", *KUSTO, "--timeout", "-5"), "--timeout -5 is no time"),
    "no time for an answer": (("sync", *KUSTO, "--request-timeout", "0"), "--request-timeout 0 is no time"),
    "no number": (("sync", *KUSTO, "--request-timeout", "nan"), "--request-timeout nan is no time"),
    "no end": (("sync", *KUSTO, "--timeout", "inf"), "--timeout inf is no time"),
    "two kinds of rows in one stream": (("sync", "--output", "-"), "add --dataset allocation"),
    "rows and a report in one stream": (
        ("sync", "--output", "-", "--dataset", "assets", "--json"),
        "--json and --output - both want stdout",
    ),
    "a dry run and Kusto": ((*DRY, *KUSTO), "--output is a dry run without Kusto; leave out --kusto-uri"),
    "a dry run that replaces": ((*DRY, "--replace"), "leave out --replace"),
    "a dry run with a spool": ((*DRY, "--spool", "spool"), "leave out --spool"),
    "a dry run that waits for nothing": ((*DRY, "--no-wait"), "leave out --wait/--no-wait"),
    "a dry run in no time": ((*DRY, "--timeout", "5"), "leave out --timeout"),
    "settling of a window": (("sync", *KUSTO, "--settle", "5m"), "--settle goes with --since"),
    "types of what is not asked for": (
        ("sync", *KUSTO, "--dataset", "allocation", "--filter-types", "Disk"),
        "--filter-types is of assets",
    ),
    "metrics that are not asked for": (("run", *KUSTO, "--dataset", "assets", "--all-metrics", "true"), "of metrics"),
    "idle that is not asked for": (("sync", *KUSTO, "--dataset", "assets", "--include-idle"), "of allocation"),
    "printed and compared": (("bootstrap", "--print", "--check"), "--print and --check"),
    "no window": (("sync", *KUSTO, "--window", ""), "'' is not a window"),
    "no time to begin at": (("backfill", *KUSTO, "--from", "foo"), "--from 'foo' is not a time"),
    "no time to end at": (("backfill", *KUSTO, "--from", "2026-11-23", "--to", ""), "--to '' is not a time"),
    "a range of the future": (("backfill", *KUSTO, "--from", "2999-01-01", "--to", "2999-01-02"), "in the future"),
    "a range backwards": (("backfill", *KUSTO, "--from", "2026-11-02", "--to", "2026-11-01"), "not after its start"),
    "a source without a name": (("sync", *KUSTO, "--source", NOBODY), "is not name=URL"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_ignored_is_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ends as a UsageError that names the option, with no folder made."""
    monkeypatch.chdir(tmp_path)
    words, said = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        app(list(words), standalone_mode=False)
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_the_environment_says_for_all_runs_is_no_contradiction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run where the environment names Kusto, for other runs, goes on to OpenCost, which nobody answers for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENCOST_KUSTO_KUSTO_URI", NOBODY)
    monkeypatch.setenv("OPENCOST_KUSTO_FILTER_TYPES", "Disk")
    with pytest.raises(Exception, match="cannot be reached"):
        app([*DRY, "--dataset", "allocation", "--request-timeout", "1"], standalone_mode=False)


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_ports_are_ports(port: str) -> None:
    """The stand-ins are not started on what is no port."""
    with pytest.raises(Exception, match=r"(?i)input should be|range"):
        app(["emulator", "--kusto-port", port], standalone_mode=False)


def now() -> datetime:
    """A quarter past eleven."""
    return datetime(2026, 11, 24, 11, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "told"),
    [
        ("2026-11-24T10:00:00Z,2026-11-24T12:00:00Z", "2026-11-24T10:00:00Z,2026-11-24T11:15:00Z"),
        ("2026-11-24T10:00:30Z,2026-11-24T11:00:30Z", "2026-11-24T10:00:00Z,2026-11-24T11:05:00Z"),
        ("2026-11-24", "2026-11-24T00:00:00Z,2026-11-24T11:15:00Z"),
    ],
)
def test_a_window_that_is_not_as_written_is_told(window: str, told: str) -> None:
    """Where times are cut to now, or widened to OpenCost's marks, the window that is asked for is told."""
    said: list[str] = []
    assert str(WhenOptions(window).interval(now, said.append)) == told
    assert said == [f"The window is {told}: it begins and ends on OpenCost's marks, every 5 minutes."]


@pytest.mark.parametrize("window", ["1h", "today", "yesterday", "2026-11-23", "2026-11-24T10:00Z,2026-11-24T11:00Z"])
def test_a_window_that_is_as_written_is_not(window: str) -> None:
    """What is documented, or written out, needs no word."""
    said: list[str] = []
    WhenOptions(window).interval(now, said.append)
    assert said == []


def test_help_fits_a_narrow_terminal() -> None:
    """At 80 columns the help of each command says every variable and default whole."""
    group = typer.main.get_command(app)
    for command in group.commands.values():  # type: ignore[attr-defined]
        context = command.make_context(command.name, [], resilient_parsing=True, terminal_width=80)
        text = " ".join(command.get_help(context).split())
        for parameter in command.params:
            assert not parameter.envvar or parameter.envvar in text, parameter.name
