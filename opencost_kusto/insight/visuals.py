"""How each visual of the dashboard is drawn: a card, columns over time, bars, a ring, a table.

Part of the door to matplotlib: `pictures` makes the figures that are drawn on here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from opencost_kusto.insight.formatting import Colours, Row, heading, label, roles, shortened, summed
from opencost_kusto.rendering import money, table_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches of a title and of a line of a table.
HEAD, _HIGH = 0.44, 0.245
INK, FAINT, LINE = "#1f2937", "#6b7280", "#e5e7eb"
# Inches between the columns of a table, and the smallest letters that a wide one gets.
_BETWEEN, _SMALLEST = 0.2, 6.0


def title(figure: Figure, text: str) -> None:
    """The title of a picture, in its upper left corner."""
    wide, tall = figure.get_size_inches()
    figure.suptitle(text, x=0.14 / wide, y=1 - 0.12 / tall, ha="left", va="top", weight="bold", fontsize=10)


def axes_of(figure: Figure) -> Axes:
    """The axes of a drawing and its legend, below the title and away from the edges."""
    wide, tall = figure.get_size_inches()
    left, low = 0.12 / wide, 0.1 / tall
    figure.set_layout_engine("constrained", rect=(left, low, 1 - 2 * left, 1 - low - HEAD / tall))
    return figure.subplots()


def _card(figure: Figure, rows: list[Row], _: Colours) -> None:
    (value,) = rows[0].values()
    figure.text(0.5, 0.38, money(value or 0.0), ha="center", va="center", fontsize=22, weight="bold")


def _columns(figure: Figure, rows: list[Row], colours: Colours) -> None:
    """Time on the x axis, one colour per series, the highest cost at the bottom."""
    time, series, value = roles(rows)
    moments = sorted({row[time] for row in rows})
    names = list(summed(rows, series, value))
    axes, handles = axes_of(figure), []
    bottoms = [0.0] * len(moments)
    for name in names:
        heights = summed((row for row in rows if (row[series] or "") == name), time, value)
        parts = [heights.get(moment, 0.0) for moment in moments]
        handles.append(axes.bar(range(len(moments)), parts, 0.82, bottoms, color=colours.of(series, name))[0])
        bottoms = [base + part for base, part in zip(bottoms, parts, strict=True)]
    ticks = range(0, len(moments), max(1, len(moments) // 12))
    axes.set_xticks(ticks, [_moment(moments, tick) for tick in ticks])
    axes.margins(x=0.01)
    axes.grid(axis="y")
    axes.yaxis.set_major_formatter(lambda at, _: f"{at:,g}")
    # Passed explicitly: matplotlib leaves out names that begin with an underscore.
    figure.legend(handles, list(map(label, names)), loc="outside right center", reverse=True)


def _moment(moments: Sequence[datetime], at: int) -> str:
    """A time on an axis: the day, or within one day the hour."""
    daily = len(moments) < 2 or moments[1] - moments[0] >= timedelta(days=1)
    return f"{moments[at]:%a %-d %b}" if daily else f"{moments[at]:%H:%M}"


def _bars(figure: Figure, rows: list[Row], colours: Colours) -> None:
    """A bar for each name, the largest on top; several values are stacked, and the first is written out too."""
    name, *values = rows[0]
    sums = {str(row[name]): sum(row[value] or 0.0 for value in values) for row in rows}
    names = sorted(sums, key=lambda each: sums[each])
    by_name = {str(row[name]): row for row in rows}
    axes = axes_of(figure)
    left = [0.0] * len(names)
    for value in values:
        parts = [float(by_name[each][value] or 0.0) for each in names]
        axes.barh(names, parts, 0.66, left, color=colours.of("", value), label=heading(value))
        left = [base + part for base, part in zip(left, parts, strict=True)]
    for at, (each, end) in enumerate(zip(names, left, strict=True)):
        text = money(end)
        if len(values) == 2:
            text = f"{heading(values[0]).split()[0].lower()} {money(by_name[each][values[0]] or 0.0)} of {text}"
        axes.annotate(text, (max(end, 0), at), (4, 0), textcoords="offset points", va="center", color=FAINT, fontsize=8)
    axes.set_yticks(range(len(names)), [label(each) for each in names])
    axes.margins(x=0.55 if len(values) == 2 else 0.2)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=2 if figure.get_figwidth() < 4 else 4)
    axes.xaxis.set_major_formatter(lambda at, _: f"{at:,g}")
    if len(values) > 1:
        figure.legend(loc="outside lower center", ncols=len(values))


def _pie(figure: Figure, rows: list[Row], colours: Colours) -> None:
    """A ring chart, with a legend of names, money and percent."""
    name, value = rows[0]
    parts = summed(rows, name, value)
    total = sum(parts.values())
    axes = axes_of(figure)
    shades = [colours.of(name, part) for part in parts]
    ring = {"width": 0.42, "edgecolor": "white", "linewidth": 1.5}
    # A ring cannot show a negative part; its legend can.
    sizes = [max(size, 0.0) for size in parts.values()]
    wedges = axes.pie(sizes, colors=shades, startangle=90, counterclock=False, wedgeprops=ring)[0]
    axes.text(0, 0, money(total), ha="center", va="center", fontsize=11, weight="bold")
    labels = [f"{label(part)}  {money(cost)}  {cost / total if total else 0:.0%}" for part, cost in parts.items()]
    beside = figure.get_figwidth() > 4.5
    figure.legend(wedges, labels, loc="outside right center" if beside else "outside lower center")


def _table(figure: Figure, rows: list[Row], _: Colours) -> None:
    """A table that fits its tile: as many rows as fit, a total, and smaller letters where it is wide."""
    table = table_of([{name: _read(value) for name, value in row.items()} for row in rows])
    wide, tall = figure.get_size_inches()
    totals = table.totals()
    room = int((tall - HEAD - 0.1) / _HIGH) - 1 - len(totals)
    shown = len(rows) if len(rows) <= room else room - 1
    lines = [[heading(column.name) for column in table.columns]]
    lines += [[shortened(label(text)) for text in line] for line in table.cells()[:shown]]
    lines += totals
    # A column without a value in any row is left out.
    full = [at for at in range(len(table.columns)) if any(row[at] not in (None, "") for row in table.rows)]
    lines = [[line[at] for at in full] for line in lines]
    numbers = [table.columns[at].right for at in full]
    columns = list(zip(*lines, strict=True))
    size, margin = 9.0, 0.14
    free = wide - 2 * margin - _BETWEEN * (len(columns) - 1)
    widths = [max(_width(figure, text, size) for text in column) for column in columns]
    if sum(widths) > free:
        size = max(_SMALLEST, size * free / sum(widths))
        widths = [width * size / 9.0 for width in widths]
    left, slack = margin, max(free - sum(widths), 0) / max(1, len(columns) - 1) + _BETWEEN
    for column, number, width in zip(columns, numbers, widths, strict=True):
        x, align = ((left + width) / wide, "right") if number else (left / wide, "left")
        for at, text in enumerate(column):
            bold = at == 0 or at >= len(lines) - len(totals)
            y = 1 - (HEAD + _HIGH * (at + 0.5)) / tall
            shade, weight = INK if at else FAINT, "bold" if bold else "normal"
            figure.text(x, y, text, ha=align, va="center", weight=weight, color=shade, fontsize=size)
        left += width + slack
    for line in range(1, len(lines) + 1):
        _rule(figure, margin / wide, 1 - (HEAD + _HIGH * line) / tall)
    if shown < len(rows):
        y = 1 - (HEAD + _HIGH * (len(lines) + 0.5)) / tall
        figure.text(margin / wide, y, f"and {len(rows) - shown} more rows", va="center", color=FAINT)


def _read(value: Any) -> Any:
    """A value, and a time to the minute."""
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value


def _rule(figure: Figure, margin: float, y: float) -> None:
    from matplotlib.lines import Line2D

    figure.add_artist(Line2D((margin, 1 - margin), (y, y), color=LINE, linewidth=0.8))


def _width(figure: Figure, text: str, size: float) -> float:
    """Inches that a text takes, where it is bold."""
    probe = figure.text(0, 0, text, weight="bold", fontsize=size)
    width = probe.get_window_extent().width / figure.dpi
    probe.remove()
    return float(width)


VISUALS: Final[dict[str, Callable[[Any, list[Row], Colours], None]]] = {
    "card": _card,
    "stackedcolumn": _columns,
    "bar": _bars,
    "pie": _pie,
    "table": _table,
}
