"""Whether each record is of the window that was requested, lies in it, says everything once, and agrees with itself.

A response that contradicts itself is refused. An implausible one lands, with a note and a reason code.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from opencost_kusto.batch import Batch
from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.extract.record import Record, RecordDecoder, number, title
from opencost_kusto.names import shown
from opencost_kusto.schema.columns import Json
from opencost_kusto.window import stamp

_LATE = timedelta(minutes=5)
# What stands for no workload: it has the window's times, whatever ran.
IDLE = "__idle__"
_STANDING = ("__unmounted__", IDLE)
# Of 4,511 recorded records none is further off than five decimals allow.
_ROUNDED, _DEVIATION = 1e-4, 0.01


class RecordChecks:
    """Checks the records of one response, one by one; raises ContentError for the first that cannot be trusted.

    `records` counts those that were checked, `undated` those that do not say which window they are of, `workloads`
    the allocations that are of a workload, `late` those of them that begin five minutes or more after the window.
    """

    def __init__(self, batch: Batch) -> None:
        self.records = self.undated = self.workloads = self.late = self._allocations = 0
        self._window = window = batch.window
        self._on_nodes = self._identified = 0
        self._shares_idle = bool(batch.requested.get("shareIdle"))
        self._spelled = {"start": stamp(window.start), "end": stamp(window.end)}
        self._records = RecordDecoder(batch.table)

    def __call__(self, text: bytes) -> Record:
        """Check a record, as JSON text; the record, decoded."""
        self.records += 1
        record = self._records.decode(text)
        if record.window != self._spelled:
            self._compare(record)
        start, end = _moment(record.start), _moment(record.end)
        if (start and start < self._window.start) or (end and end > self._window.end):
            raise self._other(record, f"{record.start},{record.end}, outside of its own window")
        _check_core_hours(record)
        name = record.name
        if name.__class__ is str:
            self._allocations += 1
            if self._shares_idle and name.endswith(IDLE):
                raise self._not_shared(record)
            self._count_provider_ids(record.properties)
            if not name.endswith(_STANDING):
                self.workloads += 1
                self.late += start is not None and start >= self._window.start + _LATE
        return record

    def remarks(self) -> Iterator[tuple[str, ReasonCode | None]]:
        """Sentences about the whole response that a reader should know, each with its reason code."""
        if self.undated:
            yield f"{self.undated} of {self.records} records do not say which window they are of", None
        if self._on_nodes and not self._identified:
            yield (
                "no row has the provider id of its node, which OpenCost 1.119.0 leaves out (opencost#3538); "
                "OpenCostAssets has it, by the name of the node",
                None,
            )
        if self._window.length <= _LATE:
            return
        if self.workloads and self.late == self.workloads:
            yield (
                f"all {self.late} workloads begin {_LATE / timedelta(minutes=1):g} minutes or more after the window: "
                "OpenCost or Prometheus may have lost its beginning, and its cost may be too low",
                ReasonCode.LATE_START,
            )
        if self._allocations and not self.workloads:
            yield (
                "OpenCost has no workload in this window, only volumes and load balancers that none uses, or idle",
                ReasonCode.IMPLAUSIBLE_COST,
            )

    def _compare(self, record: Record) -> None:
        """Compare a window that is spelled in another way, or count it when it is unset."""
        window = {} if record.window in (None, "null") else record.window
        if not isinstance(window, dict):
            raise self._other(record, shown(window))
        bounds = [_moment(window.get(name)) for name in ("start", "end")]
        for bound, requested in zip(bounds, (self._window.start, self._window.end), strict=True):
            if bound is not None and bound != requested:
                raise self._other(record, ",".join("null" if one is None else stamp(one) for one in bounds))
        self.undated += None in bounds

    def _count_provider_ids(self, properties: Json) -> None:
        if isinstance(properties, dict) and properties.get("node"):
            self._on_nodes += 1
            self._identified += bool(properties.get("providerID"))

    def _not_shared(self, record: Record) -> ContentError:
        return ContentError(
            f"OpenCost did not share the idle cost that was to be shared: its response has {title(record)}. OpenCost "
            "does so from 1.112 on. Leave --share-idle out; OpenCostChargeback shares idle cost in Kusto."
        )

    def _other(self, record: Record, said: str) -> ContentError:
        return ContentError(
            f"OpenCost responded for {said} instead of {self._window}, in {title(record)}. What stands between, such "
            "as a cache or a proxy, may have sent the response to another request.",
            code=ReasonCode.OTHER_WINDOW,
        )


def _check_core_hours(record: Record) -> None:
    """Refuse a record whose cores and running time do not make its core-hours."""
    cores, minutes, hours = number(record.cpuCores), number(record.minutes), number(record.cpuCoreHours)
    if cores is None or minutes is None or hours is None:
        # Another type than a number is refused with the types of the columns.
        return
    allowed = _ROUNDED * max(minutes / 60, 1.0) + _DEVIATION * abs(hours)
    if abs(cores * minutes / 60 - hours) > allowed:
        raise ContentError(
            f"OpenCost's response contradicts itself in {title(record)}: {cores:g} cores for {minutes:g} minutes are "
            f"not {hours:g} core-hours.",
            code=ReasonCode.IMPLAUSIBLE_COST,
        )


def _moment(text: Json) -> datetime | None:
    """A time to the second; OpenCost writes an unset one as the string `null`."""
    if text is None or text == "null":
        return None
    if not isinstance(text, str):
        raise ContentError(f"OpenCost's response has a time that is none: {shown(text)}.")
    return _read(text)


@lru_cache(maxsize=1024)
def _read(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError(text)
        return found.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError) as error:
        raise ContentError(f"OpenCost's response has a time that is none: {shown(text)}.") from error
