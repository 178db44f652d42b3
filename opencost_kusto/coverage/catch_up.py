"""Load missing windows while OpenCost still has them, and longer windows where it no longer has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import msgspec

from opencost_kusto.batch import Batch, Run
from opencost_kusto.cancel import CancelToken
from opencost_kusto.coverage.confirm import costs_more
from opencost_kusto.coverage.gaps import Gaps, Target, sort
from opencost_kusto.coverage.retention import containing, fallbacks
from opencost_kusto.coverage.state import WindowEntry
from opencost_kusto.errors import OpenCostError, ReasonCode
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.pipeline.fleet import Contact
from opencost_kusto.pipeline.identity import Identity
from opencost_kusto.pipeline.loading import Lane, Loading
from opencost_kusto.result import BatchResult, Outcome, batch_result
from opencost_kusto.window import Window
from opencost_kusto.window_state import GONE, WindowState

# Windows of one tick. OpenCost's built-in store holds at most 49 of one length, of which 48 can be missing in a
# catch-up of 48 hours: one tick loads everything that could expire before the next.
MAX_WINDOWS = 48
_UNTIL_IT_ENDS = "OpenCost no longer has the window; the longer window that contains it is loaded once it has ended."
_NO_MORE = "the longer window that contains it costs no more than what landed of it"
LOST_REASON = "OpenCost has the window at no step any more: it is lost, and not requested again."


def lost(batch: Batch) -> BatchResult:
    """The result of a batch that OpenCost has at no step."""
    return batch_result(batch, Outcome.LOST, error=OpenCostError(LOST_REASON, code=ReasonCode.EXPIRED))


@dataclass(slots=True)
class CatchUp:
    """The gaps of one source, and their results in a run.

    Only windows that end before `closed` are loaded. For a window that OpenCost no longer has, the hour or the day
    that contains it is loaded. A window that OpenCost has at no step is lost, which the run log records.
    """

    opencost: OpenCost
    identity: Identity
    gaps: Gaps
    target: Target
    run: Run
    closed: datetime
    max_windows: int | None = MAX_WINDOWS
    _gone: list[Batch] = field(init=False)
    _empty: list[Batch] = field(default_factory=list)
    _inside: dict[str, list[Batch]] = field(default_factory=dict)
    _longer: dict[str, Batch] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._gone = list(self.gaps.gone)

    def lane(self, batches: Iterable[Batch]) -> Lane:
        """Batches to load, whose results this keeps."""
        return Lane(self.opencost, self.identity, batches, self._ended)

    def due(self, *, scrape: bool = False) -> list[Batch]:
        """The first `max_windows` due windows; with `scrape`, also the present metrics."""
        scrapes = self.target.scrapes(self.gaps.source, self.run.collection_time) if scrape else []
        return [*_first(self.gaps.due, self.max_windows), *scrapes]

    def collect_gone(self) -> None:
        """Add the due windows that OpenCost turned out not to have to those that are gone."""
        self._gone += [batch for batch in self.gaps.due if self._is_gone(batch)]

    def longer(self, step: timedelta, cancel: CancelToken) -> tuple[list[Batch], list[BatchResult]]:
        """The windows of a longer step that contain those that are gone, and results of those that have not ended."""
        waiting: list[BatchResult] = []
        self._longer, self._inside = {}, {}
        for batch in self._gone:
            container = replace(batch, window=containing(batch.window, step))
            if container.window.end > self.closed:
                error = OpenCostError(_UNTIL_IT_ENDS, code=ReasonCode.EXPIRED)
                waiting.append(batch_result(batch, Outcome.FAILED, error=error))
                continue
            self._longer[container.id] = container
            self._inside.setdefault(container.id, []).append(batch)
        for id_ in [id_ for id_ in self._longer if self._is_empty(self._longer[id_], self._inside[id_], cancel)]:
            self._empty += self._inside.pop(id_)
            del self._longer[id_]
        requested = [batch for batch in self._longer.values() if not self._is_gone(batch)]
        return _first(requested, self.max_windows), waiting

    def fall_back(self) -> None:
        """Keep as gone only the windows whose longer window is gone, too."""
        gone = [id_ for id_, container in self._longer.items() if self._is_gone(container)]
        self._gone = [batch for id_ in gone for batch in self._inside[id_]]

    def settled(self) -> list[BatchResult]:
        """Results of the windows that are lost, and of those that turned out to be empty: the latest of each."""
        empty = [
            batch_result(batch, Outcome.EMPTY, rows=0, reason=_NO_MORE, code=ReasonCode.CONFIRMED_EMPTY)
            for batch in self._empty
        ]
        results = [*map(lost, self._gone), *empty]
        for one in results:
            self._keep(one)
        return results

    def rest(self) -> Gaps:
        """The gaps that the run leaves, by its own results."""
        found = Gaps(self.gaps.source, self.gaps.states, lost=list(self.gaps.lost))
        target = self.target.of(self.gaps.source.settings)
        sort(found, target, [*self.gaps.due, *self.gaps.gone], self.run.collection_time)
        return found

    def _is_gone(self, batch: Batch) -> bool:
        return self.gaps.states[batch.table.name].state(batch.id) in GONE

    def _is_empty(self, longer: Batch, inside: list[Batch], cancel: CancelToken) -> bool:
        """Whether windows with inconclusive empty responses had no cost, by what the longer window costs."""
        state = self.gaps.states[longer.table.name]
        if not all(state.state(batch.id) is WindowState.INCONCLUSIVE for batch in inside):
            return False
        cancel.check()
        landed = [entry for entry in state.entries.values() if entry.state is WindowState.LANDED]
        return not costs_more(self.opencost, longer, self.gaps.source, self.run, landed)

    def _ended(self, result: BatchResult) -> BatchResult:
        """Keep a result; an expired window is not a failure: a longer one is loaded, or it is lost."""
        state = self._keep(result)
        if state in GONE:
            code = ReasonCode.INCONCLUSIVE if state is WindowState.INCONCLUSIVE else ReasonCode.EXPIRED
            return msgspec.structs.replace(result, outcome=Outcome.EXPIRED, exit_code=0, reason_code=code.value)
        return result

    def _keep(self, result: BatchResult) -> WindowState:
        """The state by a result, which becomes what is known of its window; a scrape has no window."""
        entry = WindowEntry.of(result, self.run.collection_time)
        if result.table in self.gaps.states:
            self.gaps.states[result.table].entries[result.batch_id] = entry
        return entry.state


def load(catch_ups: Sequence[CatchUp], loading: Loading, *, scrape: bool = False) -> None:
    """Load the gaps of every source, and the longer windows around those that OpenCost no longer has."""
    loading.load([one.lane(one.due(scrape=scrape)) for one in catch_ups])
    loading.drain()
    for one in catch_ups:
        one.collect_gone()
    for step in fallbacks(catch_ups[0].target.step) if catch_ups else ():
        lanes = []
        for one in catch_ups:
            longer, waiting = one.longer(step, loading.cancel)
            loading.report.add(waiting)
            lanes.append(one.lane(longer))
        loading.load(lanes)
        loading.drain()
        for one in catch_ups:
            one.fall_back()
    loading.settle(result for one in catch_ups for result in one.settled())


def fail_newest(loading: Loading, contacts: Iterable[Contact], target: Target, period: Window) -> None:
    """Report the newest window of each source as failed; raise the error of one that nothing names."""
    newest = Window(period.end - target.step, period.end)
    for one in contacts:
        name = one.opencost.cluster
        if name is None and one.refused is not None:
            raise one.refused
        one.fail(loading, target.of(one.opencost.settings).batches(name or "", newest))


def _first(batches: list[Batch], max_windows: int | None) -> list[Batch]:
    """The batches of the first `max_windows` windows."""
    windows = set(list(dict.fromkeys(batch.window for batch in batches))[:max_windows])
    return [batch for batch in batches if batch.window in windows]
