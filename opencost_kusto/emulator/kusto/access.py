"""Who may do what: principals, the roles they have, and Kusto's refusals.

https://learn.microsoft.com/kusto/access-control/role-based-access-control; each command's page names its least role.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from opencost_kusto.emulator.kusto.catalog import KustoRefusal

ROLES: Final = ("admins", "users", "viewers", "unrestrictedviewers", "ingestors", "monitors")
"""The roles of a database, as `.add database` spells them."""
_READERS: Final = {"admins", "users", "viewers"}
_INGESTORS: Final = {"admins", "ingestors"}
EMULATOR: Final = "aadapp=emulator;emulator"
"""The principal of requests that name none: an admin of every database."""


@dataclass(slots=True)
class Access:
    """The roles in one database: by role, and of its tables and functions by their name and role."""

    database: str
    roles: dict[str, list[str]] = field(default_factory=lambda: {"admins": [EMULATOR]})
    tables: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    functions: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def grant(self, principal: str, roles: Iterable[str]) -> None:
        """Give a principal roles of the database."""
        for role in roles:
            if role not in ROLES:
                raise ValueError(f"{role!r} is not a role of a database; choose from {', '.join(ROLES)}")
            held = self.roles.setdefault(role, [])
            if principal not in held:
                held.append(principal)

    def held(self, principal: str) -> set[str]:
        """The roles of a principal in the database."""
        return {role for role, principals in self.roles.items() if principal in principals}

    def own_table(self, table: str, principal: str) -> None:
        """Who creates a table is its admin."""
        self.tables[table] = {"admins": [principal]}

    def own_function(self, function: str, principal: str) -> None:
        """Who creates a function is its admin."""
        self.functions.setdefault(function, {"admins": [principal]})

    def may_ingest(self, principal: str, table: str) -> bool:
        """Whether a principal may ingest into a table."""
        of_table = self.tables.get(table, {})
        return bool(_INGESTORS & self.held(principal)) or any(
            principal in of_table.get(role, ()) for role in ("admins", "ingestors")
        )

    def may_ingest_anywhere(self, principal: str) -> bool:
        """Whether a principal may ingest into some table."""
        return bool(_INGESTORS & self.held(principal)) or any(self.may_ingest(principal, one) for one in self.tables)

    def reads(self, principal: str) -> None:
        """Refuse whoever may not query the database."""
        if not _READERS & self.held(principal):
            raise _refusal(f"Principal '{principal}' is not authorized to read database '{self.database}'.")

    def views(self, principal: str, restricted: Iterable[str]) -> None:
        """Refuse whoever may not see tables with restricted view access, which not even an admin may."""
        for table in restricted:
            if "unrestrictedviewers" not in self.held(principal):
                raise _refusal(f"Principal '{principal}' is not authorized to read table '{table}'.")

    def shows(self, principal: str) -> None:
        """Refuse whoever may not run `.show` commands in the database."""
        if not (_READERS | {"monitors"}) & self.held(principal):
            raise _refusal(f"Principal '{principal}' is not authorized to read database '{self.database}'.")

    def admin(self, principal: str, operation: str) -> None:
        """Refuse whoever is not a Database Admin."""
        if "admins" not in self.held(principal):
            raise _operation(principal, operation, self.database)

    def user(self, principal: str, operation: str) -> None:
        """Refuse whoever is not at least a Database User."""
        if not {"admins", "users"} & self.held(principal):
            raise _operation(principal, operation, self.database)

    def table_admin(self, principal: str, table: str, operation: str) -> None:
        """Refuse whoever is not a Table Admin."""
        if "admins" not in self.held(principal) and principal not in self.tables.get(table, {}).get("admins", ()):
            raise _operation(principal, operation, f"{self.database}/{table}")

    def table_ingestor(self, principal: str, table: str, operation: str) -> None:
        """Refuse whoever is not a Table Ingestor."""
        if not self.may_ingest(principal, table):
            raise _operation(principal, operation, f"{self.database}/{table}")

    def function_admin(self, principal: str, function: str, operation: str) -> None:
        """Refuse whoever is not a Function Admin."""
        of_function = self.functions.get(function, {})
        if "admins" not in self.held(principal) and principal not in of_function.get("admins", ()):
            raise _operation(principal, operation, f"{self.database}/{function}")


def ingestion_refusal(principal: str) -> KustoRefusal:
    """The refusal of a principal that requests the storage for uploads and may ingest nowhere."""
    return _operation(principal, "IngestionResourcesGetCommand", "the data management service")


def _operation(principal: str, operation: str, entity: str) -> KustoRefusal:
    return _refusal(
        f"Principal '{principal}' is not authorized to perform operation '{operation}' on '{entity}'.",
        kind="Kusto.Common.Svc.Exceptions.UnauthorizedOperationException",
    )


def _refusal(message: str, kind: str = "Kusto.DataNode.Exceptions.UnauthorizedDatabaseAccessException") -> KustoRefusal:
    return KustoRefusal(message, code="Forbidden", kind=kind, status=403)
