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

from opencost_kusto.cli import app, demo
from opencost_kusto.database import script
from opencost_kusto.errors import UsageError
from opencost_kusto.insight import formatting, pictures
from opencost_kusto.insight.formatting import Colours
from opencost_kusto.insight.tiles import DashboardQuery, Tile, slug, tiles
from opencost_kusto.insight.visuals import VISUALS
from opencost_kusto.pipeline.request import SyncRequest
from tests.support.documents import GUIDES
from tests.support.world import HOUR, World

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "kql" / "pictures"
PAGES = {slug(tile.page): tile.page for tile in tiles()}
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
    return Tile("A tile: of $ and _", "Page", visual, 0, 0, width, 8, DashboardQuery("", ()))


def colours_of(picture: Image.Image) -> set[tuple[int, ...]]:
    """The colours of a picture; a file is decoded for it, so a broken one fails."""
    found = picture.convert("RGB").getcolors(1 << 24)
    assert found is not None
    return {colour for _, colour in found}  # type: ignore[misc]


def test_each_page_has_a_picture_and_there_is_no_other() -> None:
    """kql/pictures/ holds one small picture for each page of the dashboard, with every tile of it."""
    found = {path.name for path in FOLDER.iterdir()}
    assert found == {f"{name}.png" for name in PAGES}, "run: opencost-kusto demo --pictures kql/pictures"
    for path in FOLDER.iterdir():
        with Image.open(path) as picture:
            assert len(colours_of(picture)) > 2
            shown = [pictures.contents(tile) for tile in tiles() if tile.page == PAGES[path.stem]]
            assert picture.info["Description"].splitlines() == shown, "run: opencost-kusto demo --pictures kql/pictures"
        assert path.stat().st_size < 200_000, path.name


def test_the_guide_shows_each_page_under_its_name() -> None:
    """Each picture is shown once, its text is the page's name, and no other picture is shown."""
    shown = re.findall(r"!\[([^]]*)\]\(\.\./\.\./kql/pictures/([^)]*)\.png\)", GUIDES["kql"])
    assert sorted(shown) == sorted((title, name) for name, title in PAGES.items())


def test_the_wheel_holds_all_of_kql_but_the_pictures() -> None:
    """What is in kql/ travels with the package; the pictures are for the README."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    carried = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {*carried, "kql/pictures"} == {f"kql/{path.name}" for path in (ROOT / "kql").iterdir()}
    assert all(target == source.replace("kql/", "opencost_kusto/bundled/") for source, target in carried.items())


@pytest.mark.slow
def test_the_dashboard_of_a_database_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`dashboard --pictures` writes exactly the pages that are committed."""
    folder = tmp_path / "new" / "pictures"
    with World() as world:
        world.command(*(command.text for command in script.commands("functions")))
        world.sync(request=SyncRequest(HOUR, None, ("allocation", "assets")))
        arguments = ("--kusto-uri", world.kusto.url, "--database", "OpenCost", "--auth", "none")
        app(["dashboard", "--pictures", str(folder), "--window", str(HOUR), *arguments], standalone_mode=False)
    assert {path.name for path in folder.iterdir()} == {f"{name}.png" for name in PAGES}
    for path in folder.iterdir():
        with Image.open(path) as picture:
            assert len(colours_of(picture)) > 2
            assert picture.width > 1000
    assert capsys.readouterr().err.count(" is drawn.") == len(PAGES)


def test_without_matplotlib_the_demo_names_what_to_install_and_starts_nothing() -> None:
    """The refusal is one sentence and exit code 2, before the emulators start."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_MATPLOTLIB], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"opencost-kusto: {pictures._MISSING}\n"


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
def test_every_visual_is_drawn(visual: str, rows: list[dict[str, Any]]) -> None:
    """Each way of drawing makes a picture of rows as Kusto gives them, and one of no rows says so."""
    assert len(colours_of(pictures.draw(tile(visual), rows, Colours()))) > 2


def test_a_wide_table_fits_its_tile() -> None:
    """However much a table has, its picture is as large as the tile, so that pages can be put together."""
    rows = [{f"Column{at}": f"value {at} of {row}" for at in range(12)} for row in range(50)]
    assert pictures.draw(tile("table"), rows, Colours()).size == pictures.draw(tile("table"), [], Colours()).size


def test_an_unknown_visual_is_refused() -> None:
    """A tile of an unknown visual is an error that lists those that can be drawn; the dashboard has none."""
    with pytest.raises(UsageError, match="is drawn as map, which is none of card, stackedcolumn"):
        pictures.draw(tile("map"), [], Colours())
    assert {each.visual for each in tiles()} <= VISUALS.keys()


def test_a_series_has_one_colour_in_every_picture() -> None:
    """A value keeps its first colour, others get others, and a value of no series is grey."""
    colours = Colours()
    shop, ml = colours.of("Namespace", "shop"), colours.of("Namespace", "ml")
    assert shop != ml
    assert (colours.of("Namespace", "ml"), colours.of("Namespace", "shop")) == (ml, shop)
    assert colours.of("Team", "storefront") == shop
    assert colours.of("Team", "__unmounted__") == colours.of("Namespace", "__unmounted__ (USD)") == "#6b7280"
    picture = pictures.draw(tile("stackedcolumn"), COSTS, colours)
    red, green, blue = (int(shop[at : at + 2], 16) for at in (1, 3, 5))
    assert any(abs(r - red) + abs(g - green) + abs(b - blue) < 12 for r, g, b in colours_of(picture))


def test_the_dashboard_shows_one_cluster_or_all(tmp_path: Path) -> None:
    """Its parameter holds one name, so several are refused instead of all but the last being left out."""
    arguments = ["dashboard", "--pictures", str(tmp_path), "--kusto-uri", "http://127.0.0.1:1", "--database", "d"]
    with pytest.raises(UsageError, match=r"shows one cluster, or all: --cluster .* takes one name here"):
        app([*arguments, "--cluster", "a", "--cluster", "b"], standalone_mode=False)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A file in the place of the folder ends with a sentence that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"Pictures cannot be written to .*file: File exists"):
        pictures.draw_dashboard(None, tmp_path / "file", demo.last_day(DAY))  # type: ignore[arg-type]


def test_names_are_readable() -> None:
    """Column names as words, OpenCost's own names without underscores, and every cell of bounded length."""
    assert [formatting.heading(name) for name in ("CpuWaste", "LastRunId", "Rows")] == [
        "CPU waste",
        "Last run ID",
        "Rows",
    ]
    message = {"prod/__unmounted__": "prod/unmounted", "__idle__": "idle", "a_b": "a_b"}
    assert {name: formatting.label(name) for name in message} == message
    assert formatting.shortened("x" * 50) == "x" * 43 + "…"
