"""`bootstrap`, `status` and `tables`: what is, or should be, in the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from opencost_kusto.cli.console import Console
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.options import option
from opencost_kusto.cli.reports import dictionary
from opencost_kusto.cli.status import status_document
from opencost_kusto.cli.usage import read_option
from opencost_kusto.errors import KustoError, NotLandedError, ReasonCode, UsageError
from opencost_kusto.schema.tables import TABLES
from opencost_kusto.window import duration


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
    from opencost_kusto.database.bootstrap import bootstrap, differences
    from opencost_kusto.database.migrate import migrate as migrated
    from opencost_kusto.database.script import commands

    if show + check + migrate > 1:
        raise UsageError("Use one of --print, --check and --migrate.")
    if show:
        for command in commands():
            console.out(f"// {command.place}\n{command.text}\n")
        return
    with kusto_options.kusto(console.info) as kusto:
        database = kusto.database
        if check:
            found = list(differences(kusto))
            for difference in found:
                console.warning(str(difference), "difference")
            if missing := [one for one in found if one.required]:
                raise KustoError(
                    f"{database} differs in {len(missing)} things that are needed. Run opencost-kusto bootstrap.",
                    code=ReasonCode.SCHEMA_DRIFT,
                )
            more = f" but {len(found)} policies or sentences" if found else ""
            console.out(f"{database} holds everything that is declared{more}.")
            return
        if migrate:
            for one in migrated(kusto, console.out):
                moved = f"{one.rows} rows of {one.batches} windows of {one.old} are in {one.table}"
                console.out(f"{moved}; {one.old} is kept.")
            return
        done = bootstrap(kusto, lambda one: console.out(f"{one.place}: {one.what}: done"))
    console.out(f"{done.changed} commands run." if done.changed else f"{database} is up to date; nothing changed.")
    for refused in done.refused:
        console.warning(str(refused))


def status_command(
    kusto_options: KustoOptions,
    max_age: Annotated[
        str | None, option("--max-age", "Fail when the last landed window ended longer ago; an empty one is none.")
    ] = None,
    catch_up: Annotated[str, option("--catch-up", "How far back to look for what is missing, lost or failed.")] = "48h",
    *,
    console: Console,
) -> None:
    """Print how fresh and how complete Kusto is, by cluster and dataset."""
    from opencost_kusto.coverage.status import status

    limit = read_option("--max-age", duration, max_age) if max_age else None
    now = datetime.now(UTC)
    with kusto_options.kusto(console.info) as kusto:
        found = status(kusto, now=now, back=read_option("--catch-up", duration, catch_up))
    console.show(status_document(found, now))
    if limit is not None:
        old = [one for one in found if (age := one.age(now)) is None or age > limit]
        names = ", ".join(f"{one.dataset} of {one.source}" for one in old) or "everything"
        if old and all(one.empty_until and now - one.empty_until <= limit for one in old):
            said = "OpenCost reports no cost since then. Check whether its Prometheus is running."
            raise NotLandedError(f"Older than {max_age}: {names}. {said}")
        if old or not found:
            raise NotLandedError(f"Older than {max_age}: {names}. Check why sync stopped.")


def tables_command(*, console: Console) -> None:
    """Print the data dictionary: every column of every table, and the functions."""
    from opencost_kusto.database.functions import functions

    console.show(dictionary(TABLES, functions()))
