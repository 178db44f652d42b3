"""The capabilities of an OpenCost, by its version and by where it keeps its measurements.

The list holds what was seen in recorded responses; `tests/extract/test_capabilities.py` compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from opencost_kusto.batch import Batch
from opencost_kusto.errors import ContentError, OpenCostError, ReasonCode, UsageError
from opencost_kusto.extract.dictionaries import Note
from opencost_kusto.names import shown, variable
from opencost_kusto.schema.tables import BUILT_IN_STORE
from opencost_kusto.window import RESOLUTION, Window, floor

Release = tuple[int, ...]
# The first release with a built-in store for its measurements.
STORES: Release = (1, 115)
# A route of OpenCost's Prometheus, which costs it nothing; the built-in store has none
# (opencost/opencost, modules/collector-source/pkg/collector/datasource.go, RegisterEndPoints).
PROMETHEUS = "/diagnostics/requestQueue"


@dataclass(frozen=True, slots=True)
class Capability:
    """A capability of the releases from `since` on, up to `until`; `otherwise` is what to use with other releases."""

    name: str
    otherwise: str
    since: Release = (0,)
    until: Release | None = None

    def of(self, release: Release) -> bool:
        """Whether a release can do it."""
        return self.since <= release and (self.until is None or release < self.until)


SHARED_IDLE = Capability(
    "Idle cost shared among the rows (`--share-idle`)",
    "load idle cost as a row with `--include-idle`; `OpenCostChargeback` shares it",
    since=(1, 112),
)
NAMESPACES = Capability(
    "Uid of the cluster in `/allNamespaces`", "from 1.118 on in `/metrics`; else none", until=(1, 114)
)
UIDS = Capability("Uid of the cluster in `/metrics`", "before 1.114 in `/allNamespaces`; else none", since=(1, 118))
ASSET_FILTERS = Capability(
    "Assets filtered by OpenCost (`--filter-types`)",
    "the program filters, as it does where the version is unknown",
    since=(1, 111),
)
CAPABILITIES = (
    SHARED_IDLE,
    NAMESPACES,
    UIDS,
    Capability(
        "Idle parts of a row (`CpuCostIdle`, `RamCostIdle`, `GpuCostIdle`)",
        "null; they are 0 elsewhere",
        since=(1, 112),
    ),
    ASSET_FILTERS,
    Capability("Allocations filtered by OpenCost", "filter in KQL; no filter is sent", since=(1, 115)),
    Capability("Limits of a row (`CpuCoreLimitAverage`, `RamByteLimitAverage`)", "null", since=(1, 119)),
    Capability("GPU device and sharing (`GpuAllocation`)", "`GpuUsageAverage` alone", since=(1, 119)),
    Capability("Labels of the node in each row", "`OpenCostAssets`, by `Node` and `Name`", since=(1, 119)),
    Capability("Cost of cluster management as an asset", "none", since=(1, 119)),
    Capability(
        "Controller of a ReplicaSet without a Deployment",
        "its cost is in `__unallocated__` by controller",
        until=(1, 119),
    ),
)


def retention(text: str) -> dict[timedelta, int]:
    """How many windows a built-in store keeps, `1h=168,1d=30`, the rest by default; raises UsageError."""
    found = dict(BUILT_IN_STORE)
    for pair in filter(None, text.replace(" ", "").split(",")):
        length, _, count = pair.partition("=")
        kept = next((one for one in found if length == spelled(one)), None)
        if kept is None or not (count.isascii() and count.isdecimal() and int(count)):
            raise UsageError(
                f"The retention {shown(pair)} is none of a built-in store; write how many windows it keeps of 10m, 1h "
                "or 1d, such as 1h=168."
            )
        found[kept] = int(count)
    return found


def spelled(length: timedelta) -> str:
    """A length of the built-in store as OpenCost spells it: 10m, 1h, 1d."""
    minutes = length // timedelta(minutes=1)
    return f"{minutes}m" if minutes < 60 else f"{minutes // 60}h" if minutes < 1440 else f"{minutes // 1440}d"


def release(version: str | None) -> Release:
    """Major and minor of a version as OpenCost writes it, `1.111.0-16 (69d8e473)`; empty where it is unknown."""
    return tuple(map(int, re.findall(r"\d+", version or "")[:2]))


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The capabilities of one OpenCost.

    `store` is how many windows of each length its built-in store keeps, the unfinished one included; empty with a
    Prometheus, which keeps what it is configured to, of any length. Where the version is unknown, everything is tried,
    and the response is checked.
    """

    version: str | None = None
    store: Mapping[timedelta, int] = field(default_factory=dict)

    def can(self, capability: Capability) -> bool:
        """Whether it has a capability; True if the version is unknown."""
        found = release(self.version)
        return not found or capability.of(found)

    def surely(self, capability: Capability) -> bool:
        """Whether it has a capability; False if the version is unknown."""
        return capability.of(release(self.version))

    @property
    def marks(self) -> timedelta:
        """On which marks its windows begin and end: every five minutes, or the shortest bucket of its store."""
        return min(self.store, default=RESOLUTION)

    def expired(self, window: Window, now: datetime) -> bool:
        """Whether its store no longer has a window; False with a Prometheus, whose retention is unknown."""
        kept = self.store.get(window.length)
        return kept is not None and window.start < floor(now, window.length) - (kept - 1) * window.length

    def explain_nothing(self, batch: Batch, now: datetime, note: Note) -> None:
        """Raise OpenCostError for a window that the store no longer has; of others, no record means no cost.

        Where a store keeps other windows than by default, that it still has this one is worth a note.
        """
        if batch.table.retention.keys() != self.store.keys():
            return
        length = batch.window.length
        if self.expired(batch.window, now):
            raise OpenCostError(
                f"OpenCost no longer has the window {batch.window}: its built-in store keeps the last "
                f"{self.store[length]} windows of {spelled(length)}. If it keeps more, set "
                f"{variable('--opencost-retention')}.",
                code=ReasonCode.EXPIRED,
            )
        if self.store != BUILT_IN_STORE and length in self.store:
            note("OpenCost's built-in store still has this window, without cost", ReasonCode.CONFIRMED_EMPTY)

    def check(self, batch: Batch) -> None:
        """Raise UsageError for a batch that it would respond to with something else."""
        if batch.requested.get("shareIdle") and not self.can(SHARED_IDLE):
            raise UsageError(
                f"OpenCost {self.version} does not share idle cost; releases from 1.112 on do. Leave --share-idle out "
                "and keep --include-idle: OpenCostChargeback shares it in Kusto."
            )

    def unsupported(self) -> list[Capability]:
        """The capabilities that it does not have."""
        return [one for one in CAPABILITIES if not self.can(one)]


def handshake(
    version: str | None, request: Callable[[], object], kept: Mapping[timedelta, int] | None = None
) -> Capabilities:
    """The capabilities of a version; `request` requests PROMETHEUS, and raises what a request raises.

    No response says how many windows a built-in store keeps: it is `kept` where the user says so, else OpenCost's
    default.
    """
    if kept is not None:
        return Capabilities(version, kept)
    if release(version) >= STORES:
        try:
            request()
        except (OpenCostError, ContentError) as error:
            return Capabilities(version, BUILT_IN_STORE if error.code is ReasonCode.NOT_FOUND else {})
    return Capabilities(version)
