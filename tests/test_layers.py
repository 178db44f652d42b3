"""The layers know of each other what the design says, and each third-party package has one door."""

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
    "apscheduler": ("scheduled/schedule.py",),
    "PIL": ("dashboard/pictures.py",),
    "azure": ("kusto.py", "auth.py", "emulator/azurite.py"),
    "duckdb": ("emulator/",),
    "duckdb_kql": ("emulator/",),
    "isal": ("spool.py",),
    "matplotlib": ("dashboard/pictures.py",),
    "msgspec": ("",),
    "prometheus_client": ("exposition.py", "scheduled/health.py"),
    "requests": ("extract.py",),
    "rich": ("cli/telling.py",),
    "tenacity": ("retry.py",),
    "typer": ("cli/",),
    "yaml": ("scheduled/manifest.py",),
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
    ahead = ours(file)
    while ahead:
        found |= ahead
        ahead = set().union(*map(ours, ahead)) - found
    return found


def test_the_reading_of_imports_finds_them() -> None:
    """The reader of imports sees those at the top, those in functions, and what they reach."""
    assert {"extract.py", "transform.py", "load.py"} <= reached("sync.py")
    assert "azure.identity" in imports("auth.py")
    assert ours("load.py") >= {"kusto.py", "kql.py", "spool.py"}


@pytest.mark.parametrize("file", ["extract.py", "transform.py", "load.py"])
def test_extract_transform_and_load_do_not_know_each_other(file: str) -> None:
    """None of the three reaches another, not even through a third."""
    assert not reached(file) & ({"extract.py", "transform.py", "load.py"} - {file})


def test_opencost_and_kusto_do_not_meet_below_the_pipeline() -> None:
    """What speaks to OpenCost knows nothing of Kusto, what speaks to Kusto nothing of OpenCost's answers."""
    assert not reached("extract.py") & {"kusto.py", "kql.py", "spool.py", "tables.py", "auth.py"}
    assert not reached("transform.py") & {"kusto.py", "kql.py", "spool.py", "tables.py", "answer.py", "exposition.py"}
    assert not reached("load.py") & {"answer.py", "exposition.py", "sync.py"}


@pytest.mark.parametrize(
    ("file", "allowed"),
    [
        ("errors.py", set[str]()),
        ("redact.py", set[str]()),
        ("schema.py", set[str]()),
        ("window.py", {"errors.py"}),
        ("aggregate.py", {"errors.py"}),
        ("retry.py", {"errors.py"}),
        ("answer.py", {"errors.py"}),
        ("exposition.py", {"errors.py"}),
    ],
)
def test_the_ground_stands_on_nothing(file: str, allowed: set[str]) -> None:
    """The modules at the bottom import nothing of the package but the errors."""
    assert ours(file) <= allowed


def test_only_the_top_knows_the_pipeline_and_the_stand_in() -> None:
    """Nothing below the command line imports it, and only the demo and the command line import the stand-in."""
    top = {"__main__.py", "demo.py"}
    for file in FILES - top:
        if file.startswith("cli/"):
            continue
        assert not {each for each in ours(file) if each.startswith("cli/")}, file
        if not file.startswith("emulator/"):
            assert not {each for each in ours(file) if each.startswith("emulator/")}, file


@pytest.mark.parametrize("file", sorted(FILES))
def test_third_party_packages_come_in_by_their_door(file: str) -> None:
    """Each package we depend on is imported where its door is, and nothing else is imported at all."""
    for package in {name.partition(".")[0] for name in imports(file)} - set(sys.stdlib_module_names):
        if package != "opencost_kusto":
            assert package in DOORS, f"{file} imports {package}, which has no door"
            assert file.startswith(DOORS[package]), f"{file} imports {package}, whose door is {DOORS[package]}"


@pytest.mark.parametrize("package", ["apscheduler", "azure", "duckdb", "matplotlib", "rich"])
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
