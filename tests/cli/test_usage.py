"""What the command line could not read is one sentence that names the option and its variable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opencost_kusto.cli import app
from opencost_kusto.cli.termination import Process
from opencost_kusto.cli.usage import read_option, refusal
from opencost_kusto.errors import UsageError
from opencost_kusto.window import duration


def refused(*arguments: str) -> Any:
    """The exception with which a command line ends."""
    try:
        app(list(arguments), standalone_mode=False, obj=Process())
    except Exception as error:
        return error
    raise AssertionError(arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("sync --timeout long", "--timeout (or OPENCOST_KUSTO_TIMEOUT): 'long' is not a valid float"),
        ("status -o xml", "--format (or OPENCOST_KUSTO_FORMAT): 'xml' is not one of 'table', 'json', 'csv', 'md'"),
        (
            "sync --gzip-level 12",
            "--gzip-level (or OPENCOST_KUSTO_GZIP_LEVEL): 12 is not in the range 1<=x<=9",
        ),
        ("sync --invented", "No such option: --invented"),
        ("cloudcost", "No such command 'cloudcost'. Did you mean 'cost'? "),
        ("cost --window", "Option '--window' requires an argument"),
        ("replay", "Missing argument 'folder'"),
    ],
)
def test_a_refusal_is_one_sentence_with_the_variable(arguments: str, message: str) -> None:
    """Whatever Typer refuses names its option, the variable that may have set it, and where to read more."""
    text = refusal(refused(*arguments.split()))
    assert text is not None
    assert text.startswith(message)
    assert text.endswith(" -h lists the options.")
    assert "\n" not in text


def test_a_variable_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value from the environment is refused as one on the command line is."""
    monkeypatch.setenv("OPENCOST_KUSTO_TIMEOUT", "long")
    assert "OPENCOST_KUSTO_TIMEOUT" in (refusal(refused("sync")) or "")


def test_no_command_prints_the_help() -> None:
    """Without a command there is no error message: Typer prints the help."""
    assert refusal(refused()) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("sync --window soon", r"--window \(or OPENCOST_KUSTO_WINDOW\): 'soon' is not a window"),
        ("sync --step soon", r"--step \(or OPENCOST_KUSTO_STEP\): 'soon' is not a duration"),
        ("sync --step 7m", r"--step \(or OPENCOST_KUSTO_STEP\): OpenCost samples every 5 minutes"),
        ("cost --window soon", r"--window \(or OPENCOST_KUSTO_WINDOW\): 'soon' is not a window"),
        ("query ByNode --window soon", r"--window \(or OPENCOST_KUSTO_WINDOW\): 'soon' is not a window"),
        ("schedule --every soon", r"--every \(or OPENCOST_KUSTO_EVERY\): 'soon' is not a duration"),
        ("schedule --lag 0", r"--lag \(or OPENCOST_KUSTO_LAG\): '0' is not a duration"),
        ("status --max-age soon", r"--max-age \(or OPENCOST_KUSTO_MAX_AGE\): 'soon' is not a duration"),
    ],
)
def test_values_that_are_no_time_are_refused_by_their_option(arguments: str, message: str) -> None:
    """A time, a step or a window that cannot be read names the option, and what sets it."""
    error = refused(*arguments.split())
    assert isinstance(error, UsageError)
    with pytest.raises(UsageError, match=message):
        raise error


LINE = "opencost-kusto sy"
SHELLS = {
    "bash": {"COMP_WORDS": LINE, "COMP_CWORD": "1"},
    "zsh": {"_TYPER_COMPLETE_ARGS": LINE},
    "fish": {"_TYPER_COMPLETE_ARGS": LINE, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete_commands(shell: str, tmp_path: Path) -> None:
    """bash, zsh and fish run the program, which completes a command."""
    program = Path(sys.executable).parent / "opencost-kusto"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **SHELLS[shell]}
    environment["_OPENCOST_KUSTO_COMPLETE"] = f"complete_{shell}"
    done = subprocess.run([program], env=environment, capture_output=True, text=True, check=True)
    assert "sync" in done.stdout


def test_an_option_that_can_be_read_is() -> None:
    """Reading leaves the value alone."""
    assert read_option("--step", duration, "1h") == duration("1h")
