"""`bootstrap` and `tables`: what the database should hold."""

from __future__ import annotations

from typing import Annotated

import typer

from opencost_kusto.cli.console import Console
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.reports import dictionary
from opencost_kusto.errors import KustoError, ReasonCode, UsageError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.schema.tables import TABLES


def bootstrap_command(
    kusto_options: KustoOptions,
    show: Annotated[bool, typer.Option("--print", help="Print the KQL on stdout and change nothing.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Compare, change nothing, and fail on a difference.")] = False,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Rename tables that were made by hand, and copy their rows.")
    ] = False,
    *,
    console: Console,
) -> None:
    """Create or converge every table, mapping, policy and function."""
    from opencost_kusto.database.bootstrap import bootstrap
    from opencost_kusto.database.migrate import migrate as migrated
    from opencost_kusto.database.script import commands

    if show + check + migrate > 1:
        raise UsageError("Use one of --print, --check and --migrate.")
    if show:
        for command in commands():
            console.out(f"// {command.place}\n{command.text}\n")
        return
    with kusto_options.kusto(console.info) as kusto:
        if check:
            _check(kusto, console)
            return
        if migrate:
            moves = migrated(kusto, console.out)
            if not moves:
                console.out(f"{kusto.database} has no tables that were made by hand, and is up to date.")
            for one in moves:
                moved = f"{one.rows} rows of {one.batches} windows of {one.old} are in {one.table}"
                console.out(f"{moved}; {one.old} is kept.")
            return
        done = bootstrap(kusto, lambda one: console.out(f"{one.place}: {one.what}: done"))
    changed = f"{done.changed} commands run." if done.changed else f"{kusto.database} is up to date; nothing changed."
    console.out(changed)
    for refused in done.refused:
        console.warning(str(refused))


def _check(kusto: Kusto, console: Console) -> None:
    """Print what differs; raises KustoError where something that is needed does."""
    from opencost_kusto.database.bootstrap import differences

    found = list(differences(kusto))
    for difference in found:
        console.warning(str(difference), "difference")
    if missing := [one for one in found if one.required]:
        raise KustoError(
            f"{kusto.database} differs in {len(missing)} of the tables, mappings and functions that are needed. "
            "Run opencost-kusto bootstrap.",
            code=ReasonCode.SCHEMA_DRIFT,
        )
    more = f" but {len(found)} policies or sentences" if found else ""
    console.out(f"{kusto.database} holds everything that is declared{more}.")


def tables_command(*, console: Console) -> None:
    """Print the data dictionary: every column of every table, and the functions."""
    from opencost_kusto.database.functions import functions

    console.show(dictionary(TABLES, functions()))
