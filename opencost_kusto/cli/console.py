"""The console: what a command prints while it runs and at its end.

Reports and rows go to stdout, everything else to stderr. On a terminal stderr has one live line for each cluster and
dataset; elsewhere, or with --log-format json, it has one line for each event.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from opencost_kusto.cli.drawing import as_text, is_dumb, live_lines, rich_stderr
from opencost_kusto.cli.live import Lines
from opencost_kusto.rendering import Document, Table, csv_text, json_text, markdown, plain, printable
from opencost_kusto.result import BatchResult, Outcome
from opencost_kusto.retry import Retry, observing
from opencost_kusto.schema.columns import Json
from opencost_kusto.times import utc_now
from opencost_kusto.window import stamp


class Format(StrEnum):
    """How reports and rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "md"


class LogFormat(StrEnum):
    """How events are printed."""

    TEXT = "text"
    JSON = "json"


class Level(StrEnum):
    """The severity of an event."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_STYLES = {Level.INFO: "", Level.WARNING: "yellow", Level.ERROR: "bold red"}
_LEVELS = {Outcome.FAILED: Level.ERROR, Outcome.LOST: Level.ERROR, Outcome.TIMED_OUT: Level.WARNING}


@dataclass(slots=True)
class Console:
    """Prints reports and events; may be called from any thread.

    `format_` is None where the user chose none, which is a table. `document_due` says that stdout is to hold one JSON
    document and does not yet.
    """

    format_: Format | None = None
    log_format: LogFormat = LogFormat.TEXT
    quiet: bool = False
    verbose: bool = False
    document_due: bool = False
    clock: Callable[[], datetime] = utc_now
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _live: Any = None

    @property
    def terminal(self) -> bool:
        """Whether stderr is a terminal that shows text."""
        return self.log_format is LogFormat.TEXT and sys.stderr is not None and sys.stderr.isatty()

    def info(self, text: str, event: str = "message", **facts: Json) -> None:
        """Print an event without a problem."""
        self.event(Level.INFO, text, event, **facts)

    def warning(self, text: str, event: str = "message", **facts: Json) -> None:
        """Print a warning; the run continues."""
        self.event(Level.WARNING, text, event, **facts)

    def event(self, level: Level, text: str, event: str = "message", **facts: Json) -> None:
        """Print one line on stderr; with --quiet only warnings and errors."""
        if self.quiet and level is Level.INFO:
            return
        line = printable(text)
        if self.log_format is LogFormat.JSON:
            facts = {"time": stamp(self.clock()), "level": str(level), "event": event, "message": line, **facts}
            line = json_text(facts, indent=None)
        elif not self.terminal:
            line = f"{stamp(self.clock())} {level.upper():<7} {line}"
        self._err(line, level)

    def error(self, text: str, exit_code: int) -> None:
        """Print why the command failed: its last line, under the name of the program."""
        if self.log_format is LogFormat.JSON:
            self.event(Level.ERROR, text, "failed", exit_code=exit_code)
        else:
            self._err(f"opencost-kusto: {printable(text)}", Level.ERROR)
        if self.document_due:
            self.document({"exit_code": exit_code, "error": text, "batches": []})

    def traceback(self, text: str) -> None:
        """Print the traceback of an internal error, with --verbose."""
        if self.verbose:
            self._err(printable(text.rstrip(), keep="\n"), Level.INFO)

    def _err(self, line: str, level: Level) -> None:
        with self._lock:
            if self.terminal:
                rich = rich_stderr(self._live)
                rich.print(line, style=_STYLES[level], markup=False, highlight=False, soft_wrap=True)
            else:
                print(line, file=sys.stderr, flush=True)

    def result(self, one: BatchResult) -> None:
        """Print the outcome of a batch; where live lines show it, only for a failure or with --verbose."""
        level = _LEVELS.get(Outcome(one.outcome), Level.WARNING if one.notes else Level.INFO)
        if self.terminal and not self.verbose and self._live is not None and level is not Level.ERROR:
            return
        facts = {
            "cluster": one.source,
            "dataset": one.dataset,
            "window_start": stamp(one.window_start),
            "window_end": stamp(one.window_end),
            "outcome": str(one.outcome),
            "reason": one.reason,
            "rows": one.rows,
            "cost": one.cost,
            "bytes": one.bytes,
            "seconds": one.seconds,
            "notes": one.notes,
        }
        self.event(level, result_line(one), "batch", **facts)

    @contextmanager
    def progress(self, plan: Mapping[str, int]) -> Iterator[Callable[[BatchResult], None]]:
        """A function that shows each result; `plan` is the number of batches of each dataset of a cluster."""
        with observing(self.retry):
            if not self.terminal or self.quiet or is_dumb():
                yield self.result
                return
            with live_lines() as progress:
                self._live = progress
                lines = Lines(progress, plan)

                def on_result(one: BatchResult) -> None:
                    with self._lock:
                        lines.add(one)
                    self.result(one)

                try:
                    yield on_result
                finally:
                    self._live = None

    def retry(self, retry: Retry) -> None:
        """Print that a request is repeated, and why."""
        text = f"Retrying in {retry.seconds:.0f} s (attempt {retry.attempt + 1} of {retry.attempts}): {retry.error}"
        self.warning(text, "retry", seconds=round(retry.seconds, 1), attempt=retry.attempt)

    def document(self, value: Json) -> None:
        """Print the one JSON document."""
        self.document_due = False
        self.out(json_text(value))

    def out(self, text: str) -> None:
        """Print text on stdout."""
        with self._lock:
            print(text, flush=True)

    def show(self, document: Document) -> None:
        """Print a report in the format chosen; with --quiet nothing where none was chosen."""
        if self.format_ is Format.JSON:
            self.document(document.json)
        elif self.format_ is Format.CSV and document.rows is not None:
            self.rows(document.rows)
        elif self.format_ is not None or not self.quiet:
            if document.head:
                # In Markdown a line ends with two blanks.
                end = "  \n" if self.format_ is Format.MARKDOWN else "\n"
                self.out(end.join(map(printable, document.head)) + "\n")
            for table in document.tables:
                if table.rows:
                    self.rows(table)
                    self.out("")
            for line in document.lines:
                self.out(printable(line))

    def show_on_stderr(self, document: Document) -> None:
        """Print a report on stderr, where stdout is another program's; with --log-format json it is an event."""
        if self.log_format is LogFormat.JSON:
            self.event(Level.INFO, document.lines[-1] if document.lines else "", "report", report=document.json)
        elif not self.quiet:
            for table in document.tables:
                if table.rows:
                    self._err(as_text(table, sys.stderr), Level.INFO)
            for line in document.lines:
                self._err(printable(line), Level.INFO)

    def rows(self, table: Table) -> None:
        """Print a table in the format chosen."""
        if self.format_ is Format.JSON:
            self.document(table.documents())
        elif self.format_ is Format.CSV:
            text = csv_text(table).rstrip("\n")
            # Without rows the columns are unknown, so there is no header either.
            if text:
                self.out(printable(text, keep="\n") if sys.stdout.isatty() else text)
        elif self.format_ is Format.MARKDOWN:
            title = f"### {printable(table.title)}\n\n" if table.title else ""
            self.out(title + markdown(table))
        else:
            self.out(as_text(table, sys.stdout))


def result_line(one: BatchResult) -> str:
    """`prod allocation 2026-11-23T10:00:00Z 60m landed: 61 rows, cost 1.07208. Reason and notes.`"""
    facts = [f"{one.rows:,} rows"] if one.rows is not None else []
    facts += [f"cost {plain(one.cost)}"] if one.cost is not None else []
    head = f"{one.source} {one.dataset} {stamp(one.window_start)} {one.window_minutes:.0f}m {one.outcome}"
    return ". ".join([head + (f": {', '.join(facts)}" if facts else ""), *filter(None, [one.reason, *one.notes])])
