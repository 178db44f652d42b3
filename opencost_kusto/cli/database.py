"""`bootstrap`, `status`, `query` and `tables`: what is, or should be, in the database."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from opencost_kusto.cli import printing
from opencost_kusto.cli.options import AsJson, KustoOptions, key_values, option
from opencost_kusto.cli.status import status_lines
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
) -> None:
    """Create or converge every table, mapping, policy and function."""
    from opencost_kusto.database.bootstrap import bootstrap, differences
    from opencost_kusto.database.migrate import migrate as migrated
    from opencost_kusto.database.script import commands

    if show + check + migrate > 1:
        raise UsageError("--print, --check and --migrate are things to do; give one of them.")
    if show:
        for command in commands():
            print(f"// {command.place}\n{command.text}\n")
        return
    with kusto_options.kusto() as kusto:
        database = kusto.database
        if check:
            found = list(differences(kusto))
            print("".join(f"{one}\n" for one in found), end="", file=sys.stderr)
            if missing := [one for one in found if one.required]:
                raise KustoError(
                    f"{database} differs in {len(missing)} things that are needed. Run opencost-kusto bootstrap.",
                    code=ReasonCode.SCHEMA_DRIFT,
                )
            more = f" but {len(found)} policies or sentences" if found else ""
            print(f"{database} holds everything that is declared{more}.")
            return
        if migrate:
            for one in migrated(kusto, print):
                print(f"{one.rows} rows of {one.batches} windows of {one.old} are in {one.table}; {one.old} is kept.")
            return
        done = bootstrap(kusto, lambda one: print(f"{one.place}: {one.what}: done"))
    print(f"{done.changed} commands run." if done.changed else f"{database} is up to date; nothing changed.")
    for refused in done.refused:
        print(f"Warning: {refused}", file=sys.stderr)


def status_command(
    kusto_options: KustoOptions,
    max_age: Annotated[
        str | None, option("--max-age", "Fail when the last landed window ended longer ago; an empty one is none.")
    ] = None,
    catch_up: Annotated[str, option("--catch-up", "How far back to look for what is missing, lost or failed.")] = "48h",
    as_json: AsJson = False,
) -> None:
    """Print how fresh and how whole Kusto is, by source and dataset."""
    from opencost_kusto.coverage.status import status

    limit = duration(max_age) if max_age else None
    now = datetime.now(UTC)
    with kusto_options.kusto() as kusto:
        found = status(kusto, now=now, back=duration(catch_up))
    if as_json:
        print(json.dumps([one.document(now) for one in found], indent=2))
    else:
        print("\n".join(line for one in found for line in status_lines(one, now)) or "Nothing was ever synced.")
    if limit is not None:
        old = [one for one in found if (age := one.age(now)) is None or age > limit]
        names = ", ".join(f"{one.dataset} of {one.source}" for one in old) or "everything"
        if old and all(one.empty_until and now - one.empty_until <= limit for one in old):
            said = "OpenCost answers that nothing has cost anything since: see whether its Prometheus is up."
            raise NotLandedError(f"Older than {max_age}: {names}. {said}")
        if old or not found:
            raise NotLandedError(f"Older than {max_age}: {names}. See why sync stopped.")


def query_command(
    name: Annotated[str, typer.Argument(help="A shipped function; opencost-kusto tables lists them.")],
    kusto_options: KustoOptions,
    param: Annotated[list[str] | None, option("--param", "k=v for a parameter of the function; repeatable.")] = None,
    format_: Annotated[str, option("--format", "table, json or csv.")] = "table",
) -> None:
    """Run a shipped function and print its rows."""
    from opencost_kusto.database.functions import call

    if format_ not in printing.FORMATS:
        raise UsageError(f"--format {format_} is unknown; choose one of {', '.join(printing.FORMATS)}.")
    text = call(name, key_values(param or [], "--param"))
    with kusto_options.kusto() as kusto:
        written = printing.FORMATS[format_](kusto.query(text))
    # Of no rows the columns are not known, so there is no header either.
    if written:
        print(written)


def tables_command(as_json: AsJson = False) -> None:
    """Print the data dictionary: every column of every table, and the functions."""
    from opencost_kusto.database.functions import functions

    if as_json:
        print(json.dumps(printing.dictionary_document(TABLES, functions()), indent=2, ensure_ascii=False))
    else:
        print("\n".join(printing.dictionary(TABLES, functions())))
