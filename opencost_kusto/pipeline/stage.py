"""Read the response of one batch to its end and seal it on disk; nothing is sent before that."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta

from opencost_kusto.batch import Batch, BatchContext
from opencost_kusto.errors import OpenCostError, OpenCostKustoError, ReasonCode, UsageError
from opencost_kusto.extract.client import OpenCost, decoded
from opencost_kusto.load.sealed import SealedBatch, remove
from opencost_kusto.load.spool import Spool
from opencost_kusto.load.staged import StagedBatch
from opencost_kusto.retry import retrying
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.transform.rows import Encoder
from opencost_kusto.window import stamp

MAX_CONSECUTIVE_FAILURES = 3
# https://learn.microsoft.com/kusto/query/scalar-data-types/dynamic; a longer string is truncated.
_LARGEST_VALUE = 1 << 20
# The header Date has no fractions of a second.
_SECOND = timedelta(seconds=1)
_NO_RESPONSE = {ReasonCode.UNREACHABLE, ReasonCode.TIMED_OUT, ReasonCode.TLS}


class Breaker:
    """Stops requests after consecutive failures to reach OpenCost, because each takes long to fail."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def open(self) -> bool:
        """Whether nothing more is to be requested."""
        return self._failures >= MAX_CONSECUTIVE_FAILURES

    def record(self, error: OpenCostKustoError | None) -> None:
        """Count a failure without a response; any response resets the count."""
        self._failures = self._failures + 1 if error is not None and error.code in _NO_RESPONSE else 0


class RowCounts:
    """Compares how many rows a response has with the window before, of this run or in the table."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, int]] = {}

    def compared(self, staged: StagedBatch) -> StagedBatch:
        """Note a response with at most half of the rows of the window before."""
        batch, before = staged.batch, staged.batch.before
        if before is None or staged.error is not None:
            return staged
        rows = 0 if staged.sealed is None else staged.sealed.rows
        last, count = self._last.get(batch.table.name, ("", 0))
        earlier = count if last == before.id else staged.rows_before or 0
        if earlier and 2 * rows <= earlier:
            staged.note(
                f"{rows} rows, after {earlier} in the window before: a part of the cluster may be missing in OpenCost",
                ReasonCode.ROWS_HALVED,
            )
        self._last[batch.table.name] = batch.id, rows
        return staged


def read_response(
    opencost: OpenCost,
    staged: StagedBatch,
    context: BatchContext,
    spool: Spool,
    breaker: Breaker,
    optional: frozenset[str] = frozenset(),
) -> StagedBatch:
    """Request a batch from OpenCost and seal the response; an error is in the result's `error`.

    Without a durable spool, a response cannot be kept until Kusto is back: nothing is requested while Kusto cannot be
    read.
    """
    if staged.unknown is not None and not spool.durable:
        staged.error = staged.unknown
        return staged
    if breaker.open:
        staged.error = OpenCostError(
            f"Not requested: OpenCost did not respond {MAX_CONSECUTIVE_FAILURES} times in a row.",
            code=ReasonCode.UNREACHABLE,
        )
        return staged
    try:
        check_has_ended(staged.batch, opencost.server_time())
        staged.sealed = retrying(lambda: _seal(opencost, staged, context, spool), seconds=opencost.timeout, attempts=4)
    except OpenCostKustoError as error:
        staged.error = error
        if is_unsupported(opencost, staged.batch, error, optional):
            staged.unsupported = True
            staged.note(f"{opencost.endpoint} has no {staged.batch.table.dataset}")
    breaker.record(staged.error)
    if (route := opencost.route) != context.source.route and staged.error is None:
        staged.note(f"OpenCost is now reached as {route}; when the run began, as {context.source.route}")
    return staged


def is_unsupported(opencost: OpenCost, batch: Batch, error: OpenCostKustoError, optional: frozenset[str]) -> bool:
    """Whether an OpenCost does not have the dataset of a batch, and the run does not need it."""
    missing = error.code is ReasonCode.NOT_FOUND and batch.table.dataset in optional
    # If /allocation is missing too, this is not an OpenCost: an error.
    return missing and opencost.has(ALLOCATION)


def check_has_ended(batch: Batch, now: datetime | None) -> None:
    """Raise UsageError for a window that has not ended by OpenCost's clock: its costs would stay incomplete."""
    if batch.table.cadence == "step" and now is not None and batch.window.end > now + _SECOND:
        raise UsageError(
            f"The window {batch.window} has not ended: it is {stamp(now)} by OpenCost's clock, so it is not requested. "
            "Check this machine's clock, or run again later."
        )


def _seal(opencost: OpenCost, staged: StagedBatch, context: BatchContext, spool: Spool) -> SealedBatch | None:
    """One response, read to its end and sealed; None when it has no rows."""
    batch = context.batch
    encoder = Encoder(batch.table, context)
    staged.notes.clear()
    staged.code = None
    # Close it when writing fails; otherwise the error would hold the connection.
    with closing(decoded(opencost, batch, staged.note)) as records:
        folder = spool.write(batch, encoder.lines(records))
    if encoder.unmapped:
        staged.note(f"OpenCost sent keys without a column, kept in Unmapped: {', '.join(sorted(encoder.unmapped))}")
    if encoder.longest > _LARGEST_VALUE:
        staged.note(
            f"a row has {encoder.longest:,} bytes; Kusto stores no dynamic value of more than 1 MiB, so labels or "
            "annotations of it may be null"
        )
    if not encoder.rows:
        remove(folder)
        return None
    request = (batch.id, batch.source, batch.window, batch.options, batch.scraped)
    micros = encoder.micros if batch.table.cost else None
    sizes = (encoder.rows, encoder.bytes, micros, encoder.keys)
    table, collected, print_ = batch.table, context.run.collection_time, context.source.fingerprint
    sealed = SealedBatch(*request, table.name, table.mapping, str(folder), *sizes, collected, print_)
    spool.seal(sealed)
    return sealed
