"""Confirm that an empty response past retention means zero cost.

With Prometheus, OpenCost keeps windows for long, and an empty response may be correct: a cluster that was off. Loading
the longer window would then count its cost twice: once as the windows that landed inside it, and once for the rest of
its minutes. Therefore the longer window is requested first: if it costs no more than what landed, the rest was empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from opencost_kusto.batch import Batch, BatchContext, Run, Source
from opencost_kusto.coverage.interval_set import IntervalSet
from opencost_kusto.coverage.state import WindowEntry
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.transform.rows import Encoder

# The error that rounding may add: OpenCost has five decimals a row, and divides by running minutes.
_PER_ROW, _RELATIVE = 1e-5, 0.01


def costs_more(opencost: OpenCost, longer: Batch, source: Source, run: Run, landed: Iterable[WindowEntry]) -> bool:
    """Whether a longer window costs more than what landed inside it, or may cost more."""
    cost = cost_inside(longer, landed)
    if cost is None:
        return True
    encoder = Encoder(longer.table, BatchContext(run, source, longer))
    try:
        with closing(opencost.records(longer, lambda *_: None)) as records:
            for _ in encoder.lines(records):
                continue
    except OpenCostKustoError:
        return True
    # No row at all where something landed: OpenCost no longer has the longer window either.
    return not encoder.rows or (encoder.cost or 0.0) > cost * (1 + _RELATIVE) + encoder.rows * _PER_ROW


def cost_inside(longer: Batch, landed: Iterable[WindowEntry]) -> float | None:
    """The cost of what landed inside a window, each minute once; None if nothing with a cost did.

    The windows nest, because steps divide a day, and a longer one includes the cost of a shorter one.
    """
    outer, cost, counted = longer.window, None, IntervalSet([])
    inside = [one for one in landed if outer.start <= one.window.start and one.window.end <= outer.end]
    for one in sorted(inside, key=lambda one: -one.window.minutes):
        if one.cost is not None and one.window not in counted:
            cost = (cost or 0.0) + one.cost
            counted = IntervalSet([*counted, one.window])
    return cost
