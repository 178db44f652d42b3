"""The dashboard's tiles as pictures: run each tile's query and draw its rows.

The door to matplotlib, which is imported when a picture is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opencost_kusto.errors import UsageError
from opencost_kusto.insight.formatting import Colours, Row, cells, money, roles, summed, words
from opencost_kusto.insight.tiles import Tile, tiles
from opencost_kusto.rendering import money as amount

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from opencost_kusto.kusto.client import Kusto
    from opencost_kusto.window import Window

_MISSING: Final = "Pictures need matplotlib. Install it with: pip install 'opencost-kusto[pictures]'"
# Inches of one column of a page, dots per inch, and the number of table rows that are drawn.
_COLUMN, _DOTS, _ROWS = 0.43, 130, 12
# Inches of a title and of a line of a table.
_HEAD, _HIGH = 0.44, 0.245
# Inches of a picture of bars alone.
_BARS_WIDE = 9.0
# Few colours keep the file small; these are enough for smooth letters.
_SHADES = 48
_INK, _FAINT, _LINE = "#1f2937", "#6b7280", "#e5e7eb"
_STYLE: Any = {
    "font.size": 9,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.bottom": False,
    "ytick.left": False,
    "legend.frameon": False,
}


def require() -> None:
    """Raise UsageError when matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as missing:
        raise UsageError(_MISSING) from missing


def draw_dashboard(kusto: Kusto, folder: Path, window: Window) -> list[Path]:
    """Run every tile's query for a window and all clusters, and write each tile as `<folder>/<slug>.png`.

    Returns the files in the order of the tiles. Raises UsageError when matplotlib is not installed or the folder
    cannot be written, and KustoError.
    """
    require()
    colours = Colours()
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for tile in tiles():
            path = folder / f"{tile.slug}.png"
            draw(tile, kusto.query(tile.query.posed(window)), path, colours)
            written.append(path)
    except OSError as error:
        raise UsageError(f"Pictures cannot be written to {folder}: {error.strerror or error}.") from error
    return written


def draw(tile: Tile, rows: list[Row], path: Path, colours: Colours) -> None:
    """Draw the rows of a tile as a PNG, with its title; raises UsageError for an unknown visual type."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    if tile.visual not in VISUALS:
        raise UsageError(f"{tile.title} is drawn as {tile.visual}, which is none of {', '.join(VISUALS)}.")
    with mpl.rc_context(_STYLE):
        size = (tile.width * _COLUMN, tile.height * _COLUMN)
        figure = Figure(size, dpi=_DOTS, edgecolor=_LINE, linewidth=2)
        canvas: Any = FigureCanvasAgg(figure)
        _title(figure, tile.title)
        if rows:
            VISUALS[tile.visual](figure, rows, colours)
        else:
            figure.text(0.5, 0.45, "No rows", ha="center", color=_FAINT)
        canvas.draw()
        picture = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")
        picture.quantize(_SHADES, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)


def draw_bars(title: str, costs: Sequence[tuple[str, float]], path: Path) -> None:
    """Draw a bar for each name and cost, the first on top, as a PNG; raises UsageError for a file it cannot write."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names, values = [name for name, _ in costs], [value for _, value in costs]
    with mpl.rc_context(_STYLE):
        figure = Figure((_BARS_WIDE, _HEAD + 0.5 + 0.3 * len(costs)), dpi=_DOTS)
        _title(figure, title)
        axes = _axes(figure)
        # By number: two bars may have one name.
        axes.barh(range(len(costs)), values, 0.66, color=Colours().of("", "TotalCost"))
        axes.set_yticks(range(len(costs)), names)
        axes.invert_yaxis()
        for at, value in enumerate(values):
            text = (4, 0)
            axes.annotate(amount(value), (max(value, 0), at), text, textcoords="offset points", va="center", fontsize=8)
        axes.margins(x=0.14)
        axes.grid(axis="x")
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(lambda at, _: amount(at))
        try:
            figure.savefig(path, format="png")
        except OSError as error:
            raise UsageError(f"The picture {path} cannot be written: {error.strerror or error}.") from error


def _title(figure: Figure, title: str) -> None:
    wide, tall = figure.get_size_inches()
    figure.suptitle(title, x=0.14 / wide, y=1 - 0.12 / tall, ha="left", va="top", weight="bold", fontsize=10)


def _axes(figure: Figure) -> Axes:
    """Room for a drawing and its legend below the title, away from the edges."""
    wide, tall = figure.get_size_inches()
    left, low = 0.12 / wide, 0.1 / tall
    figure.set_layout_engine("constrained", rect=(left, low, 1 - 2 * left, 1 - low - _HEAD / tall))
    return figure.subplots()


def _card(figure: Figure, rows: list[Row], _: Colours) -> None:
    ((name, value),) = rows[0].items()
    figure.text(0.5, 0.44, money(value), ha="center", va="center", fontsize=24, weight="bold")
    figure.text(0.5, 0.16, words(name), ha="center", va="center", color=_FAINT)


def _columns(figure: Figure, rows: list[Row], colours: Colours) -> None:
    """Time on the x axis, one colour per series, the highest cost at the bottom."""
    time, series, value = roles(rows)
    moments = sorted({row[time] for row in rows})
    names = list(summed(rows, series, value))
    axes, handles = _axes(figure), []
    bottoms = [0.0] * len(moments)
    for name in names:
        heights = summed((row for row in rows if (row[series] or "") == name), time, value)
        parts = [heights.get(moment, 0.0) for moment in moments]
        handles.append(axes.bar(range(len(moments)), parts, 0.82, bottoms, color=colours.of(series, name))[0])
        bottoms = [base + part for base, part in zip(bottoms, parts, strict=True)]
    every = max(1, len(moments) // 12)
    ticks = range(0, len(moments), every)
    axes.set_xticks(ticks, [f"{moments[tick]:%H:%M}" for tick in ticks])
    axes.set_xlabel(f"{moments[0]:%Y-%m-%d}, UTC")
    axes.margins(x=0.01)
    axes.grid(axis="y")
    axes.yaxis.set_major_formatter(lambda at, _: money(at))
    # Passed explicitly: matplotlib leaves out names that begin with an underscore.
    figure.legend(handles, names, loc="outside right center", reverse=True)


def _bars(figure: Figure, rows: list[Row], colours: Colours) -> None:
    """A bar for each name, the largest on top; several values are stacked."""
    name, *values = rows[0]
    whole = {str(row[name]): sum(row[value] or 0.0 for value in values) for row in rows}
    names = sorted(whole, key=lambda each: whole[each])
    by_name = {str(row[name]): row for row in rows}
    axes = _axes(figure)
    left = [0.0] * len(names)
    for value in values:
        parts = [float(by_name[each][value] or 0.0) for each in names]
        axes.barh(names, parts, 0.66, left, color=colours.of("", value), label=words(value))
        left = [base + part for base, part in zip(left, parts, strict=True)]
    for at, end in enumerate(left):
        axes.annotate(money(end), (end, at), (4, 0), textcoords="offset points", va="center", color=_FAINT, fontsize=8)
    axes.margins(x=0.14)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda at, _: money(at))
    if len(values) > 1:
        figure.legend(loc="outside lower center", ncols=len(values))


def _pie(figure: Figure, rows: list[Row], colours: Colours) -> None:
    """A ring chart, with a legend of names, money and percent."""
    name, value = rows[0]
    parts = summed(rows, name, value)
    whole = sum(parts.values())
    axes = _axes(figure)
    shades = [colours.of(name, part) for part in parts]
    ring = {"width": 0.42, "edgecolor": "white", "linewidth": 1.5}
    wedges = axes.pie(list(parts.values()), colors=shades, startangle=90, counterclock=False, wedgeprops=ring)[0]
    axes.text(0, 0, money(whole), ha="center", va="center", fontsize=11, weight="bold")
    labels = [f"{part}  {money(cost)}  {cost / whole:.0%}" for part, cost in parts.items()]
    beside = figure.get_figwidth() > 4.5
    figure.legend(wedges, labels, loc="outside right center" if beside else "outside lower center")


def _table(figure: Figure, rows: list[Row], _: Colours) -> None:
    """A table with a header, aligned numbers and a count of the rows left out; wider than its tile if necessary."""
    columns = [[words(name), *cells([row[name] for row in rows[:_ROWS]])] for name in rows[0]]
    numbers = [any(isinstance(row[name], (int, float)) for row in rows) for name in rows[0]]
    widths = [max(_width(figure, text, bold=not at) for at, text in enumerate(column)) for column in columns]
    margin, more = 0.14, len(rows) - _ROWS
    wide = max(figure.get_figwidth(), sum(widths) + 0.2 * (len(columns) - 1) + 2 * margin)
    tall = _HEAD + _HIGH * (len(columns[0]) + (more > 0)) + 0.1
    figure.set_size_inches(wide, tall)
    _title(figure, figure.get_suptitle())
    left, slack = margin, (wide - 2 * margin - sum(widths)) / max(1, len(columns) - 1)
    for column, number, width in zip(columns, numbers, widths, strict=True):
        x, align = ((left + width) / wide, "right") if number else (left / wide, "left")
        for at, text in enumerate(column):
            weight, colour = ("normal", _INK) if at else ("bold", _FAINT)
            y = 1 - (_HEAD + _HIGH * (at + 0.5)) / tall
            figure.text(x, y, text, ha=align, va="center", weight=weight, color=colour)
        left += width + slack
    for line in range(1, len(columns[0]) + 1):
        _rule(figure, margin / wide, 1 - (_HEAD + _HIGH * line) / tall)
    if more > 0:
        figure.text(margin / wide, (_HIGH / 2 + 0.07) / tall, f"and {more} more", va="center", color=_FAINT)


def _rule(figure: Figure, margin: float, y: float) -> None:
    from matplotlib.lines import Line2D

    figure.add_artist(Line2D((margin, 1 - margin), (y, y), color=_LINE, linewidth=0.8))


def _width(figure: Figure, text: str, *, bold: bool) -> float:
    """Inches that a text takes."""
    probe = figure.text(0, 0, text, weight="bold" if bold else "normal")
    width = probe.get_window_extent().width / figure.dpi
    probe.remove()
    return float(width)


VISUALS: dict[str, Callable[[Figure, list[Row], Colours], None]] = {
    "card": _card,
    "stackedcolumn": _columns,
    "bar": _bars,
    "pie": _pie,
    "table": _table,
}
