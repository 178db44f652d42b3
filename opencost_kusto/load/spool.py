"""Batches on disk: a gzip'd file that is written while a response streams in, and sealed when the response is complete.

Each batch has a folder with `rows.ndjson.gz` and, written last, `batch.json`. Without that file the response was not
complete, and nothing is sent; with it, any process can send the batch, now or after a crash.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import stat
import time
import uuid
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import msgspec

from opencost_kusto.batch import Batch
from opencost_kusto.blocks import blocks
from opencost_kusto.errors import ContentError, ReasonCode, UsageError
from opencost_kusto.load.policy import GZIP_LEVEL
from opencost_kusto.load.sealed import ROWS, SEAL, SealedBatch, remove

# Largest blob before compression, in bytes: https://learn.microsoft.com/kusto/management/data-ingestion
# (at most 6 GB; 4 GB leaves room for what is counted differently there).
LARGEST = 4 * 1000**3
# Bytes compressed at a time, and blocks that may wait for it. For each 32 KB of output, zlib waits for its turn at
# Python's lock while rows are made; a block is compressed to about 32 KB.
_BLOCK, _BLOCKS_WAITING = 1 << 18, 2
# The name of a batch's folder, so that a sweep removes nothing else.
_FOLDER = re.compile(r"OpenCost[A-Za-z]+-[0-9a-f]{16}-[0-9a-f]{8}")
# Seconds after which a folder without a seal is no longer being written: longer than any response takes.
_ABANDONED_AFTER = 24 * 3600.0


class Spool:
    """A folder of batches. `durable` makes a sealed batch survive a power failure.

    `largest` limits the bytes of a batch before compression; `library` compresses, by default the fastest one that is
    installed. Raises UsageError for a folder that cannot be created, or that other users may write.
    """

    def __init__(
        self,
        root: Path,
        *,
        durable: bool = False,
        level: int = GZIP_LEVEL,
        largest: int = LARGEST,
        disk: Any = os,
        library: Any = None,
    ) -> None:
        self.root = root
        self.durable = durable
        self._library = library or _fastest()
        # isal has the levels 0 to 3; its 3 compresses about as well as zlib's 2.
        self._level = level if self._library is zlib else min(level, 3)
        self._largest = largest
        self._disk = disk
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = root.stat().st_mode
        except OSError as error:
            raise UsageError(f"The spool folder {root} cannot be created: {error.strerror}.") from error
        if os.name == "posix" and mode & stat.S_IWOTH:
            raise UsageError(
                f"The spool folder {root} can be written by every user. Run chmod o-w {shlex.quote(str(root))}."
            )

    def write(self, batch: Batch, lines: Iterable[bytes]) -> Path:
        """Write the lines into a new folder, and return it; raises what the lines raise, and then removes the folder.

        Raises UsageError when the disk is full or the folder cannot be written, ContentError for more than `largest`.
        """
        digest = hashlib.sha256(batch.id.encode()).hexdigest()[:16]
        folder = self.root / f"{batch.table.name}-{digest}-{uuid.uuid4().hex[:8]}"
        try:
            with self._writing():
                folder.mkdir(mode=0o700)
                # Readable by this user only: labels and annotations may be confidential.
                file = os.fdopen(os.open(folder / ROWS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
            try:
                self._compress(file, batch, lines)
            finally:
                # Closing writes buffered bytes, and can fail as writing can.
                with self._writing():
                    file.close()
        except BaseException:
            remove(folder)
            raise
        return folder

    def _compress(self, file: IO[bytes], batch: Batch, lines: Iterable[bytes]) -> None:
        """Write the lines compressed: with zlib on a second thread, which it lets run while rows are made.

        isal takes less time for a block than threads take to hand one over. The last block is compressed on this
        thread, since no more rows are made: a small batch starts no other.
        """
        # Without time or name in its header, so that equal rows make equal bytes.
        compressor = self._library.compressobj(self._level, zlib.DEFLATED, 31)
        size, held = 0, b""
        waiting: deque[Future[None]] = deque()

        def write(block: bytes) -> None:
            with self._writing():
                file.write(compressor.compress(block))

        with ThreadPoolExecutor(1) as thread:
            for block in blocks(lines, _BLOCK):
                size += len(block)
                if size > self._largest:
                    raise ContentError(
                        f"{batch.id} has more than {self._largest / 1000**3:g} GB of rows, the limit of one blob. "
                        "Request shorter windows with --step.",
                        code=ReasonCode.TOO_LARGE,
                    )
                if self._library is not zlib:
                    write(held)
                elif held:
                    waiting.append(thread.submit(write, held))
                held = block
                if len(waiting) > _BLOCKS_WAITING:
                    waiting.popleft().result()
            for written in waiting:
                written.result()
        write(held)
        with self._writing():
            file.write(compressor.flush())
            self._sync(file)

    def seal(self, sealed: SealedBatch) -> None:
        """Write `batch.json` atomically."""
        folder = Path(sealed.folder)
        try:
            with self._writing():
                with os.fdopen(os.open(folder / "batch.tmp", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                    file.write(msgspec.json.encode(sealed))
                    self._sync(file)
                self._disk.rename(folder / "batch.tmp", folder / SEAL)
                self._sync_names(folder)
        except UsageError:
            remove(folder)
            raise

    def sealed(self) -> Iterator[SealedBatch]:
        """The batches left to send, by folder name; raises ContentError for a seal that cannot be read."""
        for seal in sorted(self.root.glob(f"*/{SEAL}")):
            try:
                batch = msgspec.json.decode(seal.read_bytes(), type=SealedBatch)
            except FileNotFoundError:
                # Another process that uses this spool has loaded it in the meantime.
                continue
            except (OSError, ValueError) as error:
                raise ContentError(f"{seal} cannot be read: {error}. Move its folder away and replay again.") from error
            # The spool may have been moved since it was written.
            yield msgspec.structs.replace(batch, folder=str(seal.parent))

    def sweep(self) -> None:
        """Remove folders that a killed run has not sealed, once no process can still be writing them."""
        for folder in self.root.glob("*/"):
            # Another process that uses this spool may remove a folder at any moment.
            with suppress(FileNotFoundError):
                files = [folder, *folder.iterdir()] if _FOLDER.fullmatch(folder.name) else []
                touched = max((file.stat().st_mtime for file in files), default=time.time())
                if folder / SEAL not in files and touched < time.time() - _ABANDONED_AFTER:
                    remove(folder)

    def _writing(self) -> _Writing:
        return _Writing(self.root)

    def _sync(self, file: IO[bytes]) -> None:
        if self.durable:
            file.flush()
            self._disk.fsync(file.fileno())

    def _sync_names(self, folder: Path) -> None:
        """Flush file names to disk: they are stored in the folder, not in the file."""
        for where in (folder, self.root) if self.durable and os.name == "posix" else ():
            number = os.open(where, os.O_RDONLY)
            try:
                self._disk.fsync(number)
            finally:
                os.close(number)


class _Writing:
    """Turn an OSError into a UsageError that names the spool; errors of the rows pass unchanged."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            raise UsageError(f"The spool folder {self._root} cannot be written: {error.strerror}.") from error


def _fastest() -> Any:
    """The library for gzip: isal where it is installed, else zlib."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    return isal_zlib
