"""How batches are loaded: one value that every command, the scheduler and the library use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Seconds in which a batch must land, counted from the last landing or the last batch queued.
TIMEOUT = 900.0
# The highest levels take several times as long as the lowest, for somewhat smaller blobs; see tests/bench.
GZIP_LEVEL = 1
# OpenCost takes seconds for a response, and this machine milliseconds.
WORKERS = 16


@dataclass(frozen=True, slots=True)
class LoadPolicy:
    """How batches are loaded.

    `wait`: a batch is done when its rows are in the table, counted and equal; without it, when it is queued.
    `timeout`: seconds in which the next batch must land.
    `replace`: a newer, different response replaces the rows that landed.
    `adopt`: accept a response that shares hardly any row with the one that landed, and another cluster or currency.
    `tags`: blobs carry an ingest-by tag, which prevents most duplicates before there are any. Without it, Kusto ingests
    blobs together, and duplicates are found by counting and repaired; only one writer may load a cluster then.
    `workers`: sources that are requested side by side; each has one request at a time.
    `spool`: a folder that keeps sealed batches until they have landed; without it a temporary one is used.
    """

    wait: bool = True
    timeout: float = TIMEOUT
    replace: bool = False
    adopt: bool = False
    spool: Path | None = None
    gzip_level: int = GZIP_LEVEL
    tags: bool = True
    workers: int = WORKERS
