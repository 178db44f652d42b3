"""Confirm that an empty response past retention really means zero cost.

With a Prometheus behind it OpenCost keeps windows for long, and an empty response may be the truth: a cluster that was
off. To load the longer window would then count its cost twice, once as what landed inside it and once for the rest of
its minutes. So the longer window is requested: if it costs no more than what landed, the rest was empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from opencost_kusto.batch import Batch, BatchContext, Run, Source
from opencost_kusto.coverage.interval_set import IntervalSet
from opencost_kusto.coverage.state import RunLogEntry
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.transform.rows import Encoder

# What rounding may add: OpenCost gives five decimals a row, and divides by running minutes.
_PER_ROW, _RELATIVE = 1e-5, 0.01


def costs_more(opencost: OpenCost, longer: Batch, source: Source, run: Run, landed: Iterable[RunLogEntry]) -> bool:
    """Whether a longer window costs more than what landed inside it; also when that cannot be known."""
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


def cost_inside(longer: Batch, landed: Iterable[RunLogEntry]) -> float | None:
    """The cost of what landed inside a window, each minute once; None where nothing with a cost did.

    The windows nest, since steps tile a day, and a longer one contains what a shorter one says.
    """
    outer, cost, counted = longer.window, None, IntervalSet([])
    inside = [one for one in landed if outer.start <= one.window.start and one.window.end <= outer.end]
    for one in sorted(inside, key=lambda one: -one.window.minutes):
        if one.cost is not None and one.window not in counted:
            cost = (cost or 0.0) + one.cost
            counted = IntervalSet([*counted, one.window])
    return cost
