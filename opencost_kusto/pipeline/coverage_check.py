"""Check that OpenCost has data at the start of a window, so that an incomplete window is not loaded as complete."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

import msgspec

from opencost_kusto.batch import Batch
from opencost_kusto.errors import EmptyError, OpenCostError, ReasonCode
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.retry import retrying
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.window import Window, stamp

# Records with the times of the window, whatever ran; merged into a namespace they would hide when that began.
_WITHOUT_START = ("__unmounted__", "__idle__")


def check_starts(opencosts: Sequence[OpenCost], request: SyncRequest, resolution: timedelta | None = None) -> None:
    """Request the beginning of each OpenCost's window, on its own marks, else the given; raises as `check_start`."""
    for opencost in opencosts:
        check_start(opencost, request, resolution)


def check_start(opencost: OpenCost, request: SyncRequest, resolution: timedelta | None = None) -> None:
    """Request the beginning of a window, before it is loaded.

    Raises EmptyError where no workload ran up to the second of the source's marks, and what a request raises. The
    built-in store has no such piece of an older window, so the first step is requested too.
    """
    source = opencost.source()
    name, request = source.name, request.of(source)
    resolution = source.settings.marks or resolution or source.marks
    first = next(request.window.steps(request.step))
    mark = Window(first.start, min(first.start + resolution, first.end))
    starts: list[datetime] = []
    for probe in dict.fromkeys((mark, first)):
        batch = Batch(ALLOCATION, name, probe)
        starts = _starts(opencost, batch)
        if any(one < mark.end for one in starts):
            return
    begins = f"The first workload begins at {stamp(min(starts))}" if starts else "There is none in the first step"
    raise EmptyError(
        f"{name}: OpenCost has no workload at the start of the window, {stamp(first.start)}. {begins}. Choose a later "
        "start, or leave out --require-coverage."
    )


def _starts(opencost: OpenCost, batch: Batch) -> list[datetime]:
    """The starts of the workloads of a batch; none where OpenCost no longer has such windows."""

    def read() -> list[datetime]:
        with closing(opencost.records(batch, lambda *_: None)) as records:
            found = map(msgspec.json.decode, records)
            workloads = [one for one in found if not str(one.get("name")).endswith(_WITHOUT_START)]
        return [datetime.fromisoformat(one["start"]).astimezone(UTC) for one in workloads if one.get("start")]

    try:
        return retrying(read, seconds=opencost.timeout, attempts=4)
    except OpenCostError as error:
        if error.code is not ReasonCode.EXPIRED:
            raise
        return []
