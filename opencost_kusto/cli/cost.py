"""`cost`: what something cost, with a total, shares and a header."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from opencost_kusto.cli.console import Console
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.options import OUTPUT, option
from opencost_kusto.cli.usage import read_option
from opencost_kusto.errors import UsageError
from opencost_kusto.insight.cost_request import CostRequest, window_of
from opencost_kusto.insight.dimensions import NAMES
from opencost_kusto.names import variable

# A section of the help.
COST = "Cost"
WINDOW = "7d"
_PREVIOUS, _IDLE = "previous", "idle"
Top = Annotated[int | None, option("--top", "List the first rows only, and add up the rest.", panel=OUTPUT, min=1)]


@dataclass(frozen=True, slots=True)
class CostOptions:
    """Which cost, by what, and compared with what."""

    PANEL = COST
    EXCLUSIVE = (("window",), ("run",))
    by: Annotated[str, option("--by", f"One line for each: {NAMES}.")] = "namespace"
    window: Annotated[
        str | None, option("--window", "7d (the default), 30m, today, yesterday, lastmonth, START,END, …")
    ] = None
    run: Annotated[str | None, option("--run", "The windows of this run instead of --window.")] = None
    cluster: Annotated[list[str] | None, option("--cluster", "This cluster alone; repeatable.")] = None
    with_: Annotated[str | None, option("--with", "idle: add the idle cost of nodes.")] = None
    compare: Annotated[
        str | None, option("--compare", "previous: the window of equal length before; or a run, where it is of runs.")
    ] = None

    def request(self, now: datetime) -> CostRequest:
        """The request; raises UsageError for an invalid window, and for options that cannot be combined."""
        if self.window is not None and self.run is not None:
            raise UsageError(f"Use either {variable('--window')} or {variable('--run')}, not both.")
        if self.with_ not in (None, _IDLE):
            raise UsageError(f"--with {self.with_!r} is not possible; write --with idle.")
        window = read_option("--window", lambda one: window_of(one, now), self.window or WINDOW)
        previous = self.compare == _PREVIOUS
        return CostRequest(
            window,
            self.by,
            tuple(dict.fromkeys(self.cluster or ())),
            idle=self.with_ == _IDLE,
            earlier=window.before() if previous else None,
            run=self.run or "",
            baseline="" if previous else self.compare or "",
        )


def cost_command(
    options: CostOptions,
    kusto_options: KustoOptions,
    top: Top = None,
    chart: Annotated[
        Path | None, option("--chart", "Draw the lines into this .png file (extra pictures).", panel=OUTPUT)
    ] = None,
    *,
    console: Console,
) -> None:
    """Print what something cost, with a total, shares, and what is missing."""
    from opencost_kusto.insight.cost import cost_report
    from opencost_kusto.insight.cost_chart import check_chart, draw_cost
    from opencost_kusto.insight.cost_document import cost_document

    request = options.request(datetime.now(UTC))
    if chart is not None:
        check_chart(chart)
    with kusto_options.kusto(console.info) as kusto:
        report = cost_report(kusto, request)
    console.show(cost_document(report, datetime.now(UTC), top))
    if chart is not None:
        draw_cost(report, chart)
        console.info(f"{chart} is written.")
