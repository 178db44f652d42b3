"""Roles: each command by a principal with the least role its documentation page names, and by one without.

Pages are below https://learn.microsoft.com/kusto/: access-control/role-based-access-control and the "Permissions" of
each command.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import requests
from azure.kusto.data.exceptions import KustoApiError

from opencost_kusto.emulator import KustoEmulator
from tests.emulator.conftest import MAPPING, ROW, TABLE, Client, lines

PIPELINE = "aadapp=11111111-0000-4000-8000-000000000001;22222222-0000-4000-8000-000000000002"


class Case(NamedTuple):
    """A command, the roles that are enough, and those that are not; `T.role` is the role of a table or function."""

    command: str
    enough: tuple[str, ...]
    missing: tuple[str, ...]
    operation: str


CASES = {
    "create a table": Case(
        ".create-merge table New (A: string)", ("users", "admins"), ("viewers", "ingestors"), "TableCreateCommand"
    ),
    "extend a table": Case(
        ".create-merge table Costs (A: string)",
        ("Costs.admins", "admins"),
        ("users", "Costs.ingestors", "viewers"),
        "TableCreateMergeCommand",
    ),
    "change a policy": Case(
        ".alter-merge table Costs policy ingestionbatching '{}'",
        ("Costs.admins",),
        ("users", "ingestors"),
        "TableAlterCommand",
    ),
    "change a docstring": Case(".alter table Costs docstring 'x'", ("Costs.admins",), ("users",), "TableAlterCommand"),
    "change a mapping": Case(
        MAPPING, ("ingestors", "Costs.ingestors"), ("users", "viewers"), "IngestionMappingCreateOrAlterCommand"
    ),
    "create a function": Case(
        ".create-or-alter function G() { Costs }", ("users",), ("viewers", "Costs.admins"), "FunctionCreateCommand"
    ),
    "alter a function": Case(
        ".create-or-alter function F() { Costs | take 1 }", ("F.admins", "admins"), ("users",), "FunctionAlterCommand"
    ),
    "copy a table": Case(
        ".create table Copy based-on Costs", ("admins",), ("users", "Costs.admins"), "TableCreateBasedOnCommand"
    ),
    "drop a table": Case(".drop table Costs", ("Costs.admins",), ("users", "ingestors"), "TableDropCommand"),
    "update a table": Case(
        ".update table Costs delete D append A <| let D = Costs | where Count == 1; let A = Costs | where Count == 2;",
        ("Costs.admins",),
        ("users", "ingestors"),
        "TableUpdateCommand",
    ),
    "delete records": Case(
        ".delete table Costs records <| Costs | where Count == 1",
        ("admins",),
        ("Costs.admins", "users"),
        "TableSoftDeleteCommand",
    ),
    "ingest inline": Case(
        ".ingest inline into table Costs with (format='multijson', ingestionMappingReference='Costs_mapping') <| {}",
        ("ingestors", "Costs.ingestors"),
        ("users", "viewers"),
        "DataIngestInlineCommand",
    ),
    "show capacity": Case(".show capacity ingestions", ("users",), ("viewers", "ingestors"), "CapacityShowCommand"),
    "grant a role": Case(
        f".add database OpenCost viewers ('{PIPELINE}')", ("admins",), ("users",), "DatabaseAddPrincipalsCommand"
    ),
}


class Cluster:
    """An emulator with a table and a function of its own admin, and clients of a pipeline with some roles."""

    def __init__(self, emulator: KustoEmulator) -> None:
        self.emulator = emulator
        self.admin = Client(emulator)
        for command in (TABLE, MAPPING, ".create-or-alter function F() { Costs }"):
            self.admin.command(command)
        self.doors: list[Any] = []

    def client(self, *roles: str) -> Client:
        """A client of the pipeline with these roles."""
        door = self.emulator.door(PIPELINE, *(role for role in roles if "." not in role))
        for role in roles:
            if "." in role:
                entity, _, of_entity = role.partition(".")
                kind = "function" if entity == "F" else "table"
                self.admin.command(f".add {kind} {entity} {of_entity} ('{PIPELINE}') 'for a test'")
        door.start()
        client = Client(self.emulator, door.url)
        self.doors += [door, client]
        return client

    def close(self) -> None:
        """Close clients and doors."""
        for one in [self.admin, *self.doors]:
            one.close() if isinstance(one, Client) else one.stop()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A fresh cluster."""
    with KustoEmulator(latency=0) as emulator:
        cluster = Cluster(emulator)
        yield cluster
        cluster.close()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_least_role_is_enough(cluster: Cluster, case: Case) -> None:
    """Each role that the page names may run the command; a predicate and a query need a reader as well."""
    for role in case.enough:
        client = cluster.client(role, *(["viewers"] if "update" in case.command else []))
        client.command(case.command)
        cluster.emulator.engine.access.roles = {"admins": ["aadapp=emulator;emulator"]}
        for command in (".create-merge table Costs (A: string)", TABLE, MAPPING, ".drop table Copy ifexists"):
            cluster.admin.command(command)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_missing_role_is_refused_with_kustos_message(cluster: Cluster, case: Case) -> None:
    """403, the principal, and the operation it may not perform."""
    client = cluster.client("viewers", *case.missing)
    message = f"Principal '{PIPELINE}' is not authorized to perform operation '{case.operation}' on"
    with pytest.raises(KustoApiError, match=message) as refused:
        client.command(case.command)
    # With aiohttp installed, the SDK's type is also that of its asynchronous client.
    response: Any = refused.value.http_response
    assert (response.status_code, refused.value.get_api_error().code) == (403, "Forbidden")


def test_reading_needs_a_reader(cluster: Cluster) -> None:
    """An ingestor sees neither rows nor schema, a viewer both."""
    ingestor = cluster.client("ingestors")
    for ask in (ingestor.count, ingestor.failures, lambda: ingestor.command(".show tables")):
        with pytest.raises(KustoApiError, match=f"'{PIPELINE}' is not authorized to read database 'OpenCost'"):
            ask()
    viewer = cluster.client("viewers")
    assert viewer.count() == len(viewer.failures()) == 0


def test_an_ingestor_ingests_and_a_viewer_does_not(cluster: Cluster) -> None:
    """Ingestors get the addresses to upload to; a message of who may not is dropped and listed nowhere."""
    with pytest.raises(Exception, match="not authorized"):
        cluster.client("viewers").send(lines([ROW]))
    ingestor = cluster.client("Costs.ingestors")
    ingestor.send(lines([ROW]))
    cluster.admin.command(".create table Other (A: string)")
    ingestor.send(lines([ROW]), table="Other")
    cluster.emulator.wait_idle()
    assert (cluster.admin.count(), cluster.admin.count("Other"), cluster.admin.failures()) == (1, 0, [])


def test_only_the_creator_is_admin(cluster: Cluster) -> None:
    """A Database User is admin of what it makes, as its roles on that table or function say."""
    user = cluster.client("users")
    user.command(".create table Mine (A: string)")
    user.command(".create-merge table Mine (B: string)")
    user.command(".create-or-alter function Ours() { Mine }")
    for entity, role in {"table Mine": "Table Mine Admin", "function Ours": "Function Ours Admin"}.items():
        [row] = user.command(f".show {entity} principal roles")
        assert row["Role"] == role
    # Roles on a table are not among those in the database.
    assert [row["Role"] for row in user.command(".show database OpenCost principal roles")] == [
        "Database OpenCost User"
    ]
    assert user.command(".show table Costs principal roles") == []


def test_roles_are_granted_shown_and_dropped(cluster: Cluster) -> None:
    """`.add database` gives a role at once, `.drop database` takes it."""
    client = cluster.client()
    [_, shown] = cluster.admin.command(f".add database ['OpenCost'] viewers ('{PIPELINE}') 'cost pipeline'")
    assert (shown["Role"], shown["PrincipalFQN"]) == ("Database OpenCost Viewer", PIPELINE)
    assert client.count() == 0
    cluster.admin.command(f".drop database OpenCost viewers ('{PIPELINE}')")
    with pytest.raises(KustoApiError, match="not authorized"):
        client.count()


def test_a_token_names_its_principal(cluster: Cluster) -> None:
    """A bearer token of the emulator belongs to its principal."""
    cluster.emulator.principals["secret"] = PIPELINE
    reply = requests.post(
        f"{cluster.emulator.url}/v2/rest/query",
        json={"db": "OpenCost", "csl": "Costs | count"},
        headers={"Authorization": "Bearer secret"},
        timeout=10,
    )
    assert (reply.status_code, PIPELINE in reply.text) == (403, True)


def test_a_query_can_read_its_principal(cluster: Cluster) -> None:
    """`current_principal()` is the principal as `.add database` names it."""
    assert cluster.client("viewers").query("print Who = current_principal(), T = 'current_principal()'") == [
        {"Who": PIPELINE, "T": "current_principal()"}
    ]


def test_an_unknown_role_is_an_error(cluster: Cluster) -> None:
    """A misspelt role grants nothing in silence."""
    with pytest.raises(ValueError, match="ingestor"):
        cluster.emulator.door(PIPELINE, "ingestor")


def test_row_level_security_replaces_the_table(cluster: Cluster) -> None:
    """All principals, admins included, see what the policy's query returns; no count includes what it hides."""
    for name in ("a", "b"):
        cluster.admin.land([{**ROW, "Name": name}])
    cluster.admin.command(""".alter table Costs policy row_level_security enable "Costs | where Name == 'a'" """)
    for text in ("Costs | project Name", "F() | project Name", "Costs | where isnotnull(extent_id()) | project Name"):
        assert cluster.admin.query(text) == [{"Name": "a"}], text
    [shown] = cluster.admin.command(".show table Costs policy row_level_security")
    assert json.loads(shown["Policy"]) == {"IsEnabled": True, "Query": "Costs | where Name == 'a'"}
    cluster.admin.command(""".alter table Costs policy row_level_security disable "Costs" """)
    assert cluster.admin.count() == 2


def test_restricted_view_access_needs_a_further_role(cluster: Cluster) -> None:
    """Not even an admin sees the table, until it is an unrestricted viewer as well; another table is seen."""
    cluster.admin.command(".create table Other (A: string)")
    cluster.admin.command(".alter table Costs policy restricted_view_access true")
    admin = cluster.client("admins")
    for text in ("Costs | count", "F() | count"):
        with pytest.raises(KustoApiError, match="not authorized to read table 'Costs'"):
            admin.query(text)
    assert admin.count("Other") == 0
    admin.command(f".add database OpenCost unrestrictedviewers ('{PIPELINE}')")
    assert admin.count() == 0
    admin.command(f".drop database OpenCost admins ('{PIPELINE}')")
    with pytest.raises(KustoApiError, match="not authorized to read database"):
        admin.count()
