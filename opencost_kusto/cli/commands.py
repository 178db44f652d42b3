"""The commands of the program, each imported when it is used: `--help` of the program imports none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from opencost_kusto.cli.help import EXAMPLES, Command


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: its module in this folder, and the first sentence of its help.

    `loading` is whether it may have rows under way, `reports` whether it prints rows or a report.
    """

    module: str
    help: str
    loading: bool = False
    reports: bool = False


ENTRIES = {
    "sync": Entry(
        "sync", "Load a window of cost from OpenCost into Kusto exactly once, and prove it.", loading=True, reports=True
    ),
    "run": Entry(
        "run",
        "Run a command, then load the window in which it ran and print what it cost; its exit code comes first.",
        loading=True,
    ),
    "replay": Entry("sync", "Load what a spool still holds, exactly once.", loading=True, reports=True),
    "backfill": Entry(
        "backfill",
        "Load the missing windows of a range, and nothing else; run it again to continue where it stopped.",
        loading=True,
        reports=True,
    ),
    "schedule": Entry(
        "schedule",
        "Load missing windows of the last days at each interval, until SIGTERM or Ctrl-C.",
        loading=True,
        reports=True,
    ),
    "manifest": Entry("manifest", "Print the Kubernetes YAML of a scheduled sync: a CronJob, or a Deployment."),
    "bootstrap": Entry("database", "Create or converge every table, mapping, policy and function."),
    "doctor": Entry(
        "doctor", "Check every hop from OpenCost to Kusto, and print the fix for each that fails.", reports=True
    ),
    "status": Entry("status_command", "Print how each cluster stands, the worst first.", reports=True),
    "cost": Entry("cost", "Print what something cost, with a total, shares, and what is missing.", reports=True),
    "query": Entry("query", "Run a shipped function, or any KQL, and print its rows.", reports=True),
    "tables": Entry(
        "database", "Print the data dictionary: every column of every table, and the functions.", reports=True
    ),
    "dashboard": Entry(
        "dashboard",
        "Print the dashboard as JSON, ready to import (Dashboards, New, Import from file), or draw its pages.",
    ),
    "config": Entry(
        "config",
        "Print the effective settings, and where each comes from: the command line, the environment, the file, a "
        "default.",
        reports=True,
    ),
    "guide": Entry("guide", "Print a guide, or the names of all."),
    "demo": Entry("local", "Run the whole path on this machine, against a local emulator of OpenCost and of Kusto."),
    "emulator": Entry(
        "local", "Start the local emulator of OpenCost and Kusto alone, until Ctrl-C, to test a pipeline against."
    ),
}


class Commands(Mapping[str, Any]):
    """Typer's commands by name, each created when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        return _created(name)

    def __iter__(self) -> Iterator[str]:
        return iter(ENTRIES)

    def __len__(self) -> int:
        return len(ENTRIES)

    def __contains__(self, name: object) -> bool:
        return name in ENTRIES


@cache
def _created(name: str) -> Any:
    """A command, from the function `NAME_command` of its module."""
    from opencost_kusto.cli.option_groups import grouped

    entry = ENTRIES[name]
    function = getattr(import_module(f"opencost_kusto.cli.{entry.module}"), f"{name}_command")
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    command = grouped(function, loading=entry.loading, reports=entry.reports)
    alone.command(name, cls=Command, epilog=EXAMPLES.get(name))(command)
    return typer.main.get_command(alone)


class Group(TyperGroup):
    """The program itself, whose help has the complete first sentence of each command."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Commands()  # type: ignore[assignment]

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write each command with its sentence, and import none."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in ENTRIES.items()])
