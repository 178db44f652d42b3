"""`doctor --write`: every assumption about a cluster, on a scratch table that is dropped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import opencost_kusto
from opencost_kusto.database import assumptions
from opencost_kusto.database.assumptions import ASSUMPTIONS, Assumption
from opencost_kusto.database.finding import Finding, Status
from opencost_kusto.database.scratch import COLUMNS
from opencost_kusto.emulator import Behaviour, KustoEmulator, Reply, Request
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.schema.tables import TABLES
from tests.database.examined import examined, reply
from tests.faults.wire import kusto_refusal
from tests.support.documents import GUIDES
from tests.support.kql_analyser import Analyser, Schema

# The table, its staging table, and the function only where Kusto accepts one that calls nothing.
DROPPED = 2


def tried(emulator: KustoEmulator, **more: float) -> list[Finding]:
    """What `--write` finds."""
    with Kusto(emulator.url, emulator.database, auth="none") as kusto:
        return list(assumptions.examine(kusto, sleep=lambda _: None, **more))


def test_every_assumption_is_tried_and_the_table_dropped(emulator: KustoEmulator) -> None:
    """Each has a line, and the last reports that the table was dropped."""
    before = (set(emulator.engine.tables), set(emulator.engine.functions))
    found = tried(emulator)
    assert len(found) == len(ASSUMPTIONS) + DROPPED
    assert [one.message for one in found if one.status is not Status.OK] == []
    assert all(one.message.endswith("is dropped") for one in found[-DROPPED:])
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


def test_an_assumption_that_does_not_hold_has_its_consequence(emulator: KustoEmulator) -> None:
    """Another result is a note, and the others are tried nevertheless."""
    emulator.fault = lambda request: (
        kusto_refusal(400, "TagPrefix is not valid.", permanent=True) if "extent_tags" in request.csl else None
    )
    found = tried(emulator)
    [one] = [one for one in found if "Is a tag retention by ingest-by:" in one.message]
    assert one.status is Status.NOTE
    assert "TagPrefix is not valid" in one.message
    assert "Consequence: tags stay until the extents go." in one.message
    assert len(found) == len(ASSUMPTIONS) + DROPPED


def test_without_the_right_to_create_a_table_nothing_else_is_tried(emulator: KustoEmulator) -> None:
    """The note has the command that grants it."""
    message = "Principal 'aadapp=1;2' is not authorized to perform operation 'TableCreateCommand'."
    emulator.fault = lambda request: (
        kusto_refusal(403, message, permanent=True) if request.csl.startswith(".create table") else None
    )
    first, last = tried(emulator)
    assert ".add database ['OpenCost'] users ('aadapp=1;2')" in first.message
    assert last.status is Status.OK


def test_the_table_is_dropped_where_nothing_lands(emulator: KustoEmulator) -> None:
    """A message that is lost costs its timeout, and leaves no table behind."""
    emulator.behaviour = Behaviour(lost=1.0)
    before = set(emulator.engine.tables)
    found = tried(emulator, timeout=0.2)
    assert len([one for one in found if "did not land within" in one.message]) == 1, "it waits once"
    assert [one for one in found if "rows do not land in time" in one.message]
    assert set(emulator.engine.tables) == before


def test_a_function_that_kusto_accepts_is_dropped(emulator: KustoEmulator) -> None:
    """A cluster that does not look for callees keeps no function of the doctor."""
    stored = reply("", ["Name"], ["F"])

    def kinder(request: Request) -> Reply | None:
        return stored(request) if re.match(r"\.(create-or-alter|drop) function", request.csl) else None

    emulator.fault = kinder
    found = tried(emulator)
    [one] = [one for one in found if "calls a missing one" in one.message]
    assert one.message.endswith(
        "accepted; assumed: refused. Consequence: none: the order in which functions are created does not matter."
    )
    assert re.fullmatch(r"OpenCostDoctor_\w+_Function is dropped", found[-1].message)


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


@pytest.mark.parametrize("assumption", ASSUMPTIONS, ids=lambda assumption: assumption.check)
def test_the_guide_has_the_consequence_of_another_result(assumption: Assumption) -> None:
    """Each check, its expected result, and the consequence of another result."""
    row = f"| {assumption.check} | {' or '.join(assumption.expected)} | {assumption.otherwise} |"
    assert row in GUIDES["operations"]


def test_every_check_for_a_real_cluster_is_accounted_for(emulator: KustoEmulator) -> None:
    """A hop that only reads, an assumption of `--write`, or a construct that this program no longer sends."""
    assert [*QUESTIONS] == list(range(1, 37))
    requested = {*examined(emulator), *(one.check for one in ASSUMPTIONS), "is dropped"}
    assert {text for text in QUESTIONS.values() if not text.startswith(GONE)} <= requested
    sources = "".join(path.read_text() for path in Path(opencost_kusto.__file__).parent.glob("[!e]*/*.py"))
    for word in (".replace extents", "based-on", "policy merge", r"\.set [A-Z{]"):
        assert not re.search(rf'["`(f]{word}', sources), word
