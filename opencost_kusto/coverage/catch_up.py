"""Load missing windows while OpenCost still has them, and longer windows where it no longer has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import msgspec

from opencost_kusto.batch import Batch, Run, Source
from opencost_kusto.cancel import CancelToken
from opencost_kusto.coverage.confirm import costs_more
from opencost_kusto.coverage.gaps import Gaps, Target, find_gaps
from opencost_kusto.coverage.retention import containing, fallbacks
from opencost_kusto.coverage.state import GONE, RunLogEntry, WindowState, state
from opencost_kusto.errors import OpenCostError, ReasonCode
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.pipeline.stage import MAX_CONSECUTIVE_FAILURES
from opencost_kusto.pipeline.sync import log, sync
from opencost_kusto.result import BatchResult, Outcome, Report, batch_result
from opencost_kusto.window import Window

# Windows of one tick. OpenCost's built-in store holds at most 49 of one length, of which 48 can be missing in a
# catch-up of 48 hours: one tick loads everything that could expire before the next.
MAX_WINDOWS = 48
_UNTIL_IT_ENDS = "OpenCost no longer has the window; the longer window that contains it is loaded once it has ended."
_NO_MORE = "the longer window that contains it costs no more than what landed of it"
LOST_REASON = "OpenCost has the window at no step any more: it is lost, and not requested again."


def lost(batch: Batch) -> BatchResult:
    """The result of a batch that OpenCost has at no step."""
    return batch_result(batch, Outcome.LOST, error=OpenCostError(LOST_REASON, code=ReasonCode.EXPIRED))


@dataclass(frozen=True, slots=True)
class BatchList:
    """Batches of one source, chosen one by one."""

    chosen: tuple[Batch, ...]
    optional: frozenset[str] = frozenset()

    def batches(self, source: Source, now: datetime) -> Iterator[Batch]:
        """These batches."""
        del source, now
        return iter(self.chosen)


@dataclass(slots=True)
class CatchUp:
    """Loads the gaps of one source; `report` has the result of each batch.

    Only windows that end before `closed` are loaded. For a window that OpenCost no longer has, the hour or the day
    that contains it is loaded. A window that OpenCost has at no step is lost, which the run log records.
    """

    opencost: OpenCost
    kusto: Kusto
    target: Target
    gaps: Gaps
    run: Run
    closed: datetime
    policy: LoadPolicy = field(default_factory=LoadPolicy)
    cancel: CancelToken = field(default_factory=CancelToken)
    on_result: Callable[[BatchResult], None] = lambda _: None
    report: Report = field(init=False)
    _entries: dict[str, RunLogEntry] = field(init=False)
    _expired: list[BatchResult] = field(default_factory=list)
    _empty: list[Batch] = field(default_factory=list)
    _failures: int = 0

    def __post_init__(self) -> None:
        self.report = Report(self.run.id, on_result=self.on_result)
        self._entries = {id_: entry for one in self.gaps.states.values() for id_, entry in one.entries.items()}

    def load(self, max_windows: int | None = None, *, scrape: bool = False) -> Report:
        """Load the first `max_windows` due windows; with `scrape`, also this moment's metrics."""
        due = _first(self.gaps.due, max_windows)
        scrapes = self.target.scrapes(self.gaps.source, self.run.collection_time) if scrape else []
        self._load(due, scrapes)
        gone = [*self.gaps.gone, *(batch for batch in due if self._is_gone(batch))]
        for step in fallbacks(self.target.step):
            gone = self._fall_back(gone, step, max_windows)
        self._settle(gone)
        return self.report

    def _is_gone(self, batch: Batch) -> bool:
        return state(self._entries.get(batch.id), None) in GONE

    def _fall_back(self, gone: list[Batch], step: timedelta, max_windows: int | None) -> list[Batch]:
        """Load the windows of a longer step that contain these; return those whose longer window is gone too."""
        longer: dict[str, Batch] = {}
        inside: dict[str, list[Batch]] = {}
        for batch in gone:
            container = replace(batch, window=containing(batch.window, step))
            if container.window.end > self.closed:
                error = OpenCostError(_UNTIL_IT_ENDS, code=ReasonCode.EXPIRED)
                self.report.add([batch_result(batch, Outcome.FAILED, error=error)])
                continue
            longer[container.id] = container
            inside.setdefault(container.id, []).append(batch)
        for id_ in [id_ for id_ in longer if self._is_empty(longer[id_], inside[id_])]:
            self._empty += inside.pop(id_)
            del longer[id_]
        known = {id_ for id_, batch in longer.items() if self._is_gone(batch)}
        self._load(_first([batch for id_, batch in longer.items() if id_ not in known], max_windows))
        return [batch for id_, container in longer.items() if self._is_gone(container) for batch in inside[id_]]

    def _is_empty(self, longer: Batch, inside: list[Batch]) -> bool:
        """Whether windows with inconclusive empty responses had no cost, by what the longer window costs."""
        if not all(state(self._entries[batch.id], None) is WindowState.INCONCLUSIVE for batch in inside):
            return False
        self.cancel.check()
        landed = [
            entry
            for id_, entry in self._entries.items()
            if id_.startswith(f"{longer.table.name}/") and entry.outcome in (Outcome.LANDED, Outcome.ALREADY_LANDED)
        ]
        return not costs_more(self.opencost, longer, self.gaps.source, self.run, landed)

    def _settle(self, gone: list[Batch]) -> None:
        """Report lost and empty windows, and log them as the latest entries.

        They replace the entries of `sync` for these windows: failed or empty.
        """
        settled = [lost(batch) for batch in gone]
        settled += [
            batch_result(batch, Outcome.EMPTY, rows=0, reason=_NO_MORE, code=ReasonCode.CONFIRMED_EMPTY)
            for batch in self._empty
        ]
        self.report.add(settled)
        latest = {one.batch_id: one for one in (*self._expired, *settled)}
        log(self.report, self.kusto, self.run, self.gaps.source, latest.values())

    def _load(self, batches: list[Batch], scrapes: Iterable[Batch] = ()) -> None:
        """Sync batches, some at a time, so that the run log is written early."""
        windows = list(dict.fromkeys(batch.window for batch in batches))
        groups = [set(windows[at : at + MAX_WINDOWS]) for at in range(0, len(windows), MAX_WINDOWS)] or [set()]
        for number, group in enumerate(groups, 1):
            self.cancel.check()
            now = [*scrapes] if number == len(groups) else []
            chosen = [*(batch for batch in batches if batch.window in group), *now]
            if chosen and self._failures < MAX_CONSECUTIVE_FAILURES:
                self._sync(chosen)

    def _sync(self, batches: list[Batch]) -> None:
        report = sync(
            self.opencost,
            self.kusto,
            BatchList(tuple(batches)),
            source=self.gaps.source,
            run=self.run,
            policy=self.policy,
            cancel=self.cancel,
            on_result=self._ended,
        )
        self.report.run_log = self.report.run_log or report.run_log
        self.report.warnings += report.warnings

    def _ended(self, result: BatchResult) -> None:
        """Record a result of `sync`; an expired window is not a failure: a longer one is loaded, or it is lost."""
        entry = self._entries[result.batch_id] = RunLogEntry.of(result, self.run.collection_time)
        no_response = result.reason_code in (ReasonCode.UNREACHABLE, ReasonCode.TIMED_OUT)
        self._failures = self._failures + 1 if result.outcome is Outcome.FAILED and no_response else 0
        if (now := state(entry, None)) in GONE:
            code = ReasonCode.INCONCLUSIVE if now is WindowState.INCONCLUSIVE else ReasonCode.EXPIRED
            result = msgspec.structs.replace(result, outcome=Outcome.EXPIRED, exit_code=0, reason_code=code.value)
            self._expired.append(result)
        self.report.add([result])


def catch_up(
    opencost: OpenCost,
    kusto: Kusto,
    target: Target,
    period: Window,
    *,
    run: Run,
    closed: datetime,
    max_windows: int | None = MAX_WINDOWS,
    scrape: bool = False,
    policy: LoadPolicy | None = None,
    cancel: CancelToken | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
    on_covered: Callable[[str, str, datetime], None] = lambda *_: None,
) -> Report:
    """Load the missing windows of a period of one source; raises KustoError if Kusto cannot be read.

    `on_covered` gets source, dataset and the end of the newest window that is landed or empty already.
    """
    found = find_gaps(kusto, opencost.source(), target, period, run.collection_time)
    for dataset, until in found.covered_until.items():
        on_covered(found.source.name, dataset, until)
    loading = CatchUp(
        opencost,
        kusto,
        target,
        found,
        run,
        closed,
        policy=policy or LoadPolicy(),
        cancel=cancel or CancelToken(),
        on_result=on_result,
    )
    return loading.load(max_windows, scrape=scrape)


def _first(batches: list[Batch], max_windows: int | None) -> list[Batch]:
    """The batches of the first `max_windows` windows."""
    windows = set(list(dict.fromkeys(batch.window for batch in batches))[:max_windows])
    return [batch for batch in batches if batch.window in windows]
