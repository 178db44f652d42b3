"""A spool keeps what did not land: on a full disk, beside another process, after another response landed."""

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
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.load.sealed import remove
from opencost_kusto.pipeline.replay import replay
from opencost_kusto.result import Report
from opencost_kusto.schema.tables import ALLOCATION
from tests.faults.ending import Ending, fault
from tests.faults.wire import DOWN, always, is_count, is_query, is_upload, many, shortened, storage_refusal
from tests.support.world import PATIENT, ROWS, World, check_consistent, result_of


def replayed(world: World, spool: Path, timeout: float = 10) -> Report:
    """The report of a replay."""
    with world.client(PATIENT) as kusto:
        return replay(spool, kusto, policy=LoadPolicy(timeout=timeout))


@pytest.fixture
def spooled(world: World, tmp_path: Path) -> Path:
    """A spool that holds the hour, since storage refused it."""
    world.kusto.fault = always(is_upload, storage_refusal())
    assert result_of(world.sync(spool=tmp_path)).outcome == "failed"
    world.kusto.fault = None
    return tmp_path


@pytest.mark.parametrize("replays", [False, True])
def test_files_of_a_killed_run_are_removed_by_the_next(world: World, tmp_path: Path, *, replays: bool) -> None:
    """A folder that was never sealed is removed a day later, by any use of the spool; a younger one is kept."""
    folders = [tmp_path / f"{ALLOCATION.name}-{'0' * 16}-{number:08}" for number in range(2)]
    for folder, age in zip(folders, (25, 1), strict=True):
        folder.mkdir()
        (folder / "rows.ndjson.gz").write_bytes(b"half")
        for path in (folder / "rows.ndjson.gz", folder):
            os.utime(path, (time.time() - age * 3600,) * 2)
    if replays:
        assert replayed(world, tmp_path).results == []
    else:
        assert result_of(world.sync(spool=tmp_path)).outcome == "landed"
    assert list(tmp_path.iterdir()) == folders[1:]


def untag(world: World) -> None:
    """A week passes: Kusto drops the tags."""
    extents = world.kusto.engine.tables[ALLOCATION.name].extents
    for name, extent in extents.items():
        extents[name] = changed(extent, tags=())


@fault("Kusto is down for a whole sync with `--spool`", "failed", exit_code=5, says="Kusto at … failed at the query …")
def test_a_spool_keeps_what_kusto_did_not_accept(world: World, tmp_path: Path, ending: Ending) -> None:
    """With a spool the response is kept on disk, and replay lands it, once."""
    world.kusto.fault = always(lambda _: True, DOWN)
    report = world.sync(deadlines=Deadlines(query=1, resources=1), spool=tmp_path)
    ending.result_of(report)
    assert result_of(report).notes == [f"kept in the spool; to load it, run opencost-kusto replay {tmp_path}"]
    world.kusto.fault = None
    for _ in range(2):
        report = replayed(world, tmp_path)
        check_consistent(report)
        assert report.exit_code == 0
        world.settle(ROWS)
    assert not list(tmp_path.iterdir())


@fault("Kusto comes back between the first query and the upload, with `--spool`", "already landed")
def test_kusto_is_available_again_during_a_run(world: World, tmp_path: Path, ending: Ending) -> None:
    """The table is read again before anything is sent: rows older than their tags are there once."""
    assert result_of(world.sync()).outcome == "landed"
    untag(world)

    def fault_until_requested(request: Request) -> Reply | None:
        requested = [one.path for one in world.opencost.requests].count("/allocation") > 1
        return DOWN if is_query(request) and not requested else None

    world.kusto.fault = fault_until_requested
    ending.result_of(world.sync(deadlines=Deadlines(query=1, resources=1), spool=tmp_path))
    world.settle(ROWS)


@fault(
    "Another response landed before a spool is replayed",
    "already landed",
    says="OpenCost's response has changed since: … rows and … in cost",
)
@pytest.mark.parametrize("weeks", [0, 1], ids=["tagged", "tags dropped"])
def test_another_response_landed_before_the_replay(world: World, spooled: Path, weeks: int, ending: Ending) -> None:
    """What a spool holds is not added to another response, with the tags and without."""
    world.opencost.responder = shortened
    assert result_of(world.sync()).outcome == "landed"
    if weeks:
        untag(world)
    ending.result_of(replayed(world, spooled))
    world.settle(ROWS - 1)
    assert not list(spooled.iterdir())


@fault(
    "Another process sends a batch and empties the spool before this one has sent it",
    "landed",
    says="another process has loaded it from the spool",
)
def test_a_batch_is_taken_before_it_is_sent(world: World, spooled: Path, ending: Ending) -> None:
    """What another process sent is counted like our own, and reported landed only when it is."""
    other = spooled.parent / f"{spooled.name}-other"

    def overtake(request: Request) -> Reply | None:
        if not is_count(request):
            return None
        # Nothing is there yet; then the other process does all of its work before this one goes on.
        nothing, world.kusto.fault = world.kusto.respond(request), None
        shutil.copytree(spooled, other)
        assert replayed(world, other).counts == {"landed": 1}
        for folder in spooled.iterdir():
            remove(folder)
        return nothing

    world.kusto.fault = overtake
    ending.result_of(replayed(world, spooled))
    world.settle(ROWS)


@fault("Two replays of one spool at the same moment", "landed", "already landed")
def test_two_replays_of_one_spool(world: World, spooled: Path, ending: Ending) -> None:
    """Whichever is first, neither fails, the rows are there once, and the spool is empty."""
    world.kusto.latency = 0.3
    start = threading.Barrier(2)
    reports: list[Report] = []

    def run() -> None:
        start.wait()
        reports.append(replayed(world, spooled))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 2
    for report in reports:
        ending.process(report.exit_code, "")
        ending.among(report.counts)
    world.settle(ROWS)
    assert not list(spooled.iterdir())


@fault("A spool is replayed while a sync fills it", "landed")
def test_a_spool_is_replayed_while_it_is_filled(world: World, tmp_path: Path, ending: Ending) -> None:
    """A batch that is sealed and not yet sent is sent by both, lands once, and both report it."""

    def replay_first(request: Request) -> None:
        if is_upload(request):
            world.kusto.fault = None
            assert replayed(world, tmp_path).counts == {"landed": 1}

    world.kusto.fault = replay_first
    ending.landed(world, world.sync(spool=tmp_path, deadlines=Deadlines()))
    assert not list(tmp_path.iterdir())


@fault(
    "The rows of a batch are missing in the spool",
    "failed",
    exit_code=4,
    says="…/rows.ndjson.gz is missing. Move … away and sync the window again.",
)
def test_rows_are_missing(world: World, spooled: Path, ending: Ending) -> None:
    """A folder without its rows is named, and kept."""
    (rows,) = spooled.glob("*/rows.ndjson.gz")
    rows.unlink()
    ending.failed(world, replayed(world, spooled))
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
@pytest.mark.parametrize("limit", [0, 4096], ids=["at once", "in the middle"])
def test_the_disk_is_full(world: World, tmp_path: Path, limit: int, ending: Ending) -> None:
    """A response that cannot be kept is not sent; nothing half sealed is left, and a run with room lands it."""
    if limit:
        world.opencost.responder = lambda path, _: json_reply(many(0.5, 20_000)) if path == "/allocation" else None
    with full_disk(limit):
        report = world.sync(spool=tmp_path)
    ending.failed(world, report)
    assert not list(tmp_path.glob(f"{ALLOCATION.name}*"))
    assert not [one for one in world.kusto.requests if is_upload(one)]
    world.opencost.responder = None
    assert result_of(world.sync(spool=tmp_path)).outcome == "landed"
    world.settle(ROWS)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_did_not_seal_is_swept_a_day_later(world: World, tmp_path: Path) -> None:
    """A folder without a seal may be being written, and is removed once it is unchanged for a day."""
    young, old = (tmp_path / f"OpenCostAllocation-{one * 16}-12345678" for one in "ab")
    theirs = tmp_path / "precious"
    for folder in (young, old, theirs):
        folder.mkdir()
        (folder / "rows.ndjson.gz").write_bytes(b"half")
    yesterday = time.time() - 25 * 3600
    for path in (old / "rows.ndjson.gz", old, theirs / "rows.ndjson.gz", theirs):
        os.utime(path, (yesterday, yesterday))
    assert replayed(world, tmp_path).results == []
    assert sorted(tmp_path.iterdir()) == [young, theirs]
