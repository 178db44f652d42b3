"""The request of a cost report, checked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from opencost_kusto.errors import UsageError
from opencost_kusto.insight.dimensions import RUN, Dimension, Idle, dimension
from opencost_kusto.kusto.client import Row
from opencost_kusto.schema.tables import ASSETS
from opencost_kusto.times import MINUTE
from opencost_kusto.window import Window, parse

# The dimensions of the cost of one run.
_OF_RUN = ("namespace", "cluster", "controller")


class Queries(Protocol):
    """A database that runs queries: `Kusto`."""

    def query(self, text: str) -> list[Row]:
        """The rows of a KQL query; raises KustoError."""


@dataclass(frozen=True, slots=True)
class CostRequest:
    """The cost of a window by a dimension: `namespace`, `cluster`, `controller`, `node`, `label:NAME`, `team`, ….

    `clusters` are names, none for all clusters. With `idle`, idle cost too. `earlier` is the window to compare with.
    `run` is a run whose own windows count instead of the window, `baseline` the run to compare with.
    """

    window: Window
    by: str = "namespace"
    clusters: tuple[str, ...] = ()
    idle: bool = False
    earlier: Window | None = None
    run: str = ""
    baseline: str = ""


def window_of(text: str | Window, now: datetime | None = None) -> Window:
    """A window of full minutes from a user's text: costs in Kusto need no marks. Raises UsageError."""
    return text if isinstance(text, Window) else parse(text, now=now or datetime.now(UTC), resolution=MINUTE)


def checked(request: CostRequest) -> Dimension:
    """The dimension of a request; raises UsageError for an unknown one, and for options that cannot be combined."""
    by = dimension(request.by)
    if request.idle and (by.idle is Idle.NONE or request.run):
        why = "the cost of assets has it" if by.dataset == ASSETS.dataset else "it is of nodes, not of runs or days"
        raise UsageError(f"--with idle is not for this request: {why}.")
    if request.run and by.name not in _OF_RUN:
        raise UsageError(f"The cost of a run is by {', '.join(_OF_RUN)}, not by {by}.")
    if request.baseline and not (request.run or by.name == RUN):
        raise UsageError(f"--compare {request.baseline} compares runs: add --run RUN or --by run, or compare previous.")
    if request.earlier and (request.run or by.name in (RUN, "day")):
        raise UsageError("--compare previous is for windows: compare a run with a run, and leave days uncompared.")
    return by
