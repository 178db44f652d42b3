"""Microsoft's own KQL parser and analyser, requested by the tests about queries and management commands."""

import json
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.kql_documents import Document, findings
from tests.support.node.install import Packages

SCRIPT = Path(__file__).parent / "node" / "analyse.js"
REPLY_SECONDS = 300

Column = tuple[str, str]
"""A column's name and its Kusto type."""

Function = str | tuple[str, str, str]
"""A stored function: its whole `.create-or-alter function` command, or name, `(parameters)` and `{ body }`."""


class AnalyserError(Exception):
    """The analyser failed: the schema is invalid, or its process has ended."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables and stored functions that a text may speak of."""

    tables: Mapping[str, Sequence[Column]] = field(default_factory=dict)
    functions: Sequence[Function] = ()


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """What is wrong with a text, and where: `start` and `length` count characters, `line` begins at 1."""

    message: str
    code: str
    severity: str
    start: int
    length: int
    line: int

    def __str__(self) -> str:
        return f"line {self.line}: {self.severity}: {self.message}"


class Analyser:
    """One Node process that analyses all texts; it starts with the first."""

    def __init__(self, packages: Packages) -> None:
        self._packages = packages
        self._process: subprocess.Popen[str] | None = None
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - close() closes it.
        self._schemas: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def check(self, text: str, *, schema: Schema) -> list[Diagnostic]:
        """Return all that is wrong with one query or one management command, in the order of the text."""
        result = self._analyse(text, schema)
        found = [
            _diagnostic(text, each["message"], each["code"], each["severity"], each["start"], each["length"])
            for each in result["diagnostics"]
        ]
        for each in result["documents"]:
            document = Document(each["kind"], each["table"], each["format"], each["text"])
            columns = schema.tables.get(document.table) if document.table else None
            for finding in findings(document, None if columns is None else [name for name, _ in columns]):
                # A literal with escapes has no such position in the text: then its beginning must do.
                shift = _utf16_length(document.text[: finding.position]) if each["exact"] else 0
                start, length = each["start"] + shift, finding.length if each["exact"] else 0
                found.append(_diagnostic(text, finding.message, "Document", "Error", start, length))
        return sorted(found, key=lambda diagnostic: diagnostic.start)

    def result_columns(self, text: str, *, schema: Schema) -> list[Column]:
        """Return the columns of the result of a query or a command."""
        columns = self._analyse(text, schema)["columns"]
        if columns is None:
            raise AnalyserError(f"the analyser knows no result of: {text.strip().splitlines()[:1]}")
        return [(name, kind) for name, kind in columns]

    def close(self) -> None:
        """End the process, if it was ever started."""
        if self._process is not None:
            with self._process as process:
                process.kill()
            self._process = None
        self._stderr.close()

    def _analyse(self, text: str, schema: Schema) -> dict[str, Any]:
        """Analyse a text, sending the process the schema first when it is new."""
        content = {"tables": dict(schema.tables), "functions": list(schema.functions)}
        key = json.dumps(content)
        if key not in self._schemas:
            number = len(self._schemas)
            self._send({"define": number, **content})
            self._schemas[key] = number
        return self._send({"check": self._schemas[key], "text": text})

    def _send(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request and read its reply, before the deadline."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = threading.Timer(REPLY_SECONDS, process.kill)
        deadline.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            deadline.cancel()
        if not line:
            self._stderr.seek(0)
            raise AnalyserError(f"the analyser's process ended without a reply: {self._stderr.read()[-2000:]}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise AnalyserError(reply["error"])
        return reply

    def _started(self) -> subprocess.Popen[str]:
        """Return the process, starting it the first time."""
        if self._process is None:
            self._process = subprocess.Popen(
                [str(self._packages.node), str(SCRIPT), str(self._packages.modules)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                encoding="utf-8",
            )
        return self._process


def _diagnostic(text: str, message: str, code: str, severity: str, start: int, length: int) -> Diagnostic:
    """Place what the analyser says: it counts in UTF-16, Python in characters."""
    encoded = text.encode("utf-16-le")
    before = encoded[: 2 * start].decode("utf-16-le", "ignore")
    marked = encoded[2 * start : 2 * (start + length)].decode("utf-16-le", "ignore")
    return Diagnostic(message, code, severity, len(before), len(marked), before.count("\n") + 1)


def _utf16_length(text: str) -> int:
    """Return the length of a text as JavaScript counts it."""
    return len(text.encode("utf-16-le")) // 2
