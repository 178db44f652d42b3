"""Find the missing windows of many sources in one query, whose result has the missing ones only.

Kusto cannot compute the id of a batch, so it compares columns: source, table, window and options. A window that it
lists may be settled nevertheless, by windows of other lengths, or by a run that was killed before it wrote the run log,
where the rows do not have all options. The states of the listed windows are then read as for one source.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from opencost_kusto.batch import Batch, Source
from opencost_kusto.coverage.gaps import Gaps, Target, sort
from opencost_kusto.coverage.retention import fallbacks, past_retention
from opencost_kusto.coverage.state import dataset_states
from opencost_kusto.database import window_states
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.options import OptionValue
from opencost_kusto.window import Window, floor
from opencost_kusto.window_state import SETTLED, WindowState

_Missing = dict[str, list[Batch]]
_NOTHING_TO_DO = ", ".join(map(literal, sorted({*SETTLED, WindowState.LOST})))
_LOST = literal(WindowState.LOST)


def find_all(kusto: Kusto, sources: Sequence[Source], target: Target, period: Window, now: datetime) -> list[Gaps]:
    """The gaps of each source in a period: one query for all with the same options, and for what is missing.

    What the run log has as lost is listed as lost, and not read again. Raises KustoError.
    """
    found: list[Gaps] = []
    for one in dict.fromkeys(target.of(source.settings) for source in sources):
        sharing = [source for source in sources if target.of(source.settings) == one]
        found += _find(kusto, sharing, one, period, now)
    return sorted(found, key=lambda gaps: [source.name for source in sources].index(gaps.source.name))


def _find(kusto: Kusto, sources: Sequence[Source], target: Target, period: Window, now: datetime) -> list[Gaps]:
    """The gaps of sources that are requested with the same options."""
    missing: _Missing = {source.name: [] for source in sources}
    lost: _Missing = {source.name: [] for source in sources}
    if target.tables:
        for row in kusto.query(missing_query(sources, target, period), fresh=True):
            start = row["WindowStart"].astimezone(UTC)
            table = next(table for table in target.tables if table.name == row["TableName"])
            window = Window(start, start + target.step)
            (lost if row["IsLost"] else missing)[row["Source"]].append(
                Batch(table, row["Source"], window, target.options)
            )
    found = {one.name: _all_covered(one, target, period, missing[one.name], lost[one.name]) for one in sources}
    for window, names in _periods(sources, missing, target, now).items():
        _sort_missing(kusto, [found[name] for name in names], target, window, missing, now)
    return list(found.values())


def missing_query(sources: Sequence[Source], target: Target, period: Window) -> str:
    """KQL for the windows of a period that are neither landed nor empty, and whether each is lost."""
    step = f"{target.step // timedelta(minutes=1)}m"
    pairs = ", ".join(f"{literal(source.name)}, {literal(table.name)}" for source in sources for table in target.tables)
    requested = " or ".join(f"({_requested(table, target)})" for table in target.tables)
    return window_states.query(
        period,
        [source.name for source in sources],
        target.tables,
        f"let Settled = States | where State in ({_NOTHING_TO_DO}) and WindowEnd - WindowStart == {step}"
        f" | where {requested} | project Source, TableName, WindowStart, IsLost = State == {_LOST};"
        f" let Missing = range WindowStart from startTime to endTime - {step} step {step} | extend One = 1"
        f" | join kind=inner (datatable(Source: string, TableName: string)[{pairs}] | extend One = 1) on One"
        " | join kind=leftanti Settled on Source, TableName, WindowStart"
        " | project Source, TableName, WindowStart, IsLost = false;"
        " union Missing, (Settled | where IsLost and WindowStart >= startTime and WindowStart < endTime)"
        " | order by WindowStart asc",
        options=list(dict.fromkeys(option for table in target.tables for option in table.options)),
    )


def _requested(table: Table, target: Target) -> str:
    """KQL for windows of a table with the options of the target."""
    names = {option.name: window_states.column(option) for option in table.options}
    options = target.options.for_table(table).items()
    conditions = [_equal(names[name], value) for name, value in options]
    return " and ".join([f"TableName == {literal(table.name)}", *conditions])


def _equal(column: str, value: OptionValue) -> str:
    """KQL for an option that has a value."""
    if isinstance(value, bool):
        return f"{column} == {str(value).lower()}"
    return f"{column} == {literal(value if isinstance(value, str) else json.dumps(value, separators=(',', ':')))}"


def _all_covered(
    source: Source, target: Target, period: Window, missing: Sequence[Batch], lost: Sequence[Batch]
) -> Gaps:
    """The gaps of a source before the missing windows are sorted into them."""
    found = Gaps(source, {}, lost=list(lost))
    windows = {(batch.table.name, batch.window) for batch in (*missing, *lost)}
    for batch in target.batches(source.name, period):
        found.expected += 1
        if (batch.table.name, batch.window) not in windows:
            found.covered_until[batch.table.dataset] = batch.window.end
    return found


def _periods(sources: Sequence[Source], missing: _Missing, target: Target, now: datetime) -> dict[Window, list[str]]:
    """The sources that have missing windows, by the period whose states have to be read for them.

    Where OpenCost may no longer have a window, the longer windows that contain it count, too.
    """
    found: dict[Window, list[str]] = defaultdict(list)
    for source in sources:
        if batches := missing[source.name]:
            first, last = batches[0].window.start, max(batch.window.end for batch in batches)
            if any(past_retention(batch.window, now, source.retention(batch.table)) for batch in batches):
                longest = max(fallbacks(target.step), default=target.step)
                first, last = floor(first, longest), floor(last, longest) + longest
            found[Window(first, last)].append(source.name)
    return found


def _sort_missing(
    kusto: Kusto, found: Sequence[Gaps], target: Target, window: Window, missing: _Missing, now: datetime
) -> None:
    """Read the states of the missing windows of some sources, and sort the windows by them."""
    names = [one.source.name for one in found]
    for state in dataset_states(kusto, names, target.tables, window):
        next(one for one in found if one.source.name == state.source).states[state.table.name] = state
    for gaps in found:
        sort(gaps, target, missing[gaps.source.name], now)


def covered(found: Sequence[Gaps]) -> Iterator[tuple[str, str, datetime]]:
    """Source, dataset, and the end of the newest window that has landed or is empty."""
    for one in found:
        for dataset, until in one.covered_until.items():
            yield one.source.name, dataset, until
