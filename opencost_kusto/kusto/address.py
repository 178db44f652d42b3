"""Addresses of a Kusto cluster: the engine's, and the ingestion endpoint derived from it; and names of databases."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from opencost_kusto.errors import UsageError
from opencost_kusto.names import identity, prefix, variable

_ADDRESS = re.compile(r"(https?)://([\w.-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?/?", re.IGNORECASE)
_EXAMPLE = "https://<cluster>.<region>.kusto.windows.net"
# Entity names: learn.microsoft.com/azure/data-explorer, "Entity names".
_LONGEST_ENTITY = 1024


def checked_address(uri: str) -> str:
    """The address without a trailing slash.

    Raises UsageError for anything else; the message does not repeat longer text, which may contain a secret.
    """
    found = _ADDRESS.fullmatch(uri.strip())
    if found and int(found[3] or 0) < 1 << 16:
        return f"{found[1].lower()}://{found[2]}{':' if found[3] else ''}{found[3] or ''}"
    if re.fullmatch(r"[\w.-]*", uri.strip()):
        raise UsageError(f"{uri!r} is not the address of a Kusto cluster; write {_EXAMPLE}.")
    raise UsageError(
        f"A Kusto address is {_EXAMPLE}: it carries no user, password, path or query, and is no connection string; "
        "choose how to sign in with --auth."
    )


def checked_database(name: str) -> str:
    """The name of a database; raises UsageError for an invalid one."""
    database = identity(name, variable("--database"), longest=_LONGEST_ENTITY)
    if not re.fullmatch(r"[\w .()-]+", database):
        raise UsageError(f"{prefix('--database')}{database!r} is not the name of a Kusto database.")
    return database


def engine_address(uri: str) -> str:
    """The engine's address, also from the ingestion endpoint."""
    return checked_address(uri).replace("://ingest-", "://", 1)


def ingest_address(uri: str) -> str:
    """`ingest-` before the engine's host; the same address for plain http, where one server does both."""
    return uri if uri.startswith("http://") else uri.replace("://", "://ingest-", 1)


def is_fabric(uri: str) -> bool:
    """Whether the address is a Fabric Eventhouse's."""
    return (urlsplit(uri).hostname or "").endswith(".fabric.microsoft.com")
