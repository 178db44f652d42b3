"""The rights that each command and query requires, by Microsoft's documentation, and the commands that grant them.

Pages are those of https://learn.microsoft.com/kusto/; roles are those of
https://learn.microsoft.com/kusto/access-control/role-based-access-control.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from opencost_kusto.schema.tables import TABLES

# The place of an identity in a command, where it is unknown.
ANY_PRINCIPAL = "aadapp=<client id>;<tenant id>"


class Role(StrEnum):
    """A security role, by its name in `.add database`."""

    VIEWER = "viewers"
    INGESTOR = "ingestors"
    USER = "users"
    ADMIN = "admins"
    UNRESTRICTED_VIEWER = "unrestrictedviewers"


@dataclass(frozen=True, slots=True)
class Right:
    """The least right that statements with this beginning require.

    `grant` is the role that always suffices, `new` one that suffices where the object does not exist yet, `further` one
    that tables with restricted view access require as well.
    """

    beginning: str
    least: str
    grant: Role
    page: str
    further: Role | None = None
    new: Role | None = None

    def grants(self, database: str, principal: str, *, creates: bool = False) -> list[str]:
        """The commands that grant it, to paste into a query window; `creates` where the object does not exist yet."""
        first = self.new if creates and self.new is not None else self.grant
        return [grant(role, database, principal) for role in (first, self.further) if role is not None]


# The first match applies; the last matches every query.
RIGHTS = (
    Right(
        ".create-merge table",
        "Database User; Table Admin where the table exists",
        Role.ADMIN,
        "management/create-merge-table-command",
        new=Role.USER,
    ),
    Right(".alter table", "Table Admin", Role.ADMIN, "management/alter-table-docstring-command"),
    Right(
        ".alter-merge table",
        "Table Admin",
        Role.ADMIN,
        "management/alter-merge-table-column",
    ),
    Right(
        ".create-or-alter table",
        "Table Ingestor",
        Role.INGESTOR,
        "management/create-or-alter-ingestion-mapping-command",
    ),
    Right(
        ".create-or-alter function",
        "Database User; Function Admin where the function exists",
        Role.ADMIN,
        "management/create-alter-function",
        new=Role.USER,
    ),
    Right(".create table", "Database User", Role.USER, "management/create-table-command"),
    Right(".rename table", "Table Admin", Role.ADMIN, "management/rename-table-command"),
    Right(".update table", "Table Admin", Role.ADMIN, "management/update-table-command"),
    Right(".drop table", "Table Admin", Role.ADMIN, "management/drop-table-command"),
    Right(".ingest inline", "Table Ingestor", Role.INGESTOR, "management/data-ingestion/ingest-inline"),
    Right(
        ".set-or-append",
        "Table Ingestor; Database User where the table is new",
        Role.INGESTOR,
        "management/data-ingestion/ingest-from-query",
    ),
    Right(
        ".get ingestion resources",
        "Database Ingestor or Table Ingestor",
        Role.INGESTOR,
        "api/netfx/kusto-ingest-client-rest",
    ),
    Right(
        ".get kusto identity token",
        "Database Ingestor or Table Ingestor",
        Role.INGESTOR,
        "api/netfx/kusto-ingest-client-rest",
    ),
    Right(".show capacity", "Database User", Role.USER, "management/show-capacity-command"),
    Right(".show", "Database Viewer", Role.VIEWER, "management/show-schema-database"),
    Right("print", "Database Viewer", Role.VIEWER, "access-control/role-based-access-control"),
    Right(
        "",
        "Database Viewer",
        Role.VIEWER,
        "management/restricted-view-access-policy",
        further=Role.UNRESTRICTED_VIEWER,
    ),
)


def right(text: str) -> Right:
    """The right that a statement requires."""
    squeezed = " ".join(text.split()).lower()
    return next(each for each in RIGHTS if squeezed.startswith(each.beginning))


@dataclass(frozen=True, slots=True)
class Task:
    """The least rights for one task: roles in the database, and whether Admin on the tables or functions as well."""

    commands: tuple[str, ...]
    roles: tuple[Role, ...]
    why: str
    table_admin: bool = False
    function_admin: bool = False

    def grants(self, database: str, principal: str, functions: Iterable[str] = ()) -> list[str]:
        """The commands that grant it, to paste into a query window; `functions` names all that exist."""
        lines = [grant(role, database, principal) for role in self.roles]
        if self.table_admin:
            lines += [admin("table", table.name, principal) for table in TABLES]
        if self.function_admin:
            lines += [admin("function", name, principal) for name in functions]
        return lines


TASKS = (
    Task(
        ("bootstrap",),
        (Role.USER,),
        "Creates tables, mappings, policies and functions. The identity that creates one is its admin.",
    ),
    Task(
        ("bootstrap by another identity",),
        (Role.USER,),
        "Upgrades what another identity created: Table Admin and Function Admin, or Database Admin for all of it.",
        table_admin=True,
        function_admin=True,
    ),
    Task(("bootstrap --migrate",), (Role.ADMIN,), "Renames tables that it did not create, and copies their rows."),
    Task(
        ("sync", "run", "replay", "backfill", "schedule"),
        (Role.INGESTOR, Role.VIEWER),
        "Ingests rows and counts them in their tables.",
    ),
    Task(
        ("sync --replace", "repairs"),
        (Role.INGESTOR, Role.VIEWER, Role.USER),
        "Creates a staging table (Database User) and replaces rows in one transaction (Table Admin).",
        table_admin=True,
    ),
    Task(
        ("status", "query", "cost", "doctor", "Grafana", "Power BI", "the dashboard"),
        (Role.VIEWER,),
        "Reads tables, functions and policies. doctor shows the capacity to a Database User only.",
    ),
    Task(
        ("doctor --write",),
        (Role.INGESTOR, Role.VIEWER, Role.USER),
        "Creates two scratch tables and drops them.",
    ),
)


def grant(role: Role, database: str, principal: str) -> str:
    """The command that grants a role in a database; a quoted name may contain spaces and hyphens."""
    return f".add database ['{database}'] {role} ('{principal}')"


def admin(kind: str, name: str, principal: str) -> str:
    """The command that makes an identity the admin of a table or function."""
    return f".add {kind} {name} admins ('{principal}')"
