"""The Kusto half of the doctor: what it measures, what it calls a failure, and the command that fixes it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opencost_kusto.database import doctor
from opencost_kusto.database.finding import Status
from opencost_kusto.emulator import Fault, KustoEmulator, Reply, Request
from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.kusto.client import Deadlines, Kusto
from tests.database.examined import examined, reply
from tests.faults.wire import is_resources, kusto_refusal
from tests.support.authority import Authority
from tests.support.azure_cli import TOKEN, signed_in
from tests.support.relay import TlsFront

STORAGE = ("storage of blobs", "storage of queue messages")


def roles(*held: tuple[str, str]) -> Fault:
    """The roles of the identity that is signed in, each in reply to the command about its scope.

    https://learn.microsoft.com/kusto/management/security-roles#show-your-roles-on-a-resource
    """

    def fault(request: Request) -> Reply | None:
        requested = re.fullmatch(r"\.show (\w+) (\S+) principal roles", request.csl)
        if requested is None:
            return None
        scope = f"{requested[1].capitalize()} {requested[2].strip(chr(91) + chr(93) + chr(39))}"
        rows: list[list[object]] = [[of, "me", "", role] for of, role in held if of == scope]
        return reply("", ["Scope", "DisplayName", "AADObjectID", "Role"], *rows)(request)

    return fault


def test_a_database_that_is_up_to_date_has_no_failure(emulator: KustoEmulator) -> None:
    """Each hop has a line, and nothing was changed or uploaded."""
    sent = len(emulator.requests)
    found = examined(emulator)
    assert {"sign-in", "clock", "engine", "ingestion", *STORAGE, "schema", "capacity", "policies"} <= found.keys()
    assert not [one for lines in found.values() for one in lines if one.status is Status.FAILED]
    texts = [request.csl for request in emulator.requests[sent:] if request.csl]
    assert all(text.startswith((".show", ".get", "print")) for text in texts), texts


def test_the_credential_that_signed_in_is_named(
    emulator: KustoEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the chain of azure-identity, over TLS; the token itself is in no line."""
    authority = Authority(tmp_path)
    for name, value in {**signed_in(tmp_path), "REQUESTS_CA_BUNDLE": authority.ca}.items():
        monkeypatch.setenv(name, value)
    with (
        TlsFront(authority.server(), int(emulator.url.rpartition(":")[2])) as front,
        Kusto(front.url, "OpenCost", ingest_uri=front.url, trusted_hosts=["localhost"]) as kusto,
    ):
        found = [*doctor.examine(kusto)]
    assert found[0].message.startswith(f"{kusto.uri}, database OpenCost, --auth default (AzureCliCredential) as ")
    assert f"Bearer {TOKEN}" in [request.headers.get("authorization") for request in emulator.requests]
    assert TOKEN not in str([one.document() for one in found])


def test_the_engine_alone_can_be_checked(emulator: KustoEmulator) -> None:
    """Microsoft's engine in a container has no ingestion endpoint."""
    sent = len(emulator.requests)
    assert not {"ingestion", *STORAGE} & examined(emulator, engine_only=True).keys()
    assert not [request for request in emulator.requests[sent:] if is_resources(request)]


def test_nothing_is_tried_after_a_failed_sign_in(emulator: KustoEmulator) -> None:
    """One sentence, and not one for each hop."""
    emulator.fault = lambda request: Reply(401, {}, b"{}") if request.csl else None
    found = examined(emulator)
    assert found.keys() == {"sign-in"}
    [one] = found["sign-in"]
    assert (one.status, one.exit_code) == (Status.FAILED, 5)


def test_a_missing_right_to_ingest_names_the_command_that_grants_it(emulator: KustoEmulator) -> None:
    """The refusal of the ingestion endpoint carries the line for an administrator."""
    message = "Principal 'aadapp=1;2' is not authorized to perform operation 'IngestionResourcesGetCommand'."
    refused = kusto_refusal(403, message, permanent=True)
    emulator.fault = lambda request: refused if is_resources(request) else None
    [one] = examined(emulator)["ingestion"]
    assert one.status is Status.FAILED
    assert ".add database ['OpenCost'] ingestors ('aadapp=1;2')" in one.message


VIEWER, INGESTOR = (
    ("Database OpenCost", "Database OpenCost Viewer"),
    ("Database OpenCost", "Database OpenCost Ingestor"),
)
PRINCIPAL = "aadapp=emulator;emulator"
ADMIN = ("Database OpenCost", "Database OpenCost Admin")


@pytest.mark.parametrize(
    ("held", "right", "status"),
    [
        ((VIEWER, INGESTOR), "right to sync", Status.OK),
        ((VIEWER,), "right to sync", Status.FAILED),
        ((("Database OpenCost", "Database OpenCost UnrestrictedViewer"), INGESTOR), "right to sync", Status.FAILED),
        ((VIEWER, INGESTOR), "right to sync --replace", Status.NOTE),
        ((VIEWER, INGESTOR), "right to bootstrap", Status.NOTE),
        ((ADMIN,), "right to sync", Status.OK),
        ((ADMIN,), "right to sync --replace", Status.OK),
        ((ADMIN,), "right to bootstrap", Status.OK),
    ],
)
def test_roles_are_held_against_what_each_task_needs(
    emulator: KustoEmulator, held: tuple[tuple[str, str], ...], right: str, status: Status
) -> None:
    """What every run needs fails where it is missing; what repairs and upgrades need is a note."""
    emulator.fault = roles(*held)
    [one] = examined(emulator, engine_only=True)[right]
    assert one.status is status
    assert (".add database ['OpenCost']" in one.cure) is (status is not Status.OK)


def test_a_table_whose_admin_one_is_needs_no_grant(emulator: KustoEmulator) -> None:
    """Who created a table is its admin."""
    ingests = ("Table OpenCostAllocation", "Table OpenCostAllocation Ingestor")
    emulator.fault = roles(VIEWER, INGESTOR, ("Table OpenCostAssets", "Table OpenCostAssets Admin"), ingests)
    [one] = examined(emulator, engine_only=True)["right to sync --replace"]
    assert ".add table OpenCostAllocation admins" in one.cure
    assert "OpenCostAssets" not in one.cure


def test_a_missing_table_needs_no_grant() -> None:
    """Kusto would refuse the line; who creates the table is its admin."""
    with KustoEmulator(latency=0) as emulator:
        emulator.fault = roles(VIEWER, INGESTOR)
        [one] = examined(emulator, engine_only=True)["right to sync --replace"]
    assert one.cure.splitlines() == [f".add database ['OpenCost'] users ('{PRINCIPAL}')"]


def test_storage_is_not_checked_where_it_is_not_listed(emulator: KustoEmulator) -> None:
    """One refusal is one line, not two."""
    emulator.fault = lambda request: kusto_refusal(403, "No.", permanent=True) if is_resources(request) else None
    found = examined(emulator)
    assert found["ingestion"][0].status is Status.FAILED
    assert not {"storage", *STORAGE} & found.keys()


def test_a_capacity_that_may_not_be_seen_names_the_role_that_sees_it(emulator: KustoEmulator) -> None:
    """https://learn.microsoft.com/kusto/management/show-capacity-command: a Database User."""
    reader = "aadapp=reader;tenant"
    with emulator.door(reader, "viewers") as door, Kusto(door.url, emulator.database, auth="none") as viewer:
        [one] = [one for one in doctor.examine(viewer, engine_only=True) if one.hop == "capacity"]
    assert (one.status, one.cure) == (Status.NOTE, f".add database ['OpenCost'] users ('{reader}')")


@pytest.mark.parametrize(
    ("policy", "shown", "message"),
    [
        ("row_level_security", '{"IsEnabled": true, "Query": "F"}', "row-level security"),
        ("restricted_view_access", "true", "restricted view access"),
        ("update", '[{"IsEnabled": true, "Source": "T", "Query": "F"}]', "an update policy"),
        ("streamingingestion", '{"IsEnabled": true}', "streaming ingestion"),
        ("retention", '{"SoftDeletePeriod": "31.00:00:00", "Recoverability": "Enabled"}', "rows are kept for 31 days"),
    ],
)
def test_a_policy_that_bites_is_noted(emulator: KustoEmulator, policy: str, shown: str, message: str) -> None:
    """Policies that hide rows, add rows or delete them soon are said, each with its table."""
    emulator.fault = reply(f".show table OpenCostAssets policy {policy}", ["Policy"], [shown])
    [one] = examined(emulator, engine_only=True)["policies of OpenCostAssets"]
    assert (one.status, message in one.message) == (Status.NOTE, True)
    assert one.cure


def test_a_restricted_view_fails_for_who_may_not_see_it(emulator: KustoEmulator) -> None:
    """Nothing can be counted in such a table; the cure is the further role."""
    shown = reply(".show table OpenCostAssets policy restricted_view_access", ["Policy"], ["true"])
    refused = kusto_refusal(403, "Principal 'aadapp=1;2' is not authorized to read table 'T'.", permanent=True)
    emulator.fault = lambda request: refused if "take 0" in request.csl else shown(request)
    [one] = examined(emulator, engine_only=True)["policies of OpenCostAssets"]
    assert one.status is Status.FAILED
    assert one.cure == ".add database ['OpenCost'] unrestrictedviewers ('aadapp=1;2')"


def test_the_retention_of_the_database_is_noted(emulator: KustoEmulator) -> None:
    """A table without its own has it."""
    shown = '{"SoftDeletePeriod": "1.00:00:00"}'
    emulator.fault = reply(".show database ['OpenCost'] policy retention", ["Policy"], [shown])
    [one] = examined(emulator, engine_only=True)["policies of the database"]
    assert one.cure == ".alter-merge database ['OpenCost'] policy retention softdelete = 400d"


def test_a_materialized_view_over_a_table_is_noted(emulator: KustoEmulator) -> None:
    """https://learn.microsoft.com/kusto/management/materialized-views/materialized-views-limitations"""
    columns = ["Name", "SourceTable"]
    emulator.fault = reply(".show materialized-views", columns, ["Daily", "OpenCostAssets"], ["Other", "Events"])
    [one] = examined(emulator, engine_only=True)["materialized views"]
    assert (one.status, one.cure) == (Status.NOTE, ".drop materialized-view Daily")


def test_a_long_retention_is_no_note(emulator: KustoEmulator) -> None:
    """A year can be compared with the year before."""
    shown = '{"SoftDeletePeriod": "365.00:00:00"}'
    emulator.fault = reply(".show table OpenCostAssets policy retention", ["Policy"], [shown])
    assert "policies of OpenCostAssets" not in examined(emulator, engine_only=True)


def test_few_slots_are_noted(emulator: KustoEmulator) -> None:
    """A free cluster has one slot; the columns are those of
    https://learn.microsoft.com/kusto/management/show-capacity-command."""
    columns = ["Resource", "Total", "Consumed", "Remaining", "Origin"]
    emulator.fault = reply(".show capacity", columns, ["Ingestions", 1, 0, 1, "CapacityPolicy/Ingestion"])
    [one] = examined(emulator, engine_only=True)["capacity"]
    assert (one.status, one.message.startswith("1 ingestions at once")) == (Status.NOTE, True)


def test_a_missing_table_fails_and_names_bootstrap() -> None:
    """An empty database needs one command."""
    with KustoEmulator() as emulator:
        [one] = examined(emulator)["schema"]
        assert (one.status, one.exit_code) == (Status.FAILED, 5)
        assert one.cure == f"opencost-kusto bootstrap --kusto-uri {emulator.url} --database OpenCost"


def test_a_clock_that_is_off_is_noted(emulator: KustoEmulator) -> None:
    """A machine that is ten minutes ahead requests windows that have not ended."""
    with Kusto(emulator.url, emulator.database, auth="none") as kusto:
        [one] = doctor.clocks(kusto, lambda: datetime.now(UTC) + timedelta(minutes=10))
    assert one.status is Status.NOTE


def firewall(*kinds: str) -> Fault:
    """Addresses to upload to, of which these kinds are at a closed port."""

    def blocked(request: Request) -> Reply | None:
        if not request.csl.startswith(".get ingestion"):
            return None
        here = f"http://{request.headers['host']}"
        rows: list[list[object]] = []
        for kind in ("TempStorage", "SecuredReadyForAggregationQueue"):
            host = "http://127.0.0.1:9" if kind in kinds else here
            rows.append([kind, f"{host}/{kind.lower()}?sig=secret"])
        return reply("", ["ResourceTypeName", "StorageRoot"], *rows)(request)

    return blocked


@pytest.mark.parametrize(
    ("kind", "hop"),
    [("TempStorage", "storage of blobs"), ("SecuredReadyForAggregationQueue", "storage of queue messages")],
)
def test_a_firewall_before_storage_is_a_failure(emulator: KustoEmulator, kind: str, hop: str) -> None:
    """The cluster responds and its storage does not: each host is named, and a run ends before it requests."""
    emulator.fault = firewall(kind)
    found = examined(emulator)
    [one] = found[hop]
    assert (one.status, one.exit_code) == (Status.FAILED, 5)
    assert "127.0.0.1:9" in one.message
    assert "stopped" not in one.message + one.cure, "a stopped cluster would not have listed it"
    [other] = [one for name in STORAGE if name != hop for one in found[name]]
    assert other.status is Status.OK
    with (
        Kusto(emulator.url, emulator.database, auth="none") as kusto,
        pytest.raises(KustoError, match=r"127\.0\.0\.1:9"),
    ):
        doctor.ready(kusto)


@pytest.mark.parametrize(
    "fault",
    [
        lambda request: Reply(401, {}, b"{}") if request.csl else None,
        lambda request: kusto_refusal(403, "No.", permanent=True) if request.csl.startswith("print") else None,
        lambda request: kusto_refusal(403, "No.", permanent=True) if is_resources(request) else None,
        lambda request: kusto_refusal(403, "No.", permanent=True) if "schema as json" in request.csl else None,
        firewall("TempStorage", "SecuredReadyForAggregationQueue"),
        roles(),
        reply(".show database ['OpenCost'] schema", ["DatabaseSchema"], ['{"Databases": {}}']),
    ],
    ids=["sign-in", "reading", "ingestion", "schema", "storage", "rights", "bootstrap"],
)
def test_every_refusal_names_what_mends_it(emulator: KustoEmulator, fault: Fault) -> None:
    """A failure without something to do would leave the user alone."""
    emulator.fault = fault
    failed = [one for lines in examined(emulator).values() for one in lines if one.status is Status.FAILED]
    assert failed
    assert all(one.cure for one in failed), failed


def test_ready_is_the_first_part(emulator: KustoEmulator) -> None:
    """A command that loads rows signs in and lists where to upload before it requests anything of OpenCost."""
    sent = len(emulator.requests)
    with Kusto(emulator.url, emulator.database, auth="none") as kusto:
        doctor.ready(kusto)
        # A query, the addresses, the token, a blob that is not there, and the queue.
        assert len(emulator.requests) - sent == 5
    emulator.fault = lambda request: kusto_refusal(403, "No.", permanent=True) if is_resources(request) else None
    with Kusto(emulator.url, emulator.database, auth="none") as kusto, pytest.raises(KustoError) as refused:
        doctor.ready(kusto)
    assert refused.value.code is ReasonCode.FORBIDDEN


def test_a_command_with_a_spool_goes_on_where_waiting_may_help(emulator: KustoEmulator) -> None:
    """With a spool an outage is waited for; a missing right is not."""
    busy = kusto_refusal(503, "Busy.", permanent=False)
    refused = kusto_refusal(403, "No.", permanent=True)
    with Kusto(emulator.url, emulator.database, auth="none", deadlines=Deadlines(check=1, query=1)) as kusto:
        emulator.fault = lambda request: busy if request.csl else None
        doctor.ready(kusto, patient=True)
        with pytest.raises(KustoError):
            doctor.ready(kusto)
        emulator.fault = lambda request: refused if request.csl else None
        with pytest.raises(KustoError):
            doctor.ready(kusto, patient=True)
