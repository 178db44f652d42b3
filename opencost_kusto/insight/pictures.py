"""The dashboard as pictures: run each tile's query, draw its rows, and put the tiles of a page together.

The door to matplotlib and Pillow, which are imported when a picture is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opencost_kusto.errors import UsageError
from opencost_kusto.insight import visuals
from opencost_kusto.insight.formatting import Colours, Row
from opencost_kusto.insight.tiles import Tile, slug, tiles
from opencost_kusto.insight.visuals import FAINT, HEAD, INK, LINE, VISUALS
from opencost_kusto.rendering import money

if TYPE_CHECKING:
    from PIL.Image import Image

    from opencost_kusto.kusto.client import Kusto
    from opencost_kusto.window import Window

_MISSING: Final = "Pictures need matplotlib. Install the extra pictures, as in pip install '.[pictures]' from a clone."
# Inches of one column of a page, of the gap between tiles and of a page's header; dots per inch.
_COLUMN, _GAP, _TOP, _DOTS = 0.43, 0.1, 0.5, 110
_PAGE_COLUMNS = 24
# Inches of a picture of bars alone.
_BARS_WIDE = 9.0
# Few colours keep the file small; these are enough for smooth letters.
_SHADES = 64
# The text field of a PNG that names the tiles of the picture.
TEXT: Final = "Description"
_BEHIND = "#f3f4f6"
_STYLE: Any = {
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
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


def draw_dashboard(
    kusto: Kusto, folder: Path, window: Window, cluster: str = "", *, on_page: Callable[[Path], None] = lambda _: None
) -> list[Path]:
    """Run every tile's query for a window and a cluster, or all, and write each page as `<folder>/<slug>.png`.

    Returns the files in the order of the pages. Raises UsageError when matplotlib is not installed or the folder
    cannot be written, and KustoError.
    """
    require()
    colours, written = Colours(), []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        period = f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
        subtitle = f"{period}, {cluster or 'all clusters'}, {_unit(kusto)}"
        for name, some in groupby(tiles(), key=lambda tile: tile.page):
            path = folder / f"{slug(name)}.png"
            drawn = [(tile, draw(tile, kusto.query(tile.query.text_for(window, cluster)), colours)) for tile in some]
            _save(_page(name, subtitle, drawn), path, [tile for tile, _ in drawn])
            written.append(path)
            on_page(path)
    except OSError as error:
        raise UsageError(f"Pictures cannot be written to {folder}: {error.strerror or error}.") from error
    return written


def _unit(kusto: Kusto) -> str:
    """The currency of the amounts, where it is one."""
    found = {row["Currency"] for row in kusto.query("OpenCostCurrencies() | distinct Currency")}
    return f"in {found.pop()}" if len(found) == 1 else "in the currency of each cluster"


def draw(tile: Tile, rows: list[Row], colours: Colours) -> Image:
    """The rows of a tile as a picture, with its title; raises UsageError for an unknown visual type."""
    if tile.visual not in VISUALS:
        raise UsageError(f"{tile.title} is drawn as {tile.visual}, which is none of {', '.join(VISUALS)}.")

    def drawing(figure: Any) -> None:
        visuals.title(figure, tile.title)
        if rows:
            VISUALS[tile.visual](figure, rows, colours)
        else:
            figure.text(0.5, 0.45, "No rows", ha="center", color=FAINT)

    return _drawn(tile.width * _COLUMN - _GAP, tile.height * _COLUMN - _GAP, drawing)


def _page(name: str, subtitle: str, drawn: Sequence[tuple[Tile, Image]]) -> Image:
    """The tiles of a page in their places, below its name and subtitle."""
    from PIL import Image

    wide = _PAGE_COLUMNS * _COLUMN + _GAP
    tall = _TOP + max(tile.y + tile.height for tile, _ in drawn) * _COLUMN + _GAP

    def header(figure: Any) -> None:
        figure.patch.set(facecolor=_BEHIND, linewidth=0)
        figure.text(2 * _GAP / wide, 0.5, f"OpenCost: {name}", va="center", weight="bold", fontsize=13)
        figure.text(1 - 2 * _GAP / wide, 0.5, subtitle, va="center", ha="right", color=FAINT)

    page = Image.new("RGB", (round(wide * _DOTS), round(tall * _DOTS)), _BEHIND)
    page.paste(_drawn(wide, _TOP, header), (0, 0))
    for tile, picture in drawn:
        place = (_GAP + tile.x * _COLUMN, _TOP + tile.y * _COLUMN)
        page.paste(picture, (round(place[0] * _DOTS), round(place[1] * _DOTS)))
    return page


def _drawn(wide: float, tall: float, drawing: Callable[[Any], None]) -> Image:
    """A picture of this size in inches, with what a function draws on it."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    with mpl.rc_context(_STYLE):
        figure = Figure((wide, tall), dpi=_DOTS, edgecolor=LINE, linewidth=2)
        canvas: Any = FigureCanvasAgg(figure)
        drawing(figure)
        canvas.draw()
        return Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")


def contents(tile: Tile) -> str:
    """The text of a tile in a picture: title, visual and place. It reveals a picture that was drawn before a change."""
    return f"{tile.title} ({tile.visual}, {tile.x},{tile.y} {tile.width}x{tile.height})"


def _save(picture: Image, path: Path, shown: Sequence[Tile]) -> None:
    """Write a page as PNG, whose text names its tiles."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text(TEXT, "\n".join(map(contents, shown)))
    few = picture.quantize(_SHADES, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, "PNG", optimize=True, pnginfo=text)


def draw_bars(title: str, costs: Sequence[tuple[str, float]], path: Path) -> None:
    """Draw a bar for each name and cost, the first on top, as a PNG; raises UsageError for a file it cannot write."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names, values = [name for name, _ in costs], [value for _, value in costs]
    with mpl.rc_context(_STYLE):
        figure = Figure((_BARS_WIDE, HEAD + 0.5 + 0.3 * len(costs)), dpi=_DOTS)
        visuals.title(figure, title)
        axes = visuals.axes_of(figure)
        # By number: two bars may have one name.
        axes.barh(range(len(costs)), values, 0.66, color=Colours().of("", "TotalCost"))
        axes.set_yticks(range(len(costs)), names)
        axes.invert_yaxis()
        for at, value in enumerate(values):
            text = (4, 0)
            axes.annotate(money(value), (max(value, 0), at), text, textcoords="offset points", va="center", fontsize=8)
        axes.margins(x=0.14)
        axes.grid(axis="x")
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(lambda at, _: money(at))
        try:
            figure.savefig(path, format="png")
        except OSError as error:
            raise UsageError(f"The picture {path} cannot be written: {error.strerror or error}.") from error
