"""The bundled `.kql` files as commands with file and line, in the order in which they must run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opencost_kusto.errors import UsageError

_FENCE = "```"
_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"')
_FUNCTION = re.compile(
    rf"\.create-or-alter function with \(docstring = ({_LITERAL.pattern}), folder = {_LITERAL.pattern}\)"
    r"\s*(\w+)\s*\((.*?)\)\s*(\{.*\})",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Command:
    """One management command or query, and its file and line."""

    text: str
    path: Path
    line: int

    @property
    def place(self) -> str:
        """`tables/OpenCostAssets.kql:12`, for messages."""
        return f"{self.path.parent.name}/{self.path.name}:{self.line}"


def root() -> Path:
    """The folder of the bundled `.kql` files: inside the wheel, or `kql/` of a checkout."""
    here = Path(__file__).parents[1]
    bundled = here / "bundled"
    return bundled if bundled.is_dir() else here.parent / "kql"


def commands(folder: str | None = None) -> Iterator[Command]:
    """The bundled commands in the order they must run: tables by name, then functions, each after those it calls."""
    for name in (folder,) if folder else ("tables", "functions"):
        paths = sorted((root() / name).glob("*.kql"))
        found = [command for path in paths for command in parse(path.read_text(encoding="utf-8"), path)]
        yield from callees_first(found) if name == "functions" else found


def callees_first(found: list[Command]) -> Iterator[Command]:
    """Functions, each in a file of its name, in an order that Kusto accepts: it resolves the names in a body."""
    waiting = {command.path.stem: command for command in found}
    calls = {
        name: {word for word in re.findall(r"\w+", _LITERAL.sub("", command.text)) if word in waiting and word != name}
        for name, command in waiting.items()
    }
    while waiting:
        ready = [name for name in waiting if not calls[name] & waiting.keys()]
        if not ready:
            raise UsageError(f"These functions call each other in a circle: {', '.join(waiting)}.")
        for name in ready:
            yield waiting.pop(name)


def parse(text: str, path: Path) -> Iterator[Command]:
    """Cut a file into its commands: each begins at a line that starts with `.` and ends before the next.

    Comment lines between commands are left out. Raises UsageError for text that belongs to no command.
    """
    lines: list[str] = []
    begun = 0
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(".") and not fenced:
            yield from _finished(lines, path, begun)
            lines, begun = [], number
        elif not lines and line.strip() and not line.startswith("//"):
            raise UsageError(f"{path.name}:{number} belongs to no command: {line.strip()[:80]!r}.")
        if line.count(_FENCE) % 2:
            fenced = not fenced
        if begun and (fenced or not line.startswith("//")):
            lines.append(line)
    yield from _finished(lines, path, begun)


def _finished(lines: list[str], path: Path, line: int) -> Iterator[Command]:
    text = "\n".join(lines).strip()
    if text:
        yield Command(text, path, line)


@dataclass(frozen=True, slots=True)
class Definition:
    """The parts of a function command; `parameters` is the text between the parentheses."""

    name: str
    parameters: str
    doc: str
    body: str


def defined(command: str) -> Definition | None:
    """The function a command defines; None for any other command."""
    match = _FUNCTION.match(command)
    return None if match is None else Definition(match[2], match[3], json.loads(match[1]), match[4])
