"""The Kusto half of the doctor: what it measures, what it calls a failure, and the command that fixes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import opencost_kusto
from opencost_kusto.database import assumptions, doctor
from opencost_kusto.database.assumptions import ASSUMPTIONS
from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.database.finding import Finding, Status
from opencost_kusto.database.scratch import COLUMNS
from opencost_kusto.emulator import Behaviour, Fault, KustoEmulator, Reply, Request, json_reply
from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.kusto.client import Deadlines, Kusto
from opencost_kusto.schema.tables import TABLES
from tests.faults.wire import is_resources, kusto_refusal
from tests.support.kql_analyser import Analyser, Schema


@pytest.fixture(scope="module")
def bootstrapped() -> Iterator[KustoEmulator]:
    """A Kusto whose database is up to date."""
    with KustoEmulator(latency=0) as emulator:
        with Kusto(emulator.url, emulator.database, auth="none") as kusto:
            bootstrap(kusto)
        yield emulator


@pytest.fixture
def emulator(bootstrapped: KustoEmulator) -> Iterator[KustoEmulator]:
    """The same Kusto, which answers as it should after each test."""
    yield bootstrapped
    bootstrapped.fault, bootstrapped.behaviour = None, Behaviour()


def examined(emulator: KustoEmulator, *, engine_only: bool = False) -> dict[str, list[Finding]]:
    """The findings by hop."""
    found: dict[str, list[Finding]] = {}
    with Kusto(emulator.url, emulator.database, auth="none", deadlines=Deadlines(query=20, check=20)) as kusto:
        for one in doctor.examine(kusto, engine_only=engine_only):
            found.setdefault(one.hop, []).append(one)
    return found


def answer(beginning: str, columns: list[str], *rows: list[object]) -> Fault:
    """Kusto's v1 answer to commands with this beginning."""
    table = {
        "TableName": "Table_0",
        "Columns": [{"ColumnName": name, "DataType": "String", "ColumnType": "string"} for name in columns],
        "Rows": list(rows),
    }
    reply = json_reply(json.dumps({"Tables": [table]}).encode())
    return lambda request: reply if request.csl.startswith(beginning) else None


def roles(*held: tuple[str, str]) -> Fault:
    """The roles of who is signed in, in the columns of
    https://learn.microsoft.com/kusto/management/manage-database-security-roles."""
    rows: list[list[object]] = [[scope, "me", "", role] for scope, role in held]
    return answer(".show database ['OpenCost'] principal", ["Scope", "DisplayName", "AADObjectID", "Role"], *rows)


def test_a_database_that_is_up_to_date_has_no_failure(emulator: KustoEmulator) -> None:
    """Each hop has a line, and nothing was changed or uploaded."""
    sent = len(emulator.requests)
    found = examined(emulator)
    assert {"sign-in", "clock", "engine", "ingestion", "storage", "schema", "capacity", "policies"} <= found.keys()
    assert not [one for lines in found.values() for one in lines if one.status is Status.FAILED]
    texts = [request.csl for request in emulator.requests[sent:] if request.csl]
    assert all(text.startswith((".show", ".get", "print")) for text in texts), texts


def test_the_engine_alone_can_be_checked(emulator: KustoEmulator) -> None:
    """Microsoft's engine in a container has no ingestion endpoint."""
    sent = len(emulator.requests)
    assert not {"ingestion", "storage"} & examined(emulator, engine_only=True).keys()
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
    said = "Principal 'aadapp=1;2' is not authorized to perform operation 'IngestionResourcesGetCommand'."
    refused = kusto_refusal(403, said, permanent=True)
    emulator.fault = lambda request: refused if is_resources(request) else None
    [one] = examined(emulator)["ingestion"]
    assert one.status is Status.FAILED
    assert ".add database ['OpenCost'] ingestors ('aadapp=1;2')" in one.said


VIEWER, INGESTOR = (
    ("Database OpenCost", "Database OpenCost Viewer"),
    ("Database OpenCost", "Database OpenCost Ingestor"),
)
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
    emulator.fault = roles(VIEWER, INGESTOR, ("Table OpenCostAssets", "Table Admin"))
    [one] = examined(emulator, engine_only=True)["right to sync --replace"]
    assert ".add table OpenCostAllocation admins" in one.cure
    assert "OpenCostAssets" not in one.cure


@pytest.mark.parametrize(
    ("policy", "shown", "said"),
    [
        ("row_level_security", '{"IsEnabled": true, "Query": "F"}', "row-level security"),
        ("restricted_view_access", "true", "restricted view access"),
        ("update", '[{"IsEnabled": true, "Source": "T", "Query": "F"}]', "an update policy"),
        ("retention", '{"SoftDeletePeriod": "31.00:00:00", "Recoverability": "Enabled"}', "rows are kept for 31 days"),
    ],
)
def test_a_policy_that_bites_is_noted(emulator: KustoEmulator, policy: str, shown: str, said: str) -> None:
    """Policies that hide rows, add rows or delete them soon are said, each with its table."""
    emulator.fault = answer(f".show table OpenCostAssets policy {policy}", ["Policy"], [shown])
    [one] = examined(emulator, engine_only=True)["policies of OpenCostAssets"]
    assert (one.status, said in one.said) == (Status.NOTE, True)


def test_a_long_retention_is_no_note(emulator: KustoEmulator) -> None:
    """A year can be compared with the year before."""
    shown = '{"SoftDeletePeriod": "365.00:00:00"}'
    emulator.fault = answer(".show table OpenCostAssets policy retention", ["Policy"], [shown])
    assert "policies of OpenCostAssets" not in examined(emulator, engine_only=True)


def test_few_slots_are_noted(emulator: KustoEmulator) -> None:
    """A free cluster has one slot; the columns are those of
    https://learn.microsoft.com/kusto/management/show-capacity-command."""
    columns = ["Resource", "Total", "Consumed", "Remaining", "Origin"]
    emulator.fault = answer(".show capacity", columns, ["Ingestions", 1, 0, 1, "CapacityPolicy/Ingestion"])
    [one] = examined(emulator, engine_only=True)["capacity"]
    assert (one.status, one.said.startswith("1 ingestions at once")) == (Status.NOTE, True)


def test_a_missing_table_fails_and_names_bootstrap() -> None:
    """An empty database needs one command."""
    with KustoEmulator() as emulator:
        [one] = examined(emulator)["schema"]
        assert (one.status, one.exit_code) == (Status.FAILED, 5)
        assert one.cure == f"opencost-kusto bootstrap --kusto-uri {emulator.url} --database 'OpenCost'"


def test_a_clock_that_is_off_is_noted(emulator: KustoEmulator) -> None:
    """A machine that is ten minutes ahead asks for windows that have not ended."""
    with Kusto(emulator.url, emulator.database, auth="none") as kusto:
        [one] = doctor.clocks(kusto, lambda: datetime.now(UTC) + timedelta(minutes=10))
    assert one.status is Status.NOTE


def test_ready_is_the_first_part(emulator: KustoEmulator) -> None:
    """A command that loads rows signs in and lists where to upload before it asks OpenCost anything."""
    sent = len(emulator.requests)
    with Kusto(emulator.url, emulator.database, auth="none") as kusto:
        doctor.ready(kusto)
        assert len(emulator.requests) - sent == 3
    emulator.fault = lambda request: kusto_refusal(403, "No.", permanent=True) if is_resources(request) else None
    with Kusto(emulator.url, emulator.database, auth="none") as kusto, pytest.raises(KustoError) as refused:
        doctor.ready(kusto)
    assert refused.value.code is ReasonCode.FORBIDDEN


# The table, its staging table, and the function only where Kusto accepts one that calls nothing.
DROPPED = 2


def tried(emulator: KustoEmulator, **more: float) -> list[Finding]:
    """What `--write` finds."""
    with Kusto(emulator.url, emulator.database, auth="none") as kusto:
        return list(assumptions.examine(kusto, sleep=lambda _: None, **more))


def test_every_assumption_is_tried_and_the_table_dropped(emulator: KustoEmulator) -> None:
    """Each has a line, and the last says that the table is gone."""
    before = (set(emulator.engine.tables), set(emulator.engine.functions))
    found = tried(emulator)
    assert len(found) == len(ASSUMPTIONS) + DROPPED
    assert [one.said for one in found if one.status is not Status.OK] == []
    assert all(one.said.endswith("is dropped") for one in found[-DROPPED:])
    assert (set(emulator.engine.tables), set(emulator.engine.functions)) == before


def test_what_the_doctor_sends_is_clean(emulator: KustoEmulator, analyser: Analyser) -> None:
    """Microsoft's analyser finds nothing wrong with any query or command of the doctor, with or without --write."""
    sent = len(emulator.requests)
    examined(emulator)
    tried(emulator)
    texts = {request.csl for request in emulator.requests[sent:] if request.csl and not request.csl.startswith(".get")}
    names = {match[0] for text in texts for match in re.finditer(r"OpenCostDoctor_[0-9a-f]+(_Staging)?\b", text)}
    tables = {table.name: [(column.name, column.type) for column in table.columns] for table in TABLES}
    scratch = {name: [*COLUMNS.items(), ("More", "long")] for name in names}
    wrong = {}
    for text in texts:
        # The analyser's database has this name; before they are created the scratch tables are not there.
        schema = Schema(tables=tables if text.startswith(".create table") else {**tables, **scratch})
        if found := analyser.check(text.replace("['OpenCost']", "['Database']"), schema=schema):
            wrong[text.split("OpenCostDoctor")[0]] = found
    # `move` is newer than the analyser; a missing callee is what the function is about.
    assert wrong.keys() == {".update table ", ".create-or-alter function "}, wrong


def test_an_assumption_that_does_not_hold_says_what_it_means(emulator: KustoEmulator) -> None:
    """Another answer is a note, and the others are tried all the same."""
    emulator.fault = lambda request: (
        kusto_refusal(400, "TagPrefix is not valid.", permanent=True) if "extent_tags" in request.csl else None
    )
    found = tried(emulator)
    [one] = [one for one in found if "Is a tag retention by ingest-by:" in one.said]
    assert one.status is Status.NOTE
    assert "TagPrefix is not valid" in one.said
    assert "Consequence: tags stay until the extents go." in one.said
    assert len(found) == len(ASSUMPTIONS) + DROPPED


def test_without_the_right_to_create_a_table_nothing_else_is_tried(emulator: KustoEmulator) -> None:
    """The note has the command that grants it."""
    said = "Principal 'aadapp=1;2' is not authorized to perform operation 'TableCreateCommand'."
    emulator.fault = lambda request: (
        kusto_refusal(403, said, permanent=True) if request.csl.startswith(".create table") else None
    )
    first, last = tried(emulator)
    assert ".add database ['OpenCost'] users ('aadapp=1;2')" in first.said
    assert last.status is Status.OK


def test_the_table_is_dropped_where_nothing_lands(emulator: KustoEmulator) -> None:
    """A message that is lost costs its timeout, and leaves no table behind."""
    emulator.behaviour = Behaviour(lost=1.0)
    before = set(emulator.engine.tables)
    found = tried(emulator, timeout=0.2)
    assert len([one for one in found if "did not land within" in one.said]) == 1, "it waits once"
    assert [one for one in found if "rows do not land in time" in one.said]
    assert set(emulator.engine.tables) == before


def test_a_function_that_kusto_accepts_is_dropped(emulator: KustoEmulator) -> None:
    """A cluster that does not look for callees keeps no function of the doctor."""
    stored = answer("", ["Name"], ["F"])

    def kinder(request: Request) -> Reply | None:
        return stored(request) if re.match(r"\.(create-or-alter|drop) function", request.csl) else None

    emulator.fault = kinder
    found = tried(emulator)
    [one] = [one for one in found if "calls a missing one" in one.said]
    assert one.said.endswith(
        "accepted; assumed: refused. Consequence: none: the order in which functions are created does not matter."
    )
    assert re.fullmatch(r"OpenCostDoctor_\w+_Function is dropped", found[-1].said)


# The questions of the first review for a real cluster: the hop or the assumption that answers each, or why none does.
GONE = "no longer sent: "
QUESTIONS = {
    1: "engine",
    2: "right to sync",
    3: "capacity",
    4: "Which column of .show database schema as json has the schema?",
    5: "Is .create table with docstring and folder accepted?",
    6: "Is an auto_delete policy accepted?",
    7: GONE + "a staging table needs no merge policy, since its rows are counted and moved as they are",
    8: "Is the batching policy accepted?",
    9: "Is a tag retention whose prefix has the table's name accepted?",
    10: "Is a tag retention by ingest-by: accepted?",
    11: "How is that policy shown?",
    12: "Is a fenced JSON mapping accepted?",
    13: "How is a mapping shown?",
    14: "Is .create-merge of an existing table accepted?",
    15: "Does it change the table's docstring?",
    16: "Is a function refused that calls a missing one?",
    17: "How long does it take to queue a blob?",
    18: "After how long does a row land?",
    19: "Does a tag land only once?",
    20: "How is a blob listed that its tag left out?",
    21: "Is a blob listed that cannot be read?",
    22: "What separates the tags of an extent?",
    23: "How does a row land?",
    24: "Do labels that look like other types stay?",
    25: "How are halves of a millionth rounded?",
    26: "Is a staging table of the same columns accepted?",
    27: GONE + "no table is based on another, so none copies policies",
    28: GONE + "no table is made by .set",
    29: "Is a mapping of the staging table accepted?",
    30: "Does a new table take a queued blob?",
    31: GONE + "`.update table` has taken the place of .replace extents",
    32: GONE + "`.update table` has taken the place of .replace extents",
    33: "Is .update table with move accepted?",
    34: "What does the table hold after that?",
    35: "Is .update table with append accepted?",
    36: "is dropped",
}


def test_every_question_for_a_real_cluster_has_its_answer(emulator: KustoEmulator) -> None:
    """A hop that only reads, an assumption of `--write`, or a construct that this program no longer sends."""
    assert [*QUESTIONS] == list(range(1, 37))
    asked = {*examined(emulator), *(one.question for one in ASSUMPTIONS), "is dropped"}
    assert {text for text in QUESTIONS.values() if not text.startswith(GONE)} <= asked
    sources = "".join(path.read_text() for path in Path(opencost_kusto.__file__).parent.glob("[!e]*/*.py"))
    for word in (".replace extents", "based-on", "policy merge", r"\.set [A-Z{]"):
        assert not re.search(rf'["`(f]{word}', sources), word


def test_a_patient_command_goes_on_where_waiting_may_help(emulator: KustoEmulator) -> None:
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
