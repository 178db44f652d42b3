"""What the console prints on stderr and stdout, by format, level and option."""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from opencost_kusto.cli.console import Console, Format, LogFormat
from opencost_kusto.cli.reports import report_document, report_line
from opencost_kusto.errors import KustoError
from opencost_kusto.rendering import Column, Document, Table
from opencost_kusto.result import BatchResult, Outcome, Report
from opencost_kusto.retry import retrying

NOW = datetime(2026, 11, 29, 19, 30, 57, tzinfo=UTC)
HOUR = datetime(2026, 11, 23, 10, tzinfo=UTC)
Captured = pytest.CaptureFixture[str]


def console(**more: object) -> Console:
    """A console whose clock stands still."""
    return Console(clock=lambda: NOW, **more)  # type: ignore[arg-type]


def one(outcome: Outcome = Outcome.LANDED, **more: object) -> BatchResult:
    """A batch of an hour."""
    until = HOUR + timedelta(hours=1)
    return BatchResult("id", "OpenCostAllocation", "prod", "allocation", HOUR, until, 60, None, outcome, **more)  # type: ignore[arg-type]


def test_an_event_is_a_line_with_time_and_level(capsys: Captured) -> None:
    """Not on a terminal, each event is one line on stderr: RFC 3339, level, text."""
    console().result(one(rows=61, cost=1.07208))
    console().warning("two\nlines")
    assert capsys.readouterr().err.splitlines() == [
        "2026-11-29T19:30:57Z INFO    prod allocation 2026-11-23T10:00:00Z 60m landed: 61 rows, cost 1.07208",
        "2026-11-29T19:30:57Z WARNING two\\nlines",
    ]


def test_an_event_as_json_has_its_facts(capsys: Captured) -> None:
    """With --log-format json each event is one object on one line, the last error too."""
    log = console(log_format=LogFormat.JSON)
    log.result(one(Outcome.FAILED, reason="OpenCost is away.", seconds=0.5))
    log.error("It failed.", 3)
    batch, error = map(json.loads, capsys.readouterr().err.splitlines())
    assert {name: batch[name] for name in ("time", "level", "event", "cluster", "outcome", "reason", "seconds")} == {
        "time": "2026-11-29T19:30:57Z",
        "level": "error",
        "event": "batch",
        "cluster": "prod",
        "outcome": "failed",
        "reason": "OpenCost is away.",
        "seconds": 0.5,
    }
    assert (error["event"], error["message"], error["exit_code"]) == ("failed", "It failed.", 3)


HOSTILE = "a\x1b]0;x\x07b\u202ec\rd\u200b"


class Terminal(io.StringIO):
    """What is printed on it is for a person."""

    def isatty(self) -> bool:
        """It is a terminal."""
        return True


@pytest.mark.parametrize("format_", [None, *Format])
def test_only_printable_characters_reach_a_terminal(capsys: Captured, format_: Format | None) -> None:
    """Whatever OpenCost or Kusto sends: names, titles, values, errors and lines have no character that acts."""
    table = Table((Column(HOSTILE),), [[HOSTILE], [{HOSTILE: [HOSTILE]}]], HOSTILE)
    document = Document({HOSTILE: HOSTILE}, [table], [HOSTILE], table, [HOSTILE])
    message = console(format_=format_, verbose=True)
    shown = Terminal()
    with redirect_stdout(shown):
        message.show(document)
    message.show_on_stderr(document)
    message.error(HOSTILE, 3)
    message.warning(HOSTILE)
    message.traceback(f"{HOSTILE}\n")
    message.result(one(Outcome.FAILED, reason=HOSTILE, notes=[HOSTILE]))
    # Colours are ours.
    stderr = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().err + shown.getvalue())
    assert not [each for each in stderr if each != "\n" and not each.isprintable()]


def test_quiet_leaves_warnings_and_errors(capsys: Captured) -> None:
    """With --quiet there is neither progress nor a table, but what went wrong, and a report that was requested."""
    report = Report("r", [one()])
    quiet = console(quiet=True)
    quiet.info("nothing")
    quiet.result(one())
    quiet.result(one(Outcome.FAILED, reason="no"))
    quiet.show(report_document(report, 0))
    written, stderr = capsys.readouterr()
    assert (written, stderr.count("\n"), "ERROR" in stderr) == ("", 1, True)
    console(quiet=True, format_=Format.JSON).show(report_document(report, 0))
    assert json.loads(capsys.readouterr().out)["counts"] == {"landed": 1}


def test_a_report_says_failures_once_with_their_cause(capsys: Captured) -> None:
    """A reason that many batches share stands once, with the newest window; notes are counted."""
    failed = [one(Outcome.FAILED, reason="OpenCost is away. Start it.") for _ in range(3)]
    report = Report("r", [one(rows=2, cost=0.5, notes=["odd"]), one(notes=["odd"]), *failed])
    console().show(report_document(report, 7))
    lines = capsys.readouterr().out.splitlines()
    assert "failed: prod allocation 2026-11-23T10:00:00Z 60m and 2 more: OpenCost is away. Start it." in lines
    assert "note: odd (2 batches)" in lines
    assert lines[-1] == "5 batches of prod in run r: 2 landed, 3 failed; 2 rows"


def test_a_report_of_a_fleet_counts_its_clusters() -> None:
    """Five are named in the sum; of more, their number."""
    for clusters, message in ((5, "5 batches of c0, c1, c2, c3, c4 in run r"), (6, "6 batches of 6 clusters in run r")):
        report = Report("r", [msgspec.structs.replace(one(), source=f"c{number}") for number in range(clusters)])
        assert report_line(report).startswith(message)


def test_csv_of_a_report_is_its_batches(capsys: Captured) -> None:
    """`-o csv` has a line for each batch, and nothing else."""
    console(format_=Format.CSV).show(report_document(Report("r", [one(rows=2, cost=1 / 3)]), 0))
    assert capsys.readouterr().out.splitlines() == [
        "Cluster,Dataset,WindowStart,WindowEnd,Outcome,Rows,Cost,Seconds",
        "prod,allocation,2026-11-23T10:00:00Z,2026-11-23T11:00:00Z,landed,2,0.333333,0.0",
    ]


def test_an_error_is_the_document_that_is_due_once(capsys: Captured) -> None:
    """With -o json an error before the report is a document; after it, the report stays the only one."""
    due = console(format_=Format.JSON, document_due=True)
    due.error("No.", 2)
    assert json.loads(capsys.readouterr().out) == {"exit_code": 2, "error": "No.", "batches": []}
    due.error("No again.", 2)
    assert capsys.readouterr().out == ""


def test_retries_are_visible(capsys: Captured) -> None:
    """A request that is repeated is a warning with the pause, the attempt and the reason."""
    refusals = [KustoError("Kusto is busy.", transient=True, retry_after=4)]

    def busy() -> int:
        if refusals:
            raise refusals.pop()
        return 1

    with console().progress({}):
        assert retrying(busy, seconds=60, attempts=6, sleep=lambda _: None) == 1
    assert capsys.readouterr().err == (
        "2026-11-29T19:30:57Z WARNING Retrying in 4 s (attempt 2 of 6): Kusto is busy.\n"
    )
