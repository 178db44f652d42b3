"""The command line: reads options, calls the library, prints. The one place where our errors are caught."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from opencost_kusto.cli.commands import Group
from opencost_kusto.cli.console import Format
from opencost_kusto.cli.streams import finish, prepare
from opencost_kusto.cli.termination import Process
from opencost_kusto.version import __version__

# Of 20,000 new objects, a run over 300 clusters takes 2 MB more. Older ones are seldom garbage.
_NEW_BEFORE_GARBAGE, _COLLECTIONS_BEFORE_OLDER = 5_000, 100
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


def main() -> None:
    """Run the command line, and exit with its code."""
    # What is imported stays: to look for garbage in it as often as Python does takes a tenth of a small sync.
    gc.set_threshold(_NEW_BEFORE_GARBAGE, _COLLECTIONS_BEFORE_OLDER)
    prepare()
    process = Process()
    process.console.document_due = _wants_document(sys.argv[1:], os.environ)
    code = process.run(lambda: app(standalone_mode=False, obj=process) or 0)
    if error := finish():
        code = process.fail(str(error), code or error.exit_code)
    # At its exit Python would collect garbage in all that was imported: a seventh of the time of a small sync. DuckDB,
    # which the demo and the emulator import, would report it as leaked.
    if "duckdb" not in sys.modules:
        gc.freeze()
    sys.exit(code)


def _wants_document(args: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether stdout is to hold one JSON document, by the arguments before they are parsed, and the environment."""
    for at, word in enumerate(args):
        if word in ("-o", "--format"):
            return [*args, ""][at + 1] == Format.JSON
        if word.startswith(("-o", "--format=")):
            return word.removeprefix("--format=").removeprefix("-o") == Format.JSON
    return environment.get("OPENCOST_KUSTO_FORMAT") == Format.JSON
