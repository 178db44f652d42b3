"""What ships beside the code: the license, what the package says of itself, and completions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.documents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
COMPLETION = ROOT / "opencost_kusto" / "completion"


def test_the_license_ships_as_text() -> None:
    """The license that is named is the one whose text is in the package."""
    [path] = PROJECT["project"]["license-files"]
    text = (ROOT / path).read_text("utf-8")
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_package_names_the_python_of_the_tests() -> None:
    """Where these tests run is among what the package says it runs on."""
    classifiers = PROJECT["project"]["classifiers"]
    assert f"Programming Language :: Python :: 3.{sys.version_info.minor}" in classifiers
    assert "Operating System :: POSIX :: Linux" in classifiers


def test_completions_ship_in_the_folders_of_shells() -> None:
    """Each file is in the folder of its shell, under the name that the shell expects."""
    shared = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert {Path(source).name: target for source, target in shared.items()} == {
        "opencost-kusto.bash": "share/bash-completion/completions/opencost-kusto",
        "opencost-kusto.fish": "share/fish/vendor_completions.d/opencost-kusto.fish",
        "_opencost-kusto": "share/zsh/site-functions/_opencost-kusto",
    }
    assert {path.name for path in COMPLETION.iterdir()} == {Path(source).name for source in shared}


def test_bash_completes_commands_and_options() -> None:
    """With the file loaded, `sy` becomes `sync`, and `--win` of it becomes `--window`."""
    script = f"""
    source {COMPLETION / "opencost-kusto.bash"}
    COMP_WORDS=(opencost-kusto sy) COMP_CWORD=1; _opencost_kusto_completion opencost-kusto; echo "${{COMPREPLY[@]}}"
    COMP_WORDS=(opencost-kusto sync --win) COMP_CWORD=2; _opencost_kusto_completion opencost-kusto
    echo "${{COMPREPLY[@]}}"
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["sync", "--window"], done.stderr


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_commands_and_options() -> None:
    """With the file loaded, `sy` becomes `sync` with its full sentence, and `--win` of it becomes `--window`."""
    script = f"""
    source {COMPLETION / "opencost-kusto.fish"}
    complete -C 'opencost-kusto sy'
    complete -C 'opencost-kusto sync --win'
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    sync, window = (line.split("\t") for line in done.stdout.splitlines())
    assert sync == ["sync", "Load a window of cost from OpenCost into Kusto exactly once, and prove it."]
    assert window[0] == "--window"


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_commands_and_options() -> None:
    """The file is that of the command, and offers `sync` with its full sentence, and `--window`."""
    script = f"""
    fpath=({COMPLETION} $fpath)
    autoload -U compinit && compinit -u -D
    print $_comps[opencost-kusto]
    # Outside of the line editor, what would be shown is printed.
    _arguments() {{ print -r -- "$2$1" }}
    words=(opencost-kusto sy) CURRENT=2; $_comps[opencost-kusto]
    words=(opencost-kusto sync --win) CURRENT=3; $_comps[opencost-kusto]
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["zsh", "-f", "-c", script],
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    name, sync, window = done.stdout.splitlines()
    assert name == "_opencost-kusto"
    assert sync == ('*: :(("sync":"Load a window of cost from OpenCost into Kusto exactly once, and prove it."))')
    assert window.startswith('*: :(("--window":')
