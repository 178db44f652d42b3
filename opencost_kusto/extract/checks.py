"""Whether each record is of the window that was requested, lies in it, says everything once, and agrees with itself.

A response that contradicts itself is refused. An implausible one lands, with a note and a reason code.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from opencost_kusto.errors import ContentError, ReasonCode
from opencost_kusto.names import shown
from opencost_kusto.schema.columns import Json
from opencost_kusto.window import Window, stamp

_LATE = timedelta(minutes=5)
# What stands for no workload: it has the window's times, whatever ran.
_STANDING = ("__unmounted__", "__idle__")
# Of 4,511 recorded records none is further off than five decimals allow.
_ROUNDED, _DEVIATION = 1e-4, 0.01
# Where OpenCost 1.111 to 1.119 sends objects.
_OBJECTS = (
    *("properties", "labels", "window", "pvs", "lbAllocations", "rawAllocationOnly", "gpuAllocation", "breakdown"),
    *("cpuBreakdown", "ramBreakdown", "overhead", "proportionalAssetResourceCosts", "sharedCostBreakdown"),
)


class RecordChecks:
    """Checks the records of one response, one by one; raises ContentError for the first that cannot be trusted.

    `records` counts those that were checked, `undated` those that do not say which window they are of, `workloads`
    the allocations that are of a workload, `late` those of them that begin five minutes or more after the window.
    """

    def __init__(self, window: Window) -> None:
        self.records = self.undated = self.workloads = self.late = self._allocations = 0
        self._window = window
        self._spelled = {"start": stamp(window.start), "end": stamp(window.end)}
        self._decode = msgspec.json.Decoder().decode

    def __call__(self, record: bytes) -> dict[str, Json]:
        """Check a record, as JSON text; the record, decoded."""
        self.records += 1
        try:
            found: dict[str, Json] = self._decode(record)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ContentError(f"OpenCost's response has a record that cannot be read: {error}.") from error
        # Each key ends in a quote ahead of a colon. A record with more of these than keys were counted may have a key
        # twice, an object that is not counted, or a text that begins with a colon; one with escapes, or blanks ahead
        # of a colon, may have keys that were not counted. A slower decoder knows.
        odd = b"\\" in record or b" :" in record or b"\t:" in record
        if odd or _keys(found) != record.count(b'":'):
            json.loads(record, object_pairs_hook=_once)
        if found.get("window") != self._spelled:
            self._compare(found, found.get("window"))
        start, end = _moment(found.get("start")), _moment(found.get("end"))
        if (start and start < self._window.start) or (end and end > self._window.end):
            raise self._other(found, f"{found.get('start')},{found.get('end')}, outside of its own window")
        self._agrees(found)
        name = found.get("name")
        if name.__class__ is str:
            self._allocations += 1
            if not name.endswith(_STANDING):
                self.workloads += 1
                self.late += start is not None and start >= self._window.start + _LATE
        return found

    def remarks(self) -> Iterator[tuple[str, ReasonCode | None]]:
        """Sentences about the whole response that a reader should know, each with its reason code."""
        if self.undated:
            yield f"{self.undated} of {self.records} records do not say which window they are of", None
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

    def _agrees(self, record: dict[str, Json]) -> None:
        """Refuse a record whose cores and running time do not make its core-hours."""
        try:
            cores, minutes, hours = record["cpuCores"], record["minutes"], record["cpuCoreHours"]
            off = abs(cores * minutes / 60 - hours)
            allowed = _ROUNDED * max(minutes / 60, 1.0) + _DEVIATION * abs(hours)
        except (KeyError, TypeError, OverflowError):
            # A null, or another shape, which the columns' types refuse.
            return
        if off > allowed:
            name = shown(record.get("name") or record.get("type") or "a record without a name")
            raise ContentError(
                f"OpenCost's response contradicts itself in {name}: {cores:g} cores for {minutes:g} minutes are not "
                f"{hours:g} core-hours.",
                code=ReasonCode.IMPLAUSIBLE_COST,
            )

    def _compare(self, record: dict[str, Json], window: Json) -> None:
        """Compare a window that is spelled in another way, or count it when it is unset."""
        if window is None or window == "null":
            window = {}
        if not isinstance(window, dict):
            raise self._other(record, shown(window))
        bounds = [_moment(window.get(name)) for name in ("start", "end")]
        for bound, requested in zip(bounds, (self._window.start, self._window.end), strict=True):
            if bound is not None and bound != requested:
                raise self._other(record, ",".join("null" if one is None else stamp(one) for one in bounds))
        self.undated += None in bounds

    def _other(self, record: dict[str, Json], said: str) -> ContentError:
        name = shown(record.get("name") or record.get("type") or "a record without a name")
        return ContentError(
            f"OpenCost responded for {said} instead of {self._window}, in {name}. What stands between, such as a cache "
            "or a proxy, may have sent the response to another request.",
            code=ReasonCode.OTHER_WINDOW,
        )


def _keys(record: dict[str, Json]) -> int:
    """How many keys a record has, with those of its objects and of theirs; no more are counted than there are."""
    keys = len(record)
    for name in _OBJECTS:
        found = record.get(name)
        if found.__class__ is dict:
            keys += len(found)
            for inner in found.values():
                if inner.__class__ is dict:
                    keys += len(inner)
    return keys


def _once(pairs: list[tuple[str, Json]]) -> None:
    """Refuse an object that has a key twice."""
    if len(dict(pairs)) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ContentError(
            f"OpenCost's response has the key {shown(twice)} twice in one object, so its costs cannot be trusted.",
            code=ReasonCode.DUPLICATE_KEY,
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
