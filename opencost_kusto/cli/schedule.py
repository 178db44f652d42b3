"""`backfill` and `schedule`: everything that Kusto lacks, of a range once, or of the last days again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from opencost_kusto.cli.options import (
    AsJson,
    AskOptions,
    KustoOptions,
    LoadOptions,
    MarkOptions,
    SourceOptions,
    option,
)
from opencost_kusto.cli.telling import finish, narrator
from opencost_kusto.missing import Wanted
from opencost_kusto.report import Outcome
from opencost_kusto.tables import DATASETS, SYNC_RUNS
from opencost_kusto.tick import Horizon
from opencost_kusto.window import duration, parse, stamp

Lag = Annotated[str, option("--lag", "How long after its end a window is closed: measurements settle.")]
# Batches between two estimates, where no progress bar shows one.
_ESTIMATED = 25


def backfill_command(
    source: SourceOptions,
    ask: AskOptions,
    mark: MarkOptions,
    kusto_options: KustoOptions,
    load: LoadOptions,
    from_: Annotated[str, option("--from", "Where to begin: RFC 3339, a date, or Unix seconds.")],
    to: Annotated[str | None, option("--to", "Where to end; now when left out.")] = None,
    step: Annotated[str, option("--step", "Length of the windows: 10m, 1h or 1d.")] = "1h",
    lag: Lag = "10m",
    as_json: AsJson = False,
) -> None:
    """Bring what Kusto lacks of a range, and nothing else; run it again to go on where it was."""
    from opencost_kusto.backfill import backfill, survey

    now = datetime.now(UTC)
    span = parse(f"{from_},{to or stamp(now)}", now=now)
    past = tuple(name for name, table in DATASETS.items() if table.grain == "step")
    want = Wanted(duration(step), ask.datasets() if ask.dataset else past, ask.options())
    closed = Horizon(lag=duration(lag)).closed(now)
    run = mark.run()
    with source.opencosts() as opencosts, kusto_options.kusto() as kusto:
        surveyed = survey(opencosts, kusto, want, span, now=now, closed=closed)
        whole = f"{surveyed.expected} batches from {stamp(surveyed.span.start)} to {stamp(surveyed.span.end)}"
        print(f"{surveyed.due} of {whole} are missing.", file=sys.stderr)
        with narrator(surveyed.due, quiet_stdout=as_json) as tell:
            report = backfill(surveyed, kusto, run=run, tell=estimated(tell, surveyed.due), **load.loading())
    if not report.outcomes:
        print(f"Nothing is missing: all {whole} are in Kusto, or empty.", file=sys.stderr if as_json else sys.stdout)
    finish(report, as_json, quiet_stdout=as_json)


def estimated(
    tell: Callable[[Outcome], None], total: int, clock: Callable[[], float] = time.monotonic
) -> Callable[[Outcome], None]:
    """`tell`, and now and then on stderr how many batches are done and how long the others will take at that pace."""
    began, done = clock(), [0]

    def told(one: Outcome) -> None:
        tell(one)
        done[0] += one.dataset != SYNC_RUNS.dataset
        if one.dataset != SYNC_RUNS.dataset and done[0] % _ESTIMATED == 0 and done[0] < total:
            left = (clock() - began) / done[0] * (total - done[0])
            print(f"{done[0]} of {total} batches, about {_spoken(left)} left", file=sys.stderr, flush=True)

    return told


def _spoken(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
