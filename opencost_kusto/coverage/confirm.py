"""Confirm that an empty response past retention means zero cost.

With Prometheus, OpenCost keeps windows for long, and an empty response may be correct: a cluster that was off. Loading
the longer window would then count its cost twice: once as the windows that landed inside it, and once for the rest of
its minutes. Therefore the longer window is requested first: if it costs no more than what landed, the rest was empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from opencost_kusto.batch import Batch, BatchContext, Run, Source
from opencost_kusto.coverage.cover import covers
from opencost_kusto.coverage.state import WindowEntry
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.client import OpenCost, decoded
from opencost_kusto.transform.rows import Encoder
from opencost_kusto.window import Window

# The error that rounding may add: OpenCost has five decimals a row, and divides by running minutes.
_PER_ROW, _RELATIVE = 1e-5, 0.01


def costs_more(opencost: OpenCost, longer: Batch, source: Source, run: Run, landed: Iterable[WindowEntry]) -> bool:
    """Whether a longer window costs more than what landed inside it, or may cost more."""
    cost = cost_inside(longer, landed)
    if cost is None:
        return True
    encoder = Encoder(longer.table, BatchContext(run, source, longer))
    try:
        with closing(decoded(opencost, longer, lambda *_: None)) as records:
            for _ in encoder.lines(records):
                continue
    except OpenCostKustoError:
        return True
    # No row at all where something landed: OpenCost no longer has the longer window either.
    return not encoder.rows or (encoder.cost or 0.0) > cost * (1 + _RELATIVE) + encoder.rows * _PER_ROW


def cost_inside(longer: Batch, landed: Iterable[WindowEntry]) -> float | None:
    """The cost of what landed inside a window, each minute once; None if nothing with a cost did."""
    outer, inside = longer.window, dict[Window, float]()
    for one in landed:
        if one.cost is not None and outer.start <= one.window.start and one.window.end <= outer.end:
            inside.setdefault(one.window, one.cost)
    # A longer window includes the cost of the shorter ones inside it.
    return sum(inside[window] for window in covers([outer], inside)[outer].by) if inside else None
