"""Check that each record is of the window requested, lies in it, has each key once, and does not contradict itself.

A response that contradicts itself is refused. An implausible one lands, with a note and a reason code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from opencost_kusto.batch import Batch
from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.extract.record import Record, RecordDecoder, title
from opencost_kusto.names import shown
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.decoder import Decoded
from opencost_kusto.window import stamp

_LATE = timedelta(minutes=5)
# Records that are no workload: they have the window's times, whatever ran.
IDLE = "__idle__"
_STANDING = ("__unmounted__", IDLE)
# Of 4,511 recorded records none is further off than five decimals allow.
_ROUNDED, _DEVIATION = 1e-4, 0.01
# The part by which the cost of nodes may differ from their price and running time.
_OFF_PRICE = 0.1


class RecordChecks:
    """Checks the records of one response, one by one; raises ContentError for the first that cannot be trusted.

    `records` counts those that were checked, `undated` those that do not say which window they are of, `workloads`
    the allocations that are of a workload, `late` those of them that begin five minutes or more after the window.
    `prices` are those of nodes for an hour, by their id at the cloud provider or their name; `version` is OpenCost's.
    """

    def __init__(self, batch: Batch, prices: Mapping[str, float] | None = None, *, version: str | None = None) -> None:
        self.records = self.undated = self.workloads = self.late = self._allocations = self._nodes = 0
        self._window = window = batch.window
        self._late_from = window.start + _LATE
        self._on_nodes = self._identified = 0
        self._shares_idle = bool(batch.requested.get("shareIdle"))
        self._prices = prices or {}
        # The cost of nodes, of those whose price is known, and the cost expected by that price.
        self._node_cost = self._priced = self._expected = 0.0
        self._start, self._end = stamp(window.start), stamp(window.end)
        self._spelled = Raw(msgspec.json.encode({"start": self._start, "end": self._end}))
        self._records = RecordDecoder(batch.table, version)
        self.decode_sets = self._records.decode_sets

    def __call__(self, given: bytes | Decoded) -> tuple[Record, bytes | Decoded]:
        """Check a record, as JSON text or of `decode_sets`; as `RecordDecoder.decode`."""
        self.records += 1
        record: Any
        record, read = (given.found, given) if isinstance(given, Decoded) else self._records.decode(given)
        if record.window != self._spelled:
            self._compare(record)
        # Most records are of the whole window, and spell it as it was requested.
        late = (record.start != self._start or record.end != self._end) and self._is_late(record)
        _check_core_hours(record)
        if record.type == "Node":
            self._add_node(record)
        name = record.name
        if name.__class__ is str:
            self._allocations += 1
            if self._shares_idle and name.endswith(IDLE):
                raise self._not_shared(record)
            properties = record.properties
            if properties is not None and properties.node:
                self._on_nodes += 1
                if properties.providerID:
                    self._identified += 1
            if not name.endswith(_STANDING):
                self.workloads += 1
                self.late += late
        return record, read

    def _is_late(self, record: Record) -> bool:
        """Whether a record begins five minutes or more after the window; it must lie in the window."""
        start, end = _moment(record.start), _moment(record.end)
        if (start and start < self._window.start) or (end and end > self._window.end):
            raise self._other(record, f"{record.start},{record.end}, outside of its own window")
        return start is not None and start >= self._late_from

    def remarks(self) -> Iterator[tuple[str, ReasonCode | None]]:
        """Sentences about the response for the run log, each with its reason code."""
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
        if self._nodes and not self._node_cost:
            yield (
                f"none of the {self._nodes} nodes costs anything: OpenCost may have no prices",
                ReasonCode.IMPLAUSIBLE_COST,
            )
        elif abs(self._priced - self._expected) > _OFF_PRICE * self._expected:
            yield (
                f"nodes cost {self._priced:.5f}, and {self._expected:.5f} by their price now and the time they ran",
                ReasonCode.IMPLAUSIBLE_COST,
            )

    def _add_node(self, record: Record) -> None:
        """Add the cost of a node, and the cost expected by its price."""
        properties = record.properties
        ids = () if properties is None else (str(properties.providerID), str(properties.name))
        price = next((self._prices[one] for one in ids if one in self._prices), None)
        minutes, cost = record.minutes, record.totalCost or 0.0
        self._nodes += 1
        self._node_cost += cost
        if price and minutes is not None:
            self._priced += cost
            self._expected += price * minutes / 60

    def _compare(self, record: Record) -> None:
        """Compare a window that is spelled in another way, or count it when it is unset."""
        window = None if record.window is None else msgspec.json.decode(record.window)
        window = {} if window in (None, "null") else window
        if not isinstance(window, dict):
            raise self._other(record, shown(window))
        bounds = [_moment(window.get(name)) for name in ("start", "end")]
        for bound, requested in zip(bounds, (self._window.start, self._window.end), strict=True):
            if bound is not None and bound != requested:
                raise self._other(record, ",".join("null" if one is None else stamp(one) for one in bounds))
        self.undated += None in bounds

    def _not_shared(self, record: Record) -> ContentError:
        return ContentError(
            f"OpenCost did not share the idle cost that was to be shared: its response has {title(record)}. OpenCost "
            "does so from 1.112 on. Leave --share-idle out; OpenCostChargeback shares idle cost in Kusto."
        )

    def _other(self, record: Record, bounds: str) -> ContentError:
        return ContentError(
            f"OpenCost responded for {bounds} instead of {self._window}, in {title(record)}. What stands between, such "
            "as a cache or a proxy, may have sent the response to another request.",
            code=ReasonCode.OTHER_WINDOW,
        )


def _check_core_hours(record: Record) -> None:
    """Refuse a record whose cores and running time do not make its core-hours."""
    cores, minutes, hours = record.cpuCores, record.minutes, record.cpuCoreHours
    if cores is None or minutes is None or hours is None:
        # Another type than a number is refused with the types of the columns.
        return
    difference = abs(cores * minutes / 60 - hours)
    # Most records are as near as rounding allows.
    if difference > _ROUNDED and difference > _ROUNDED * max(minutes / 60, 1.0) + _DEVIATION * abs(hours):
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
