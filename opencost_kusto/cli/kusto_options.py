"""Options that name the Kusto database and the way to sign in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from opencost_kusto.cli.help import REQUIRED
from opencost_kusto.cli.options import KUSTO, option
from opencost_kusto.cli.usage import at
from opencost_kusto.errors import UsageError
from opencost_kusto.kusto.address import checked_database, engine_address
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.kusto.signin import METHODS, check_method
from opencost_kusto.names import place_of, variable


@dataclass(frozen=True, slots=True)
class KustoOptions:
    """Which Kusto database, and how to sign in."""

    PANEL = KUSTO
    kusto_uri: Annotated[str | None, option("--kusto-uri", "Address of the cluster or Eventhouse.", panel=REQUIRED)] = (
        None
    )
    ingest_uri: Annotated[
        str | None, option("--ingest-uri", "Its ingestion address, where it is not ingest-<cluster>.")
    ] = None
    database: Annotated[str | None, option("--database", "Kusto database.", panel=REQUIRED)] = None
    auth: Annotated[str, option("--auth", f"How to sign in: {', '.join(METHODS)} (none is for plain http).")] = (
        "default"
    )
    trusted_host: Annotated[
        list[str] | None,
        option("--trusted-host", "Host of your own that may get a token; *.example.com is all below it; repeatable."),
    ] = None

    def kusto(self, log: Callable[[str], None] = lambda _: None, *, otherwise: str = "") -> Kusto:
        """The database; `log` is called with a line with its two addresses.

        Raises UsageError when it is not named; the message then ends with `otherwise`, the alternative.
        """
        uri, database = self._named(otherwise)
        self.check()
        kusto = Kusto(
            uri,
            database,
            auth=self.auth,  # type: ignore[arg-type]
            ingest_uri=self.ingest_uri,
            trusted_hosts=self.trusted_host or (),
        )
        log(f"Kusto: {kusto.uri} (ingestion: {kusto.ingest_uri}), database {kusto.database}")
        return kusto

    def check(self) -> None:
        """Raise UsageError for what cannot be used of what is set, without signing in."""
        for flag, address in (("--kusto-uri", self.kusto_uri), ("--ingest-uri", self.ingest_uri)):
            with at(place_of(flag)):
                found = engine_address(address) if address else ""
            if found and flag == "--kusto-uri":
                check_method(found, self.auth)
        if self.database:
            checked_database(self.database)

    def place(self) -> tuple[str, str]:
        """The engine's address and the database, where no sign-in is needed.

        Raises UsageError when one is missing or cannot be used.
        """
        uri, database = self._named()
        return engine_address(uri), checked_database(database)

    def _named(self, otherwise: str = "") -> tuple[str, str]:
        if self.kusto_uri and self.database:
            return self.kusto_uri, self.database
        names = {"--kusto-uri": self.kusto_uri, "--database": self.database}
        missing = " and ".join(variable(name) for name, value in names.items() if not value)
        raise UsageError(f"Name the Kusto database with {missing}{otherwise}.")
