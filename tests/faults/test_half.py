"""Half of a batch is there: the parts of two answers never mix, and a half is never taken for the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from opencost_kusto.emulator import Reply, json_reply
from opencost_kusto.kusto.client import Deadlines
from opencost_kusto.load.spool import ROWS_PER_PART
from opencost_kusto.pipeline.replay import replay
from tests.faults.ending import Ending, fault
from tests.faults.lane import Lane, of
from tests.faults.wire import REFUSED, many, second_upload_fails

WHOLE = ROWS_PER_PART + 10
FIRST, SECOND = json_reply(many(0.5)), json_reply(many(0.25))


def answers(lane: Lane, reply: Reply) -> None:
    """Let OpenCost answer so from now on."""
    lane.opencost.answers = lambda path, _: reply if path == "/allocation" else None


@pytest.fixture
def half(lane: Lane, tmp_path: Path) -> Lane:
    """A lane whose table holds the first of an answer's two parts; the spool in `tmp_path` holds both."""
    answers(lane, FIRST)
    lane.kusto.fault = second_upload_fails()
    assert of(lane.sync(spool=tmp_path)).outcome == "failed"
    lane.settle(ROWS_PER_PART)
    return lane


@fault(
    "A batch of several parts has landed in part, and OpenCost answers otherwise", "landed", says="takes the place of"
)
def test_a_half_is_completed_by_replacement(half: Lane, ending: Ending) -> None:
    """The table ends with all of the new answer and nothing of the old."""
    answers(half, SECOND)
    one = ending.of(half.sync(timeout=60, deadlines=Deadlines()))
    assert one.notes[0].startswith(f"takes the place of {ROWS_PER_PART} rows")
    half.settle(WHOLE)
    assert len(half.runs()) == 1
    # What a run has seen whole is not taken for a half, however short it is against another answer.
    answers(half, json_reply(many(0.25).replace(b"}]}", b',"z":{"name":"z","totalCost":1}}]}')))
    again = of(half.sync(deadlines=Deadlines()))
    assert again.outcome == "already landed"
    assert "changed since: +1 rows and +1.000000 in cost. sync --replace" in (again.reason or "")


@fault(
    "A batch has landed in part, and OpenCost's next answer fits into one part",
    "landed",
    says="takes the place of … rows and … in cost",
)
def test_a_half_is_not_taken_for_a_longer_answer(half: Lane, ending: Ending) -> None:
    """Half of the first answer has more rows than all of the second, and is a half all the same."""
    answers(half, json_reply(many(0.25, beyond=-10)))
    ending.of(half.sync(timeout=60, deadlines=Deadlines()))
    half.settle(ROWS_PER_PART - 10)
    assert len(half.runs()) == 1


@fault(
    "A batch has landed in part, and OpenCost is down", "failed", exit_code=3, says="OpenCost responded to … with 500"
)
def test_a_half_is_not_already_there_while_opencost_is_down(half: Lane, ending: Ending) -> None:
    """A half that nobody can complete now is a failed batch, and never already landed."""
    answers(half, json_reply(b'{"code":500,"message":"no"}', status=500))
    ending.failed(half, half.sync(), ROWS_PER_PART)


@fault(
    "A batch has landed in part, and OpenCost has forgotten the window",
    "failed",
    exit_code=4,
    says="OpenCost has no data for the window any more, and the … rows that are there may be a part of it: no run has "
    "seen them land whole. If a spool holds the batch, replay it.",
)
def test_a_half_is_not_already_there_when_opencost_has_forgotten(half: Lane, tmp_path: Path, ending: Ending) -> None:
    """A half is told, and the spool that still has the whole completes it without a second copy of the first part."""
    answers(half, json_reply(b'{"code":200,"data":[{}]}'))
    ending.failed(half, half.sync(), ROWS_PER_PART)
    # The same answer is completed by its tags alone, which needs no right to create tables.
    half.kusto.fault = lambda request: REFUSED if request.csl.startswith(".create") else None
    with half.client(Deadlines()) as kusto:
        report = replay(tmp_path, kusto, timeout=60)
    assert (report.counts, report.exit_code) == ({"landed": 2}, 0)
    half.settle(WHOLE)
    assert not list(tmp_path.iterdir())


@fault(
    "Half of another answer is there when a spool is replayed", "landed", says="takes the place of … rows and … in cost"
)
def test_a_spooled_answer_does_not_mix_with_half_of_another(lane: Lane, tmp_path: Path, ending: Ending) -> None:
    """The spool's answer takes the place of the half."""
    spool = tmp_path / "spool"
    answers(lane, FIRST)
    lane.kusto.fault = lambda request: REFUSED if request.method == "PUT" else None
    assert of(lane.sync(spool=spool)).outcome == "failed"
    answers(lane, SECOND)
    lane.kusto.fault = second_upload_fails()
    assert of(lane.sync()).outcome == "failed"
    lane.settle(ROWS_PER_PART)
    (before,) = lane.runs()
    with lane.client(Deadlines()) as kusto:
        ending.of(replay(spool, kusto, timeout=60))
    lane.settle(WHOLE)
    assert len(lane.runs()) == 1
    assert lane.runs() != {before}
    assert not list(spool.iterdir())
