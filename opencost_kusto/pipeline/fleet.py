"""Sync several sources at once: a few side by side, each fails and is reported alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from opencost_kusto.batch import Batch, Run, Source
from opencost_kusto.cancel import CancelToken
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.policy import WORKERS, LoadPolicy
from opencost_kusto.pipeline.clocks import timed, timed_by_opencost
from opencost_kusto.pipeline.identity import Identity, hold_all_if_read
from opencost_kusto.pipeline.loading import Lane, Loading
from opencost_kusto.pipeline.pool import pooled
from opencost_kusto.pipeline.request import BatchPlan, new_run, plan_of
from opencost_kusto.pipeline.sync import sync
from opencost_kusto.result import BatchResult, Outcome, Report, batch_result
from opencost_kusto.window import RESOLUTION, Window

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Contact:
    """A server and its source, or the error if that cannot be loaded.

    A server with an error is the source that the user named, None if no option names it.
    """

    opencost: OpenCost
    identity: Identity | None = None
    error: OpenCostKustoError | None = None

    @property
    def refused(self) -> OpenCostKustoError | None:
        """The error that prevents loading, if any."""
        refused = None if self.identity is None else self.identity.refused
        return refused or self.error

    def fail(self, loading: Loading, batches: Iterable[Batch]) -> None:
        """Report batches as failed; in the run log, too, where the name is not refused."""
        results = (batch_result(batch, Outcome.FAILED, error=self.refused) for batch in batches)
        if self.identity is None or self.identity.refused is not None:
            loading.report.add(results)
        else:
            loading.settle(results, self.identity)


def contacts(
    opencosts: Sequence[OpenCost], kusto: Kusto, run: Run, policy: LoadPolicy, cancel: CancelToken | None = None
) -> list[Contact]:
    """Read the cluster of every server, a few side by side, and decide with one query which may be loaded."""

    def request(opencost: OpenCost) -> Contact:
        try:
            return Contact(opencost, Identity(kusto, opencost.source(), run, policy.adopt))
        except OpenCostKustoError as error:
            if opencost.cluster is None:
                return Contact(opencost, error=error)
            named = Source(opencost.cluster, currency=opencost.settings.currency, settings=opencost.settings)
            return Contact(opencost, Identity(kusto, named, run, policy.adopt), error)

    found = _requested(opencosts, request, policy.workers, cancel)
    hold_all_if_read([one.identity for one in found if one.identity is not None])
    return found


def divided(found: Iterable[Contact]) -> tuple[list[tuple[OpenCost, Identity]], list[Contact]]:
    """The servers that can be loaded, each with its identity, and the contacts of the others."""
    reached, away = [], []
    for one in found:
        if one.identity is not None and one.refused is None:
            reached.append((one.opencost, one.identity))
        else:
            away.append(one)
    return reached, away


def check_reached(opencosts: Sequence[OpenCost], cancel: CancelToken) -> None:
    """Request the cluster of every server; raises the error of the first where none responds: a run would end so."""

    def request(opencost: OpenCost) -> OpenCostKustoError | None:
        try:
            opencost.reach()
        except OpenCostKustoError as error:
            return error
        return None

    errors = [error for error in _requested(opencosts, request, WORKERS, cancel) if error is not None]
    if errors and len(errors) == len(opencosts):
        raise errors[0]


def marks_of_each(opencosts: Sequence[OpenCost], otherwise: timedelta | None = None) -> list[timedelta]:
    """The marks on which the windows of each source begin and end; five minutes for one that does not respond.

    `otherwise` applies to every source for which the user set none.
    """

    def request(opencost: OpenCost) -> timedelta:
        try:
            return opencost.settings.marks or otherwise or opencost.capabilities().marks
        except OpenCostKustoError:
            return RESOLUTION

    return _requested(opencosts, request, WORKERS)


def common_marks(opencosts: Sequence[OpenCost]) -> timedelta:
    """The marks of one window for all sources: the coarsest."""
    return max([RESOLUTION, *marks_of_each(opencosts)])


def _requested(
    opencosts: Sequence[OpenCost], request: Callable[[OpenCost], T], workers: int, cancel: CancelToken | None = None
) -> list[T]:
    """The result of a request of every server, in the order of the servers; a few are requested side by side."""
    found: dict[int, T] = {}

    def requesting(number: int, opencost: OpenCost) -> Iterator[tuple[int, T]]:
        result = request(opencost)
        if len(opencosts) > workers:
            opencost.close()
        yield number, result

    lanes = [requesting(*each) for each in enumerate(opencosts)]
    for number, result in pooled(lanes, workers, (cancel or CancelToken()).check):
        found[number] = result
    return [found[number] for number in range(len(opencosts))]


def sync_all(
    opencosts: Sequence[OpenCost],
    kusto: Kusto,
    request: BatchPlan | Window | str,
    *,
    run: Run | None = None,
    policy: LoadPolicy | None = None,
    cancel: CancelToken | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
) -> Report:
    """`sync` every source, `policy.workers` side by side, in one report.

    Several sources must have names; an error of one is a result of each of its batches. A single source raises what
    `sync` raises.
    """
    if len(opencosts) == 1:
        return sync(opencosts[0], kusto, request, run=run, policy=policy, cancel=cancel, on_result=on_result)
    plan, policy, run = plan_of(request), policy or LoadPolicy(), timed(run or new_run(), kusto)
    found = contacts(opencosts, kusto, run, policy, cancel)
    run = timed_by_opencost(run, opencosts)
    now = run.collection_time
    reached, away = divided(found)
    lanes = [Lane(opencost, identity, plan.batches(identity.source, now)) for opencost, identity in reached]
    with Loading(kusto, run, policy, cancel, on_result) as loading:
        for one in away:
            source = one.identity.source if one.identity else Source("", settings=one.opencost.settings)
            one.fail(loading, plan.batches(source, now))
        loading.load(lanes, plan.optional)
        loading.drain()
    loading.log()
    return loading.report
