"""Tracking of queued batches on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest

from opencost_kusto.emulator import Request
from opencost_kusto.emulator.kusto.catalog import Failure
from opencost_kusto.errors import ReasonCode
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.load.tracker import IngestionTracker
from opencost_kusto.result import BatchResult
from opencost_kusto.schema.tables import ALLOCATION
from tests.faults.wire import is_message, untagged
from tests.load.conftest import staged
from tests.support.world import PATIENT, ROWS, World


@dataclass
class Clock:
    """Moves when somebody sleeps; what is due happens on the way."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)
    due: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def __call__(self) -> float:
        """Seconds, as `time.monotonic`."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move by that many seconds."""
        self.slept.append(seconds)
        self.now += seconds
        for moment, happens in [one for one in self.due if one[0] <= self.now]:
            self.due.remove((moment, happens))
            happens()

    def after(self, seconds: float, happens: Callable[[], None]) -> None:
        """Let something happen so many seconds after the start."""
        self.due.append((1000.0 + seconds, happens))


class Tracked:
    """Batches that are queued and whose messages are held back, and the tracker that waits for them."""

    def __init__(self, world: World, folder: Path, hours: int, **policy: float) -> None:
        self.world = world
        self.clock = Clock()
        self.policy = LoadPolicy(spool=folder, **policy)  # type: ignore[arg-type]
        self.batches = staged(world, folder, hours)

    def run(self, *, queued: int | None = None, finish: bool = True) -> list[BatchResult]:
        """Queue the batches, wait for them, and return the results."""
        with self.world.client(PATIENT) as kusto:
            self.tracker = IngestionTracker(kusto, self.policy, clock=self.clock, sleep=self.clock.sleep)
            with self.tracker as tracker:
                self.world.kusto.pause()
                results = [one for pair in self.batches[:queued] for one in tracker.send(*pair)]
                while self.world.storage.receive():
                    continue
                self.world.kusto.resume()
                return results + (list(tracker.finish()) if finish else [])

    def deliver(self, number: int = 0, change: Callable[[Request], Request] = lambda request: request) -> None:
        """Deliver a message that was held back."""
        messages = [request for request in self.world.kusto.requests if is_message(request)]
        self.world.kusto.respond(change(messages[number]))
        self.world.kusto.wait_idle()

    def list_failure(self, kind: str, code: str = "BadRequest_X", details: str = "It failed.") -> None:
        """Let Kusto list a failure of each blob."""
        now = self.world.kusto.engine.clock()
        self.world.kusto.engine.failures += [
            Failure(ALLOCATION.name, blob, details, code, "{}", now, kind) for blob in self.world.storage.blobs
        ]


def test_the_timeout_counts_from_the_last_landing(world: World, tmp_path: Path) -> None:
    """Batches that land one after the other all land, though the last does so long after the timeout."""
    tracked = Tracked(world, tmp_path, 3, timeout=60)
    for number in range(3):
        tracked.clock.after(50 * (number + 1), lambda number=number: tracked.deliver(number))  # type: ignore[misc]
    assert [one.outcome for one in tracked.run()] == ["landed"] * 3
    assert tracked.clock.now >= 1150


def test_one_query_counts_all_batches(world: World, tmp_path: Path) -> None:
    """Three batches are counted by one query at a time, not by one for each."""
    tracked = Tracked(world, tmp_path, 3, timeout=60)
    before = len(world.kusto.requests)
    tracked.run()
    looked = [one.csl for one in world.kusto.requests[before:] if "BatchRows" in one.csl and one.csl[0] != "."]
    assert looked
    assert sum(text.count("OpenCostAllocation/") == 3 for text in looked[:4]) == len(looked[:4])


def test_failures_are_not_read_while_batches_land(world: World, tmp_path: Path) -> None:
    """Each poll that finds a landing leaves the failures and the tags of the other batches for later."""
    tracked = Tracked(world, tmp_path, 3, timeout=60)
    for number in range(3):
        tracked.clock.after(0.1 + 0.2 * number, lambda number=number: tracked.deliver(number))  # type: ignore[misc]
    before = len(world.kusto.requests)
    assert [one.outcome for one in tracked.run()] == ["landed"] * 3
    commands = [one.csl for one in world.kusto.requests[before:]]
    assert not [text for text in commands if text.startswith(".show ingestion failures") or "tags has" in text]


def test_the_timeout_ends_once(world: World, tmp_path: Path) -> None:
    """What has not landed when nothing landed for the timeout is timed out then, and kept in the spool."""
    tracked = Tracked(world, tmp_path, 2, timeout=60)
    tracked.clock.after(50, lambda: tracked.deliver(0))
    results = tracked.run()
    assert [one.outcome for one in results] == ["landed", "timed out"]
    assert results[1].reason_code == ReasonCode.NOT_LANDED
    assert f"run opencost-kusto replay {tmp_path}" in results[1].notes[-1]
    # Counted at most one pause after the landing.
    assert 1110 <= tracked.clock.now <= 1121
    assert len(list(tmp_path.iterdir())) == 1


def test_the_pause_grows_and_is_short_again_after_a_batch_is_queued(world: World, tmp_path: Path) -> None:
    """A batch that is queued after a slow one is counted at once."""
    tracked = Tracked(world, tmp_path, 2, timeout=60)
    with world.client(PATIENT) as kusto:
        clock = tracked.clock
        with IngestionTracker(kusto, tracked.policy, clock=clock, sleep=clock.sleep) as tracker:
            world.kusto.pause()
            assert list(tracker.send(*tracked.batches[0])) == []
            list(tracker.finish())
            assert clock.slept[0] < 1
            assert max(clock.slept) == 10
            clock.slept.clear()
            assert list(tracker.send(*tracked.batches[1])) == []
            list(tracker.finish())
    assert clock.slept[1] < 1


def test_a_transient_failure_is_not_the_end(world: World, tmp_path: Path) -> None:
    """Kusto ingests a blob of a transient failure again, so it is waited for."""
    tracked = Tracked(world, tmp_path, 1, timeout=600)
    tracked.clock.after(1, lambda: tracked.list_failure("Transient"))
    tracked.clock.after(100, tracked.deliver)
    assert [one.outcome for one in tracked.run()] == ["landed"]


def test_a_failure_at_the_deadline_is_the_reason(world: World, tmp_path: Path) -> None:
    """A batch that is late says what Kusto lists of it, transient or not."""
    tracked = Tracked(world, tmp_path, 1, timeout=60)
    tracked.clock.after(1, lambda: tracked.list_failure("Transient"))
    (one,) = tracked.run()
    assert one.outcome == "timed out"
    assert "of the last landing: It failed. Run again later." in (one.reason or "")


@pytest.mark.parametrize(("kind", "outcome"), [("Transient", "timed out"), ("Permanent", "failed")])
def test_no_reason_has_the_signature_of_a_blob(world: World, tmp_path: Path, kind: str, outcome: str) -> None:
    """Kusto quotes the address of the blob that it could not read, which is a secret."""
    tracked = Tracked(world, tmp_path, 1, timeout=60)
    message = "Cannot read https://a.blob.core.windows.net/b?sp=r&sig=s3cr3t."
    tracked.clock.after(1, lambda: tracked.list_failure(kind, details=message))
    (one,) = tracked.run()
    assert one.outcome == outcome
    assert "Cannot read https://a.blob.core.windows.net/b" in (one.reason or "")
    assert "s3cr3t" not in (one.reason or "")


def test_a_permanent_failure_is_the_end(world: World, tmp_path: Path) -> None:
    """What Kusto refused for good is not waited for until the deadline."""
    tracked = Tracked(world, tmp_path, 1, timeout=600)
    tracked.clock.after(1, lambda: tracked.list_failure("Permanent"))
    (one,) = tracked.run()
    assert (one.outcome, one.exit_code) == ("failed", 5)
    assert "It failed. Correct that and run again." in (one.reason or "")
    assert tracked.clock.now < 1060


def test_a_skipped_blob_is_no_failure(world: World, tmp_path: Path) -> None:
    """Kusto lists a blob that its tag left out as a permanent failure, which it is not."""
    tracked = Tracked(world, tmp_path, 1, timeout=600)
    tracked.clock.after(1, lambda: tracked.list_failure("Permanent", "Skipped_IngestByTagAlreadyExists"))
    tracked.clock.after(100, tracked.deliver)
    assert [one.outcome for one in tracked.run()] == ["landed"]


def test_a_permanent_failure_is_counted_again(world: World, tmp_path: Path) -> None:
    """Rows that land between a count and the list of failures are landed, whatever the list has."""
    tracked = Tracked(world, tmp_path, 1, timeout=600)
    tracked.clock.after(0.1, lambda: tracked.list_failure("Permanent"))

    def land(request: Request) -> None:
        if request.csl.startswith(".show ingestion failures"):
            world.kusto.fault = None
            tracked.deliver()

    world.kusto.fault = land
    assert [one.outcome for one in tracked.run()] == ["landed"]
    assert world.kusto.fault is None


def test_damage_at_the_deadline_is_repaired_in_its_own_time(world: World, tmp_path: Path) -> None:
    """Doubled rows that are first seen when the time is over are replaced, and no staging table is left."""
    tracked = Tracked(world, tmp_path, 1, timeout=60)

    def double() -> None:
        tracked.deliver(0, untagged)
        tracked.deliver(0, untagged)

    tracked.clock.after(59.999, double)
    (one,) = tracked.run()
    assert (one.outcome, one.rows) == ("landed", ROWS)
    assert one.notes[0].startswith("replaces 16 rows")
    assert not world.staging
    world.settle(ROWS)


def test_a_response_that_another_run_landed(world: World, tmp_path: Path) -> None:
    """A complete response with as many rows and another cost is not the one that was sent."""
    tracked = Tracked(world, tmp_path, 1, timeout=60)
    staging, sealed = tracked.batches[0]
    assert sealed.micros
    other = msgspec.structs.replace(sealed, micros=sealed.micros + 1)
    tracked.batches = [(replace(staging, sealed=other), other)]
    tracked.clock.after(1, tracked.deliver)
    (one,) = tracked.run()
    assert (one.outcome, one.reason_code, one.cost) == ("already landed", ReasonCode.CHANGED, sealed.cost)


@pytest.mark.parametrize("lasting", [True, False])
def test_a_batch_without_a_wait_is_queued(world: World, tmp_path: Path, lasting: bool) -> None:
    """Without waiting a batch is queued, and only a lasting spool keeps it."""
    tracked = Tracked(world, tmp_path, 1)
    tracked.policy = replace(tracked.policy, wait=False, spool=tmp_path if lasting else None)
    (one,) = tracked.run()
    assert one.outcome == "queued"
    assert bool(list(tmp_path.iterdir())) == lasting == any("kept in the spool" in note for note in one.notes)
    assert tracked.clock.slept == []
