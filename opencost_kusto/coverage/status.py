"""How current and how complete Kusto is: by source and dataset what landed last, and what is missing or damaged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from opencost_kusto.coverage.cover import covers
from opencost_kusto.coverage.interval_set import IntervalSet
from opencost_kusto.coverage.state import DatasetState, dataset_states
from opencost_kusto.coverage.totals import SCRAPES, totals
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.result import Outcome
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.tables import ALLOCATION, ASSETS, DATASETS
from opencost_kusto.window import Window, stamp
from opencost_kusto.window_state import GONE, SETTLED, WindowState

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
# The shipped functions that count the cost of a dataset, each minute once.
_COST_FUNCTIONS = {ALLOCATION.dataset: "OpenCostWorkloadCost", ASSETS.dataset: "OpenCostInfrastructureCost"}
# Failures with reasons of their own that are shown; the others are counted.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """A window that did not land, and why; `windows` counts those with the same reason."""

    window: Window
    outcome: str
    reason: str
    windows: int


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """One dataset of one source.

    `until` is the end of its last landed window, or the minute of its last scrape, None if nothing landed;
    `empty_until` is the end of the last window without cost. `batches` and `rows` are totals. In the period read,
    `missing` and `lost` windows are not in Kusto, and `lost` ones cannot be loaded any more; `damaged` ones are in
    Kusto, but not as one complete response; `failures` are the windows that did not land, with the reason. `day_rows`
    and `day_cost` are of the last day; the cost counts each minute once, in `currency`, None where none is set.
    """

    source: str
    dataset: str
    until: datetime | None
    batches: int
    rows: int
    day_rows: int = 0
    day_cost: float | None = None
    currency: str | None = None
    missing: list[Window] = field(default_factory=list)
    lost: list[Window] = field(default_factory=list)
    damaged: list[Window] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    empty_until: datetime | None = None

    def age(self, now: datetime) -> timedelta | None:
        """The time since the last landed window ended; clocks differ, so never negative."""
        return None if self.until is None else max(now - self.until, timedelta())

    @property
    def empty_since_last(self) -> bool:
        """Whether windows after the last that landed had no cost: nothing ran, or Prometheus is down."""
        return self.empty_until is not None and (self.until is None or self.until < self.empty_until)

    def document(self, now: datetime) -> dict[str, Json]:
        """The same as JSON; the age in seconds, windows as start and end."""
        age = self.age(now)
        return {
            "source": self.source,
            "dataset": self.dataset,
            "until": self.until and stamp(self.until),
            "empty_until": self.empty_until and stamp(self.empty_until),
            "age_seconds": None if age is None else age.total_seconds(),
            "batches": self.batches,
            "rows": self.rows,
            "day_rows": self.day_rows,
            "day_cost": self.day_cost,
            "currency": self.currency,
            "missing": list(map(_bounds, self.missing)),
            "lost": list(map(_bounds, self.lost)),
            "damaged": list(map(_bounds, self.damaged)),
            "failures": [
                {**_bounds(one.window), "outcome": one.outcome, "reason": one.reason, "windows": one.windows}
                for one in self.failures
            ],
        }


def cost_query(dataset: str, period: Window) -> str:
    """KQL for the cost of a dataset by source, each minute counted once, and its currency, by shipped functions."""
    start, end = (f"datetime({stamp(bound)})" for bound in (period.start, period.end))
    return (
        f"{_COST_FUNCTIONS[dataset]}({start}, {end}) | summarize Cost = sum(TotalCost) by Source = Cluster"
        " | lookup kind=leftouter (OpenCostCurrencies() | project Source = Cluster, Currency) on Source"
    )


def status(kusto: Kusto, *, now: datetime, back: timedelta = timedelta(hours=48)) -> list[DatasetStatus]:
    """The status by source and dataset, with the missing windows of the last `back`; raises KustoError.

    Minutes between the first and the last aligned window in the run log can be missing. The number of queries
    depends on the months that have entries, and not on the number of sources and windows. Each is about a month, but
    for which months there are: that is queried year by year.
    """
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    # The minute of a scrape may be the current one.
    period = Window(minute - max(back, _DAY), minute + _MINUTE)
    recent = {(one.source, one.table.dataset): one for one in dataset_states(kusto, None, [*DATASETS.values()], period)}
    counted = totals(kusto, minute)
    costs = _costs(kusto, {row["Dataset"] for row in counted}, Window(minute - _DAY, minute))
    found = []
    for row in counted:
        name = row["Source"], row["Dataset"]
        first, until, empty = (row[at] and row[at].astimezone(UTC) for at in ("First", "Until", "EmptyUntil"))
        facts: dict[str, Json] = {"empty_until": empty}
        if name in recent:
            proven = [_end(window, name[1]) for window in recent[name].windows({WindowState.LANDED})]
            until = max([*proven, *([until] if until else [])], default=None)
            recently = Window(minute - back, minute)
            facts |= _recent(recent[name], recently, first is not None and first < recently.start)
        batches, rows, day_rows = (int(row[count] or 0) for count in ("Batches", "Rows", "DayRows"))
        found.append(DatasetStatus(*name, until, batches, rows, day_rows, *costs.get(name, (None, None)), **facts))
    return found


def _costs(kusto: Kusto, datasets: Set[str], period: Window) -> dict[tuple[str, str], tuple[float, str | None]]:
    """The cost of a period and its currency, by source and dataset, for some datasets."""
    return {
        (row["Source"], dataset): (row["Cost"], row["Currency"] or None)
        for dataset in _COST_FUNCTIONS
        if dataset in datasets
        for row in kusto.query(cost_query(dataset, period))
    }


def _recent(one: DatasetState, period: Window, earlier: bool) -> dict[str, Json]:
    """The missing, lost, damaged and failed windows of a period; `earlier` if the run log has windows before it."""
    settled, damaged, lost_once = (
        list(one.windows(states)) for states in (SETTLED, {WindowState.DAMAGED}, {WindowState.LOST})
    )
    lost = [gap for cover in covers(IntervalSet(lost_once), settled).values() for gap in cover.missing]
    of_entries = covers((entry.window for entry in one.entries.values()), settled)
    # A window that OpenCost no longer has at this step is left out: a longer one landed, or it is lost or missing. A
    # failed window that is longer than the period is left out too.
    entries = [
        entry
        for entry in one.entries.values()
        if entry.outcome is not None
        and entry.window.end > period.start
        and entry.state not in GONE
        and (entry.window.minutes <= period.minutes or of_entries[entry.window].complete)
    ]
    aligned = [entry.window for entry in entries if _is_aligned(entry.window)]
    begin = period.start if earlier else max(min(aligned, default=period).start, period.start)
    end = max((window.end for window in aligned), default=begin)
    due = [Window(begin, end)] if begin < end and one.table.dataset not in SCRAPES else []
    missing = [gap for cover in covers(due, [*settled, *lost, *damaged]).values() for gap in cover.missing]
    failed = {WindowState.FAILED, WindowState.QUEUED}
    return {
        "missing": missing,
        "lost": lost,
        "damaged": list(IntervalSet(damaged)),
        "failures": list(
            _failures(
                (entry.outcome, entry.reason or "", entry.window)
                for entry in entries
                if entry.state in failed and entry.outcome not in (None, Outcome.QUEUED)
                if not of_entries[entry.window].complete
            )
        ),
    }


def _is_aligned(window: Window) -> bool:
    """Whether a window begins and ends at full ten minutes, as those of a schedule do."""
    return not window.start.minute % 10 and not window.end.minute % 10


def _end(window: Window, dataset: str) -> datetime:
    """The end of what a window covers; a scrape is of a moment of its minute."""
    return window.start if dataset in SCRAPES else window.end


def _failures(failed: Iterable[tuple[str, str, Window]]) -> Iterator[Failure]:
    """What failed, the newest windows first, each reason once."""
    by_reason: dict[tuple[str, str], list[Window]] = {}
    for outcome, reason, window in failed:
        by_reason.setdefault((outcome, reason), []).append(window)
    newest = sorted(by_reason.items(), key=lambda item: max(item[1]), reverse=True)[:_SHOWN]
    for failure, windows in newest:
        yield Failure(max(windows), *failure, len(windows))


def _bounds(window: Window) -> dict[str, str]:
    return {"start": stamp(window.start), "end": stamp(window.end)}
