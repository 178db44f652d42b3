"""Commands, and the names of the package, are imported when they are used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import opencost_kusto
from opencost_kusto.cli import app
from opencost_kusto.cli.commands import ENTRIES

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
# What takes long to import, and neither the help nor the version needs.
HEAVY = ("azure", "requests", "pydantic", "prometheus_client", "opencost_kusto.cli.sync", "opencost_kusto.extract")


def modules(code: str) -> set[str]:
    """What a new process has imported after some code, which may end it."""
    ending = "import atexit, json, sys; atexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules))))\n"
    done = subprocess.run([sys.executable, "-c", ending + code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", ENTRIES)
def test_the_list_of_commands_has_the_first_sentence_of_each(name: str) -> None:
    """What the help of the program says of a command is how the command's own help begins."""
    assert COMMANDS[name].name == name
    assert COMMANDS[name].help.partition("\n\n")[0].replace("\n", " ") == ENTRIES[name].help


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_the_help_imports_no_command(word: str) -> None:
    """The program's help and version import no command, no SDK and no server's client."""
    found = modules(f"import sys; from opencost_kusto.cli import main; sys.argv[1:] = [{word!r}]; main()")
    assert "opencost_kusto.cli.commands" in found
    assert not found & set(HEAVY)


def test_an_option_beside_the_version_does_not_hide_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is printed whatever stands behind it."""
    for arguments in (["--version"], ["--version", "sync"]):
        app(arguments, standalone_mode=False)
        assert capsys.readouterr().out == f"{opencost_kusto.__version__}\n"


def test_the_package_imports_a_name_when_it_is_used() -> None:
    """Importing the package imports none of its modules, and every name in its list exists."""
    assert {one for one in modules("import opencost_kusto") if one.startswith("opencost_kusto")} == {
        "opencost_kusto",
        "opencost_kusto.version",
    }
    assert all(hasattr(opencost_kusto, name) for name in opencost_kusto.__all__)
    assert not hasattr(opencost_kusto, "invented")


def test_types_and_names_of_the_package_are_the_same() -> None:
    """What a type checker imports is where a name is looked up."""
    tree = ast.parse(Path(opencost_kusto.__file__).read_text("utf-8"))
    [typed] = (one for one in tree.body if isinstance(one, ast.If) and ast.unparse(one.test) == "TYPE_CHECKING")
    found: dict[str, str] = {}
    for line in typed.body:
        assert isinstance(line, ast.ImportFrom)
        module = (line.module or "").removeprefix("opencost_kusto.")
        found |= {one.asname or one.name: f"{module}:{one.name}" if one.asname else module for one in line.names}
    assert found == opencost_kusto._HOMES
    assert {*found, "__version__"} == set(opencost_kusto.__all__)


def test_storage_is_imported_on_a_thread() -> None:
    """Loading imports the SDK's clients of storage while OpenCost responds; before, they are not needed."""
    make = "from opencost_kusto.kusto.client import Kusto; one = Kusto('http://127.0.0.1:1', 'd', auth='none')"
    clients = {"azure.storage.blob", "azure.storage.queue", "azure.kusto.ingest"}
    assert not clients & modules(make)
    wait = "import threading; [one.join() for one in threading.enumerate() if one.name == 'import']"
    assert clients <= modules(f"{make}; one.prepare(); {wait}")
