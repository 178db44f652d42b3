"""A dry run: the rows that would be loaded, line by line, without Kusto."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from typing import IO

from opencost_kusto.batch import BatchContext, Run
from opencost_kusto.errors import OpenCostKustoError, ReasonCode, UsageError
from opencost_kusto.extract.client import OpenCost, decoded
from opencost_kusto.pipeline.request import BatchPlan, new_run, plan_of
from opencost_kusto.pipeline.stage import check_has_ended, is_unsupported
from opencost_kusto.result import BatchResult, Outcome, Report, batch_result
from opencost_kusto.retry import retrying
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.transform.flat import FlatRows
from opencost_kusto.transform.rows import Encoder
from opencost_kusto.window import Window

# Bytes of a batch held in memory, and bytes read from or written to the disk at a time.
_IN_MEMORY, _BLOCK = 8_000_000, 1 << 18
# Lines that are written to it at a time.
_LINES = 64


def export(
    opencost: OpenCost,
    request: BatchPlan | Window | str,
    write: Callable[[Table, bytes], None],
    *,
    run: Run | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
    in_blocks: bool = False,
) -> Report:
    """Pass the rows that `sync` would load to `write`, line by line, with the columns of the table.

    The rows of a batch are buffered until its response is complete, so that no incomplete batch is written. With
    `in_blocks`, many complete lines are passed at a time. Raises UsageError where they cannot be held.
    """

    def write_lines(table: Table, block: bytes) -> None:
        for line in BytesIO(block):
            write(table, line)

    run, plan = run or new_run(), plan_of(request)
    source = opencost.source()
    run = run.of(source)
    report = Report(run.id, on_result=on_result)
    report.reached([source])
    write_block = write if in_blocks else write_lines
    for batch in plan.batches(source, run.collection_time):
        report.add([_export(opencost, BatchContext(run, source, batch), write_block, plan.optional)])
    return report


def _export(
    opencost: OpenCost, context: BatchContext, write: Callable[[Table, bytes], None], optional: frozenset[str]
) -> BatchResult:
    """Write the rows of one batch."""
    begun, batch = time.monotonic(), context.batch
    notes: list[str] = []

    def note(sentence: str, code: ReasonCode | None = None) -> None:
        del code
        notes.append(sentence)

    def read() -> Encoder:
        held.seek(0)
        held.truncate()
        notes.clear()
        encoder = Encoder(batch.table, context, FlatRows(batch.table))
        lines = encoder.lines(decoded(opencost, batch, note))
        while block := b"".join(islice(lines, _LINES)):
            held.write(block)
        return encoder

    try:
        check_has_ended(batch, opencost.server_time())
        with _held() as held:
            encoder = retrying(read, seconds=opencost.timeout, attempts=4)
            held.seek(0)
            while block := held.read(_BLOCK) + held.readline():
                write(batch.table, block)
    except OpenCostKustoError as error:
        seconds = round(time.monotonic() - begun, 3)
        if is_unsupported(opencost, batch, error, optional):
            return batch_result(batch, Outcome.UNSUPPORTED, seconds=seconds)
        return batch_result(batch, Outcome.FAILED, error=error, seconds=seconds)
    size: dict[str, Json] = {"rows": encoder.rows, "cost": encoder.cost, "bytes": encoder.bytes}
    size["seconds"] = round(time.monotonic() - begun, 3)
    outcome = Outcome.WRITTEN if encoder.rows else Outcome.EMPTY
    return batch_result(batch, outcome, notes=notes, response_keys=encoder.keys, **size)


@contextmanager
def _held() -> Iterator[IO[bytes]]:
    """A file for the rows of one batch, in memory as long as they are few; raises UsageError when the disk is full."""
    try:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, buffering=_BLOCK) as held:
            yield held
    except OSError as error:
        raise UsageError(f"Rows cannot be held in {tempfile.gettempdir()}: {error.strerror}. Set TMPDIR.") from error
