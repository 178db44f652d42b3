"""Whether a window that OpenCost answered with nothing, later than its built-in store would know it, had no cost.

With a Prometheus behind it OpenCost remembers for long, and nothing may be the truth: a cluster that was off. To bring
the coarser window that holds it would then count its cost twice, once as what landed of it and once for the rest of its
minutes. So the coarser one is asked how much it costs: no more than what landed of it, and the rest was empty.
"""

from __future__ import annotations

from collections.abc import Iterable

from opencost_kusto.batch import Batch, BatchContext, Run, Source
from opencost_kusto.coverage.state import RunLogEntry, cost_once
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.transform.rows import Encoder

# What rounding may add: OpenCost gives five decimals a row, and divides by running minutes.
_PER_ROW, _RELATIVE = 1e-5, 0.01


def costs_more(opencost: OpenCost, coarse: Batch, source: Source, run: Run, there: Iterable[RunLogEntry]) -> bool:
    """Whether a coarser window costs more than what landed of it; also when that cannot be told."""
    span = coarse.window
    inside = [word for word in there if span.start <= word.window.start and word.window.end <= span.end]
    landed = cost_once(inside)
    if landed is None:
        return True
    encoder = Encoder(coarse.table, BatchContext(run, source, coarse))
    try:
        for _ in encoder.lines(opencost.records(coarse, lambda _: None)):
            pass
    except OpenCostKustoError:
        return True
    # Nothing at all where something landed: the coarser one is forgotten too.
    return not encoder.rows or (encoder.cost or 0.0) > landed * (1 + _RELATIVE) + encoder.rows * _PER_ROW
