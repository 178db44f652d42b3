"""Write a run as Markdown, for the page of a pipeline's run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from opencost_kusto import rendering
from opencost_kusto.errors import KustoError, OpenCostKustoError, UsageError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.redact import redacted
from opencost_kusto.rendering import Column, Kind, Table
from opencost_kusto.result import BatchResult, Outcome, Report
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.window import Window, stamp

# The number of namespaces, and of batches that did not land, that are listed.
_TOP, _LINES = 20, 50
# Sums of floating-point numbers differ by less.
_ROUNDING = 1e-4
_NOT_LANDED = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.LOST)


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one namespace of one cluster, and its currency, "" where that is not set."""

    cluster: str
    namespace: str
    cost: float
    currency: str = ""


@dataclass(slots=True)
class Page:
    """The content of a run's page; `costs` is None if Kusto was not queried, and `unknown` gives the reason."""

    report: Report | None = None
    costs: list[Cost] | None = None
    unknown: str = "The cost by namespace was not queried."

    def add(self, report: Report, kusto: Kusto | None = None) -> None:
        """Set a run's report, and query Kusto for the cost by namespace. Never raises, because the run has ended."""
        self.report = report
        if kusto is None:
            return
        try:
            self.costs = by_namespace(kusto, report)
        except KustoError as error:
            self.unknown = f"The cost by namespace could not be queried: {error}"


@contextmanager
def page(file: Path | None) -> Iterator[Page]:
    """A page that is appended to the file when the block ends, also when an error or an interruption ends it.

    Raises UsageError, before anything is done, when the file cannot be written.
    """
    result = Page()
    if file is None:
        yield result
        return
    _append(file, "")
    why = "the run was interrupted. Batches not reported as landed may still arrive"
    try:
        yield result
        why = ""
    except OpenCostKustoError as error:
        why = f"exit code {error.exit_code}. {error}"
        raise
    finally:
        _append(file, markdown(result) if result.report is not None else f"## OpenCost to Kusto: {_text(why)}\n\n")


def costs_query(run_id: str, period: Window) -> str:
    """KQL for the cost of each namespace of the windows of a run, by the shipped function."""
    start, end = (f"datetime({stamp(bound)})" for bound in (period.start, period.end))
    return (
        f'OpenCostOfRun({literal(run_id)}, "", {start}, {end})'
        " | summarize Cost = sum(TotalCost) by Cluster, Namespace, Currency"
        " | order by Cost desc, Cluster asc, Namespace asc"
    )


def by_namespace(kusto: Kusto, report: Report) -> list[Cost]:
    """The cost of what a run landed or found landed by namespace, the highest first; raises KustoError."""
    landed = _counted(report.results)
    if not landed:
        return []
    period = Window(min(one.window_start for one in landed), max(one.window_end for one in landed))
    return [
        Cost(row["Cluster"] or "", row["Namespace"], float(row["Cost"] or 0.0), row["Currency"] or "")
        for row in kusto.query(costs_query(report.run_id, period), fresh=True)
    ]


def markdown(page: Page) -> str:
    """The page as GitHub-flavoured Markdown, which both GitHub and Azure DevOps show; ends with an empty line."""
    report = page.report
    if report is None:
        raise ValueError("a page without a report has its sentence instead")
    counts = ", ".join(f"{count} {kind}" for kind, count in report.counts.items()) or "nothing to do"
    parts = [
        f"## OpenCost to Kusto: {counts}",
        f"Run {_text(report.run_id)}, exit code {report.exit_code}.",
        rendering.markdown(_totals(report.results)),
        "### Cost by namespace",
        *_namespaces(page, report.results),
        *_missing(report.results),
    ]
    return "\n\n".join(parts) + "\n\n"


def cost_table(costs: Sequence[Cost], top: int = _TOP) -> Table:
    """The most expensive namespaces, the rest in one line, and each one's share of the total; all by currency."""
    several = len({one.cluster for one in costs}) > 1
    totals = by_currency(costs)
    columns = (
        *([Column("Cluster")] if several else []),
        Column("Namespace"),
        Column("Cost", Kind.MONEY, total=True),
        Column("Share", Kind.SHARE, total=True),
        Column("Currency", Kind.CURRENCY),
    )
    rows = [
        (
            *([one.cluster] if several else []),
            one.namespace,
            one.cost,
            one.cost / total if (total := totals[one.currency]) else None,
            one.currency,
        )
        for one in costs
    ]
    return Table(columns, rows).top(top)


def by_currency(costs: Sequence[Cost]) -> dict[str, float]:
    """The sum of costs by currency, "" where it is not set: amounts of two currencies are never added."""
    names = sorted({one.currency for one in costs})
    return {name: sum(one.cost for one in costs if one.currency == name) for name in names}


def _append(file: Path, text: str) -> None:
    """Append to the file; GitHub's file has the summaries of earlier steps."""
    try:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise UsageError(f"The summary {file} cannot be written: {error.strerror}.") from error


def _counted(outcomes: Iterable[BatchResult]) -> list[BatchResult]:
    """The allocation batches that landed, now or earlier."""
    return [
        one
        for one in outcomes
        if one.table == ALLOCATION.name and one.outcome in (Outcome.LANDED, Outcome.ALREADY_LANDED)
    ]


def _totals(outcomes: Sequence[BatchResult]) -> Table:
    """Rows and cost of the batches that did not fail, by dataset."""
    rows = []
    for dataset in sorted({one.dataset for one in outcomes}):
        some = [one for one in outcomes if one.dataset == dataset]
        arrived = [one for one in some if one.outcome not in _NOT_LANDED]
        costs = [one.cost for one in arrived if one.cost is not None]
        rows.append((dataset, len(some), sum(one.rows or 0 for one in arrived), sum(costs) if costs else None))
    return Table(
        (Column("Dataset"), Column("Batches", Kind.COUNT), Column("Rows", Kind.COUNT), Column("Cost", Kind.MONEY)), rows
    )


def _namespaces(page: Page, outcomes: Sequence[BatchResult]) -> Iterator[str]:
    """The cost of each namespace, and a note if they do not add up to what landed."""
    costs = page.costs
    if not costs:
        yield _text(page.unknown) if costs is None else "No allocation was counted in Kusto."
        return
    yield rendering.markdown(cost_table(costs))
    total = sum(one.cost for one in costs)
    landed = sum(one.cost or 0.0 for one in _counted(outcomes))
    if abs(total - landed) > _ROUNDING:
        yield (
            f"The batches that landed have a cost of {landed:,.6f}, and the namespaces {total:,.6f}: each minute "
            "counts once, and idle cost does not."
        )


def _missing(outcomes: Sequence[BatchResult]) -> Iterator[str]:
    """The batches that did not land, with the reason."""
    missing = [one for one in outcomes if one.outcome in _NOT_LANDED]
    if not missing:
        return
    yield "### What did not land"
    columns = tuple(map(Column, ("Source", "Dataset", "Window", "Length", "Outcome", "Why")))
    rows = [
        (
            one.source,
            one.dataset,
            stamp(one.window_start),
            f"{one.window_minutes:g}m",
            str(one.outcome),
            redacted(one.reason or ""),
        )
        for one in missing[:_LINES]
    ]
    yield rendering.markdown(Table(columns, rows))
    if len(missing) > _LINES:
        yield f"And {len(missing) - _LINES} more."


def _text(value: str) -> str:
    """Text escaped for Markdown and HTML, on one line and without secrets."""
    return rendering.markdown_text(redacted(value))
