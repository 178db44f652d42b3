"""How fresh and how whole Kusto is: by source and dataset what landed last, and what is missing, lost or failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from opencost_kusto.coverage.state import DatasetState, IntervalSet, RunLogEntry, cost_once, known
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.result import Outcome
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import DATASETS, SYNC_RUNS
from opencost_kusto.window import Window, stamp

_DAY = timedelta(days=1)
_SCRAPES = [name for name, table in DATASETS.items() if table.cadence == "scrape"]
# Failures with reasons of their own that are told; the others are counted.
_TOLD = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """A window that did not land, and why; `windows` counts those of which the same is said."""

    window: Window
    outcome: str
    reason: str
    windows: int


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """One dataset of one source.

    `until` is the end of its last landed window, or the minute of its last scrape, None when nothing ever landed;
    `empty_until` is the end of the last window of which OpenCost had nothing. `batches` and `rows` are of all time. Of
    the time looked at, `missing` and `lost` are the stretches that are not in Kusto, where the lost ones are gone for
    good, and `failures` say why; of the last day, `day_rows` and `day_cost` count each minute once.
    """

    source: str
    dataset: str
    until: datetime | None
    batches: int
    rows: int
    day_rows: int = 0
    day_cost: float | None = None
    missing: list[Window] = field(default_factory=list)
    lost: list[Window] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    empty_until: datetime | None = None

    def age(self, now: datetime) -> timedelta | None:
        """How long ago the last landed window ended; clocks differ, so never less than nothing."""
        return None if self.until is None else max(now - self.until, timedelta())

    @property
    def dry(self) -> bool:
        """Whether OpenCost had nothing for windows after the last that landed: no cost, or no Prometheus."""
        return self.empty_until is not None and (self.until is None or self.until < self.empty_until)

    def lines(self, now: datetime) -> list[str]:
        """Lines for people: one, and below it what is not in Kusto."""
        age = self.age(now)
        until = (
            f"until {stamp(self.until)}, {_spoken(age)} ago"
            if self.until and age is not None
            else "nothing landed whole"
        )
        if self.dry and self.empty_until:
            until += f", empty until {stamp(self.empty_until)}"
        cost = f" costing {self.day_cost:.5f}" if self.day_cost is not None else ""
        day = f"last day {self.day_rows} rows{cost}"
        whole = f"{self.source:<24} {self.dataset:<10} {until}: {self.batches} batches, {self.rows} rows; {day}"
        gaps = [f"    missing {_stretch(one)}; backfill brings what OpenCost still has" for one in self.missing]
        lost = [f"    lost    {_stretch(one)}" for one in self.lost]
        more = [f"    {one.outcome:<7} {_stretch(one.window)}{_others(one)}: {one.reason}" for one in self.failures]
        return [whole, *gaps, *lost, *more]

    def document(self, now: datetime) -> dict[str, Json]:
        """The same as JSON; the age in seconds, stretches as start and end."""
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
            "missing": [_bounds(one) for one in self.missing],
            "lost": [_bounds(one) for one in self.lost],
            "failures": [
                {**_bounds(one.window), "outcome": one.outcome, "reason": one.reason, "windows": one.windows}
                for one in self.failures
            ],
        }


def status_query(now: datetime) -> str:
    """The last word on each batch, then what it says by source and dataset. An empty window counts as a batch.

    What was only queued counts among batches and rows, but says nothing about until when the dataset is there; nor do
    some types of assets. `First` is where the first window on the clock begins.
    """
    seen, empty = ", ".join(map(literal, (Outcome.LANDED, Outcome.ALREADY_LANDED))), literal(Outcome.EMPTY)
    last = "Source, Dataset, WindowStart, WindowEnd, Outcome, Rows, Options"
    return (
        f"{SYNC_RUNS.name} | summarize arg_max(CollectionTime, {last}) by BatchId"
        f" | extend Recent = WindowEnd > datetime({stamp(now - _DAY)}),"
        f" All = tostring(Options.filterTypes) in ('', '[]'),"
        f" Landed = Outcome in ({seen}, {empty}, {literal(Outcome.QUEUED)}),"
        f" End = iff(Dataset in ({', '.join(map(literal, _SCRAPES))}), WindowStart, WindowEnd),"
        " Clock = WindowStart == bin(WindowStart, 10m) and WindowEnd == bin(WindowEnd, 10m)"
        f" | extend Until = iff(All and Outcome in ({seen}), End, datetime(null)),"
        f" EmptyUntil = iff(All and Outcome == {empty}, End, datetime(null)),"
        " First = iff(Landed and Clock, WindowStart, datetime(null))"
        " | summarize First = min(First), Until = max(Until), EmptyUntil = max(EmptyUntil), Batches = countif(Landed),"
        " Rows = sumif(Rows, Landed), DayRows = sumif(Rows, Landed and Recent) by Source, Dataset"
        " | order by Source asc, Dataset asc"
    )


def status(kusto: Kusto, *, now: datetime, back: timedelta = timedelta(hours=48)) -> list[DatasetStatus]:
    """What Kusto knows, by source and dataset, and what is not in it of the time since `back`; raises KustoError.

    Missing are stretches between the first and the last window on the clock that the ledger knows. Five queries are
    asked, whatever the number of sources and windows.
    """
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    # A scrape's minute may be the one that is running.
    looked_at = Window(minute - max(back, _DAY), minute + timedelta(minutes=1))
    recent = {(one.source, one.table.dataset): one for one in known(kusto, None, [*DATASETS.values()], looked_at)}
    found = []
    for row in kusto.query(status_query(minute)):
        name = row["Source"], row["Dataset"]
        first, until, empty = (row[at] and row[at].astimezone(UTC) for at in ("First", "Until", "EmptyUntil"))
        if name in recent:
            proven = [_end(word.window, name[1]) for word in recent[name].there()]
            until = max([*proven, *([until] if until else [])], default=None)
        batches, rows, day_rows = (int(row[count] or 0) for count in ("Batches", "Rows", "DayRows"))
        span = Window(minute - back, minute)
        facts = _of(recent[name], span, first is not None and first < span.start) if name in recent else {}
        found.append(DatasetStatus(*name, until, batches, rows, day_rows, **facts, empty_until=empty))
    return found


def _of(one: DatasetState, span: Window, earlier: bool) -> dict[str, Json]:
    """What is missing, lost and failed of a span, and what its last day cost; `earlier` when more was known before."""
    there, lost = one.settled(), one.lost()
    # What OpenCost had forgotten says nothing: it came coarser, or is lost, or is missing. What failed and is longer
    # than the span was not about these days.
    words = [
        word
        for word in one.words.values()
        if word.window.end > span.start
        and not word.forgotten
        and (word.window.minutes <= span.minutes or word.window in there)
    ]
    clock = [word.window for word in words if _on_the_clock(word.window)]
    begin = span.start if earlier else max(min(clock, default=span).start, span.start)
    end = max((window.end for window in clock), default=begin)
    scrapes = one.table.dataset in _SCRAPES
    gone = [hole for stretch in lost for hole in there.holes(stretch)]
    return {
        "missing": list(IntervalSet([*there, *gone]).holes(Window(begin, end))) if begin < end and not scrapes else [],
        "lost": gone,
        "failures": _failures(word for word in words if word.window not in there),
        "day_cost": cost_once(word for word in one.there() if word.window.start >= span.end - _DAY),
    }


def _on_the_clock(window: Window) -> bool:
    """Whether a window begins and ends at a full ten minutes, as those do that are asked for again and again."""
    return not window.start.minute % 10 and not window.end.minute % 10


def _end(window: Window, dataset: str) -> datetime:
    """Up to when a window says something; a scrape is of a moment of its minute."""
    return window.start if dataset in _SCRAPES else window.end


def _failures(words: Iterable[RunLogEntry]) -> list[Failure]:
    """What failed and is not there all the same, the newest windows first, each reason once."""
    by_reason: dict[tuple[str, str], list[Window]] = {}
    for word in words:
        if word.outcome in (Outcome.FAILED, Outcome.TIMED_OUT):
            by_reason.setdefault((word.outcome, word.reason or ""), []).append(word.window)
    newest = sorted(by_reason.items(), key=lambda item: max(item[1]), reverse=True)[:_TOLD]
    return [Failure(max(windows), *said, len(windows)) for said, windows in newest]


def _others(one: Failure) -> str:
    return f" and {one.windows - 1} more" if one.windows > 1 else ""


def _bounds(window: Window) -> dict[str, str]:
    return {"start": stamp(window.start), "end": stamp(window.end)}


def _stretch(window: Window) -> str:
    return f"{stamp(window.start)} to {stamp(window.end)} ({_spoken(window.end - window.start)})"


def _spoken(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    days, minutes = divmod(minutes, 24 * 60)
    hours, minutes = divmod(minutes, 60)
    return f"{days}d {hours}h" if days else f"{hours}h {minutes}m"
