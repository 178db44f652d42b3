"""Load missing windows while OpenCost still has them, and longer windows where it no longer has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import msgspec

from opencost_kusto.batch import Batch, Run
from opencost_kusto.cancel import CancelToken
from opencost_kusto.coverage.confirm import costs_more
from opencost_kusto.coverage.gaps import Gaps, Target
from opencost_kusto.coverage.retention import containing, fallbacks
from opencost_kusto.coverage.state import WindowEntry
from opencost_kusto.errors import OpenCostError, ReasonCode
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.pipeline.identity import Identity
from opencost_kusto.pipeline.loading import Lane, Loading
from opencost_kusto.result import BatchResult, Outcome, batch_result
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
    _entries: dict[str, WindowEntry] = field(init=False)
    _gone: list[Batch] = field(init=False)
    _empty: list[Batch] = field(default_factory=list)
    _inside: dict[str, list[Batch]] = field(default_factory=dict)
    _longer: dict[str, Batch] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._entries = {id_: entry for one in self.gaps.states.values() for id_, entry in one.entries.items()}
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
        return [*map(lost, self._gone), *empty]

    def _is_gone(self, batch: Batch) -> bool:
        return batch.id in self._entries and self._entries[batch.id].state in GONE

    def _is_empty(self, longer: Batch, inside: list[Batch], cancel: CancelToken) -> bool:
        """Whether windows with inconclusive empty responses had no cost, by what the longer window costs."""
        if not all(self._entries[batch.id].state is WindowState.INCONCLUSIVE for batch in inside):
            return False
        cancel.check()
        landed = [
            entry
            for id_, entry in self._entries.items()
            if id_.startswith(f"{longer.table.name}/") and entry.state is WindowState.LANDED
        ]
        return not costs_more(self.opencost, longer, self.gaps.source, self.run, landed)

    def _ended(self, result: BatchResult) -> BatchResult:
        """Keep a result; an expired window is not a failure: a longer one is loaded, or it is lost."""
        entry = self._entries[result.batch_id] = WindowEntry.of(result, self.run.collection_time)
        if entry.state in GONE:
            code = ReasonCode.INCONCLUSIVE if entry.state is WindowState.INCONCLUSIVE else ReasonCode.EXPIRED
            return msgspec.structs.replace(result, outcome=Outcome.EXPIRED, exit_code=0, reason_code=code.value)
        return result


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


def _first(batches: list[Batch], max_windows: int | None) -> list[Batch]:
    """The batches of the first `max_windows` windows."""
    windows = set(list(dict.fromkeys(batch.window for batch in batches))[:max_windows])
    return [batch for batch in batches if batch.window in windows]
