"""Batches on disk: gzip'd parts that are written while an answer streams in, and sealed when it was whole.

A folder per batch holds `part-N.ndjson.gz` and, last of all, `batch.json`. Without that file the answer was
not whole and nothing may be sent; with it the batch can be sent by any process, now or after a crash.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import msgspec

from opencost_kusto.batch import Batch, RequestOptions
from opencost_kusto.errors import ContentError, UsageError
from opencost_kusto.schema import micros
from opencost_kusto.schema.columns import Table
from opencost_kusto.window import Window

# Rows a part holds. Fixed, so that one answer is always cut alike; about 150 MB of rows before compression.
ROWS_PER_PART = 50_000
# The highest levels cost several times the time of the lowest for somewhat smaller blobs; tests/bench prints both.
GZIP_LEVEL = 1
# Bytes compressed at a time, and blocks that may wait for it. For each 32 KB that come out, zlib waits for a turn of
# Python's while rows are made; this is about what becomes 32 KB.
_BLOCK, _BLOCKS_WAITING = 1 << 18, 2
_SEAL = "batch.json"
# What a batch's folder is called, so that nothing else is ever swept away.
_FOLDER = re.compile(r"OpenCost[A-Za-z]+-[A-Za-z0-9._-]+-[0-9a-f]{8}")
# Seconds after which a folder without a seal is no batch in the making: longer than any answer takes.
_LEFT_AFTER = 24 * 3600.0


class Part(msgspec.Struct, frozen=True):
    """One blob of a batch: file name, rows, and bytes before compression."""

    file: str
    rows: int
    bytes: int


class SealedBatch(msgspec.Struct, frozen=True):
    """A batch that is whole on disk, with the question it answers, so that any process can load it.

    `micros` is its cost in millionths, None where the table has no cost.
    """

    batch_id: str
    source: str
    window: Window
    options: RequestOptions
    scraped: datetime | None
    run: str | None
    table: str
    mapping: str
    folder: str
    parts: tuple[Part, ...]
    rows: int
    bytes: int
    micros: int | None
    # When the run that asked began, which is on every row; unknown of what an earlier version sealed.
    collected: datetime | None = None

    def batch(self, tables: Iterable[Table]) -> Batch:
        """The batch again; raises ContentError when no table of ours is the one it was sealed for."""
        for table in tables:
            batch = Batch(table, self.source, self.window, self.options, self.scraped, self.run)
            if batch.id == self.batch_id:
                return batch
        raise ContentError(f"{self.folder} holds {self.batch_id}, unknown to this version of opencost-kusto.")

    @property
    def cost(self) -> float | None:
        """The summed cost, in the currency OpenCost is set to."""
        return None if self.micros is None else micros.to_cost(self.micros)

    @property
    def kept(self) -> str:
        """A sentence for a batch that stays in its spool."""
        return f"kept in the spool: opencost-kusto replay {Path(self.folder).parent} sends what is missing"

    def tag(self, number: int) -> str:
        """The `ingest-by` tag of a part: one per part, since parts after the first would be dropped otherwise."""
        return f"{self.batch_id}/p{number}of{len(self.parts)}"

    def path(self, part: Part) -> Path:
        """The file of a part."""
        return Path(self.folder) / part.file


class Spool:
    """A folder of batches. `durable` makes a sealed batch survive the power going off."""

    def __init__(self, root: Path, *, durable: bool = False, level: int = GZIP_LEVEL) -> None:
        self.root = root
        self.durable = durable
        self._level = level
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"The spool folder {root} cannot be made: {error.strerror}.") from error

    def write(self, batch: Batch, lines: Iterable[bytes]) -> tuple[Path, list[Part]]:
        """Write the lines as parts into a new folder; raises whatever the lines raise, leaving nothing behind.

        Raises UsageError when the disk is full or the folder cannot be written.
        """
        folder = self.root / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', batch.id)}-{uuid.uuid4().hex[:8]}"
        parts = []
        try:
            folder.mkdir()
            for number, rows in enumerate(_cut(iter(lines))):
                parts.append(self._part(folder / f"part-{number}.ndjson.gz", rows))
        except OSError as error:
            remove(folder)
            raise UsageError(f"The spool folder {self.root} cannot be written: {error.strerror}.") from error
        except BaseException:
            remove(folder)
            raise
        return folder, parts

    def _part(self, path: Path, rows: Iterator[bytes]) -> Part:
        """Write a part; it is compressed on a thread of its own, which needs no turn of Python's, as rows are made."""
        compressor = _compressor(self._level)
        count = size = 0
        waiting: deque[Future[None]] = deque()
        with path.open("wb") as file, ThreadPoolExecutor(1) as thread:

            def write(block: bytes) -> None:
                file.write(compressor.compress(block))

            for lines in _blocks(rows):
                block = b"".join(lines)
                count += len(lines)
                size += len(block)
                waiting.append(thread.submit(write, block))
                if len(waiting) > _BLOCKS_WAITING:
                    waiting.popleft().result()
            for written in waiting:
                written.result()
            file.write(compressor.flush())
            self._sync(file)
        return Part(path.name, count, size)

    def seal(self, sealed: SealedBatch) -> None:
        """Write `batch.json`, whole or not at all."""
        folder = Path(sealed.folder)
        try:
            with (folder / "batch.tmp").open("wb") as file:
                file.write(msgspec.json.encode(sealed))
                self._sync(file)
            (folder / "batch.tmp").rename(folder / _SEAL)
            self._sync_names(folder)
        except OSError as error:
            remove(folder)
            raise UsageError(f"The spool folder {self.root} cannot be written: {error.strerror}.") from error

    def sealed(self) -> Iterator[SealedBatch]:
        """The batches left to send, by folder name; raises ContentError for a seal that cannot be read."""
        for seal in sorted(self.root.glob(f"*/{_SEAL}")):
            try:
                batch = msgspec.json.decode(seal.read_bytes(), type=SealedBatch)
            except FileNotFoundError:
                # Another process that uses this spool has seen it land in the meantime.
                continue
            except (OSError, ValueError) as error:
                raise ContentError(f"{seal} cannot be read: {error}. Move its folder away and replay again.") from error
            # The spool may have been moved since it was written.
            yield msgspec.structs.replace(batch, folder=str(seal.parent))

    def sweep(self) -> None:
        """Remove what a killed run has not sealed, once nobody can be writing it any more."""
        for folder in self.root.glob("*/"):
            # What is gone under way was removed by another process that uses this spool.
            with suppress(FileNotFoundError):
                files = [folder, *folder.iterdir()] if _FOLDER.fullmatch(folder.name) else []
                touched = max((file.stat().st_mtime for file in files), default=time.time())
                if folder / _SEAL not in files and touched < time.time() - _LEFT_AFTER:
                    remove(folder)

    def _sync(self, file: IO[bytes]) -> None:
        if self.durable:
            file.flush()
            os.fsync(file.fileno())

    def _sync_names(self, folder: Path) -> None:
        """Names are written by the folder that holds them, not by the file they name."""
        for where in (folder, self.root) if self.durable and os.name == "posix" else ():
            number = os.open(where, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)


def _compressor(level: int) -> Any:
    """A gzip compressor without time or name in its header, so that the same rows are the same bytes."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(level, zlib.DEFLATED, 31)
    # isal has the levels 0 to 3, where 3 compresses about as zlib's 2.
    return isal_zlib.compressobj(min(level, 3), isal_zlib.DEFLATED, 31)


def taken(sealed: SealedBatch) -> bool:
    """Whether another process has removed a batch, as one does that has seen it land."""
    return not (Path(sealed.folder) / _SEAL).exists()


def remove(folder: Path | str) -> None:
    """Remove a batch's folder, the seal first, so that half a folder is never sent."""
    (Path(folder) / _SEAL).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _blocks(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Collect lines until they are enough to compress at a time."""
    block: list[bytes] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size >= _BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _cut(lines: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """Cut lines into parts without holding one: each part must be read to its end before the next."""
    for first in lines:
        yield chain((first,), islice(lines, ROWS_PER_PART - 1))
