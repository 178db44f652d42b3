"""The pictures of the dashboard: the code that draws them, and those that are committed and shown in the README."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from opencost_kusto.cli import demo
from opencost_kusto.cli.termination import Process
from opencost_kusto.errors import UsageError
from opencost_kusto.insight import formatting as looks
from opencost_kusto.insight import pictures
from opencost_kusto.insight.formatting import Colours
from opencost_kusto.insight.tiles import Query, Tile, tiles
from tests.support.documents import GUIDES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "kql" / "pictures"
TITLES = {tile.slug: tile.title for tile in tiles()}
WITHOUT_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = None
sys.argv = ["opencost-kusto", "demo", "--pictures", "nowhere"]
from opencost_kusto.cli import main
main()
"""
DAY = datetime(2026, 11, 23, tzinfo=UTC)
COSTS = [
    {"Timestamp": DAY + timedelta(hours=hour), "Namespace": name, "TotalCost": hour + 0.5}
    for hour in range(3)
    for name in ("shop", "__unmounted__", None)
]


def tile(visual: str, width: int = 12) -> Tile:
    """A tile that is drawn in a way."""
    return Tile("A tile: of $ and _", "Page", visual, width, 8, Query("", ()))


def colours_of(path: Path) -> set[tuple[int, ...]]:
    """The colours of a picture; reading it decodes it, so a broken file fails."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        found = picture.convert("RGB").getcolors(1 << 24)
    assert found is not None
    return {colour for _, colour in found}  # type: ignore[misc]


def test_each_tile_has_a_picture_and_no_other_is_there() -> None:
    """kql/pictures/ holds one small picture for each tile of the dashboard."""
    found = {path.name for path in FOLDER.iterdir()}
    assert found == {f"{slug}.png" for slug in TITLES}, "run: opencost-kusto demo --pictures kql/pictures"
    for path in FOLDER.iterdir():
        assert len(colours_of(path)) > 2
        assert path.stat().st_size < 60_000, path.name


def test_the_guide_shows_each_tile_under_its_name() -> None:
    """Each picture is shown once, its text is the tile's title, and no other picture is shown."""
    shown = re.findall(r"!\[([^]]*)\]\(\.\./\.\./kql/pictures/([^)]*)\.png\)", GUIDES["kql"])
    assert sorted(shown) == sorted((title, slug) for slug, title in TITLES.items())


def test_the_wheel_holds_all_of_kql_but_the_pictures() -> None:
    """What is in kql/ travels with the package; the pictures are for the README."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    carried = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {*carried, "kql/pictures"} == {f"kql/{path.name}" for path in (ROOT / "kql").iterdir()}
    assert all(target == source.replace("kql/", "opencost_kusto/bundled/") for source, target in carried.items())


@pytest.mark.slow
def test_the_demo_draws_each_tile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`demo --pictures` writes exactly the files that are committed, each with something drawn on it."""
    folder = tmp_path / "new" / "pictures"
    demo.demo(Process(), folder=folder)
    assert {path.name for path in folder.iterdir()} == {f"{slug}.png" for slug in TITLES}
    assert all(len(colours_of(path)) > 2 for path in folder.iterdir())
    assert f"{len(TITLES)} pictures of the dashboard are in {folder}." in capsys.readouterr().out


def test_without_matplotlib_the_demo_says_what_to_install_and_starts_nothing() -> None:
    """The refusal is one sentence and exit code 2, before the emulators start."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_MATPLOTLIB], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "opencost-kusto: Pictures need matplotlib. Install it with: pip install 'opencost-kusto[pictures]'\n"
    )


@pytest.mark.parametrize(
    ("visual", "rows"),
    [
        ("card", [{"Cost": 1234.5}]),
        ("stackedcolumn", COSTS),
        ("bar", [{"Namespace": name, "TotalCost": cost} for name, cost in (("a", 2.0), ("b", None), ("c", -1.0))]),
        ("bar", [{"Node": "n1", "IdleCost": 1.0, "AllocatedCost": 2.0}]),
        ("pie", [{"Team": "shop", "TotalCost": 2.0}, {"Team": "__unallocated__", "TotalCost": 1.0}]),
        (
            "table",
            [{"Name": "x" * 99, "Seen": DAY, "Rows": 1000 + row, "Cost": row / 3, "Why": None} for row in range(30)],
        ),
        ("table", []),
    ],
)
def test_every_visual_is_drawn(visual: str, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    """Each way of drawing makes a picture of rows as Kusto gives them, and one of no rows says so."""
    path = tmp_path / "tile.png"
    pictures.draw(tile(visual), rows, path, Colours())
    assert len(colours_of(path)) > 2


def test_an_unknown_visual_is_refused(tmp_path: Path) -> None:
    """A tile that nobody can draw is an error that names what can be drawn; the dashboard has none."""
    with pytest.raises(UsageError, match="is drawn as map, which is none of card, stackedcolumn"):
        pictures.draw(tile("map"), [], tmp_path / "tile.png", Colours())
    assert {each.visual for each in tiles()} <= pictures.VISUALS.keys()


def test_a_series_has_one_colour_in_every_picture(tmp_path: Path) -> None:
    """The colour that a value got first it keeps, others get others, and what is nobody's is grey."""
    colours = Colours()
    shop, ml = colours.of("Namespace", "shop"), colours.of("Namespace", "ml")
    assert shop != ml
    assert (colours.of("Namespace", "ml"), colours.of("Namespace", "shop")) == (ml, shop)
    assert colours.of("Team", "storefront") == shop
    assert colours.of("Team", "__unmounted__") == colours.of("Namespace", "__unmounted__")
    path = tmp_path / "tile.png"
    pictures.draw(tile("stackedcolumn"), COSTS, path, colours)
    red, green, blue = (int(shop[at : at + 2], 16) for at in (1, 3, 5))
    assert any(abs(r - red) + abs(g - green) + abs(b - blue) < 12 for r, g, b in colours_of(path))


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A file in the place of the folder ends with a sentence that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"Pictures cannot be written to .*file: File exists"):
        pictures.draw_dashboard(None, tmp_path / "file", demo.last_day(DAY))  # type: ignore[arg-type]


def test_values_are_written_as_people_write_them() -> None:
    """Money, column names, times, and numbers with equally many decimals."""
    assert [looks.money(value) for value in (1234.5, -0.256, 0)] == ["$1,234.50", "-$0.26", "$0.00"]
    assert [looks.words(name) for name in ("CpuWaste", "LastRunId", "Rows")] == ["CPU waste", "Last run ID", "Rows"]
    assert looks.cells([0.25, None, 1000, 1.5]) == ["0.25", "", "1,000.00", "1.50"]
    assert looks.cells([3.0, 12]) == ["3", "12"]
    assert looks.cells([DAY, True, "x" * 50]) == ["2026-11-23 00:00", "True", "x" * 43 + "…"]
