"""`status`: the state of each cluster, and an exit code for alerts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from opencost_kusto.cli.console import Console
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.options import Shards, listed, option, shard_of
from opencost_kusto.cli.reports import print_shard
from opencost_kusto.cli.status import fleet_document
from opencost_kusto.cli.termination import Process
from opencost_kusto.cli.usage import read_option
from opencost_kusto.config import Config
from opencost_kusto.coverage.standing import ALERTS, ClusterStatus, Standing, is_stale, standings
from opencost_kusto.errors import NotLandedError, UsageError
from opencost_kusto.names import unknown
from opencost_kusto.window import duration


@dataclass(frozen=True, slots=True)
class AlertOptions:
    """Which clusters are checked, and what counts as a failure."""

    cluster: Annotated[list[str] | None, option("--cluster", "This cluster alone; repeatable.")] = None
    shard: Shards = None
    max_age: Annotated[
        str | None, option("--max-age", "Fail when the last landed window ended longer ago; an empty one is none.")
    ] = None
    fail_on: Annotated[
        list[str] | None,
        option("--fail-on", f"Fail when a cluster is so: {', '.join(ALERTS)}; repeatable or with commas."),
    ] = None
    expect: Annotated[
        bool, option("--expect", "Fail when a cluster of --config that is not retired has never landed.")
    ] = False
    catch_up: Annotated[str, option("--catch-up", "How far back to look for what is missing, lost or failed.")] = "48h"

    @property
    def limit(self) -> timedelta | None:
        """How old the last landed window may be; raises UsageError."""
        return read_option("--max-age", duration, self.max_age) if self.max_age else None

    def alerts(self) -> list[Standing]:
        """What counts as a failure; raises UsageError for an unknown word."""
        found = []
        for word in listed(self.fail_on):
            if word not in ALERTS:
                raise UsageError(f"--fail-on {word!r} is unknown; choose of {', '.join(ALERTS)}.")
            found.append(Standing(word))
        if Standing.STALE in found and self.max_age is None:
            raise UsageError("--fail-on stale needs --max-age, which says when a cluster is stale.")
        return found

    def expected(self, file: Config) -> list[str]:
        """The clusters of a file that are shown though nothing of them has landed: those that are named, or expected.

        With --expect, a retired one only if it is named.
        """
        names = self.cluster or []
        return [one.name for one in file.clusters if one.name in names or (self.expect and not one.retired)]

    def selected(self, found: Sequence[ClusterStatus]) -> list[ClusterStatus]:
        """Those of --cluster and --shard, or all; raises UsageError for a name that none has."""
        names = self.cluster or []
        existing = {one.cluster for one in found}
        if missing := [name for name in names if name not in existing]:
            raise UsageError(unknown(missing[0], existing))
        part = shard_of(self.shard)
        chosen = [one for one in found if not names or one.cluster in names]
        return [one for one in chosen if part is None or part.has(one.cluster)]


def status_command(kusto_options: KustoOptions, alert: AlertOptions, *, process: Process, console: Console) -> None:
    """Print how each cluster stands, the worst first."""
    from opencost_kusto.coverage.status import status

    limit, alerts, back = alert.limit, alert.alerts(), read_option("--catch-up", duration, alert.catch_up)
    file: Config = process.config
    if alert.expect and not file.clusters:
        raise UsageError("--expect needs --config with [[clusters]]: they say which are expected.")
    now = datetime.now(UTC)
    with kusto_options.kusto(console.info) as kusto:
        found = status(kusto, now=now, back=back)
    clusters = alert.selected(
        standings(
            found,
            now,
            max_age=limit,
            expected=alert.expected(file),
            retired={one.name for one in file.clusters if one.retired},
        )
    )
    print_shard(shard_of(alert.shard), len(clusters), console)
    console.show(fleet_document(clusters, now, every_dataset=console.verbose))
    check(clusters, alert, alerts, now, landed=bool(found))


def check(
    clusters: Sequence[ClusterStatus],
    alert: AlertOptions,
    alerts: Sequence[Standing],
    now: datetime,
    *,
    landed: bool = True,
) -> None:
    """Raise NotLandedError, with the names of the clusters, for what the options count as a failure.

    `landed` is whether anything has landed, of whichever cluster.
    """
    active = [one for one in clusters if not one.retired]
    problems = list(_ages(active, alert.max_age or "", alert.limit, now, landed)) if alert.limit is not None else []
    kinds = [*alerts, *([Standing.NEVER] if alert.expect else [])]
    wrong = {kind: [one.cluster for one in active if kind in one.wrong] for kind in kinds}
    if parts := [f"{kind}: {', '.join(names)}" for kind, names in wrong.items() if names]:
        problems.append(f"{'; '.join(parts)}. The lines above say what and why.")
    if problems:
        raise NotLandedError(" ".join(problems))


def _ages(
    clusters: Sequence[ClusterStatus], written: str, limit: timedelta, now: datetime, landed: bool
) -> Iterator[str]:
    """What is older than a limit, in a sentence; nothing of a replica without clusters."""
    datasets = [one for cluster in clusters for one in cluster.datasets]
    old = [one for one in datasets if is_stale(one, now, limit)]
    names = [f"{one.dataset} of {one.source}" for one in old]
    if not datasets:
        names = [one.cluster for one in clusters] or ([] if landed else ["everything"])
    if names:
        dry = old and all(one.empty_until and now - one.empty_until <= limit for one in old)
        prometheus = "OpenCost reports no cost since then. Check whether its Prometheus is running."
        yield f"Older than {written}: {', '.join(names)}. {prometheus if dry else 'Check why sync stopped.'}"
