"""What depends on one dataset by name, with the reason; everything else works for any dataset that is declared."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from opencost_kusto.database import script
from opencost_kusto.schema import tables
from opencost_kusto.schema.columns import Table
from opencost_kusto.schema.tables import DATASETS

PACKAGE = Path(tables.__file__).parents[1]
# The declarations, and the server that the emulator plays.
EXEMPT = ("schema/tables.py", "emulator/")
PYTHON = {
    "ci/summary.py": "the summary of a run has cost by namespace, which only allocation has",
    "cli/doctor.py": "the doctor looks whether one response of OpenCost makes sense, the one that every version has",
    "cli/file_options.py": "the live exporter wrote a file of allocation and one of assets, and its options are kept",
    "cli/help.py": "the examples of the help name datasets",
    "cli/sync.py": "the cost of a window, and its share by time, is what allocation says",
    "coverage/standing.py": "a cluster's line has the cost of its last day, which is what allocation says",
    "coverage/status.py": "the cost of a dataset is counted by the function that is shipped for it",
    "extract/capabilities.py": "the guide's table names the columns of allocation and assets that a version lacks",
    "extract/checks.py": "what nodes cost is compared in assets, and what is no workload is in allocation",
    "extract/server.py": "the uids by which a cluster is recognized are in OpenCost's /metrics",
    "extract/dictionaries.py": "the library has a method for allocation and one for assets",
    "insight/cost.py": "idle cost needs allocation and assets, so gaps of both matter",
    "insight/cost_request.py": "assets have no idle cost of their own to add",
    "insight/dimensions.py": "cost by workload is what allocation says, and by type of asset what assets say",
    "pipeline/coverage_check.py": "whether OpenCost has data of a window is what its allocation says",
    "pipeline/stage.py": "a server without /allocation is no OpenCost, so it lacks no optional dataset",
}
DECLARED = {name for name, value in vars(tables).items() if isinstance(value, Table) and value.dataset in DATASETS}
NAMES = {name for table in DATASETS.values() for name in (table.name, table.dataset, str(table.path))}
TABLE_NAMES = re.compile("|".join(rf"\b{table.name}\b" for table in DATASETS.values()))


def strings(tree: ast.AST) -> Iterator[str]:
    """The strings of a module that are no docstrings."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def depends(path: Path) -> bool:
    """Whether a module imports the table of a dataset, or has the name of one in a string."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return bool(imported & DECLARED) or any(text in NAMES or TABLE_NAMES.search(text) for text in strings(tree))


def test_few_modules_depend_on_a_dataset() -> None:
    """A module that names a dataset is in the list with its reason, and no other is."""
    files = {path: path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    found = {name for path, name in files.items() if not name.startswith(EXEMPT) and depends(path)}
    # Health has a path of its own by that name.
    assert found - {"schedule/health.py"} == set(PYTHON)


@pytest.mark.parametrize("table", [table for table in DATASETS.values() if not table.default], ids=lambda one: one.name)
def test_nothing_shipped_needs_an_optional_dataset(table: Table) -> None:
    """No function, query or tile reads the table of a dataset that is not requested by default."""
    shipped = [path for path in script.root().rglob("*") if path.suffix in (".kql", ".json")]
    assert len(shipped) > 20
    reading = [path.name for path in shipped if path.parent.name != "tables" and table.name in path.read_text("utf-8")]
    assert reading == []
