"""The run ledger: one row for each batch of a run, loaded like everything else."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from opencost_kusto.batch import Batch, Origin
from opencost_kusto.errors import KustoError
from opencost_kusto.fetch import seal
from opencost_kusto.kql import literal
from opencost_kusto.kusto import Kusto
from opencost_kusto.landing import Landing
from opencost_kusto.report import ALREADY_THERE, LANDED, Outcome, Report
from opencost_kusto.schema import Json
from opencost_kusto.spool import Spool
from opencost_kusto.tables import SYNC_RUNS
from opencost_kusto.transform import Encoder


def record(report: Report, origin: Origin, parts: Spool, landing: Landing) -> Iterator[Outcome]:
    """Load a row for each outcome so far, as a batch of its own; gives the outcome of that batch."""
    encoder = Encoder(SYNC_RUNS, origin)
    encode = msgspec.json.Encoder().encode
    lines = [encoder.encode(encode(_row(one))) for one in report.outcomes]
    if not lines:
        return
    begun = time.monotonic()
    folder, written = parts.write(origin.batch, lines)
    sealed = seal(origin.batch, encoder, folder, written, parts)
    yield from landing.add(origin.batch, sealed, begun, [])
    yield from landing.finish()


def _row(one: Outcome) -> dict[str, Json]:
    known = {key.path for key in SYNC_RUNS.keys()}
    return {name: value for name, value in msgspec.structs.asdict(one).items() if name in known}


def whole_query(batch: Batch, rows: int) -> str:
    """Whether a run has seen the batch land with so many rows."""
    seen = f'Outcome in ("{LANDED}", "{ALREADY_THERE}")'
    return f"{SYNC_RUNS.name} | where BatchId == {literal(batch.id)} and Rows == {rows} and {seen} | count"


def was_whole(kusto: Kusto, batch: Batch, rows: int) -> bool:
    """Whether a run has seen the batch land whole with so many rows; not known is no."""
    try:
        return bool(kusto.query(whole_query(batch, rows))[0]["Count"])
    except KustoError:
        return False
