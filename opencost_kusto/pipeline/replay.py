"""Load the batches of a spool that have not landed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

from opencost_kusto.batch import Run, Source
from opencost_kusto.cancel import CancelToken
from opencost_kusto.errors import KustoError, UsageError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.loader import BatchLoader, stage_all
from opencost_kusto.load.policy import LoadPolicy
from opencost_kusto.load.run_log import write_run_log
from opencost_kusto.load.sealed import SealedBatch, remove
from opencost_kusto.load.spool import Spool
from opencost_kusto.load.staged import StagedBatch
from opencost_kusto.names import shown
from opencost_kusto.pipeline.clocks import timed
from opencost_kusto.pipeline.identity import Identity
from opencost_kusto.pipeline.request import new_run
from opencost_kusto.result import BatchResult, Report
from opencost_kusto.schema.tables import TABLES


def replay(
    folder: Path,
    kusto: Kusto,
    *,
    policy: LoadPolicy | None = None,
    cancel: CancelToken | None = None,
    on_result: Callable[[BatchResult], None] = lambda _: None,
    clusters: Collection[str] = (),
) -> Report:
    """Load the batches that a spool holds, each exactly once, and remove those that are in Kusto.

    With `clusters`, batches of other clusters are left in the spool; one of which it holds none is a warning.

    Decisions are those of `sync` with the same response at hand: a landed batch is kept, a damaged one is repaired,
    and one whose name belongs to another cluster fails.
    Raises UsageError if the folder does not exist or is not a spool, and ContentError for a batch that cannot be read.
    """
    check_is_spool(folder)
    run = new_run(kind="replay")
    report = Report(run.id, on_result=on_result)
    sealed = {one.batch_id: (one, one.batch(TABLES)) for one in _chosen(folder, clusters, report)}
    if not sealed:
        return report
    run, token, policy = timed(run, kusto), cancel or CancelToken(), replace(policy or LoadPolicy(), spool=folder)
    identities: dict[tuple[str, str], Identity] = {}

    def admit(staged: StagedBatch) -> None:
        """Refuse a source whose name belongs to another cluster, as `sync` does."""
        source = Source(staged.batch.source, fingerprint=sealed[staged.batch.id][0].fingerprint)
        key = source.name, repr(source.fingerprint)
        identities.setdefault(key, Identity(kusto, source, run, policy.adopt)).hold()

    with BatchLoader(kusto, policy, admit=admit, clock=token.clock, sleep=token.sleep) as loader:
        for staged in stage_all(kusto, (batch for _, batch in sealed.values())):
            token.check()
            staged.sealed, staged.begun = sealed[staged.batch.id][0], time.monotonic()
            report.add(loader.load(staged))
        report.add(loader.finish())
    _log(kusto, run, report)
    return report


def _log(kusto: Kusto, run: Run, report: Report) -> None:
    try:
        write_run_log(kusto, run, map(Source, report.sources), report.results)
    except KustoError as error:
        report.run_log = error


def _chosen(folder: Path, clusters: Collection[str], report: Report) -> list[SealedBatch]:
    """The batches of these clusters, or of all; warns of a cluster of which there is none but of others."""
    held = list(_newest(folder))
    sources = {one.source for one in held}
    for name in clusters:
        if held and name not in sources:
            others = ", ".join(sorted(sources))
            report.warnings.append(f"The spool holds no batch of {shown(name)}; it holds some of {others}.")
    return [one for one in held if not clusters or one.source in clusters]


def _newest(folder: Path) -> Iterator[SealedBatch]:
    """The sealed batches of a spool; of several responses to one request, the newest.

    The older ones are removed.
    """
    spool = Spool(folder, durable=True)
    spool.sweep()
    newest: dict[str, SealedBatch] = {}
    for one in spool.sealed():
        other = newest.get(one.batch_id)
        older, newest[one.batch_id] = sorted((one, other or one), key=lambda sealed: sealed.collected)
        if other is not None:
            remove(older.folder)
    yield from newest.values()


def check_is_spool(folder: Path) -> None:
    """Raise UsageError for a folder that does not exist or is not a spool: "nothing to do" would hide a mistake."""
    if not folder.is_dir():
        raise UsageError(f"There is no spool folder {folder}.")
    # The root of a file system has this folder.
    names = {path.name for path in folder.iterdir()} - {"lost+found"}
    if names and not any(name.startswith("OpenCost") for name in names):
        raise UsageError(f"{folder} is not a spool: it holds no batch. Use the folder of --spool.")
