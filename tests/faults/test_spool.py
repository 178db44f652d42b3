"""A spool keeps what did not land: on a full disk, beside another process, after another answer has landed."""

from __future__ import annotations

import os
import resource
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as changed
from pathlib import Path

import pytest

from opencost_kusto.emulator import Reply, Request, json_reply
from opencost_kusto.kusto.client import Deadlines
from opencost_kusto.load.spool import remove
from opencost_kusto.pipeline.replay import replay
from opencost_kusto.result import Report
from opencost_kusto.schema.tables import ALLOCATION, SYNC_RUNS
from tests.faults.ending import Ending, fault
from tests.faults.lane import ROWS, Lane, honest, of
from tests.faults.wire import DOWN, always, is_query, is_upload, many, shortened, storage_refusal


def replayed(lane: Lane, spool: Path, timeout: float = 10) -> Report:
    """What became of what a spool held."""
    with lane.client() as kusto:
        return replay(spool, kusto, timeout=timeout)


@pytest.fixture
def spooled(lane: Lane, tmp_path: Path) -> Path:
    """A spool that holds the hour, since storage refused it when it was taken in."""
    lane.kusto.fault = always(is_upload, storage_refusal())
    assert of(lane.sync(spool=tmp_path)).outcome == "failed"
    lane.kusto.fault = None
    for ledger in tmp_path.glob(f"{SYNC_RUNS.name}*"):
        remove(ledger)
    return tmp_path


def untag(lane: Lane) -> None:
    """A week goes by: Kusto forgets the tags."""
    extents = lane.kusto.engine.tables[ALLOCATION.name].extents
    for name, extent in extents.items():
        extents[name] = changed(extent, tags=())


@fault("Kusto is down for a whole sync with `--spool`", "failed", exit_code=5, says="Kusto at … failed at the query …")
def test_a_spool_keeps_what_kusto_did_not_take(lane: Lane, tmp_path: Path, ending: Ending) -> None:
    """With a spool the answer is on disk, and replay lands it once, and only once."""
    lane.kusto.fault = always(lambda _: True, DOWN)
    report = lane.sync(deadlines=Deadlines(query=1, resources=1), spool=tmp_path)
    ending.of(report)
    assert of(report).notes == [f"kept in the spool: opencost-kusto replay {tmp_path} sends what is missing"]
    lane.kusto.fault = None
    for _ in range(2):
        report = replayed(lane, tmp_path)
        honest(report)
        assert report.exit_code == 0
        lane.settle(ROWS)
    assert not list(tmp_path.iterdir())


@fault("Kusto comes back between the question what is there and the upload, with `--spool`", "already landed")
def test_kusto_comes_back_under_way(lane: Lane, tmp_path: Path, ending: Ending) -> None:
    """What could not be asked before is asked again before anything is sent: rows older than their tags stay once."""
    assert of(lane.sync()).outcome == "landed"
    untag(lane)

    def down(request: Request) -> Reply | None:
        asked = [one.path for one in lane.opencost.requests].count("/allocation") > 1
        return DOWN if is_query(request) and not asked else None

    lane.kusto.fault = down
    ending.of(lane.sync(deadlines=Deadlines(query=1, resources=1), spool=tmp_path))
    lane.settle(ROWS)


@fault(
    "Another answer has landed before a spool is replayed",
    "already landed",
    says="another answer to the same question is there; the spool's, which differs by … and … in cost, was not sent",
)
@pytest.mark.parametrize("weeks", [0, 1], ids=["tagged", "tags forgotten"])
def test_another_answer_has_landed_before_the_replay(lane: Lane, spooled: Path, weeks: int, ending: Ending) -> None:
    """What a spool holds is not added to another answer, whether Kusto still knows the tags or not."""
    lane.opencost.answers = shortened
    assert of(lane.sync()).outcome == "landed"
    if weeks:
        untag(lane)
    ending.of(replayed(lane, spooled))
    lane.settle(ROWS - 1)
    assert not list(spooled.iterdir())


@fault("Another process empties the spool while a replay lists it", "landed")
def test_a_batch_is_taken_while_the_spool_is_listed(lane: Lane, spooled: Path, ending: Ending) -> None:
    """A batch that goes between two looks was seen to land by somebody else, and is passed over."""
    lane.kusto.fault = always(is_upload, storage_refusal())
    lane.sync("assets", spool=spooled)

    def take(request: Request) -> None:
        if is_query(request):
            lane.kusto.fault = None
            for folder in (*spooled.glob("OpenCostAssets*"), *spooled.glob("OpenCostSyncRuns*")):
                remove(folder)

    lane.kusto.fault = take
    report = replayed(lane, spooled)
    assert [one.table for one in report.outcomes] == [ALLOCATION.name]
    ending.landed(lane, report)


@fault(
    "Another process sends a batch and empties the spool before this one has sent it",
    "landed",
    says="another process has taken it from the spool, which it does when it has seen it land",
)
def test_a_batch_is_taken_before_it_is_sent(lane: Lane, spooled: Path, ending: Ending) -> None:
    """What somebody else has sent is watched like our own, and reported landed only when it is seen."""
    other = spooled.parent / f"{spooled.name}-other"

    def overtake(request: Request) -> Reply | None:
        if not is_query(request):
            return None
        # Nothing is there yet; then the other process does all of its work before this one goes on.
        nothing, lane.kusto.fault = lane.kusto.respond(request), None
        shutil.copytree(spooled, other)
        assert replayed(lane, other).counts == {"landed": 1}
        for folder in spooled.iterdir():
            remove(folder)
        return nothing

    lane.kusto.fault = overtake
    ending.of(replayed(lane, spooled))
    lane.settle(ROWS)


@fault("Two replays of one spool at the same moment", "landed", "already landed")
def test_two_replays_of_one_spool(lane: Lane, spooled: Path, ending: Ending) -> None:
    """Whichever is first, both say the truth, the rows are there once, and the spool is empty."""
    lane.kusto.latency = 0.3
    start = threading.Barrier(2)
    reports: list[Report] = []

    def run() -> None:
        start.wait()
        reports.append(replayed(lane, spooled))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 2
    for report in reports:
        ending.process(report.exit_code, "")
        ending.among(report.counts)
    lane.settle(ROWS)
    assert not list(spooled.iterdir())


@fault("A spool is replayed while the sync that fills it is at work", "landed")
def test_a_spool_is_replayed_while_it_is_filled(lane: Lane, tmp_path: Path, ending: Ending) -> None:
    """A batch that is sealed and not yet sent is sent by both, lands once, and both see it."""

    def replay_first(request: Request) -> None:
        if is_upload(request):
            lane.kusto.fault = None
            assert replayed(lane, tmp_path).counts == {"landed": 1}

    lane.kusto.fault = replay_first
    ending.landed(lane, lane.sync(spool=tmp_path, deadlines=Deadlines()))
    assert not list(tmp_path.iterdir())


@fault(
    "A part is missing in the spool",
    "failed",
    exit_code=4,
    says="… is not whole: part-0.ndjson.gz is missing. Move the folder away and sync the window again.",
)
def test_a_part_is_missing(lane: Lane, spooled: Path, ending: Ending) -> None:
    """A folder that lost a part is told, and kept."""
    (part,) = spooled.glob("*/part-0.ndjson.gz")
    part.unlink()
    ending.failed(lane, replayed(lane, spooled))
    assert list(spooled.glob("*/batch.json"))


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """The system refuses to let a file grow beyond so many bytes, as it refuses on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@fault(
    "The disk of the spool is full", "failed", exit_code=2, says="The spool folder … cannot be written: File too large."
)
@pytest.mark.parametrize("limit", [0, 4096], ids=["at once", "in the middle of a part"])
def test_the_disk_is_full(lane: Lane, tmp_path: Path, limit: int, ending: Ending) -> None:
    """An answer that cannot be kept is not sent; nothing half sealed is left, and a run with room lands it."""
    if limit:
        lane.opencost.answers = lambda path, _: json_reply(many(0.5, -30_000)) if path == "/allocation" else None
    with full_disk(limit):
        report = lane.sync(spool=tmp_path)
    ending.failed(lane, report)
    assert not list(tmp_path.glob(f"{ALLOCATION.name}*"))
    assert not [one for one in lane.kusto.requests if is_upload(one) and ALLOCATION.name in one.path]
    lane.opencost.answers = None
    assert of(lane.sync(spool=tmp_path)).outcome == "landed"
    lane.settle(ROWS)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_did_not_seal_is_swept_a_day_later(lane: Lane, tmp_path: Path) -> None:
    """A folder without a seal may be in the making, and is removed only when nobody has touched it for a day."""
    young, old = tmp_path / "OpenCostAllocation-a-12345678", tmp_path / "OpenCostAllocation-b-12345678"
    theirs = tmp_path / "precious"
    for folder in (young, old, theirs):
        folder.mkdir()
        (folder / "part-0.ndjson.gz").write_bytes(b"half")
    yesterday = time.time() - 25 * 3600
    for path in (old / "part-0.ndjson.gz", old, theirs / "part-0.ndjson.gz", theirs):
        os.utime(path, (yesterday, yesterday))
    assert replayed(lane, tmp_path).outcomes == []
    assert sorted(tmp_path.iterdir()) == [young, theirs]
