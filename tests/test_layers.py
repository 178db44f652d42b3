"""Folders import only what the design lists, and each third-party package has one door."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "opencost_kusto"
FILES = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
# Where each third-party package comes in; a folder ends with a slash.
DOORS = {
    "apscheduler": ("schedule/trigger.py",),
    "PIL": ("insight/pictures.py",),
    "azure": ("kusto/",),
    "duckdb": ("emulator/",),
    "duckdb_kql": ("emulator/",),
    "isal": ("load/spool.py",),
    "kubernetes": ("extract/kubernetes/kubeconfig.py",),
    "matplotlib": ("insight/pictures.py", "insight/visuals.py"),
    "msgspec": ("",),
    "prometheus_client": ("extract/prometheus.py", "schedule/health.py"),
    "requests": ("extract/http.py", "extract/kubernetes/forward.py", "extract/kubernetes/wire.py"),
    "rich": ("cli/drawing.py",),
    "tenacity": ("retry.py",),
    "typer": ("cli/",),
    "urllib3": ("extract/kubernetes/forward.py", "extract/kubernetes/wire.py"),
    "websocket": ("extract/kubernetes/forward.py",),
    "yaml": ("schedule/manifest.py",),
}


@cache
def imports(file: str) -> frozenset[str]:
    """The dotted names a file imports, wherever in it: `opencost_kusto.window`, `azure.identity`."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def ours(file: str) -> set[str]:
    """The files of the package that a file imports."""
    paths = {name.partition(".")[2].replace(".", "/") for name in imports(file) if name.startswith("opencost_kusto.")}
    return {path for path in (f"{path}{end}" for path in paths for end in (".py", "/__init__.py")) if path in FILES}


def reached(file: str) -> set[str]:
    """The files a file imports, and those they import, and so on."""
    found: set[str] = set()
    pending = ours(file)
    while pending:
        found |= pending
        pending = set().union(*map(ours, pending)) - found
    return found


# What each folder may import beside itself: the arrows of the house. The root modules and `schema` are the ground.
GROUND = {"", "schema"}
ARROWS: dict[str, set[str]] = {
    "": {"schema"},
    "schema": {""},
    "extract": GROUND,
    "transform": GROUND,
    "kusto": GROUND,
    "load": GROUND | {"kusto"},
    "database": GROUND | {"kusto"},
    "pipeline": GROUND | {"extract", "transform", "kusto", "load", "database"},
    "coverage": GROUND | {"extract", "transform", "kusto", "load", "database", "pipeline"},
    "schedule": GROUND | {"extract", "kusto", "load", "database", "pipeline", "coverage"},
    "ci": GROUND | {"extract", "kusto", "load", "database", "pipeline", "coverage"},
    "insight": GROUND | {"kusto", "database", "coverage"},
    "emulator": GROUND,
}
# The package's own face and entry point, and the command line, see everything.
TOP = {"__init__.py", "__main__.py"}


def folder(file: str) -> str:
    """The folder a file is in; "" is the package's root."""
    return file.partition("/")[0] if "/" in file else ""


def test_the_reading_of_imports_finds_them() -> None:
    """The reader of imports sees those at the top, those in functions, and what they reach."""
    assert {"extract/client.py", "transform/rows.py", "load/ingest.py"} <= reached("pipeline/sync.py")
    assert "azure.identity" in imports("kusto/signin.py")
    assert ours("load/ingest.py") >= {"kusto/client.py", "load/sealed.py"}


@pytest.mark.parametrize("file", sorted(FILES - TOP))
def test_arrows_between_folders_are_those_of_the_design(file: str) -> None:
    """A file imports from its own folder and from the folders that its own may see."""
    here = folder(file)
    if here == "cli":
        return
    for other in map(folder, ours(file)):
        assert other == here or other in ARROWS[here], f"{file} imports from {other or 'the root'}"


def test_no_folder_reaches_itself_through_another() -> None:
    """The arrows make no circle, but for the ground, whose modules are checked one by one."""
    order = [name for name in ARROWS if name not in GROUND]
    for at, name in enumerate(order):
        assert not ARROWS[name] & set(order[at:]), name


def test_no_file_imports_itself_through_others() -> None:
    """No two files import each other, not even through a third."""
    for file in FILES - TOP:
        assert file not in reached(file), file


def test_only_the_command_line_imports_the_emulator() -> None:
    """The program that loads rows does not contain the emulator."""
    for file in FILES:
        if folder(file) not in ("cli", "emulator"):
            assert not {each for each in ours(file) if folder(each) == "emulator"}, file


@pytest.mark.parametrize("file", sorted(FILES))
def test_third_party_packages_are_imported_by_their_door(file: str) -> None:
    """Each package we depend on is imported where its door is, and nothing else is imported at all."""
    for package in {name.partition(".")[0] for name in imports(file)} - set(sys.stdlib_module_names):
        if package != "opencost_kusto":
            assert package in DOORS, f"{file} imports {package}, which has no door"
            assert file.startswith(DOORS[package]), f"{file} imports {package}, whose door is {DOORS[package]}"


@pytest.mark.parametrize("package", ["apscheduler", "azure", "duckdb", "kubernetes", "matplotlib", "rich", "websocket"])
def test_heavy_packages_are_imported_when_needed(package: str) -> None:
    """Packages that take long to import are not imported at the top of what `--help` needs."""
    for file in reached("cli/__init__.py") | {"cli/__init__.py"}:
        if file.startswith("emulator/"):
            continue
        tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
        for node in tree.body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] == package], file
