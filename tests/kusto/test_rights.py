"""The table of rights covers every command that this program sends, and grants what it names."""

from __future__ import annotations

import re

import pytest

from opencost_kusto.database import script
from opencost_kusto.database.functions import functions
from opencost_kusto.kusto.rights import ANY_PRINCIPAL, RIGHTS, TASKS, Role, Task, grant, right
from opencost_kusto.schema.tables import TABLES
from tests.support.documents import GUIDES


def by_command() -> dict[str, Task]:
    """The task of each command."""
    return {command: task for task in TASKS for command in task.commands}


@pytest.mark.parametrize("command", list(script.commands()), ids=lambda command: command.place)
def test_every_bundled_command_has_its_right(command: script.Command) -> None:
    """A command that bootstrap sends has its own line in the table, and does not rely on the one for queries."""
    assert right(command.text).beginning


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("OpenCostAllocation | count", "Database Viewer"),
        (".show database ['x'] schema as json", "Database Viewer"),
        (".create-merge  table T (a: int)", "Database User; Table Admin where the table exists"),
        (".alter table T policy x ```{}```", "Table Admin"),
        (".get ingestion resources", "Database Ingestor or Table Ingestor"),
        (".update table T delete D append A <| T", "Table Admin"),
    ],
)
def test_least_rights_are_those_of_the_documentation(text: str, least: str) -> None:
    """Each is the *Permissions* section of the page that the line names."""
    assert right(text).least == least


def test_every_line_names_its_page() -> None:
    """A right without a source is a guess."""
    assert all(one.page for one in RIGHTS)
    assert len({one.beginning for one in RIGHTS}) == len(RIGHTS)


def test_a_name_with_hyphens_and_blanks_is_quoted() -> None:
    """https://learn.microsoft.com/kusto/management/manage-database-security-roles"""
    assert grant(Role.VIEWER, "my-db 2", "aadapp=1;2") == ".add database ['my-db 2'] viewers ('aadapp=1;2')"


def test_the_guide_has_every_task_and_its_lines() -> None:
    """Who administers the database finds the least rights of each task, and the lines to paste."""
    page = GUIDES["operations"]
    for task in TASKS:
        cells = (", ".join(f"`{one}`" for one in each) for each in (task.commands, task.roles))
        assert f"| {' | '.join(cells)} |" in page
        assert task.why in page
    blocks = [block.strip().splitlines() for block in re.findall(r"```kusto\n(\.add .*?)```", page, re.DOTALL)]
    names = [one.name for one in functions()]
    repair = by_command()["sync --replace"]
    assert blocks == [
        one.grants("OpenCost", ANY_PRINCIPAL, names) for one in (repair, by_command()["bootstrap"], TASKS[1])
    ]


def test_each_task_grants_no_more_than_it_needs() -> None:
    """A sync ingests and reads; only repairs change tables, and only a migration needs Database Admin."""
    assert by_command()["sync"].grants("db", "p") == [
        ".add database ['db'] ingestors ('p')",
        ".add database ['db'] viewers ('p')",
    ]
    assert [name for name, task in by_command().items() if Role.ADMIN in task.roles] == ["bootstrap --migrate"]
    repair = by_command()["sync --replace"].grants("db", "p")
    assert ".add table OpenCostAllocation admins ('p')" in repair
    assert len(repair) == 3 + len(TABLES)
