"""What a run tells while it goes on and when it ends."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import typer

from opencost_kusto.cli import printing
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
            say(printing.outcome_line(one), stream)

    return on_result


def say(text: str, stream: TextIO) -> None:
    """Print a line. Where nobody reads any more the run goes on all the same: its exit code is still asked for."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        # What comes after it, and the flush at the end, goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        print("opencost-kusto: nobody reads the report any more; the run goes on.", file=sys.stderr, flush=True)


def finish(report: Report, as_json: bool, *, quiet_stdout: bool) -> None:
    """Print the sum, as JSON too where it was asked for, and end with the report's exit code."""
    if as_json:
        say(json.dumps(report.document(), default=str, indent=2, ensure_ascii=False), sys.stdout)
    say(printing.report_line(report), sys.stderr if quiet_stdout else sys.stdout)
    if report.exit_code:
        raise typer.Exit(report.exit_code)
