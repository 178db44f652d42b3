"""Uploads and messages: kept connections, blocks, the next address where one refuses, and addresses that expire."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from opencost_kusto.emulator import KustoEmulator, Reply, Request
from opencost_kusto.errors import KustoError
from opencost_kusto.kusto.client import Kusto, Uploaded
from opencost_kusto.kusto.storage import BLOCK, Storage
from tests.faults.wire import is_message, is_resources, is_upload, storage_refusal
from tests.support.azurite import Azurite
from tests.support.azurite_storage import AzuriteStorage
from tests.support.cut_wire import CutWire, Proxied
from tests.support.relay import Counted


@pytest.fixture
def blob(tmp_path: Path) -> Callable[[int], Path]:
    """Writes a file of so many bytes that no compression makes smaller."""

    def write(size: int) -> Path:
        path = tmp_path / f"{size}.gz"
        path.write_bytes(os.urandom(size))
        return path

    return write


def send(kusto: Kusto, path: Path) -> Uploaded:
    """Upload a file and announce it."""
    uploaded = kusto.upload(path, name=path.name, table="T", raw_bytes=path.stat().st_size)
    kusto.enqueue(uploaded, table="T", mapping="m", tag="T/x")
    return uploaded


def test_uploads_share_a_connection(blob: Callable[[int], Path]) -> None:
    """Twenty blobs go over one connection: the SDK's own ingest client opens one for each."""
    opened: list[str] = []

    def connected(_: CutWire, container: str) -> None:
        opened.append(container)

    proxies: list[CutWire] = []

    def storage(url: str) -> Proxied:
        proxies.append(CutWire(url, connected))
        return Proxied(url, proxies[0].url)

    with KustoEmulator(storage=storage) as emulator, proxies[0]:
        emulator.pause()
        with Kusto(emulator.url, "OpenCost", auth="none") as kusto:
            for _ in range(20):
                send(kusto, blob(10))
        assert len([request for request in emulator.requests if is_upload(request)]) == 20
        assert len(opened) == 1
        assert len([request for request in emulator.requests if is_resources(request)]) == 1


def test_a_large_blob_is_uploaded_in_blocks(blob: Callable[[int], Path]) -> None:
    """No request carries more than a block of a few megabytes, so memory does not grow with the blob."""
    assert BLOCK <= 4 << 20
    path = blob(3 * BLOCK + 1)
    with KustoEmulator() as emulator, Kusto(emulator.url, "OpenCost", auth="none") as kusto:
        emulator.pause()
        uploaded = send(kusto, path)
        sizes = [len(one.body) for one in emulator.requests if one.param("comp") == "block"]
        assert sizes == [BLOCK, BLOCK, BLOCK, 1]
        assert emulator.storage.blob(uploaded.url) == path.read_bytes()


@pytest.mark.azurite
@pytest.mark.parametrize("size", [10, BLOCK + 1])
def test_azurite_holds_the_complete_blob(azurite: Azurite, blob: Callable[[int], Path], size: int) -> None:
    """Microsoft's storage emulator holds what was uploaded, in one piece and in blocks, and its queue the message."""
    path = blob(size)
    with AzuriteStorage(azurite.blob_url, azurite.queue_url) as storage, KustoEmulator(storage=storage) as emulator:
        emulator.pause()
        with Kusto(emulator.url, "OpenCost", auth="none") as kusto:
            uploaded = send(kusto, path)
        assert storage.blob(uploaded.url) == path.read_bytes()
        message = storage.receive()
        assert message is not None
        assert uploaded.source_id in message.text


def test_an_upload_whose_reply_is_lost_is_sent_again(blob: Callable[[int], Path]) -> None:
    """The name is ours alone, so the second attempt writes the same blob over the first."""
    lost: list[str] = []

    def lose(request: Request) -> Reply | None:
        if is_upload(request) and not lost:
            lost.append(request.path)
            emulator.respond(request)
            return Reply(500, {"x-ms-error-code": "InternalError"}, b"")
        return None

    with KustoEmulator() as emulator, Kusto(emulator.url, "OpenCost", auth="none") as kusto:
        emulator.pause()
        emulator.fault = lose
        send(kusto, blob(10))
        assert [request.path for request in emulator.requests if is_upload(request)] == lost * 2


def test_a_container_that_refuses_is_not_tried_first_again(blob: Callable[[int], Path]) -> None:
    """The next container gets the complete blob, and all that follow, over the connection that is open."""
    refusing: list[str] = []
    relays: list[Counted] = []

    def storage(url: str) -> Proxied:
        relays.append(Counted(url))
        return Proxied(url, relays[0].url)

    def refuse(request: Request) -> Reply | None:
        container = request.path.split("/")[1]
        if not is_upload(request):
            return None
        refusing.append(container)
        return storage_refusal() if container == refusing[0] else None

    with KustoEmulator(storage=storage) as emulator, relays[0], Kusto(emulator.url, "OpenCost", auth="none") as kusto:
        emulator.pause()
        emulator.fault = refuse
        for _ in range(3):
            send(kusto, blob(10))
    assert [container == refusing[0] for container in refusing] == [True, False, False, False]
    assert relays[0].connections == 1


def test_the_next_queue_takes_the_message(blob: Callable[[int], Path]) -> None:
    """A queue that refuses does not lose a blob that is uploaded."""
    refusing: list[str] = []

    def refuse(request: Request) -> Reply | None:
        if not is_message(request) or refusing:
            return None
        refusing.append(request.path)
        return storage_refusal()

    with KustoEmulator() as emulator, Kusto(emulator.url, "OpenCost", auth="none") as kusto:
        emulator.pause()
        emulator.fault = refuse
        send(kusto, blob(10))
        assert len({request.path for request in emulator.requests if is_message(request)}) == 2


def test_addresses_are_read_again_after_an_hour() -> None:
    """Signatures expire; Microsoft's clients refresh them every hour.

    https://learn.microsoft.com/kusto/api/netfx/kusto-ingest-client-rest
    """
    now, requested = [0.0], []

    def ask(command: str) -> list[dict[str, str]]:
        requested.append(command)
        if "identity" in command:
            return [{"AuthorizationContext": "token"}]
        kinds = ("TempStorage", "SecuredReadyForAggregationQueue")
        return [{"ResourceTypeName": kind, "StorageRoot": f"https://x/{kind}?sig={len(requested)}"} for kind in kinds]

    storage = Storage(ask, "https://ingest-x", clock=lambda: now[0])
    assert storage.resources() == storage.resources()
    assert len(requested) == 2
    now[0] = 3601.0
    assert storage.resources()[0] == ["https://x/TempStorage?sig=3"]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """An empty blob, which Kusto would drop, is refused."""
    path = tmp_path / "empty.gz"
    path.write_bytes(b"")
    with Kusto("http://127.0.0.1:9", "OpenCost", auth="none") as kusto, pytest.raises(KustoError, match="is empty"):
        kusto.upload(path, name="empty.gz", table="T", raw_bytes=0)


def test_a_signed_address_is_not_shown() -> None:
    """The address of a blob has a signature in it."""
    assert "sig" not in repr(Uploaded("https://x/c/b?sig=abc", "id", "rows.gz", 1))
