"""The library as its user writes it: `.ci/run` type-checks this file against the installed wheel; nothing runs it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from opencost_kusto import (
    BatchResult,
    Bootstrapped,
    CancelToken,
    CostReport,
    CostRequest,
    DatasetStatus,
    Kusto,
    LoadPolicy,
    OpenCost,
    OpenCostKustoError,
    Outcome,
    ReasonCode,
    Report,
    RequestOptions,
    Survey,
    SyncRequest,
    Target,
    backfill,
    bootstrap,
    cost_report,
    new_run,
    parse_window,
    replay,
    status,
    survey,
    sync,
    sync_all,
)
from opencost_kusto.emulator import Emulator


def example() -> None:
    """The example of the guide `python`, to the letter."""
    with (
        Emulator() as emulator,
        OpenCost(emulator.opencost_url) as opencost,
        Kusto(emulator.kusto_url, "OpenCost", auth="none") as kusto,
    ):
        for record in opencost.allocation("30m", aggregate="namespace"):
            print(record["name"], record["totalCost"])

        bootstrap(kusto)
        report = sync(opencost, kusto, "1h")
        print(report.exit_code, report.counts, report.rows)

        for line in kusto.cost(by="namespace", window="3h"):
            print(line["Namespace"], line["TotalCost"], line["Currency"])


def failed(report: Report) -> list[str]:
    """The reasons of what did not land."""
    return [one.reason or "" for one in report.results if one.outcome is Outcome.FAILED]


def load(opencost: OpenCost, kusto: Kusto) -> int:
    """Sync an hour, and catch up on a week."""
    now = datetime.now(UTC)
    made: Bootstrapped = bootstrap(kusto)
    request = SyncRequest(parse_window("1h", now=now), options=RequestOptions(aggregate="namespace"))
    policy = LoadPolicy(replace=True, spool=Path("spool"))
    results: list[BatchResult] = []
    try:
        report: Report = sync(opencost, kusto, request, policy=policy, cancel=CancelToken(), on_result=results.append)
        report = sync_all([opencost], kusto, request, run=new_run("nightly"))
        report = replay(Path("spool"), kusto)
        target = Target(timedelta(hours=1), ("allocation",))
        found: Survey = survey([opencost], kusto, target, parse_window("7d", now=now), now=now, closed=now)
        report = backfill(found, kusto, run=new_run())
    except OpenCostKustoError as error:
        return error.exit_code if error.code is ReasonCode.UNREACHABLE else made.changed
    fresh: list[DatasetStatus] = status(kusto, now=now)
    window = parse_window("lastmonth", now=now)
    cost: CostReport = cost_report(kusto, CostRequest(window, by="team", idle=True, earlier=window.before()))
    print(cost.totals, [gap.minutes for gap in cost.gaps], [line.total for line in cost.lines])
    print([asset["type"] for asset in opencost.assets(window, types=["Node"])])
    return report.exit_code + len(fresh) + len(failed(report))
