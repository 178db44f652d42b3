"""A complete batch on disk: its seal, its rows, and how it is removed."""

from __future__ import annotations

import gzip
import os
import shlex
import shutil
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from opencost_kusto.batch import Batch, RequestOptions
from opencost_kusto.errors import ContentError
from opencost_kusto.schema import micros
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.window import Window

# The files of a batch's folder: its rows, and the seal, which is written last.
ROWS, SEAL = "rows.ndjson.gz", "batch.json"


class SealedBatch(msgspec.Struct, frozen=True):
    """A complete batch on disk, with its request, so that any process can load it.

    `bytes` are counted before compression; `micros` is the cost in millionths, None where the table has no cost; `keys`
    is the digest of the rows' keys; `collected` is when the run began, which is on every row; `fingerprint` identifies
    the cluster, as in `batch.Source`.
    """

    batch_id: str
    source: str
    window: Window
    options: RequestOptions
    scraped: datetime | None
    table: str
    mapping: str
    folder: str
    rows: int
    bytes: int
    micros: int | None
    keys: str
    collected: datetime
    fingerprint: dict[str, Json] | None = None

    def batch(self, tables: Iterable[Table]) -> Batch:
        """The batch of the request; raises ContentError if this version does not have its table."""
        for table in tables:
            batch = Batch(table, self.source, self.window, self.options, self.scraped)
            if batch.id == self.batch_id:
                return batch
        raise ContentError(f"{self.folder} holds {self.batch_id}, unknown to this version of opencost-kusto.")

    @property
    def cost(self) -> float | None:
        """The summed cost, in the source's currency."""
        return None if self.micros is None else micros.to_cost(self.micros)

    @property
    def path(self) -> Path:
        """The file with the rows."""
        return Path(self.folder) / ROWS

    @property
    def kept(self) -> str:
        """A sentence for a batch that is kept in its spool."""
        spool = shlex.quote(str(Path(self.folder).parent))
        return f"kept in the spool; to load it, run opencost-kusto replay {spool}"

    def row_keys(self, table: Table) -> set[tuple[str, ...]]:
        """The keys of the rows, as `Table.key` names them."""
        paths = [table.path_of(table[name]).split(".") for name in table.key]
        with gzip.open(self.path) as lines:
            rows = map(msgspec.json.decode, lines)
            return {tuple(key_text(_at(row, path)) for path in paths) for row in rows}


def is_loaded_elsewhere(sealed: SealedBatch) -> bool:
    """Whether another process has removed a batch, as it does once the batch has landed."""
    return not (Path(sealed.folder) / SEAL).exists()


def remove(folder: Path | str, disk: Any = os) -> None:
    """Remove a batch's folder, the seal first, so that an incomplete folder is never sent."""
    with suppress(FileNotFoundError):
        disk.unlink(Path(folder) / SEAL)
    shutil.rmtree(folder, ignore_errors=True)


def key_text(value: Json) -> str:
    """A value of a key as text that does not depend on the order of a bag's keys; KQL's `tostring` keeps none."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(ValueError):
            value = msgspec.json.decode(value)
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value, order="sorted").decode()
    return "" if value is None else str(value)


def _at(value: Json, path: list[str]) -> Json:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
