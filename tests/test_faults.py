"""The fault suite: each hop broken at the wire, and what the table, the outcome, the exit code and the message say.

Every test ends in one promise: no row twice, and no exit 0 that was not true.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from opencost_kusto import kql
from opencost_kusto.batch import Options
from opencost_kusto.emulator import (
    LOSE_REPLY,
    CloseConnection,
    KustoEmulator,
    MemoryStorage,
    OpenCostEmulator,
    Reply,
    Request,
    json_reply,
    text_reply,
)
from opencost_kusto.extract import OpenCost
from opencost_kusto.kusto import Deadlines, Kusto
from opencost_kusto.question import Question
from opencost_kusto.replay import replay
from opencost_kusto.report import Outcome, Report
from opencost_kusto.sync import sync
from opencost_kusto.tables import ALLOCATION, ASSETS, SYNC_RUNS
from opencost_kusto.window import Window
from tests.recordings import recording

HOUR = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
NAMESPACES = Options(aggregate="namespace")
ROWS = 8
QUICK = Deadlines(query=3, resources=3, upload=3, queue=3)
COMMANDS = [command.text for command in kql.commands("tables")]


class Lane:
    """Both stand-ins and our own code between them."""

    def __init__(self, containers: int = 2) -> None:
        def storage(url: str) -> MemoryStorage:
            return MemoryStorage(url, containers=containers)

        self.kusto = KustoEmulator(storage=storage, latency=0)
        self.opencost = OpenCostEmulator()

    def __enter__(self) -> Lane:
        self.kusto.start()
        self.opencost.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kusto.fault = None
        self.opencost.stop()
        self.kusto.stop()

    @property
    def storage(self) -> MemoryStorage:
        """Where blobs and messages lie."""
        assert isinstance(self.kusto.storage, MemoryStorage)
        return self.kusto.storage

    def create(self) -> None:
        """Create the tables as bootstrap would."""
        with self.client() as kusto:
            for command in COMMANDS:
                kusto.command(command)

    def client(self, deadlines: Deadlines = QUICK) -> Kusto:
        """Our client of the stand-in."""
        return Kusto(self.kusto.url, "OpenCost", auth="none", deadlines=deadlines)

    def sync(self, *datasets: str, deadlines: Deadlines = QUICK, timeout: float = 10, **more: Any) -> Report:
        """Take the recorded hour in, by namespace."""
        question = Question(HOUR, None, datasets or ("allocation",), NAMESPACES)
        with OpenCost(self.opencost.url, timeout=5) as opencost, self.client(deadlines) as kusto:
            return sync(opencost, kusto, question, timeout=timeout, **more)

    def count(self, table: str = ALLOCATION.name) -> int:
        """Rows in a table, asked past every fault."""
        fault, self.kusto.fault = self.kusto.fault, None
        try:
            with self.client(Deadlines()) as kusto:
                return int(kusto.query(f"{table} | count")[0]["Count"])
        finally:
            self.kusto.fault = fault

    def settle(self, rows: int, table: str = ALLOCATION.name) -> None:
        """Once all is quiet the table holds exactly these rows."""
        self.kusto.fault = None
        self.kusto.resume()
        self.kusto.wait_idle()
        assert self.count(table) == rows


@pytest.fixture
def lane() -> Iterator[Lane]:
    """Both stand-ins with our tables, whole."""
    with Lane() as lane:
        lane.create()
        yield lane


def of(report: Report, table: str = ALLOCATION.name) -> Outcome:
    """The outcome of the one batch of a table."""
    (one,) = (outcome for outcome in report.outcomes if outcome.table == table)
    return one


def honest(report: Report) -> None:
    """Outcomes and exit code agree, each failure has a reason, and no reason carries a secret or a line break."""
    bad = [one for one in report.outcomes if one.outcome in ("failed", "timed out")]
    assert (report.exit_code == 0) == (not bad)
    for one in bad:
        assert one.reason
    for one in report.outcomes:
        assert "sig=" not in (one.reason or "")
        assert "\n" not in (one.reason or "")


def assert_landed(lane: Lane, report: Report, rows: int = ROWS) -> None:
    """The batch is in its table once, and the exit code says so."""
    honest(report)
    one = of(report)
    assert (one.outcome, one.rows, one.reason) == ("landed", rows, None)
    assert report.exit_code == 0
    lane.settle(rows)


def assert_failed(lane: Lane, report: Report, code: int, said: str, rows: int = 0, outcome: str = "failed") -> None:
    """The batch is not in its table, and outcome, exit code and message say so."""
    honest(report)
    one = of(report)
    assert one.outcome == outcome
    assert re.search(said, one.reason or ""), one.reason
    assert report.exit_code == code
    assert lane.count() == rows


def once(matches: Callable[[Request], bool], reply: Reply, times: int = 1) -> Callable[[Request], Reply | None]:
    """A fault for the first requests that match, and none after."""
    left = [times]

    def fault(request: Request) -> Reply | None:
        if left[0] > 0 and matches(request):
            left[0] -= 1
            return reply
        return None

    return fault


def always(matches: Callable[[Request], bool], reply: Reply) -> Callable[[Request], Reply | None]:
    """A fault for every request that matches."""
    return lambda request: reply if matches(request) else None


def is_upload(request: Request) -> bool:
    """A blob on its way."""
    return request.method == "PUT"


def is_message(request: Request) -> bool:
    """A queue message on its way."""
    return request.method == "POST" and request.path.endswith("/messages")


def is_query(request: Request) -> bool:
    """A question to the engine."""
    return request.path.endswith("/rest/query")


def is_count(request: Request) -> bool:
    """The question how much of a batch is there."""
    return is_query(request) and "summarize Rows" in request.csl


def is_identity(request: Request) -> bool:
    """The question for an identity token."""
    return "identity token" in request.csl


def is_resources(request: Request) -> bool:
    """The question where to upload."""
    return "ingestion resources" in request.csl


def storage_refusal(status: int = 403, code: str = "AuthorizationFailure") -> Reply:
    """What Azure storage says when it refuses."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>This request is refused.</Message></Error>'
    return Reply(status, {"Content-Type": "application/xml", "x-ms-error-code": code}, body.encode())


def kusto_refusal(status: int, message: str, *, permanent: bool) -> Reply:
    """What Kusto says when it refuses."""
    said = {"code": "X", "message": "No.", "@type": "Kusto.X", "@message": message, "@permanent": permanent}
    return Reply(status, {"Content-Type": "application/json"}, json.dumps({"error": said}).encode())


THROTTLED = kusto_refusal(429, "Too many requests.", permanent=False)
DOWN = Reply(503, {"Content-Type": "text/plain"}, b"The service is unavailable.")


def test_nothing_is_wrong(lane: Lane) -> None:
    """Without a fault the rows land, the ledger gets its line, and the exit code is 0."""
    report = lane.sync()
    assert_landed(lane, report)
    assert of(report, SYNC_RUNS.name).outcome == "landed"
    assert lane.count(SYNC_RUNS.name) == 1


def test_first_container_refuses(lane: Lane) -> None:
    """The second container gets the whole blob: the SDK would have sent it none."""
    first: list[str] = []

    def fault(request: Request) -> Reply | None:
        if is_upload(request):
            container = request.path.split("/")[1]
            first.append(container)
            if container == first[0]:
                return storage_refusal()
        return None

    lane.kusto.fault = fault
    assert_landed(lane, lane.sync())
    assert len(set(first)) == 2


def test_both_containers_refuse(lane: Lane) -> None:
    """A blob that no storage takes is a failed batch, and nothing is queued."""
    lane.kusto.fault = always(is_upload, storage_refusal())
    report = lane.sync()
    assert_failed(lane, report, 5, r"storage refused the upload while uploading .*: This request is refused")
    assert not [request for request in lane.kusto.requests if is_message(request)]
    lane.settle(0)


def test_upload_is_slower_than_its_deadline(lane: Lane) -> None:
    """A storage that takes for ever costs our deadline for each container, and no more."""
    lane.kusto.fault = always(is_upload, storage_refusal()._replace(delay=30))
    began = time.monotonic()
    report = lane.sync(deadlines=Deadlines(query=3, resources=3, upload=1, queue=3))
    assert_failed(lane, report, 5, r"did not finish uploading .* within 1 s|storage refused the upload")
    assert time.monotonic() - began < 12
    lane.settle(0)


def test_queue_reply_is_lost(lane: Lane) -> None:
    """The message arrives twice, and the rows once: the tag sees to it."""
    lane.kusto.fault = once(is_message, LOSE_REPLY)
    report = lane.sync(deadlines=Deadlines(query=3, queue=30))
    tags = [request for request in lane.kusto.requests if is_message(request)]
    assert len(tags) >= 2
    assert_landed(lane, report)


def test_queue_reply_is_lost_every_time(lane: Lane) -> None:
    """When no reply ever comes the batch has failed for us, and a second run finds what landed, once."""
    lane.kusto.fault = always(is_message, LOSE_REPLY)
    report = lane.sync()
    honest(report)
    assert of(report).outcome == "failed"
    assert report.exit_code == 5
    lane.settle(ROWS)
    again = lane.sync()
    assert (of(again).outcome, again.exit_code) == ("already there", 0)
    lane.settle(ROWS)


def test_queue_refuses(lane: Lane) -> None:
    """A blob that was uploaded and not announced is a failed batch."""
    lane.kusto.fault = always(is_message, storage_refusal())
    assert_failed(lane, lane.sync(deadlines=Deadlines(queue=20)), 5, r"queue refused the message while queueing")
    lane.settle(0)


def test_no_queues_listed(lane: Lane) -> None:
    """Nothing is uploaded when there is nowhere to announce it; the SDK would say nothing."""
    lane.storage.queue_names.clear()
    assert_failed(lane, lane.sync(), 5, "lists no queues")
    assert not lane.storage.blobs


def test_no_containers_listed(lane: Lane) -> None:
    """Nothing can be sent when there is nowhere to send it."""
    lane.storage.container_names.clear()
    assert_failed(lane, lane.sync(), 5, "lists no containers to upload to")


def test_identity_token_refused(lane: Lane) -> None:
    """Without a token to put into the message, nothing is queued."""
    lane.kusto.fault = always(is_identity, kusto_refusal(403, "Principal is not authorized.", permanent=True))
    assert_failed(lane, lane.sync(), 5, "not authorized")
    lane.settle(0)


@pytest.mark.parametrize("hop", [is_resources, is_identity, is_count], ids=["resources", "identity", "count"])
def test_throttled_then_fine(lane: Lane, hop: Callable[[Request], bool]) -> None:
    """A busy Kusto is asked again."""
    lane.kusto.fault = once(hop, THROTTLED)
    assert_landed(lane, lane.sync(deadlines=Deadlines()))


def test_throttled_to_the_end(lane: Lane) -> None:
    """A Kusto that stays busy is a failed batch."""
    lane.kusto.fault = always(lambda request: bool(request.csl), THROTTLED)
    assert_failed(lane, lane.sync(), 5, "throttling|did not finish")
    lane.settle(0)


def test_engine_goes_down_during_the_wait_and_comes_back(lane: Lane) -> None:
    """Questions that fail while rows land are asked again until the deadline."""
    lane.kusto.pause()

    def queued() -> bool:
        return any(is_message(request) for request in lane.kusto.requests)

    lane.kusto.fault = lambda request: DOWN if is_query(request) and queued() else None

    def recover() -> None:
        while not queued():
            time.sleep(0.01)
        time.sleep(1)
        lane.kusto.fault = None
        lane.kusto.resume()

    helper = threading.Thread(target=recover)
    helper.start()
    report = lane.sync(timeout=30)
    helper.join()
    assert_landed(lane, report)


def test_engine_stays_down_during_the_wait(lane: Lane) -> None:
    """Rows that cannot be counted are not reported landed, though they are."""
    lane.kusto.fault = lambda request: (
        DOWN if is_query(request) and any(is_message(one) for one in lane.kusto.requests) else None
    )
    report = lane.sync(deadlines=Deadlines(query=1), timeout=1)
    honest(report)
    assert of(report).outcome == "timed out"
    assert "not seen to land within 1 s" in (of(report).reason or "")
    assert report.exit_code == 6
    lane.settle(ROWS)


def test_kusto_is_down_from_the_start(lane: Lane) -> None:
    """OpenCost is not asked in vain, and the exit code says whose fault it is."""
    lane.kusto.fault = always(lambda _: True, DOWN)
    report = lane.sync(deadlines=Deadlines(query=1, resources=1))
    honest(report)
    assert of(report).outcome == "failed"
    assert report.exit_code == 5
    assert "/allocation" not in [request.path for request in lane.opencost.requests]
    lane.settle(0)


def test_a_spool_keeps_what_kusto_did_not_take(lane: Lane, tmp_path: Path) -> None:
    """With a spool the answer is on disk, and replay lands it once, and only once."""
    lane.kusto.fault = always(lambda _: True, DOWN)
    report = lane.sync(deadlines=Deadlines(query=1, resources=1), spool=tmp_path)
    honest(report)
    assert report.exit_code == 5
    lane.kusto.fault = None
    for _ in range(2):
        with lane.client() as kusto:
            replayed = replay(tmp_path, kusto, timeout=10)
        honest(replayed)
        assert replayed.exit_code == 0
        lane.settle(ROWS)
    assert not list(tmp_path.iterdir())


def test_rows_land_late(lane: Lane) -> None:
    """Waiting lasts until the rows are there."""
    lane.kusto.latency = 1.5
    assert_landed(lane, lane.sync())


def test_rows_never_land(lane: Lane) -> None:
    """A batch that stays in the queue is timed out, and says what Kusto knows."""
    lane.kusto.pause()
    report = lane.sync(timeout=0.5)
    assert_failed(
        lane, report, 6, r"0 of 8 rows are there; Kusto knows of no failure: .* waits in the queue", outcome="timed out"
    )
    assert report.exit_code == 6
    lane.settle(ROWS)
    assert of(lane.sync()).outcome == "already there"
    lane.settle(ROWS)


def test_nobody_waits(lane: Lane) -> None:
    """Without waiting a batch is queued, which is all that is claimed."""
    lane.kusto.pause()
    report = lane.sync(wait=False)
    assert (of(report).outcome, report.exit_code, lane.count()) == ("queued", 0, 0)
    lane.settle(ROWS)


def test_the_mapping_is_missing(lane: Lane) -> None:
    """What the engine says of a blob it refused is in the reason."""
    with lane.client() as kusto:
        kusto.command(f'.drop table {ALLOCATION.name} ingestion json mapping "{ALLOCATION.mapping}"')
    report = lane.sync(timeout=60)
    assert_failed(lane, report, 5, r"Kusto refused a blob of .* for good: .*Mapping reference")
    lane.settle(0)


@pytest.mark.parametrize(
    ("content", "said"), [(b"rubbish", "archive cannot be read"), (None, "blob was not found")], ids=["corrupt", "gone"]
)
def test_a_blob_is_damaged_before_it_is_read(lane: Lane, content: bytes | None, said: str) -> None:
    """A blob the engine cannot read fails as a whole, and the reason says why."""

    def fault(request: Request) -> None:
        if is_message(request):
            blobs = dict.fromkeys(lane.storage.blobs, content)
            lane.storage.blobs = {name: body for name, body in blobs.items() if body is not None}
            lane.kusto.fault = None

    lane.kusto.fault = fault
    assert_failed(lane, lane.sync(timeout=60), 5, rf"Kusto refused a blob of .* for good: .*{said}")
    lane.settle(0)
    assert_landed(lane, lane.sync())


def test_the_table_is_dropped_under_way(lane: Lane) -> None:
    """A table that goes while its rows are in the queue is a batch that Kusto refused."""

    def fault(request: Request) -> None:
        if is_message(request):
            lane.kusto.fault = None
            with lane.client() as kusto:
                kusto.command(f".drop table {ALLOCATION.name}")

    lane.kusto.fault = fault
    report = lane.sync(timeout=30)
    honest(report)
    one = of(report)
    assert one.outcome == "failed"
    assert ALLOCATION.name in (one.reason or "")
    assert report.exit_code == 5


def test_the_table_is_missing(lane: Lane) -> None:
    """A table that was never created is a failed batch that names it."""
    with lane.client() as kusto:
        kusto.command(f".drop table {ALLOCATION.name}")
    report = lane.sync(timeout=1)
    honest(report)
    one = of(report)
    assert one.outcome == "failed"
    assert ALLOCATION.name in (one.reason or "")
    assert report.exit_code == 5


def test_the_same_window_twice(lane: Lane) -> None:
    """The second time it is there already, and stays once."""
    assert_landed(lane, lane.sync())
    report = lane.sync()
    honest(report)
    one = of(report)
    assert (one.outcome, one.rows, one.reason, report.exit_code) == ("already there", ROWS, None, 0)
    lane.settle(ROWS)


def test_two_syncs_at_the_same_moment(lane: Lane) -> None:
    """Whichever message comes first lands, both see it land, and the rows are there once."""
    lane.kusto.latency = 0.3
    start = threading.Barrier(2)
    reports: list[Report] = []

    def run() -> None:
        start.wait()
        reports.append(lane.sync())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.exit_code for report in reports] == [0, 0]
    for report in reports:
        honest(report)
        assert of(report).outcome in ("landed", "already there")
    lane.settle(ROWS)


def test_opencost_answers_differently_the_second_time(lane: Lane) -> None:
    """What is there stays, and the report says by how much the new answer differs."""
    assert_landed(lane, lane.sync())
    # Derived from the recorded hour: one namespace less.
    answer = json.loads(recording("1.112", "allocation_hour_agg_namespace.json"))
    name, gone = answer["data"][0].popitem()
    assert name
    body = json.dumps(answer, separators=(",", ":")).encode()
    lane.opencost.answers = lambda path, _: json_reply(body) if path == "/allocation" else None
    report = lane.sync()
    honest(report)
    one = of(report)
    assert one.outcome == "already there"
    assert f"changed since: -1 rows and {-gone['totalCost']:+.3f}" in (one.reason or "")
    assert report.exit_code == 0
    lane.settle(ROWS)


def dying(body: bytes) -> Iterator[bytes]:
    """An answer whose server dies in the middle."""
    yield body[: len(body) // 2]
    raise CloseConnection


def test_opencost_dies_in_its_answer(lane: Lane) -> None:
    """Half an answer is never loaded, and the other batch lands all the same."""
    body = recording("1.112", "allocation_hour_agg_namespace.json")
    lane.opencost.answers = lambda path, _: Reply(200, {}, dying(body)) if path == "/allocation" else None
    report = lane.sync("allocation", "assets")
    honest(report)
    one = of(report)
    assert (one.outcome, one.exit_code) == ("failed", 4)
    assert "broke off" in (one.reason or "")
    assert of(report, ASSETS.name).outcome == "landed"
    assert report.exit_code == 7
    assert lane.count(ASSETS.name) == of(report, ASSETS.name).rows
    lane.settle(0)


def test_opencost_dies_once(lane: Lane) -> None:
    """An answer that broke off is asked for again, and lands whole and once."""
    body = recording("1.112", "allocation_hour_agg_namespace.json")
    lane.opencost.fault = once(lambda request: request.path == "/allocation", Reply(200, {}, dying(body)))
    assert_landed(lane, lane.sync())


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (json_reply(recording("1.112", "down_allocation.json"), status=500), 3, "error computing allocations"),
        (text_reply("404 page not found\n", status=404), 3, "404"),
        (json_reply(b""), 4, "empty"),
        (json_reply(b'{"code":200,"data":[{"a":'), 4, "broke off"),
    ],
    ids=["500", "404", "empty", "truncated"],
)
def test_opencost_refuses(lane: Lane, reply: Reply, code: int, said: str) -> None:
    """A dataset that cannot be had fails by its own code, and nothing lands."""
    lane.opencost.answers = lambda path, _: reply if path == "/allocation" else None
    report = lane.sync()
    honest(report)
    one = of(report)
    assert (one.outcome, one.exit_code) == ("failed", code)
    assert said in (one.reason or "")
    assert report.exit_code == code
    lane.settle(0)


def test_opencost_has_no_data(lane: Lane) -> None:
    """A window without data is an empty batch, and no error."""
    lane.opencost.answers = lambda path, _: json_reply(b'{"code":200,"data":[{}]}') if path == "/allocation" else None
    report = lane.sync()
    honest(report)
    assert (of(report).outcome, of(report).rows, report.exit_code) == ("empty", 0, 0)
    lane.settle(0)


def test_somebody_else_put_the_rows_there_twice(lane: Lane) -> None:
    """More rows than were sent are an error of their own, and never success."""
    lane.kusto.pause()
    reports: list[Report] = []
    thread = threading.Thread(target=lambda: reports.append(lane.sync(timeout=10)))
    thread.start()
    while not any(is_message(request) for request in lane.kusto.requests):
        time.sleep(0.01)
    # The same blob announced without its tag, as a careless producer would.
    (message,) = (request for request in lane.kusto.requests if is_message(request))
    for _ in range(2):
        requests.post(lane.kusto.url + message.target, data=untagged(message.body), timeout=5).close()
    lane.kusto.resume()
    thread.join()
    honest(reports[0])
    one = of(reports[0])
    assert one.outcome == "failed"
    assert "some are there twice" in (one.reason or "")
    assert reports[0].exit_code == 5


def untagged(body: bytes) -> bytes:
    """The message without what makes it land once."""
    found = re.search(rb"<MessageText>(.*?)</MessageText>", body)
    assert found
    message = json.loads(base64.b64decode(found[1]))
    message["AdditionalProperties"].pop("ingestIfNotExists")
    text = base64.b64encode(json.dumps(message).encode()).decode()
    return f"<QueueMessage><MessageText>{text}</MessageText></QueueMessage>".encode()
