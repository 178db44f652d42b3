"""How the OpenCost versions of the emulator differ.

Every difference was seen in recorded responses of the three servers over the same data;
`tests/data/opencost-*/INDEX.md` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opencost_kusto.errors import UsageError


@dataclass(frozen=True, slots=True)
class Version:
    """One OpenCost release; each flag is a difference between releases."""

    name: str
    number: str
    revision: str
    status_in_envelope: bool = True
    """Whether the envelope has `status`, and an error's message begins with `Error: `."""
    shares_idle: bool = True
    """Whether `shareIdle` is read."""
    has_idle_parts: bool = True
    """Whether rows have `cpuCostIdle`, `gpuCostIdle` and `ramCostIdle`."""
    idle_is_clamped: bool = False
    """Whether idle cost below zero is set to zero."""
    filters_allocation: bool = False
    """Whether /allocation reads `filter`."""
    has_gpu_allocation: bool = False
    """Whether GPU use is an object of its own, and rows have limits."""
    merges_node_labels: bool = False
    """Whether every node label is merged into the labels of a row."""
    names_bare_replicasets: bool = True
    """Whether a ReplicaSet without a Deployment is a controller."""
    ends_now: bool = False
    """Whether what runs in an unfinished window ends now, instead of at the next mark."""
    has_object_routes: bool = True
    """Whether /allNamespaces is served."""
    has_management_asset: bool = False
    has_local_flag: bool = False
    names_os_disks: bool = False
    """Whether an OS disk's provider id is a resource id, instead of the node's name."""
    assets_count_hours: bool = False
    """Whether a load balancer asset is priced by its hours, instead of five minutes for each mark."""
    closes_on_reversed_assets: bool = False
    """Whether /assets closes the connection when the window has no length."""
    has_uids: bool = False
    """Whether /metrics has `uid` labels."""

    @property
    def reported(self) -> str:
        """The version as /installInfo has it."""
        return f"{self.number} ({self.revision})"


_ALL: Final = (
    Version(
        "1.111",
        "1.111.0",
        "69d8e473b60648dcb468964944043e1929a66ee8",
        shares_idle=False,
        has_idle_parts=False,
    ),
    Version("1.112", "1.112.0", "5f653330"),
    Version(
        "1.119",
        "1.119.0",
        "5df39a59",
        status_in_envelope=False,
        idle_is_clamped=True,
        filters_allocation=True,
        has_gpu_allocation=True,
        merges_node_labels=True,
        names_bare_replicasets=False,
        ends_now=True,
        has_object_routes=False,
        has_management_asset=True,
        has_local_flag=True,
        names_os_disks=True,
        assets_count_hours=True,
        closes_on_reversed_assets=True,
        has_uids=True,
    ),
)
NAMES: Final = tuple(version.name for version in _ALL)
DEFAULT: Final = "1.112"


def version(name: str) -> Version:
    """The version of a name, such as `1.112`. Raises UsageError for any other."""
    found = next((one for one in _ALL if one.name == name), None)
    if found is None:
        raise UsageError(f"The emulator does not have OpenCost {name}. Choose one of {', '.join(NAMES)}.")
    return found
