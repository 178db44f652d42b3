"""A cost report as a document: a header, a table with totals and shares, and a line for what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from opencost_kusto.insight.cost import CostReport, Gap
from opencost_kusto.insight.cost_lines import Line
from opencost_kusto.insight.dimensions import RUN
from opencost_kusto.rendering import Column, Document, Kind, Table, bars
from opencost_kusto.schema.columns import Json
from opencost_kusto.times import readable
from opencost_kusto.window import Window, stamp

# Letters of a bar, and gaps that have a line of their own.
_BAR, _GAPS = 12, 5
_NO_CURRENCY = "not set (sync --currency sets it)"
# Headings of columns for people.
_HEADINGS = {
    "ControllerKind": "Kind",
    "WorkloadCost": "Workloads",
    "IdleCost": "Idle",
    "TotalCost": "Cost",
    "PreviousCost": "Before",
    "ChangePercent": "Change, %",
}


def cost_document(report: CostReport, now: datetime, top: int | None = None) -> Document:
    """The report for people, and as data; `top` is how many lines are listed.

    For people the rest is one line for each currency. CSV has the lines alone, JSON everything.
    """
    count = len(report.lines) if top is None else top
    lines = _first(report.lines, count)
    rows = _data(report, lines[:count])
    document = {
        "by": str(report.dimension),
        "start": stamp(report.window.start),
        "end": stamp(report.window.end),
        "currencies": sorted({line.currency for line in report.lines if line.currency}),
        "clusters": {name: until and stamp(until) for name, until in report.landed_until.items()},
        "lines": rows.documents(),
        "lines_left_out": len(lines[count:]),
        "totals": [{"Currency": currency, "TotalCost": cost} for currency, cost in report.totals.items()],
        "missing": [_gap(one) for one in report.gaps],
        "missing_before": [_gap(one) for one in report.earlier_gaps],
    }
    tables = [_for_people(report, lines, count)] if lines else []
    return Document(document, tables, list(_below(report)), rows, list(_head(report, now)))


def cost_rows(report: CostReport) -> list[dict[str, Json]]:
    """The lines as dictionaries."""
    return _data(report, report.lines).documents()


def _first(lines: Sequence[Line], count: int) -> list[Line]:
    """The most expensive lines first; both parts keep their order."""
    kept = set(sorted(range(len(lines)), key=lambda at: -lines[at].total)[:count])
    return [lines[at] for at in sorted(range(len(lines)), key=lambda at: (at not in kept, at))]


def _head(report: CostReport, now: datetime) -> Iterator[str]:
    """The header: period, currency, clusters, freshness."""
    request, window = report.request, report.window
    idle = ", with idle cost" if request.idle else ""
    of_run = f" of run {request.run}" if request.run else ""
    against = f", compared with run {request.baseline}" if request.baseline else ""
    yield f"Cost by {report.dimension}{of_run}{idle}{against}"
    yield f"Period:    {_period(window)}"
    if request.earlier:
        yield f"Compared:  {_period(request.earlier)}"
    currencies = sorted({line.currency or _NO_CURRENCY for line in report.lines}) or [_NO_CURRENCY]
    yield f"Currency:  {', '.join(currencies)}"
    names = sorted(report.landed_until)
    shown = ", ".join(names[:_GAPS]) + (f" and {len(names) - _GAPS} more" if len(names) > _GAPS else "")
    yield f"Clusters:  {shown or 'none'}"
    if fresh := _fresh(report.landed_until, now):
        yield f"Landed to: {fresh}"


def _period(window: Window) -> str:
    return f"{stamp(window.start)} to {stamp(window.end)} ({readable(window.length)})"


def _fresh(landed: dict[str, datetime | None], now: datetime) -> str:
    """The time up to which the clusters have landed, and the one that is furthest behind."""
    landed_clusters = sorted((until, name) for name, until in landed.items() if until is not None)
    if not landed_clusters:
        return ""
    (oldest, behind), (newest, _) = landed_clusters[0], landed_clusters[-1]
    text = f"{stamp(newest)} ({readable(now - newest)} ago)"
    return text if oldest == newest else f"{text}; {behind} to {stamp(oldest)} ({readable(now - oldest)} ago)"


def _below(report: CostReport) -> Iterator[str]:
    """Missing time, and other notes for the reader."""
    if not report.lines:
        yield "No cost has landed for this period. opencost-kusto status shows what has."
    if report.dimension.name == RUN:
        yield "Windows of runs may overlap, so there is no total."
    for when, gaps in (("Missing", report.gaps), ("Missing before", report.earlier_gaps)):
        for gap in gaps[:_GAPS]:
            hours = f"{gap.minutes / 60:,.4g} hours"
            of_run = f" in run {gap.run}" if gap.run else ""
            times = f"from {stamp(gap.first)} to {stamp(gap.last)}"
            yield f"{when}: {hours} of {gap.cluster} {gap.dataset}{of_run}, {times}"
        if len(gaps) > _GAPS:
            yield f"{when}: {len(gaps) - _GAPS} more datasets (-o json)"
    gaps = [*report.gaps, *report.earlier_gaps]
    if gaps and (run := gaps[0].run):
        window = f"{stamp(gaps[0].first)},{stamp(gaps[0].last)}"
        yield f"Load the windows of a run again, as in: opencost-kusto sync --run-id {run} --window {window}"
    elif gaps:
        start, end = min(gap.first for gap in gaps), max(gap.last for gap in gaps)
        yield f"Load what OpenCost still has: opencost-kusto backfill --from {stamp(start)} --to {stamp(end)}"


def _gap(gap: Gap) -> dict[str, Json]:
    return {
        "cluster": gap.cluster,
        "dataset": gap.dataset,
        "hours": gap.minutes / 60,
        "first": stamp(gap.first),
        "last": stamp(gap.last),
        **({"run": gap.run} if gap.run else {}),
    }


def _columns(report: CostReport, names: Sequence[str]) -> list[Column]:
    """The columns of money and shares, after those of names."""
    total = report.dimension.name != RUN
    columns = [Column(name) for name in names]
    if any(line.idle_cost is not None for line in report.lines):
        columns += [Column("WorkloadCost", Kind.MONEY, total), Column("IdleCost", Kind.MONEY, total)]
    columns.append(Column("TotalCost", Kind.MONEY, total))
    if total:
        columns.append(Column("Share", Kind.SHARE, total=True))
    if _is_compared(report):
        columns.append(Column("PreviousCost", Kind.MONEY, total))
        columns += [Column("Change", Kind.MONEY, total), Column("ChangePercent", Kind.PERCENT)]
    return [*columns, Column("Currency", Kind.CURRENCY)]


def _values(report: CostReport, line: Line) -> list[Json]:
    """The values of a line for the columns after the names."""
    values: list[Json] = []
    if any(one.idle_cost is not None for one in report.lines):
        values += [line.cost, line.idle_cost]
    values.append(line.total)
    if report.dimension.name != RUN:
        values.append(report.share(line))
    if _is_compared(report):
        before = line.previous_cost
        change = None if before is None else line.total - before
        values += [before, change, 100 * change / before if change is not None and before else None]
    return [*values, line.currency]


def _is_compared(report: CostReport) -> bool:
    return report.request.earlier is not None or bool(report.request.baseline)


def _data(report: CostReport, lines: Sequence[Line]) -> Table:
    """The lines as data, with all columns."""
    columns = _columns(report, ("Cluster", *report.dimension.columns))
    return Table(tuple(columns), [[line.cluster, *line.names, *_values(report, line)] for line in lines])


def _for_people(report: CostReport, lines: Sequence[Line], count: int) -> Table:
    """The first lines and the sum of the others, with bars; the cluster has a column where there are several."""
    several = len({line.cluster for line in lines}) > 1 or not report.dimension.columns
    names = (*(("Cluster",) if several else ()), *report.dimension.columns)
    columns = [replace(one, name=_HEADINGS.get(one.name, one.name)) for one in _columns(report, names)]
    rows = [[*((line.cluster,) if several else ()), *line.names, *_values(report, line)] for line in lines]
    table = Table(tuple(columns), rows).top(count)
    if len(names) > 2 or _is_compared(report):
        return table
    at = next(at for at, column in enumerate(columns) if column.name == _HEADINGS["TotalCost"])
    # Other runs have no sum, and so no bar.
    drawn = bars((row[at] or 0.0 for row in table.rows), _BAR)
    rows = [[*row, bar] for row, bar in zip(table.rows, drawn, strict=True)]
    return Table((*columns, Column("")), rows)
