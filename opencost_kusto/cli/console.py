"""What a run tells while it goes on and when it ends."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from opencost_kusto.cli import printing
from opencost_kusto.cli.termination import Process
from opencost_kusto.result import BatchResult, Report


@contextmanager
def narrator(total: int, *, quiet_stdout: bool) -> Iterator[Callable[[BatchResult], None]]:
    """A function that prints each outcome as it comes; on a terminal, a progress bar on stderr runs below the lines.

    `total` is the number of batches to come. With `quiet_stdout` the lines go to stderr.
    """
    plainly = teller(quiet_stdout=quiet_stdout)
    if not sys.stderr.isatty():
        yield plainly
        return
    from rich.console import Console
    from rich.progress import Progress

    # Gives the cursor back however the run ends.
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("batches", total=total)

        def on_result(one: BatchResult) -> None:
            progress.advance(task)
            plainly(one)

        yield on_result


def teller(*, quiet_stdout: bool) -> Callable[[BatchResult], None]:
    """A function that prints an outcome as lines of their own, from whichever thread it is called."""
    stream = sys.stderr if quiet_stdout else sys.stdout
    lock = threading.Lock()

    def on_result(one: BatchResult) -> None:
        with lock:
            print(printing.outcome_line(one), file=stream, flush=True)

    return on_result


def finish(report: Report, as_json: bool, process: Process, *, quiet_stdout: bool) -> None:
    """Print the sum, as JSON too where it was asked for, and end with the report's exit code."""
    if as_json:
        process.document = False
        print(json.dumps(report.document(), default=str, indent=2, ensure_ascii=False), flush=True)
    print(printing.report_line(report), file=sys.stderr if quiet_stdout else sys.stdout, flush=True)
    if report.exit_code:
        raise typer.Exit(report.exit_code)
