"""The status of datasets as a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from opencost_kusto.coverage.standing import ClusterStatus, Standing
from opencost_kusto.coverage.status import DatasetStatus
from opencost_kusto.rendering import Column, Document, Kind, Table
from opencost_kusto.times import readable
from opencost_kusto.window import Window, stamp


def fleet_document(clusters: Sequence[ClusterStatus], now: datetime, *, every_dataset: bool = False) -> Document:
    """A line for each cluster, the worst first, and the problems; `every_dataset` adds a line for each dataset."""
    columns = (
        *map(Column, ("Cluster", "Status", "Landed until", "Age")),
        *(Column(name, Kind.COUNT) for name in ("Missing", "Lost", "Failed", "Damaged")),
        Column("Cost, last day", Kind.MONEY),
        Column("Currency", Kind.CURRENCY),
    )
    rows = [
        (
            one.cluster,
            one.standing.value,
            one.until,
            "" if one.until is None else readable(max(now - one.until, timedelta())),
            *(
                sum(len(getattr(dataset, name)) for dataset in one.datasets)
                for name in ("missing", "lost", "failures", "damaged")
            ),
            one.day_cost,
            one.currency,
        )
        for one in clusters
    ]
    table = Table(columns, rows)
    active = [one for one in clusters if not one.retired]
    lines = [line for one in active for dataset in one.datasets for line in status_lines(dataset)]
    lines += [f"never landed: {one.cluster}" for one in active if Standing.NEVER in one.wrong]
    datasets = status_document([dataset for one in clusters for dataset in one.datasets], now)
    tables = [table, *(datasets.tables if every_dataset else [])]
    facts = [one.document(now) for one in clusters]
    return Document(facts, tables, lines if rows else ["Nothing has landed yet."], table)


def status_document(found: Sequence[DatasetStatus], now: datetime) -> Document:
    """A line for each cluster and dataset, and below them what is not in Kusto."""
    columns = (
        *map(Column, ("Cluster", "Dataset", "Landed until", "Age", "Empty until")),
        Column("Batches", Kind.COUNT),
        Column("Rows", Kind.COUNT),
        Column("Rows, last day", Kind.COUNT),
        Column("Cost, last day", Kind.MONEY),
        Column("Currency", Kind.CURRENCY),
    )
    rows = [
        (
            one.source,
            one.dataset,
            one.until,
            _age(one, now),
            _empty(one),
            one.batches,
            one.rows,
            one.day_rows,
            one.day_cost,
            one.currency,
        )
        for one in found
    ]
    table = Table(columns, rows)
    lines = [line for one in found for line in status_lines(one)]
    return Document(
        [one.document(now) for one in found], [table], lines if rows else ["Nothing has landed yet."], table
    )


def status_lines(one: DatasetStatus) -> Iterator[str]:
    """What is not in Kusto, or not as it should be: a line for each period."""
    name = f"{one.source} {one.dataset}"
    for window in one.missing:
        yield f"missing: {name} {_period(window)}; backfill loads what OpenCost still has"
    for window in one.lost:
        yield f"lost: {name} {_period(window)}"
    for window in one.damaged:
        yield f"damaged: {name} {_period(window)}; the next sync, schedule or backfill of it repairs it"
    for failure in one.failures:
        more = f" and {failure.windows - 1} more" if failure.windows > 1 else ""
        yield f"{failure.outcome}: {name} {_period(failure.window)}{more}: {failure.reason}"


def _period(window: Window) -> str:
    return f"{stamp(window.start)} to {stamp(window.end)} ({readable(window.length)})"


def _empty(one: DatasetStatus) -> datetime | None:
    return one.empty_until if one.empty_since_last else None


def _age(one: DatasetStatus, now: datetime) -> str:
    age = one.age(now)
    return "" if age is None else readable(age)
