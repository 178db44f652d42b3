"""The README says what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main

from opencost_kusto.cli import app
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.result import Outcome
from tests.support.recorded import Emulator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _commands() -> dict[str, list[str]]:
    group = typer.main.get_command(app)
    return {
        name: [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)]
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def test_every_command_and_option_is_named() -> None:
    """Each command and each of its options stands in the README."""
    for name, options in _commands().items():
        assert f"`opencost-kusto {name}" in README, name
        for option in options:
            if option.startswith("--"):
                assert f"`{option}`" in README, f"{name} {option}"


def test_no_option_is_invented() -> None:
    """Each option that a table of the README names exists."""
    known = {option for options in _commands().values() for option in options}
    for option in re.findall(r"^\| `(--[a-z-]+)`", README, re.MULTILINE):
        assert option in known


def test_every_exit_code_is_named() -> None:
    """Each exit code of the error tree has a row."""
    kinds = OpenCostKustoError.__subclasses__()
    assert {kind.exit_code for kind in kinds} == {
        int(code) for code in re.findall(r"^\| ([2-9]) \|", README, re.MULTILINE)
    }


def test_every_outcome_is_named() -> None:
    """Each outcome has a row."""
    for kind in Outcome:
        assert f"| {kind} |" in README


def test_the_test_command_is_what_ci_runs() -> None:
    """.ci/run runs the test command of the README to the letter."""
    command = re.search(r"^(python3 -m venv .*pytest.*)$", README, re.MULTILINE)
    assert command is not None
    assert command[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_quoted_messages_are_in_the_code() -> None:
    """Each message in "What can go wrong" is one that the code can say."""
    section = README.split("## What can go wrong")[1].split("\n## ")[0]
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "opencost_kusto").rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    said = " ".join(re.sub(r"\{[^{}]*\}", " ", code).split())
    for message in re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE):
        fragments = [part.strip() for part in re.split(r"…|'foo'|Connection refused|600|500", message)]
        for fragment in fragments:
            if len(fragment) > 12:
                assert fragment.removeprefix(": ").strip() in said or "error computing" in fragment, fragment


def test_the_example_runs() -> None:
    """The Python example of the README runs against the stand-in and lands."""
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    with Emulator() as emulated:
        scope = {"opencost_url": emulated.opencost_url, "kusto_url": emulated.kusto_url}
        exec(example[1], scope)
        assert scope["report"].exit_code == 0  # type: ignore[attr-defined]
        assert scope["report"].counts == {"landed": 2}  # type: ignore[attr-defined]
