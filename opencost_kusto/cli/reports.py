"""Reports as tables: what a run did by cluster and dataset, and the data dictionary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import typer

from opencost_kusto.cli.console import Console
from opencost_kusto.database.functions import Function
from opencost_kusto.errors import EmptyError
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.pipeline.request import SyncRequest
from opencost_kusto.rendering import Column, Document, Kind, bars
from opencost_kusto.rendering import Table as Printed
from opencost_kusto.result import ARRIVED, BatchResult, Outcome, Report
from opencost_kusto.schema.columns import Json, Table
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.shard import Shard
from opencost_kusto.window import Window, stamp

_MISSING = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.LOST)
# Reasons with a line of their own.
_REASONS = 20
# Clusters that the sum names; of more, it has the number.
_NAMES = 5


def report_document(report: Report, exit_code: int, error: str | None = None, *, routes: bool = False) -> Document:
    """A run's report: a table by cluster and dataset, then failures with their cause, notes, and the sum."""
    results = report.results
    document = {**report.document(), "exit_code": exit_code, **({"error": error} if error else {})}
    log = [f"run log: {report.run_log}"] if report.run_log is not None else []
    warnings = [f"warning: {one}" for one in report.warnings]
    head = [*(route_lines(report) if routes else ()), *warnings]
    lines = [*head, *_reasons(results), *_notes(results), *log, report_line(report)]
    return Document(document, [_summary(results)], lines, _batches(results))


def route_lines(report: Report) -> Iterator[str]:
    """How the sources in Kubernetes were reached."""
    for name, route in report.routes.items():
        yield f"route: {name}: {route}"


def _summary(results: Sequence[BatchResult]) -> Printed:
    """A line for each cluster, dataset and outcome; rows and cost are those of batches that arrived."""
    groups: dict[tuple[str, str, str], list[BatchResult]] = {}
    for one in results:
        groups.setdefault((one.source, one.dataset, str(one.outcome)), []).append(one)
    rows = []
    for (cluster, dataset, outcome), some in sorted(groups.items()):
        arrived = [one for one in some if one.outcome in ARRIVED]
        costs = [one.cost for one in arrived if one.cost is not None]
        count = sum(one.rows or 0 for one in arrived)
        rows.append((cluster, dataset, outcome, len(some), count, sum(costs) if costs else None))
    return Printed(
        (
            Column("Cluster"),
            Column("Dataset"),
            Column("Outcome"),
            Column("Batches", Kind.COUNT, total=True),
            Column("Rows", Kind.COUNT, total=True),
            Column("Cost", Kind.MONEY),
        ),
        rows,
    )


def _batches(results: Sequence[BatchResult]) -> Printed:
    """A line for each batch."""
    columns = (
        *map(Column, ("Cluster", "Dataset", "WindowStart", "WindowEnd", "Outcome")),
        Column("Rows", Kind.COUNT),
        Column("Cost", Kind.MONEY),
        Column("Seconds", Kind.NUMBER),
    )
    rows = [
        (
            one.source,
            one.dataset,
            one.window_start,
            one.window_end,
            str(one.outcome),
            one.rows,
            one.cost,
            round(one.seconds, 3),
        )
        for one in results
    ]
    return Printed(columns, rows)


def _reasons(results: Sequence[BatchResult]) -> Iterator[str]:
    """Each reason of a failure once, with its newest window."""
    by_reason: dict[tuple[str, str, str, str], list[BatchResult]] = {}
    for one in results:
        if one.outcome in _MISSING:
            by_reason.setdefault((str(one.outcome), one.source, one.dataset, one.reason or ""), []).append(one)
    for (outcome, cluster, dataset, reason), some in list(by_reason.items())[:_REASONS]:
        newest = max(some, key=lambda one: one.window_end)
        more = f" and {len(some) - 1} more" if len(some) > 1 else ""
        window = f"{stamp(newest.window_start)} {newest.window_minutes:.0f}m"
        yield f"{outcome}: {cluster} {dataset} {window}{more}: {reason}"
    if len(by_reason) > _REASONS:
        yield f"{len(by_reason) - _REASONS} more reasons are in the report (-o json)."


def _notes(results: Sequence[BatchResult]) -> Iterator[str]:
    """Each note once, and the reason of each outcome that is no failure."""
    notes: dict[str, int] = {}
    for one in results:
        for note in (*([one.reason] if one.reason and one.outcome not in _MISSING else []), *one.notes):
            notes[note] = notes.get(note, 0) + 1
    for note, count in list(notes.items())[:_REASONS]:
        yield f"note: {note}" + (f" ({count} batches)" if count > 1 else "")


def report_line(report: Report) -> str:
    """The sum: how many batches ended with each outcome, and their rows; the run log where it could not be written."""
    if not report.results:
        return f"Nothing to do in run {report.run_id}"
    counts = [f"{count} {outcome}" for outcome, count in report.counts.items()]
    counts += ["run log failed"] if report.run_log is not None else []
    many = "1 batch" if len(report.results) == 1 else f"{len(report.results)} batches"
    sources = report.sources
    of = ", ".join(sources) if len(sources) <= _NAMES else f"{len(sources)} clusters"
    return f"{many} of {of} in run {report.run_id}: {', '.join(counts)}; {report.rows} rows"


def dictionary(tables: Iterable[Table], functions: Iterable[Function]) -> Document:
    """The data dictionary: a line for each column and function."""
    tables, functions = list(tables), list(functions)
    document = {
        "tables": [_described(table) for table in tables],
        "functions": [{"name": one.name, "signature": one.signature, "doc": one.doc} for one in functions],
    }
    columns = tuple(map(Column, ("Table", "Column", "Type", "Description", "Source")))
    rows = [(table.name, c.name, c.type, c.doc, c.origin) for table in tables for c in table.columns]
    return Document(document, (), list(_dictionary_lines(tables, functions)), Printed(columns, rows))


def _dictionary_lines(tables: Iterable[Table], functions: Iterable[Function]) -> Iterator[str]:
    for table in tables:
        yield f"{table.name}: {table.doc}"
        yield from (f"  {c.name:<32} {c.type:<9} {c.doc}  [{c.origin}]" for c in table.columns)
        yield from (f"  ({path} is not kept: {reason})" for path, reason in table.ignored.items())
        yield ""
    yield "Functions:"
    for function in functions:
        yield f"  {function.signature}"
        yield f"      {function.doc}"


def _described(table: Table) -> dict[str, Json]:
    return {
        "name": table.name,
        "dataset": table.dataset,
        "doc": table.doc,
        "key": list(table.key),
        "mapping": table.mapping,
        "columns": [{"name": c.name, "type": c.type, "source": c.origin, "doc": c.doc} for c in table.columns],
        "ignored": table.ignored,
    }


def cost_query(period: Window) -> str:
    """KQL for the cost of a period by cluster and namespace."""
    times = f"datetime({stamp(period.start)}), datetime({stamp(period.end)})"
    return f"OpenCostWorkloadCost({times}, '', '', '', 36500d) | summarize Cost = sum(TotalCost) by Cluster, Namespace"


def cost_shares(kusto: Kusto, period: Window, currency: str) -> Iterator[Printed]:
    """The cost of a period by cluster, and by cluster and namespace, the largest first, with shares and bars."""
    costs = kusto.query(cost_query(period))
    title = f"from {stamp(period.start)} to {stamp(period.end)}, in {currency}, without idle"
    for names in (("Cluster",), ("Cluster", "Namespace")):
        sums: dict[tuple[str, ...], float] = {}
        for row in costs:
            key = tuple(row[name] or "" for name in names)
            sums[key] = sums.get(key, 0.0) + row["Cost"]
        yield _shares(f"Cost by {' and '.join(names).lower()} {title}", names, sums)


def _shares(title: str, names: Sequence[str], sums: Mapping[tuple[str, ...], float]) -> Printed:
    """Costs by name as a table."""
    ordered, total = sorted(sums.items(), key=lambda item: -item[1]), sum(sums.values())
    drawn = bars((cost for _, cost in ordered), 30)
    columns = (Column("Cost", Kind.MONEY, total=True), Column("Share", Kind.SHARE, total=True), Column(""))
    rows = [(*key, cost, cost / total, bar) for (key, cost), bar in zip(ordered, drawn, strict=True)]
    return Printed((*map(Column, names), *columns), rows, title)


def plan(request: SyncRequest) -> dict[str, int]:
    """How many batches of each dataset one source has."""
    steps = sum(1 for _ in request.window.steps(request.step))
    return {name: steps if DATASETS[name].cadence == "step" else 1 for name in request.datasets}


def finish(console: Console, report: Report, empty: str | None = None) -> None:
    """Print the report, and end with its exit code; `empty` is why nothing had a cost, where that is a failure."""
    error = EmptyError(empty) if empty and not report.exit_code else None
    code = error.exit_code if error else report.exit_code
    console.show(report_document(report, code, empty if error else None, routes=console.verbose))
    if error:
        raise error
    if code:
        raise typer.Exit(code)


def print_shard(shard: Shard | None, clusters: int, console: Console) -> None:
    """Print which shard this is, where there are several, and how many clusters it has."""
    if shard is not None:
        console.info(f"Shard {shard}: {clusters} cluster{'' if clusters == 1 else 's'}.", "shard")
