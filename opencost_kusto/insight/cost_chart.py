"""A cost report as a picture."""

from __future__ import annotations

from pathlib import Path

from opencost_kusto.errors import UsageError
from opencost_kusto.insight import pictures
from opencost_kusto.insight.cost import CostReport

# Bars that a picture has room for.
_BARS = 20


def check_chart(file: Path) -> None:
    """Raise UsageError for a name that is not a picture's, and when matplotlib is not installed."""
    if file.suffix.lower() != ".png":
        raise UsageError(f"--chart {str(file)!r} is not possible: write a name that ends in .png.")
    pictures.require()


def draw_cost(report: CostReport, file: Path) -> None:
    """Draw the most expensive lines as bars.

    Raises UsageError for lines in several currencies, no lines, and a file that cannot be written.
    """
    currencies = {line.currency for line in report.lines}
    if len(currencies) != 1:
        why = (
            "the lines have several currencies; choose a cluster with --cluster" if currencies else "there are no lines"
        )
        raise UsageError(f"--chart {file} is not drawn: {why}.")
    several = len({line.cluster for line in report.lines}) > 1 or not report.dimension.columns
    costs = [
        ("/".join((*((line.cluster,) if several else ()), *filter(None, line.names))), line.total)
        for line in report.lines[:_BARS]
    ]
    unit = "".join(f" ({currency})" for currency in currencies if currency)
    period = f"{report.window.start:%Y-%m-%d %H:%M} to {report.window.end:%Y-%m-%d %H:%M} UTC"
    pictures.draw_bars(f"Cost by {report.dimension}{unit}, {period}", costs, file)
