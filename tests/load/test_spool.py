"""Batches on disk: one file a batch, the same bytes for the same rows, complete or absent."""

from __future__ import annotations

import gzip
import os
import random
import resource
import shlex
import shutil
import stat
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from isal import isal_zlib

from opencost_kusto.batch import Batch, RequestOptions
from opencost_kusto.errors import ContentError, OpenCostError, ReasonCode, UsageError
from opencost_kusto.load.sealed import SealedBatch, is_loaded_elsewhere, remove
from opencost_kusto.load.spool import Spool
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, METRICS, TABLES
from opencost_kusto.window import Window

HOUR = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
BATCH = Batch(ALLOCATION, "prod/eu: é" * 30, HOUR, RequestOptions(aggregate="pod", include_idle=True))


def lines(count: int) -> Iterator[bytes]:
    """So many different rows."""
    return (b'{"n":%d}\n' % number for number in range(count))


def sealed(batch: Batch, folder: Path, rows: int = 1, micros: int | None = 1_072_080) -> SealedBatch:
    """The seal of a batch that was written."""
    request = (batch.id, batch.source, batch.window, batch.options, batch.scraped)
    sizes = (rows, len(b"".join(lines(rows))), micros, "0" * 32)
    return SealedBatch(*request, batch.table.name, batch.table.mapping, str(folder), *sizes, HOUR.end)


class Disk:
    """A disk that records each operation, with the name of the file or folder, and performs it."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    def fsync(self, number: int) -> None:
        """Flush a file or a folder."""
        self.done.append(("fsync", Path(os.readlink(f"/proc/self/fd/{number}")).name))
        os.fsync(number)

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file."""
        self.done.append(("rename", new.name))
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        self.done.append(("unlink", path.name))
        os.unlink(path)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool whose folder is new."""
    return Spool(tmp_path / "deep" / "spool")


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("level", [1, 3, 9])
@pytest.mark.parametrize("library", [zlib, isal_zlib])
def test_same_rows_are_same_bytes(tmp_path: Path, level: int, durable: bool, library: Any) -> None:
    """The one file has neither time nor name, so a batch sent again is the same blob; it holds all rows in order."""
    blobs = []
    for name in ("a", "b"):
        folder = Spool(tmp_path / name, durable=durable, level=level, library=library).write(BATCH, lines(50_000))
        assert [path.name for path in folder.iterdir()] == ["rows.ndjson.gz"]
        blobs.append((folder / "rows.ndjson.gz").read_bytes())
    assert blobs[0] == blobs[1]
    assert gzip.decompress(blobs[0]) == b"".join(lines(50_000))


def test_files_are_this_users_alone(tmp_path: Path) -> None:
    """Folders are 0700 and files 0600 whatever the umask, since labels and costs are in them."""
    before = os.umask(0)
    try:
        spool = Spool(tmp_path / "spool", durable=True)
        folder = spool.write(BATCH, lines(1))
        spool.seal(sealed(BATCH, folder))
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (spool.root, folder)] == [0o700, 0o700]
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "rows.ndjson.gz": 0o600,
        "batch.json": 0o600,
    }


def test_a_folder_that_every_user_may_write_is_refused(tmp_path: Path) -> None:
    """What another user could put into a spool is never sent."""
    folder = tmp_path / "a b"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(UsageError, match=r"can be written by every user\. Run (chmod o-w '.*/a b')\.$"):
        Spool(folder)


def test_a_kept_batch_is_reported_with_how_to_load_it(tmp_path: Path) -> None:
    """The command is one that a shell takes, whatever the folder is called."""
    folder = tmp_path / "it's a spool"
    message = sealed(BATCH, Spool(folder).write(BATCH, lines(1))).kept
    assert shlex.split(message.partition("run ")[2]) == ["opencost-kusto", "replay", str(folder)]


def test_folders_are_named_by_digests(spool: Spool) -> None:
    """A source of any name and length makes a short folder inside the spool, and one batch written twice makes two."""
    first, second = spool.write(BATCH, lines(1)), spool.write(BATCH, lines(1))
    assert first != second
    assert {first.parent, second.parent} == {spool.root}
    assert len(first.name) == len("OpenCostAllocation-") + 16 + 1 + 8
    assert first.name[:-8] == second.name[:-8]


@pytest.mark.parametrize(("limit", "fits"), [(8 * 100, True), (8 * 100 - 1, False)])
def test_the_limit_of_a_blob(tmp_path: Path, limit: int, fits: bool) -> None:
    """More than one blob may hold is refused before anything is sealed, with what to do, and leaves nothing behind."""
    spool = Spool(tmp_path, largest=limit)
    rows = [b'{"n":1}\n'] * 100
    if fits:
        assert spool.write(BATCH, rows).is_dir()
        return
    with pytest.raises(ContentError, match=r"the limit of one blob\. Request shorter windows with --step") as caught:
        spool.write(BATCH, rows)
    assert caught.value.code is ReasonCode.TOO_LARGE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OpenCostError("It broke off."), ContentError("Nonsense."), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [0, 5, 100_000])
def test_nothing_is_left_after_an_error_in_the_middle(spool: Spool, error: BaseException, before: int) -> None:
    """When the response breaks off, its error is raised unchanged, and nothing of the batch is left on disk."""

    def broken() -> Iterator[bytes]:
        yield from lines(before)
        raise error

    with pytest.raises(type(error)) as caught:
        spool.write(BATCH, broken())
    assert caught.value is error
    assert list(spool.root.iterdir()) == []


@pytest.mark.parametrize("durable", [False, True])
def test_a_sealed_batch_is_found_again_in_full(tmp_path: Path, durable: bool) -> None:
    """Only a sealed batch is found, by another process too, with its request, its rows and its totals."""
    spool = Spool(tmp_path, durable=durable)
    folder = spool.write(BATCH, lines(61))
    assert list(spool.sealed()) == []
    written = sealed(BATCH, folder, 61)
    spool.seal(written)
    [found] = Spool(tmp_path).sealed()
    assert found == written
    assert found.batch(TABLES) == BATCH
    assert (found.rows, found.cost, found.path) == (61, 1.07208, folder / "rows.ndjson.gz")
    assert sorted(path.name for path in folder.iterdir()) == ["batch.json", "rows.ndjson.gz"]
    assert sealed(BATCH, folder, micros=None).cost is None


def test_a_batch_is_flushed_before_its_seal_and_the_names_after(tmp_path: Path) -> None:
    """A power failure leaves a batch complete or unsealed: rows, then the seal under another name, then the names."""
    disk = Disk()
    spool = Spool(tmp_path, durable=True, disk=disk)
    folder = spool.write(BATCH, lines(3))
    assert disk.done == [("fsync", "rows.ndjson.gz")]
    spool.seal(sealed(BATCH, folder))
    assert disk.done[1:] == [
        ("fsync", "batch.tmp"),
        ("rename", "batch.json"),
        ("fsync", folder.name),
        ("fsync", tmp_path.name),
    ]


def test_a_spool_for_one_run_is_not_flushed(tmp_path: Path) -> None:
    """What ends with the run need not survive a power failure."""
    disk = Disk()
    spool = Spool(tmp_path, disk=disk)
    spool.seal(sealed(BATCH, spool.write(BATCH, lines(3))))
    assert disk.done == [("rename", "batch.json")]


class Killed(Disk):
    """A disk whose process is killed just after it has removed a file."""

    def unlink(self, path: Path) -> None:
        """Remove a file, and end."""
        super().unlink(path)
        raise KeyboardInterrupt


def test_the_seal_is_removed_first(spool: Spool) -> None:
    """A process that is killed while it removes a batch leaves rows without a seal, which are never sent."""
    folder = spool.write(BATCH, lines(1))
    spool.seal(written := sealed(BATCH, folder))
    assert not is_loaded_elsewhere(written)
    with pytest.raises(KeyboardInterrupt):
        remove(folder, Killed())
    assert [path.name for path in folder.iterdir()] == ["rows.ndjson.gz"]
    assert is_loaded_elsewhere(written)
    assert list(spool.sealed()) == []


def test_remove_removes_the_folder(spool: Spool) -> None:
    """Once a batch is done nothing of it is left, and removing it twice is no error."""
    folder = spool.write(BATCH, lines(1))
    spool.seal(sealed(BATCH, folder))
    remove(str(folder))
    remove(folder)
    assert list(spool.root.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "age", "files", "stays"),
    [
        ("OpenCostAllocation-0123456789abcdef-01234567", 25, ["rows.ndjson.gz"], False),
        ("OpenCostAllocation-0123456789abcdef-01234567", 25, [], False),
        ("OpenCostAllocation-0123456789abcdef-01234567", 25, ["rows.ndjson.gz", "batch.tmp"], False),
        ("OpenCostAllocation-0123456789abcdef-01234567", 23, ["rows.ndjson.gz"], True),
        ("OpenCostAllocation-0123456789abcdef-01234567", 25, ["rows.ndjson.gz", "batch.json"], True),
        ("precious", 25, ["rows.ndjson.gz"], True),
        ("OpenCostAllocation-backup", 25, ["rows.ndjson.gz"], True),
    ],
)
def test_sweep(tmp_path: Path, name: str, age: int, files: list[str], stays: bool) -> None:
    """Only our own folders are swept, without a seal, and unchanged for a day."""
    folder = tmp_path / name
    folder.mkdir()
    then = time.time() - age * 3600
    for file in files:
        (folder / file).write_bytes(b"x")
        os.utime(folder / file, (then, then))
    os.utime(folder, (then, then))
    Spool(tmp_path).sweep()
    assert folder.exists() == stays


def test_a_seal_names_only_its_own_file(spool: Spool, tmp_path: Path) -> None:
    """The file of a batch is the one beside its seal, whatever the seal says and wherever the spool was moved."""
    folder = spool.write(BATCH, lines(1))
    spool.seal(sealed(BATCH, folder))
    document: dict[str, Any] = msgspec.json.decode((folder / "batch.json").read_bytes())
    more = {"folder": "/etc", "path": "/etc/hostname", "file": "/etc/hostname"}
    (folder / "batch.json").write_bytes(msgspec.json.encode(document | more))
    shutil.move(spool.root, tmp_path / "moved")
    [found] = Spool(tmp_path / "moved").sealed()
    assert found.path == tmp_path / "moved" / folder.name / "rows.ndjson.gz"
    assert found.path.is_file()


def test_a_batch_that_is_removed_while_the_spool_is_listed(spool: Spool) -> None:
    """A batch that another process has loaded in the meantime is left out."""
    for batch in (BATCH, BATCH):
        spool.seal(sealed(batch, spool.write(batch, lines(1))))
    listed = spool.sealed()
    first = next(listed)
    for folder in spool.root.iterdir():
        if str(folder) != first.folder:
            remove(folder)
    assert list(listed) == []


def test_batches_have_an_order(spool: Spool) -> None:
    """The batches of a table come together."""
    for hour in (12, 3, 10):
        for table in (ASSETS, ALLOCATION):
            batch = Batch(table, "prod", Window(HOUR.start.replace(hour=hour), HOUR.start.replace(hour=hour + 1)))
            spool.seal(sealed(batch, spool.write(batch, lines(1))))
    assert [each.table for each in spool.sealed()] == ["OpenCostAllocation"] * 3 + ["OpenCostAssets"] * 3


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"{}", b'{"batch_id":1}'])
def test_a_seal_that_cannot_be_read_is_named(spool: Spool, text: bytes) -> None:
    """A damaged seal is named with what to do; it is neither sent nor left out in silence."""
    folder = spool.write(BATCH, lines(1))
    (folder / "batch.json").write_bytes(text)
    with pytest.raises(ContentError, match=r"batch\.json cannot be read: .* Move its folder away"):
        list(spool.sealed())


def test_a_batch_of_another_version_is_refused(spool: Spool) -> None:
    """A seal of a request that this version would not make is refused, not sent under another id."""
    written = sealed(BATCH, spool.write(BATCH, lines(1)))
    for foreign, tables in ((msgspec.structs.replace(written, batch_id="A/x/y/z"), TABLES), (written, (METRICS,))):
        with pytest.raises(ContentError, match="unknown to this version"):
            foreign.batch(tables)


def test_the_keys_of_the_rows_are_read_from_the_file(spool: Spool) -> None:
    """Row keys are those that the table declares, with "" for what is null."""
    rows = (b'{"Record":{"name":"%s"}}\n' % name for name in (b"a", b"b"))
    assert sealed(BATCH, spool.write(BATCH, rows)).row_keys(ALLOCATION) == {("a",), ("b",)}


def test_a_spool_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    """A file where the folder should be ends in one sentence with exit code 2."""
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="cannot be created: "):
            Spool(root)


def test_a_spool_that_vanishes_is_a_usage_error(spool: Spool) -> None:
    """A spool whose folder is missing when the response arrives is named in the error, and so is a seal."""
    folder = spool.write(BATCH, lines(1))
    shutil.rmtree(spool.root)
    for use in (lambda: spool.write(BATCH, lines(1)), lambda: spool.seal(sealed(BATCH, folder))):
        with pytest.raises(UsageError, match="cannot be written: No such file"):
            use()


def test_an_os_error_of_the_rows_is_not_the_disks(spool: Spool) -> None:
    """An error in making rows passes unchanged, and is never called a full disk."""

    def broken() -> Iterator[bytes]:
        yield b"{}\n"
        raise OSError(75, "Value too large for defined data type")

    with pytest.raises(OSError, match="Value too large"):
        spool.write(BATCH, broken())


@pytest.fixture
def full_disk() -> Iterator[None]:
    """The system refuses to let a file grow beyond 4 KiB, as it refuses on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("durable", [False, True])
def test_a_disk_that_is_full_at_the_last_byte(tmp_path: Path, durable: bool) -> None:
    """What is still buffered when the file is closed is refused in one sentence too, and nothing is left."""
    rows = (random.Random(number).randbytes(900).hex().encode() + b"\n" for number in range(5))
    with pytest.raises(UsageError, match="cannot be written: File too large"):
        Spool(tmp_path, durable=durable).write(BATCH, rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("full_disk")
def test_rows_are_not_buffered_before_a_full_disk(spool: Spool) -> None:
    """Once the disk is full the response is not read on, the error is one sentence, and nothing is left."""
    read = 0

    def counted() -> Iterator[bytes]:
        nonlocal read
        # Bytes that do not compress, so that the first block does not fit.
        for number in range(5_000):
            read += 1
            yield random.Random(number).randbytes(1 << 13).hex().encode() + b"\n"

    with pytest.raises(UsageError, match=r"The spool folder .* cannot be written: File too large"):
        spool.write(BATCH, counted())
    assert read < 500
    assert list(spool.root.iterdir()) == []
