"""Batches on disk: cut alike, the same bytes for the same rows, whole or not there."""

from __future__ import annotations

import gzip
import random
import resource
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from opencost_kusto.batch import Batch, RequestOptions
from opencost_kusto.errors import ContentError, OpenCostError, UsageError
from opencost_kusto.load import spool as module
from opencost_kusto.load.spool import Part, SealedBatch, Spool, remove
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, METRICS, TABLES
from opencost_kusto.window import Window

HOUR = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
BATCH = Batch(ALLOCATION, "prod/eu: é", HOUR, RequestOptions(aggregate="pod", include_idle=True))


def lines(count: int) -> Iterator[bytes]:
    """So many different rows."""
    return (b'{"n":%d}\n' % number for number in range(count))


def sealed(batch: Batch, folder: Path, parts: list[Part], micros: int | None = 1_072_080) -> SealedBatch:
    """The seal of a batch that was written."""
    rows, size = sum(part.rows for part in parts), sum(part.bytes for part in parts)
    question = (batch.id, batch.source, batch.window, batch.options, batch.scraped, batch.run)
    return SealedBatch(*question, batch.table.name, batch.table.mapping, str(folder), tuple(parts), rows, size, micros)


def read(folder: Path, parts: list[Part]) -> list[bytes]:
    """What each part holds."""
    return [gzip.decompress((folder / part.file).read_bytes()) for part in parts]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool whose folder is new."""
    return Spool(tmp_path / "deep" / "spool")


@pytest.mark.parametrize(("count", "cut"), [(0, []), (1, [1]), (9, [9]), (10, [10]), (11, [10, 1]), (30, [10, 10, 10])])
def test_parts_are_cut_at_a_fixed_number_of_rows(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, count: int, cut: list[int]
) -> None:
    """One answer is always cut alike, no part is empty, and all rows are there in their order."""
    monkeypatch.setattr(module, "ROWS_PER_PART", 10)
    folder, parts = spool.write(BATCH, lines(count))
    assert [part.rows for part in parts] == cut
    texts = read(folder, parts)
    assert b"".join(texts) == b"".join(lines(count))
    assert [part.bytes for part in parts] == list(map(len, texts))
    assert sorted(path.name for path in folder.iterdir()) == [f"part-{number}.ndjson.gz" for number in range(len(cut))]


@pytest.mark.parametrize("level", [1, 3, 6, 9])
def test_same_rows_are_same_bytes(tmp_path: Path, level: int) -> None:
    """Parts carry neither time nor name, so a part sent again is the same blob, durable or not."""
    spools = [Spool(tmp_path / name, durable=durable, level=level) for name, durable in (("a", False), ("b", True))]
    blobs = []
    for each in spools:
        folder, [part] = each.write(BATCH, lines(5000))
        blobs.append((folder / part.file).read_bytes())
    assert blobs[0] == blobs[1]
    assert gzip.decompress(blobs[0]) == b"".join(lines(5000))


def test_folders_are_safe_names_of_their_batches(spool: Spool) -> None:
    """A source of any name makes a folder inside the spool, and one batch written twice makes two."""
    first, _ = spool.write(BATCH, lines(1))
    second, _ = spool.write(BATCH, lines(1))
    assert first != second
    assert {first.parent, second.parent} == {spool.root}
    assert first.name.isascii()
    assert first.name.startswith("OpenCostAllocation-prod-eu-")


@pytest.mark.parametrize("error", [OpenCostError("It broke off."), ContentError("Nonsense."), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [0, 5, 25])
def test_nothing_is_left_after_an_error_in_the_middle(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, error: BaseException, before: int
) -> None:
    """When the answer breaks off, its error comes through as it is, and no part of it stays on disk."""
    monkeypatch.setattr(module, "ROWS_PER_PART", 10)

    def broken() -> Iterator[bytes]:
        yield from lines(before)
        raise error

    with pytest.raises(type(error)) as caught:
        spool.write(BATCH, broken())
    assert caught.value is error
    assert list(spool.root.iterdir()) == []


def test_what_is_not_sealed_is_not_found(spool: Spool) -> None:
    """A batch that was written and not sealed, as after a crash, is not offered for sending."""
    folder, parts = spool.write(BATCH, lines(3))
    assert list(spool.sealed()) == []
    spool.seal(sealed(BATCH, folder, parts))
    [found] = spool.sealed()
    assert found.batch_id == BATCH.id


@pytest.mark.parametrize("durable", [False, True])
def test_a_sealed_batch_is_found_again_whole(tmp_path: Path, durable: bool) -> None:
    """Another process finds the batch, its question, its parts and what they come to."""
    spool = Spool(tmp_path, durable=durable)
    folder, parts = spool.write(BATCH, lines(61))
    written = sealed(BATCH, folder, parts)
    spool.seal(written)
    [found] = Spool(tmp_path).sealed()
    assert found == written
    assert found.batch(TABLES) == BATCH
    assert (found.rows, found.bytes, found.cost) == (61, len(b"".join(lines(61))), 1.07208)
    assert read(folder, parts) == [b"".join(lines(61))]
    assert found.path(found.parts[0]).is_file()
    assert not (folder / "batch.tmp").exists()


def test_the_seal_is_last(spool: Spool) -> None:
    """A batch whose seal was being written when the power went is not found: the seal appears whole or not at all."""
    folder, _ = spool.write(BATCH, lines(3))
    (folder / "batch.tmp").write_bytes(b'{"batch_id":"half')
    assert list(spool.sealed()) == []


def test_a_moved_spool_still_knows_its_parts(tmp_path: Path) -> None:
    """The seal says where it is found, not where it was written."""
    spool = Spool(tmp_path / "old")
    folder, parts = spool.write(BATCH, lines(3))
    spool.seal(sealed(BATCH, folder, parts))
    shutil.move(tmp_path / "old", tmp_path / "new")
    [found] = Spool(tmp_path / "new").sealed()
    assert found.path(found.parts[0]).is_relative_to(tmp_path / "new")
    assert found.path(found.parts[0]).is_file()


def test_batches_come_in_the_order_of_their_windows(spool: Spool) -> None:
    """What is left to send is sent oldest first, table by table."""
    hours = [Window(HOUR.start.replace(hour=hour), HOUR.start.replace(hour=hour + 1)) for hour in (12, 3, 10)]
    for window in hours:
        for table in (ASSETS, ALLOCATION):
            batch = Batch(table, "prod", window)
            folder, parts = spool.write(batch, lines(1))
            spool.seal(sealed(batch, folder, parts))
    found = [(each.table, each.window.start.hour) for each in spool.sealed()]
    assert found == [(table, hour) for table in ("OpenCostAllocation", "OpenCostAssets") for hour in (3, 10, 12)]


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"{}", b'{"batch_id":1}'])
def test_a_seal_that_cannot_be_read_is_told(spool: Spool, text: bytes) -> None:
    """A damaged seal is named with what to do; it is neither sent nor passed over in silence."""
    folder, _ = spool.write(BATCH, lines(1))
    (folder / "batch.json").write_bytes(text)
    with pytest.raises(ContentError, match=r"batch\.json cannot be read: .* Move its folder away"):
        list(spool.sealed())


def test_a_batch_of_another_version_is_told(spool: Spool) -> None:
    """A seal whose question none of our tables would ask that way is refused, not sent under a wrong name."""
    folder, parts = spool.write(BATCH, lines(1))
    foreign = msgspec.structs.replace(sealed(BATCH, folder, parts), batch_id="OpenCostAllocation/x/y/z")
    with pytest.raises(ContentError, match="unknown to this version"):
        foreign.batch(TABLES)
    with pytest.raises(ContentError, match="unknown to this version"):
        sealed(BATCH, folder, parts).batch([METRICS])


def test_each_part_has_a_tag_of_its_own(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts have one tag each, since a second part under the first's tag would be dropped."""
    monkeypatch.setattr(module, "ROWS_PER_PART", 2)
    folder, parts = spool.write(BATCH, lines(5))
    written = sealed(BATCH, folder, parts, micros=None)
    tags = [written.tag(number) for number in range(3)]
    assert tags == [f"{BATCH.id}/p0of3", f"{BATCH.id}/p1of3", f"{BATCH.id}/p2of3"]
    assert written.cost is None


def test_a_spool_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    """A file where the folder should be ends in one sentence with exit code 2."""
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="cannot be made: "):
            Spool(root)


def test_a_spool_that_vanishes_is_a_usage_error(spool: Spool) -> None:
    """A spool whose folder is gone when the answer comes says so, and so does a seal."""
    folder, parts = spool.write(BATCH, lines(1))
    shutil.rmtree(spool.root)
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        spool.write(BATCH, lines(1))
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        spool.seal(sealed(BATCH, folder, parts))


@pytest.fixture
def full_disk() -> Iterator[None]:
    """The system refuses to let a file grow beyond 4 KiB, as it refuses on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_a_usage_error_and_leaves_nothing(spool: Spool) -> None:
    """When the disk is full in the middle of a part, it is told in one sentence, and the space is given back."""
    with pytest.raises(UsageError, match=r"The spool folder .* cannot be written: File too large"):
        spool.write(BATCH, lines(200_000))
    assert list(spool.root.iterdir()) == []


@pytest.mark.usefixtures("full_disk")
def test_rows_do_not_pile_up_ahead_of_the_disk(spool: Spool) -> None:
    """Rows are taken only a few blocks ahead of what is compressed: once the disk is full the answer is not read on."""
    taken = 0

    def counted() -> Iterator[bytes]:
        nonlocal taken
        # Bytes that do not shrink, so that the first block does not fit.
        for number in range(5_000):
            taken += 1
            yield random.Random(number).randbytes(1 << 13).hex().encode() + b"\n"

    with pytest.raises(UsageError, match="File too large"):
        spool.write(BATCH, counted())
    assert taken < 500


def test_remove_takes_the_whole_folder(spool: Spool) -> None:
    """Once a batch is done nothing of it stays, and removing it twice does no harm."""
    folder, parts = spool.write(BATCH, lines(1))
    spool.seal(sealed(BATCH, folder, parts))
    remove(str(folder))
    remove(folder)
    assert list(spool.root.iterdir()) == []
