"""Tables and live lines on a terminal. The door to rich, which is imported when something is drawn."""

from __future__ import annotations

from typing import Any, TextIO

from opencost_kusto.rendering import Table, printable


def as_text(table: Table, stream: TextIO | None) -> str:
    """A table as aligned text: rich's on a terminal, where long cells are folded, and unfolded elsewhere."""
    from rich import box
    from rich.console import Console as Rich
    from rich.table import Table as RichTable
    from rich.text import Text

    if not table.rows:
        return "No rows."
    table = table.readable()
    totals = table.totals()
    drawn = RichTable(box=box.SIMPLE_HEAD, show_footer=bool(totals))
    for at, column in enumerate(table.columns):
        drawn.add_column(
            Text(printable(column.name)),
            footer=Text("\n".join(total[at] for total in totals)),
            justify="right" if column.right else "left",
            overflow="fold",
        )
    for line in table.cells():
        drawn.add_row(*map(Text, line))
    terminal = stream is not None and stream.isatty()
    rich = Rich(file=stream, width=None if terminal else 100_000)
    with rich.capture() as capture:
        rich.print(drawn)
    # The title is no part of the drawing, which would fold it at the width of the columns.
    title = f"{printable(table.title)}\n\n" if table.title else ""
    return title + "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def rich_stderr(live: Any) -> Any:
    """Rich's console on stderr: that of the live lines where these are shown, to print a line above them."""
    from rich.console import Console as Rich

    return live.console if live is not None else Rich(stderr=True)


def is_dumb() -> bool:
    """Whether the terminal supports no control sequences."""
    return bool(rich_stderr(None).is_dumb_terminal)


def live_lines() -> Any:
    """One line for each cluster and dataset, removed at the end."""
    from rich.console import Console as Rich
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rows]:,} rows  {task.fields[outcome]}", markup=False),
        TimeRemainingColumn(),
        console=Rich(stderr=True),
        transient=True,
    )
