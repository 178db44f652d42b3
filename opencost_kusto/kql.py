"""Declarations to KQL text, and `.kql` files to commands that know their file and line.

`python -m opencost_kusto.kql` renders `kql/tables/` from the ledger.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opencost_kusto.errors import UsageError
from opencost_kusto.schema import Table
from opencost_kusto.tables import TABLES

_FENCE = "```"
_FOLDER = "OpenCost"
_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"')
_FUNCTION = re.compile(
    rf"\.create-or-alter function with \(docstring = ({_LITERAL.pattern}), folder = {_LITERAL.pattern}\)"
    r"\s*(\w+)\s*\((.*?)\)\s*(\{.*\})",
    re.DOTALL,
)
# Low latency: the service waits this long, at most, for more blobs before it ingests (its default is 5 minutes).
BATCHING = {"MaximumBatchingTimeSpan": "00:00:30", "MaximumNumberOfItems": 500, "MaximumRawDataSizeMB": 1024}
# How long a tag guards against a second landing, and so how many tags a table carries at most.
TAG_RETENTION = "7.00:00:00"


@dataclass(frozen=True, slots=True)
class Command:
    """One management command or query, and where it is written."""

    text: str
    path: Path
    line: int

    @property
    def place(self) -> str:
        """`tables/OpenCostAssets.kql:12`, for messages."""
        return f"{self.path.parent.name}/{self.path.name}:{self.line}"


def root() -> Path:
    """The folder of the bundled `.kql` files: inside the wheel, or `kql/` of a checkout."""
    here = Path(__file__).parent
    bundled = here / "bundled"
    return bundled if bundled.is_dir() else here.parent / "kql"


def literal(text: str) -> str:
    """A KQL string literal."""
    return json.dumps(text, ensure_ascii=False)


def commands(folder: str | None = None) -> Iterator[Command]:
    """The bundled commands in the order they must run: tables by name, then functions, each after those it calls."""
    for name in (folder,) if folder else ("tables", "functions"):
        paths = sorted((root() / name).glob("*.kql"))
        found = [command for path in paths for command in parse(path.read_text(encoding="utf-8"), path)]
        yield from callees_first(found) if name == "functions" else found


def callees_first(found: list[Command]) -> Iterator[Command]:
    """Functions, each in a file of its name, in an order in which Kusto accepts them: it resolves a body's names."""
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


def create_table(table: Table) -> str:
    """The command that creates the table, or adds the columns it lacks at its end."""
    columns = ",\n".join(f"    {column.name}: {column.type}" for column in table.columns)
    return (
        f".create-merge table {table.name} (\n{columns}\n)"
        f" with (docstring = {literal(table.doc)}, folder = {literal(_FOLDER)})"
    )


def column_docstrings(table: Table) -> str:
    """The command that gives every column its sentence."""
    docs = ",\n".join(f"    {column.name}: {literal(column.doc)}" for column in table.columns)
    return f".alter-merge table {table.name} column-docstrings (\n{docs}\n)"


def create_mapping(table: Table, of: str | None = None) -> str:
    """The command that makes columns of a row; `of` names another table of the same shape.

    A path leads into the row's objects: https://learn.microsoft.com/kusto/management/json-mapping

    `datatype` is left out on purpose: with it, queued ingestion adds columns by itself.
    """
    entries = ",\n".join(
        f'  {{"column": "{column.name}", "Properties": {{"Path": "$.{table.path(column)}"}}}}'
        for column in table.columns
    )
    head = f'.create-or-alter table {of or table.name} ingestion json mapping "{table.mapping}"'
    return f"{head}\n{_FENCE}\n[\n{entries}\n]\n{_FENCE}"


def batching_policy(name: str) -> str:
    """The command that makes ingestion prompt."""
    return f".alter-merge table {name} policy ingestionbatching {_FENCE}{json.dumps(BATCHING)}{_FENCE}"


def tags_policy(table: Table) -> str:
    """The command that bounds the table's tags."""
    policy = [{"TagPrefix": f"ingest-by:{table.name}/", "RetentionPeriod": TAG_RETENTION}]
    return f".alter table {table.name} policy extent_tags_retention {_FENCE}{json.dumps(policy)}{_FENCE}"


def render(table: Table) -> str:
    """The whole text of `kql/tables/<table>.kql`."""
    head = "// Rendered from opencost_kusto/tables.py by `python -m opencost_kusto.kql`; edit the ledger instead."
    parts = (create_table(table), column_docstrings(table), create_mapping(table), batching_policy(table.name))
    return "\n\n".join((head, *parts, tags_policy(table))) + "\n"


def mapped(command: str) -> tuple[str, dict[str, str]] | None:
    """The name and the column-to-path pairs of a mapping command; None for any other command."""
    match = re.match(r'\.create-or-alter table \S+ ingestion json mapping "([^"]+)"\s*```(.*)```', command, re.DOTALL)
    if match is None:
        return None
    return match[1], paths(json.loads(match[2]))


@dataclass(frozen=True, slots=True)
class Definition:
    """What a function command says; `parameters` is the text between the parentheses."""

    name: str
    parameters: str
    doc: str
    body: str


def defined(command: str) -> Definition | None:
    """The function a command defines; None for any other command."""
    match = _FUNCTION.match(command)
    return None if match is None else Definition(match[2], match[3], json.loads(match[1]), match[4])


def paths(mapping: list[dict[str, object]]) -> dict[str, str]:
    """A mapping's column-to-path pairs, in either of the spellings Kusto uses."""
    pairs = {}
    for entry in mapping:
        column = entry.get("column") or entry.get("Column")
        properties = entry.get("Properties") or entry.get("properties") or {}
        path = entry.get("path") or (properties.get("Path") or properties.get("path"))  # type: ignore[attr-defined]
        pairs[str(column)] = str(path)
    return pairs


def main() -> None:
    """Render the ledger into `kql/tables/`."""
    folder = root() / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for table in TABLES:
        (folder / f"{table.name}.kql").write_text(render(table), encoding="utf-8")


if __name__ == "__main__":
    main()
