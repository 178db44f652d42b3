"""The README and the guides say what the program does."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import pytest
import typer.main

from opencost_kusto.cli import app
from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.result import Outcome
from tests.support.documents import ALL, GUIDES, README, ROOT


def _commands() -> dict[str, list[str]]:
    group = typer.main.get_command(app)
    return {
        name: [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)]
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def test_every_command_and_option_is_named() -> None:
    """Each command and each of its options stands in a page."""
    for name, options in _commands().items():
        assert f"`opencost-kusto {name}" in ALL, name
        for option in options:
            if option.startswith("--"):
                assert f"`{option}`" in ALL, f"{name} {option}"


def test_no_option_is_invented() -> None:
    """Each option that a table names exists."""
    known = {option for options in _commands().values() for option in options}
    for option in re.findall(r"^\| `(--[a-z-]+)`", ALL, re.MULTILINE):
        assert option in known


def test_every_exit_code_is_named() -> None:
    """Each exit code of the error tree has a row, in the README and in the guide."""
    kinds = OpenCostKustoError.__subclasses__()
    for page in (README, GUIDES["commands"]):
        rows = re.findall(r"^\| ([2-9]) \|", page, re.MULTILINE)
        assert {kind.exit_code for kind in kinds} == set(map(int, rows))


def test_every_outcome_is_named() -> None:
    """Each outcome has a row."""
    for kind in Outcome:
        assert f"| {kind} |" in GUIDES["commands"]


def test_the_test_command_is_what_ci_runs() -> None:
    """.ci/run runs the test command of the README to the letter."""
    command = re.search(r"^(python3 -m venv .*pytest.*)$", README, re.MULTILINE)
    assert command is not None
    assert command[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_quoted_messages_are_in_the_code() -> None:
    """Each message in the guide to faults is one that the code can say."""
    section = GUIDES["faults"]
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "opencost_kusto").rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    printed = " ".join(re.sub(r"\{[^{}]*\}", " ", code).split())
    for message in re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE):
        fragments = [part.strip() for part in re.split(r"…|'foo'|Connection refused|600|500", message)]
        for fragment in fragments:
            if len(fragment) > 12:
                assert fragment.removeprefix(": ").strip() in printed or "error computing" in fragment, fragment


def test_the_example_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The Python example of the README and the guide runs as it is, lands, and prints costs of OpenCost and Kusto."""
    example = _example()
    assert f"```python\n{example}```" in README
    scope: dict[str, Any] = {}
    exec(example, scope)
    assert scope["report"].exit_code == 0
    before, (counts, *after) = _around(capsys.readouterr().out.splitlines(), "{'landed': 3}")
    assert counts.startswith("0 ")
    assert {line.split()[0] for line in before} >= {"shop", "ml", "kube-system"}
    assert {line.split()[0] for line in after} >= {"shop", "ml", "kube-system"}


def test_the_example_is_type_checked() -> None:
    """The file that `.ci/run` type-checks against the wheel has the example to the letter."""
    imports, body = _example().split("\n\n", 1)
    consumer = (ROOT / "tests" / "consumer.py").read_text(encoding="utf-8")
    assert textwrap.indent(body, " " * 4) in consumer
    for line in imports.splitlines():
        module, names = re.fullmatch(r"from (\S+) import (.*)", line).groups()  # type: ignore[union-attr]
        assert f"from {module} import" in consumer
        assert all(name in consumer for name in names.split(", "))


def _example() -> str:
    found = re.search(r"```python\n(.*?)```", GUIDES["python"], re.DOTALL)
    assert found is not None
    return found[1]


def _around(lines: list[str], mark: str) -> tuple[list[str], list[str]]:
    """The lines before the first with a mark, and from it on."""
    at = next(at for at, line in enumerate(lines) if mark in line)
    return lines[:at], lines[at:]


def test_the_readme_is_short_and_links_every_guide() -> None:
    """The README fits a reader who has never seen the project, and leads to every guide."""
    assert README.count("\n") <= 200
    for name in GUIDES:
        assert f"](opencost_kusto/guides/{name}.md)" in README, name


def test_links_lead_somewhere() -> None:
    """Each relative link of a page is a file of the repository."""
    pages = {ROOT / "README.md": README}
    pages |= {ROOT / "opencost_kusto" / "guides" / f"{name}.md": text for name, text in GUIDES.items()}
    for page, text in pages.items():
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert link.startswith("https://") or (page.parent / link).exists(), f"{page.name}: {link}"
