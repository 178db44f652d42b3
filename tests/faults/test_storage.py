"""Storage takes an upload late, in part, or not at all, or loses it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from opencost_kusto.emulator import Reply, Request
from opencost_kusto.kusto.client import Deadlines
from tests.faults.ending import Ending, fault
from tests.faults.wire import always, is_message, is_upload, storage_refusal
from tests.support.azurite import Azurite
from tests.support.azurite_storage import AzuriteStorage
from tests.support.cut_wire import Breaks, CutWire, Proxied, first_only
from tests.support.world import ROWS, World, result_of

HALF_CUT = "Every container's connection is cut in the middle of the upload"


def test_nothing_is_wrong(world: World) -> None:
    """Without a fault the rows land, the run log has its entry, and the exit code is 0."""
    report = world.sync()
    assert (report.counts, report.exit_code) == ({"landed": 1}, 0)
    world.settle(ROWS)
    assert len(world.log()) == 1


@fault("The first container refuses the upload", "landed")
def test_first_container_refuses(world: World, ending: Ending) -> None:
    """The second container gets the complete blob: the SDK would have sent it none."""
    first: list[str] = []

    def refuse(request: Request) -> Reply | None:
        if is_upload(request):
            container = request.path.split("/")[1]
            first.append(container)
            if container == first[0]:
                return storage_refusal()
        return None

    world.kusto.fault = refuse
    ending.landed(world, world.sync())
    assert len(set(first)) == 2


@fault(
    "Every container refuses the upload",
    "failed",
    exit_code=5,
    says="Kusto's storage refused the upload of …: This request is refused",
)
def test_both_containers_refuse(world: World, ending: Ending) -> None:
    """A blob that no storage takes is a failed batch, and nothing is queued."""
    world.kusto.fault = always(is_upload, storage_refusal())
    ending.failed(world, world.sync())
    assert not [request for request in world.kusto.requests if is_message(request)]
    world.settle(0)


@fault(
    "Storage is slower than our deadline",
    "failed",
    exit_code=5,
    says="The upload of … did not end within … s",
)
def test_upload_is_slower_than_its_deadline(world: World, ending: Ending) -> None:
    """A storage that never ends costs our deadline for each container, and no more."""
    world.kusto.fault = always(is_upload, storage_refusal()._replace(delay=30))
    began = time.monotonic()
    ending.failed(world, world.sync(deadlines=Deadlines(query=3, resources=3, upload=1, queue=3)))
    assert time.monotonic() - began < 12
    world.settle(0)


@fault(
    "Kusto lists no containers", "failed", exit_code=5, says="lists no containers to upload to, so nothing was sent."
)
def test_no_containers_listed(world: World, ending: Ending) -> None:
    """Nothing can be sent when there is nowhere to send it."""
    world.storage.container_names.clear()
    ending.failed(world, world.sync())


Wire = Callable[[Callable[[CutWire, str], Breaks | None]], tuple[World, CutWire]]


@pytest.fixture
def wire() -> Iterator[Wire]:
    """Both emulators, with a wire to their storage that breaks where `breaks` says so."""
    with ExitStack() as stack:

        def build(breaks: Callable[[CutWire, str], Breaks | None]) -> tuple[World, CutWire]:
            proxies: list[CutWire] = []

            def storage(url: str) -> Proxied:
                proxies.append(stack.enter_context(CutWire(url, breaks)))
                return Proxied(url, proxies[0].url)

            world = stack.enter_context(World(storage=storage))
            return world, proxies[0]

        yield build


@fault("The first container's connection is cut in the middle of the upload", "landed")
def test_an_upload_is_cut_half_way(wire: Wire, ending: Ending) -> None:
    """Half a blob is no blob: the other container gets all of it, and only that is announced."""
    world, proxy = wire(first_only)
    ending.landed(world, world.sync(deadlines=Deadlines(upload=2)))
    assert proxy.broken
    (blob,) = world.storage.blobs
    assert f"/{blob.split('/')[0]}" not in proxy.broken


@fault(HALF_CUT, "failed", exit_code=5, says="The upload of … did not end within … s")
def test_every_upload_is_cut_half_way(wire: Wire, ending: Ending) -> None:
    """Where the wire is cut on the way to each container, nothing is announced and nothing lands."""
    world, proxy = wire(lambda *_: "cut")
    ending.failed(world, world.sync(deadlines=Deadlines(query=3, resources=3, upload=1, queue=3)))
    assert len(set(proxy.broken)) == 2
    assert not world.storage.blobs
    assert not [request for request in world.kusto.requests if is_message(request)]
    world.settle(0)


@fault(
    "Storage reads the upload and never responds",
    "failed",
    exit_code=5,
    says="The upload of … did not end within … s",
)
def test_an_upload_is_swallowed(wire: Wire, ending: Ending) -> None:
    """A wire without a response costs our deadline for each container."""
    world, proxy = wire(lambda *_: "swallow")
    ending.failed(world, world.sync(deadlines=Deadlines(query=3, resources=3, upload=1, queue=3)))
    assert len(set(proxy.broken)) == 2
    world.settle(0)


@pytest.mark.azurite
@pytest.mark.parametrize(
    "breaks",
    [
        pytest.param(
            first_only,
            marks=fault("The first container's connection is cut in the middle of the upload", "landed"),
            id="first",
        ),
        pytest.param(
            lambda *_: "cut",
            marks=fault(HALF_CUT, "failed", exit_code=5, says="The upload of … did not end within … s"),
            id="every",
        ),
    ],
)
def test_an_upload_to_azurite_is_cut_half_way(
    azurite: Azurite, breaks: Callable[[CutWire, str], Breaks | None], ending: Ending
) -> None:
    """Microsoft's own storage emulator takes no half blob either."""
    with (
        CutWire(azurite.blob_url, breaks) as proxy,
        AzuriteStorage(proxy.url, azurite.queue_url) as storage,
        World(storage=storage) as world,
    ):
        report = world.sync(deadlines=Deadlines(upload=2))
        if "landed" in ending.declared.outcomes:
            ending.landed(world, report)
        else:
            ending.failed(world, report)
        assert proxy.broken


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            b"rubbish",
            marks=fault(
                "A blob is damaged before the engine reads it",
                "failed",
                exit_code=5,
                says="Kusto did not ingest …: The archive cannot be read: … Correct that and run again.",
            ),
            id="corrupt",
        ),
        pytest.param(
            None,
            marks=fault(
                "A blob is gone before the engine reads it",
                "failed",
                exit_code=5,
                says="Kusto did not ingest …: The blob was not found: … Correct that and run again.",
            ),
            id="gone",
        ),
    ],
)
def test_a_blob_is_damaged_before_it_is_read(world: World, content: bytes | None, ending: Ending) -> None:
    """A blob the engine cannot read fails in full, the message has the reason, and a later run lands it."""

    def damage(request: Request) -> None:
        if is_message(request):
            blobs = dict.fromkeys(world.storage.blobs, content)
            world.storage.blobs = {name: body for name, body in blobs.items() if body is not None}
            world.kusto.fault = None

    world.kusto.fault = damage
    ending.failed(world, world.sync(timeout=60))
    world.settle(0)
    assert result_of(world.sync()).outcome == "landed"
    world.settle(ROWS)
