"""The command line: reads options, calls the library, prints. The one place where our errors are caught."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from opencost_kusto.cli.config import config_command
from opencost_kusto.cli.cost import cost_command
from opencost_kusto.cli.dashboard import dashboard_command
from opencost_kusto.cli.database import bootstrap_command, tables_command
from opencost_kusto.cli.doctor import doctor_command
from opencost_kusto.cli.guide import guide_command
from opencost_kusto.cli.help import EXAMPLES, Command, Group
from opencost_kusto.cli.local import demo_command, emulator_command
from opencost_kusto.cli.manifest import manifest_command
from opencost_kusto.cli.option_groups import grouped, wants_document
from opencost_kusto.cli.query import query_command
from opencost_kusto.cli.run import run_command
from opencost_kusto.cli.schedule import backfill_command, schedule_command
from opencost_kusto.cli.status_command import status_command
from opencost_kusto.cli.streams import finish, prepare
from opencost_kusto.cli.sync import replay_command, sync_command
from opencost_kusto.cli.termination import Process
from opencost_kusto.version import __version__

# Without rich's tables, which cut variables and defaults off on a narrow terminal.
app = typer.Typer(
    name="opencost-kusto",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Load OpenCost's costs into Azure Data Explorer: each window exactly once, complete, proven by the exit code."""
    if show:
        print(__version__)
        raise typer.Exit


_COMMANDS: dict[str, Callable[..., None]] = {
    "sync": sync_command,
    "run": run_command,
    "replay": replay_command,
    "backfill": backfill_command,
    "schedule": schedule_command,
    "manifest": manifest_command,
    "bootstrap": bootstrap_command,
    "doctor": doctor_command,
    "status": status_command,
    "cost": cost_command,
    "query": query_command,
    "tables": tables_command,
    "dashboard": dashboard_command,
    "config": config_command,
    "guide": guide_command,
    "demo": demo_command,
    "emulator": emulator_command,
}
# Those that have rows under way.
_LOADING = {"sync", "run", "replay", "backfill", "schedule"}
# Those that print rows or a report.
_REPORTS = {"doctor", "sync", "replay", "backfill", "schedule", "status", "cost", "query", "tables", "config"}
for _name, _command in _COMMANDS.items():
    _grouped = grouped(_command, loading=_name in _LOADING, reports=_name in _REPORTS)
    app.command(_name, cls=Command, epilog=EXAMPLES.get(_name))(_grouped)


def main() -> None:
    """Run the command line, and end the process with the exit code of what went wrong."""
    prepare()
    process = Process()
    process.console.document_due = wants_document(sys.argv[1:], os.environ)
    code = process.run(lambda: app(standalone_mode=False, obj=process) or 0)
    if error := finish():
        code = process.fail(str(error), code or error.exit_code)
    sys.exit(code)
