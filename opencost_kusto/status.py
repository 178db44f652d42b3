"""How fresh Kusto is: by source and dataset the end of the last landed window, its age, and what failed since."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from opencost_kusto.kusto import Kusto
from opencost_kusto.report import ALREADY_THERE, EMPTY, FAILED, LANDED, TIMED_OUT
from opencost_kusto.schema import Json
from opencost_kusto.window import stamp

# The last word on each batch, then what it says by source and dataset. An empty window is a known one.
STATUS_QUERY = (
    "OpenCostSyncRuns"
    " | summarize arg_max(CollectionTime, Source, Dataset, WindowEnd, Outcome, Rows) by BatchId"
    f' | extend Landed = Outcome in ("{LANDED}", "{ALREADY_THERE}", "{EMPTY}")'
    f', Lost = Outcome in ("{FAILED}", "{TIMED_OUT}")'
    " | extend Until = iff(Landed, WindowEnd, datetime(null))"
    " | summarize Until = max(Until), Batches = countif(Landed), Rows = sumif(Rows, Landed), Failed = countif(Lost)"
    " by Source, Dataset"
    " | order by Source asc, Dataset asc"
)


@dataclass(frozen=True, slots=True)
class Freshness:
    """One dataset of one source; `until` is the end of its last landed window, None when nothing ever landed."""

    source: str
    dataset: str
    until: datetime | None
    batches: int
    rows: int
    failed: int

    def age(self, now: datetime) -> timedelta | None:
        """How long ago the last landed window ended; a scrape's minute may not have ended yet."""
        return None if self.until is None else max(now - self.until, timedelta())

    def line(self, now: datetime) -> str:
        """One line for people."""
        age = self.age(now)
        until = f"until {stamp(self.until)}, {_spoken(age)} ago" if self.until and age is not None else "nothing landed"
        failed = f", {self.failed} not in Kusto" if self.failed else ""
        return f"{self.source:<24} {self.dataset:<10} {until}: {self.batches} batches, {self.rows} rows{failed}"

    def document(self, now: datetime) -> dict[str, Json]:
        """The same as JSON; the age in seconds."""
        age = self.age(now)
        return {**asdict(self), "until": self.until and stamp(self.until), "age_seconds": age and age.total_seconds()}


def status(kusto: Kusto) -> list[Freshness]:
    """What the run ledger says, by source and dataset; raises KustoError."""
    return [
        Freshness(
            row["Source"],
            row["Dataset"],
            row["Until"] and row["Until"].astimezone(UTC),
            int(row["Batches"]),
            int(row["Rows"] or 0),
            int(row["Failed"]),
        )
        for row in kusto.query(STATUS_QUERY)
    ]


def _spoken(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    days, minutes = divmod(minutes, 24 * 60)
    hours, minutes = divmod(minutes, 60)
    return f"{days}d {hours}h" if days else f"{hours}h {minutes}m"
