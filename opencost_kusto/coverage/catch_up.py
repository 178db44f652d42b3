"""Brings what Kusto lacks while OpenCost still has it, and coarser where OpenCost has forgotten."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from opencost_kusto.batch import Batch, Run, Source
from opencost_kusto.cancel import CancelToken
from opencost_kusto.coverage.confirm import costs_more
from opencost_kusto.coverage.gaps import Gaps, Target, find_gaps
from opencost_kusto.coverage.retention import containing, fallbacks
from opencost_kusto.coverage.state import RunLogEntry, some_only
from opencost_kusto.errors import OpenCostError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.spool import Spool
from opencost_kusto.load.tracker import IngestionTracker
from opencost_kusto.pipeline.run_log import record
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.result import BatchResult, Outcome, Report, batch_result
from opencost_kusto.window import Window

# Windows of one tick. Of one grain, OpenCost's built-in store holds at most 49, of which a catch-up of 48 hours can
# lack 48: so one tick brings everything that could be forgotten before the next.
MAX_WINDOWS = 48
# Answers in a row that never came: the rest would not come either, and each takes long to fail.
_ENOUGH = 3
_NOBODY = re.compile("cannot be reached|did not accept a connection")
_WAITS = "OpenCost has forgotten the window; it comes with the coarser one that holds it, once that has ended."
_NO_MORE = "the coarser window that holds it costs no more than what landed of it"
LOST_REASON = "OpenCost has forgotten the window, and every coarser one that holds it: it is lost, and not tried again."


@dataclass(frozen=True, slots=True)
class BatchList:
    """Batches of one source, chosen one by one; asked for until `go_on` says that it is in vain."""

    chosen: tuple[Batch, ...]
    go_on: Callable[[], bool] = lambda: True

    @property
    def window(self) -> Window:
        """The span of all of them."""
        windows = [batch.window for batch in self.chosen]
        return Window(min(one.start for one in windows), max(one.end for one in windows))

    def batches(self, source: Source, now: datetime) -> Iterator[Batch]:
        """They themselves."""
        del source, now
        for batch in self.chosen:
            if not self.go_on():
                return
            yield batch


class CatchUp:
    """Brings what is missing of one source; `report` tells what became of it.

    Windows are closed when they end before `closed`. `stop` ends it from another thread; `loading` is what `sync` takes
    beside. A window that OpenCost has forgotten comes with the hour or the day that holds it; its own refusal is then
    no failure. What neither grain gives is lost: the ledger says so, and it is not tried again.
    """

    def __init__(
        self,
        opencost: OpenCost,
        kusto: Kusto,
        wanted: Target,
        found: Gaps,
        *,
        run: Run,
        closed: datetime,
        on_result: Callable[[BatchResult], None] = lambda _: None,
        stop: CancelToken | None = None,
        **loading: Any,
    ) -> None:
        self._opencost = opencost
        self._kusto = kusto
        self._wanted = wanted
        self._found = found
        self._run = run
        self._closed = closed
        self._stop = stop or CancelToken()
        self._loading = loading
        self._words = dict(found.words)
        self._forgotten: list[BatchResult] = []
        self._empty: list[Batch] = []
        self._in_vain = 0
        self.report = Report(run.id, on_result=on_result)

    def fill(self, at_most: int | None = None, *, scrape: bool = False) -> Report:
        """Bring at most so many windows, the first of those that are due; with `scrape`, this moment's metrics too."""
        source = self._found.source
        due = _first(self._found.due, at_most)
        scrapes = self._wanted.scrapes(source, self._run.collection_time) if scrape else []
        words = self._bring(due, scrapes)
        forgotten = [*self._found.forgotten, *(one for one in due if one.id in words and words[one.id].forgotten)]
        for step in fallbacks(self._wanted.step):
            forgotten = self._fall_back(forgotten, step, at_most)
        self._note(forgotten)
        return self.report

    def _fall_back(self, forgotten: list[Batch], step: timedelta, at_most: int | None) -> list[Batch]:
        """Bring the windows of a coarser step that hold forgotten ones; gives those whose coarser one is gone too."""
        coarse: dict[str, Batch] = {}
        inside: dict[str, list[Batch]] = {}
        for batch in forgotten:
            larger = replace(batch, window=containing(batch.window, step))
            if larger.window.end > self._closed:
                self.report.end([batch_result(batch, Outcome.FAILED, error=OpenCostError(_WAITS))])
                continue
            coarse[larger.id] = larger
            inside.setdefault(larger.id, []).append(batch)
        for id_ in [id_ for id_ in coarse if self._was_empty(coarse[id_], inside[id_])]:
            self._empty += inside.pop(id_)
            del coarse[id_]
        words = self._words
        gone = {id_ for id_ in coarse if id_ in words and words[id_].forgotten}
        brought = self._bring(_first([batch for id_, batch in coarse.items() if id_ not in gone], at_most))
        gone |= {id_ for id_, word in brought.items() if word.forgotten}
        return [batch for id_ in coarse if id_ in gone for batch in inside[id_]]

    def _was_empty(self, coarse: Batch, inside: list[Batch]) -> bool:
        """Whether windows of which OpenCost knew nothing, late, had no cost, by what the coarser one costs."""
        if not all(self._words[batch.id].doubtful for batch in inside):
            return False
        self._stop.check()
        there = self._found.there[coarse.table.name]
        return not costs_more(self._opencost, coarse, self._found.source, self._run, there)

    def _note(self, lost: list[Batch]) -> None:
        """Tell what OpenCost has in no grain any more, and what was empty, and let the ledger's last word be that.

        What `sync` wrote there, failed or empty, is less than is known by now.
        """
        gone = [batch_result(batch, Outcome.LOST, error=OpenCostError(LOST_REASON)) for batch in lost]
        gone += [batch_result(batch, Outcome.EMPTY, rows=0, reason=_NO_MORE) for batch in self._empty]
        self.report.end(gone)
        notes = {one.batch_id: one for one in (*self._forgotten, *gone)}
        if not notes:
            return
        run, source = self._next_run(), self._found.source
        bounds = [(one.window_start, one.window_end) for one in notes.values()]
        span = Window(min(start for start, _ in bounds), max(end for _, end in bounds))
        wait, timeout = self._loading.get("wait", True), self._loading.get("timeout", 900.0)
        with (
            tempfile.TemporaryDirectory(prefix="opencost-kusto-") as folder,
            IngestionTracker(self._kusto, wait=wait, timeout=timeout, keep=False, sleep=self._stop.sleep) as landing,
        ):
            noted = Report(run.id, list(notes.values()))
            self.report.end(record(noted, run, source, span, Spool(Path(folder)), landing))

    def _bring(self, batches: list[Batch], scrapes: Iterable[Batch] = ()) -> dict[str, RunLogEntry]:
        """Sync batches, some at a time so that the ledger soon knows of them; gives the word on each that was asked."""
        windows = list(dict.fromkeys(batch.window for batch in batches))
        some = [set(windows[at : at + MAX_WINDOWS]) for at in range(0, len(windows), MAX_WINDOWS)] or [set()]
        words: dict[str, RunLogEntry] = {}
        for number, chosen in enumerate(some, 1):
            self._stop.check()
            now = [*scrapes] if number == len(some) else []
            words |= self._sync([*(batch for batch in batches if batch.window in chosen), *now])
        return words

    def _sync(self, batches: list[Batch]) -> dict[str, RunLogEntry]:
        words: dict[str, RunLogEntry] = {}
        if not batches or self._in_vain >= _ENOUGH:
            return words
        run = self._next_run()

        def told(one: BatchResult) -> None:
            window = Window(one.window_start, one.window_end)
            said = one.outcome, one.reason, one.rows
            word = RunLogEntry(window, *said, run.collection_time, one.cost, one.aggregate, some_only(one.options))
            words[one.batch_id] = self._words[one.batch_id] = word
            if word.sent and one.table in self._found.there:
                self._found.there[one.table].append(word)
            self._in_vain = self._in_vain + 1 if _NOBODY.search(one.reason or "") else 0
            if word.forgotten:
                # No failure of its own: it comes coarser, or is lost.
                one = msgspec.structs.replace(one, outcome=Outcome.EXPIRED, exit_code=0)
                self._forgotten.append(one)
            self.report.end([one])

        chosen = BatchList(tuple(batches), lambda: self._in_vain < _ENOUGH)
        sync(self._opencost, self._kusto, chosen, run=run, on_result=told, stop=self._stop, **self._loading)
        return words

    def _next_run(self) -> Run:
        """The same run, a microsecond later, so that the ledger's last word on a batch is the later one."""
        self._run = replace(self._run, collection_time=self._run.collection_time + timedelta(microseconds=1))
        return self._run


def catch_up(
    opencost: OpenCost,
    kusto: Kusto,
    wanted: Target,
    span: Window,
    *,
    run: Run,
    closed: datetime,
    at_most: int | None = MAX_WINDOWS,
    scrape: bool = False,
    know: Callable[[str, str, datetime], None] = lambda *_: None,
    **more: Any,
) -> Report:
    """Bring what Kusto lacks of a span of one source; raises KustoError when it cannot be asked, and what `sync` does.

    The moment is the run's `collection_time`. `know` is given source, dataset and the end of the newest window that is
    there already. `more` is `tell`, `stop` and what `sync` takes beside.
    """
    found = find_gaps(kusto, opencost.source(), wanted, span, run.collection_time)
    for dataset, until in found.until.items():
        know(found.source.name, dataset, until)
    return CatchUp(opencost, kusto, wanted, found, run=run, closed=closed, **more).fill(at_most, scrape=scrape)


def _first(batches: list[Batch], at_most: int | None) -> list[Batch]:
    """The batches of the first so many windows."""
    windows = set(list(dict.fromkeys(batch.window for batch in batches))[:at_most])
    return [batch for batch in batches if batch.window in windows]
