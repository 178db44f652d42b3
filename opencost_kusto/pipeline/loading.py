"""One run over any number of sources: one loader, one poll, one schema check and one run log."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from opencost_kusto.batch import Batch, BatchContext, Run, Source
from opencost_kusto.cancel import CancelToken
from opencost_kusto.errors import KustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.loader import BatchLoader
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.load.run_log import ENTRIES_PER_COMMAND, write_run_log
from opencost_kusto.load.spool import Spool
from opencost_kusto.load.staged import StagedBatch
from opencost_kusto.pipeline.clocks import clock_warnings
from opencost_kusto.pipeline.identity import Identity
from opencost_kusto.pipeline.pool import pooled
from opencost_kusto.pipeline.stage import Breaker, RowCounts, read_response
from opencost_kusto.pipeline.staging import Staging
from opencost_kusto.result import BatchResult, Report


def _same(one: BatchResult) -> BatchResult:
    return one


@dataclass(frozen=True, slots=True)
class Lane:
    """The batches to load of one source; `ended` gets the result of each, and returns what is reported.

    Nothing is sent before `identity` has decided that the source may be loaded.
    """

    opencost: OpenCost
    identity: Identity
    batches: Iterable[Batch]
    ended: Callable[[BatchResult], BatchResult] = _same

    @property
    def source(self) -> Source:
        """The source."""
        return self.identity.source


class Loading:
    """Loads batches of any number of sources in one run; `report` has their results. Use it as a context.

    At most `policy.workers` sources are requested side by side, each with one request at a time. The caller's thread
    does everything else, and calls `on_result`.
    """

    def __init__(
        self,
        kusto: Kusto,
        run: Run,
        policy: LoadPolicy | None = None,
        cancel: CancelToken | None = None,
        on_result: Callable[[BatchResult], None] = lambda _: None,
    ) -> None:
        self.kusto, self.run = kusto, run
        self.policy, self.cancel = policy or LoadPolicy(), cancel or CancelToken()
        self.report = Report(run.id, on_result=on_result)
        self._identities: dict[str, Identity] = {}
        self._ended: dict[str, Callable[[BatchResult], BatchResult]] = {}
        self._breakers: dict[str, Breaker] = {}
        self._counts: dict[str, RowCounts] = {}
        self._unlogged: list[BatchResult] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._spool = self._stack.enter_context(_spool(self.policy))
        cancel = self.cancel
        loader = BatchLoader(self.kusto, self.policy, admit=self._admit, clock=cancel.clock, sleep=cancel.sleep)
        self._loader = self._stack.enter_context(loader)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def sources(self) -> list[Source]:
        """The sources that this run has loaded, or could not reach, by name."""
        return [self._identities[name].source for name in sorted(self._identities)]

    def load(self, lanes: Sequence[Lane], optional: frozenset[str] = frozenset()) -> None:
        """Request, transform and queue the batches of all lanes; the next responses are read meanwhile."""
        self.kusto.prepare()
        lanes = random.sample(lanes, len(lanes))
        for lane in lanes:
            self._identities[lane.source.name] = lane.identity
            self._ended[lane.source.name] = lane.ended
        staging = Staging(self.kusto, [lane.batches for lane in lanes])
        # A connection is kept for the next request unless too many other sources precede it.
        release = len(lanes) > self.policy.workers
        responses = [
            self._responses(lane, staging.of(number), optional, release=release) for number, lane in enumerate(lanes)
        ]
        for staged in pooled(responses, self.policy.workers, self.cancel.check):
            self.add(self._loader.load(staged))

    def drain(self) -> None:
        """Wait until every batch has landed or is late."""
        self.add(self._loader.finish())

    def add(self, results: Iterable[BatchResult]) -> None:
        """Report results, and write them to the run log when there are enough for a command."""
        for one in results:
            one = self._ended.get(one.source, _same)(one)
            self.report.add([one])
            self._unlogged.append(one)
            if len(self._unlogged) % ENTRIES_PER_COMMAND == 0:
                self.log()

    def settle(self, results: Iterable[BatchResult], identity: Identity | None = None) -> None:
        """Report results that need no response; they replace those of the same batches in the run log.

        `identity` is that of their source, where nothing of it was loaded.
        """
        if identity is not None:
            self._identities[identity.source.name] = identity
        for one in results:
            self.report.add([one])
            self._unlogged.append(one)

    def log(self) -> None:
        """Write the results that are not in the run log yet; if that fails, the error is in the report.

        Of several results of one batch, the latest is written. Entries that could not be written are tried again.
        """
        warnings = [sentence for one in self._identities.values() for sentence in one.warnings]
        self.report.warnings = [*clock_warnings(self.run), *warnings]
        self.report.reached(self.sources)
        latest = list({one.batch_id: one for one in self._unlogged}.values())
        try:
            if latest:
                write_run_log(self.kusto, self.run, self.sources, latest)
            self._unlogged.clear()
            self.report.run_log = None
        except KustoError as error:
            self.report.run_log = error

    def _admit(self, staged: StagedBatch) -> None:
        self._identities[staged.batch.source].hold()

    def _responses(
        self, lane: Lane, batches: Iterator[StagedBatch], optional: frozenset[str], *, release: bool
    ) -> Iterator[StagedBatch]:
        """Read a response for each batch, one at a time."""
        breaker = self._breakers.setdefault(lane.source.name, Breaker())
        run = self.run.of(lane.source)
        rows = self._counts.setdefault(lane.source.name, RowCounts())
        for staged in batches:
            context = BatchContext(run, lane.source, staged.batch)
            rows.compared(read_response(lane.opencost, staged, context, self._spool, breaker, optional))
            if release:
                lane.opencost.close()
            yield staged


@contextmanager
def _spool(policy: LoadPolicy) -> Iterator[Spool]:
    """The spool of a run: the given folder, or a temporary one."""
    if policy.spool is not None:
        spool = Spool(policy.spool, durable=True, level=policy.gzip_level)
        spool.sweep()
        yield spool
        return
    with tempfile.TemporaryDirectory(prefix="opencost-kusto-") as folder:
        yield Spool(Path(folder), level=policy.gzip_level)
