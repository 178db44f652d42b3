"""Checks the JSON inside Kusto's commands, which Microsoft's analyser takes for any other string."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON string in a command: a mapping or a policy."""

    kind: str
    table: str | None
    format: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a document, and at which of its characters."""

    message: str
    position: int
    length: int = 0


def findings(document: Document, columns: Sequence[str] | None) -> Iterator[Finding]:
    """Yield what is wrong with a document; `columns` are those of its table, None if the table is unknown."""
    what = f"The {document.kind}"
    try:
        content = json.loads(document.text)
    except json.JSONDecodeError as error:
        yield Finding(f"{what} is not JSON: {error}.", error.pos)
        return
    if document.kind == "mapping":
        yield from _mapping_findings(document, content, columns)
    elif not isinstance(content, dict | list):
        yield Finding(f"{what} is not an object or a list.", 0, len(document.text))


def _mapping_findings(document: Document, content: Any, columns: Sequence[str] | None) -> Iterator[Finding]:
    """Yield what is wrong with a mapping that is JSON."""
    if not isinstance(content, list) or not content or not all(isinstance(entry, dict) for entry in content):
        yield Finding("The mapping is not a list of objects.", 0, len(document.text))
        return
    names = [entry.get("column", entry.get("Column")) for entry in content]
    for name, count in Counter(name for name in names if isinstance(name, str)).items():
        if count > 1:
            yield _at(document, name, f"The mapping has the column '{name}' {count} times.")
        if columns is not None and name not in columns:
            yield _at(document, name, f"The mapping has the column '{name}', which {document.table} does not have.")
    for number, (name, entry) in enumerate(zip(names, content, strict=True), start=1):
        if not isinstance(name, str):
            yield Finding(f"The mapping's entry {number} has no column.", 0, len(document.text))
        elif document.format == "json" and not _path(entry):
            yield _at(document, name, f"The mapping of the column '{name}' has no Path.")


def _path(entry: dict[str, Any]) -> str | None:
    """Return the JSON path of a mapping's entry, None when it has none that can be one."""
    properties = entry.get("Properties", entry.get("properties"))
    path = properties.get("Path", properties.get("path")) if isinstance(properties, dict) else None
    return path if isinstance(path, str) and path.startswith("$") else None


def _at(document: Document, name: str, message: str) -> Finding:
    """Place a finding at the last mention of a column: of two, the second is the mistake."""
    quoted = json.dumps(name, ensure_ascii=False)
    return Finding(message, max(document.text.rfind(quoted), 0), len(quoted))
