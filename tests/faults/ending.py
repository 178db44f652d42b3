"""How each fault ends: declared at its test, asserted by it, and listed in the README.

What a test asserts is what it declared, so the table in the README cannot say anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import pytest

from opencost_kusto.result import BatchResult, Report
from opencost_kusto.schema.tables import ALLOCATION
from tests.faults.lane import ROWS, Lane, honest, of


class Fault(NamedTuple):
    """What goes wrong, how the batch may end, the exit code, and what is said; `…` stands for anything."""

    what: str
    outcomes: tuple[str, ...]
    exit_code: int
    says: str

    @property
    def row(self) -> str:
        """The fault's row in the README."""
        says = f"`{self.says}`" if self.says else ""
        return f"| {self.what} | {' or '.join(self.outcomes)} | {self.exit_code} | {says} |"


def fault(what: str, *outcomes: str, exit_code: int = 0, says: str = "") -> pytest.MarkDecorator:
    """Declare the fault that a test shows; the test must assert it through `ending`."""
    return pytest.mark.fault(Fault(what, outcomes, exit_code, says))


class Ending:
    """The ending that was declared; `seen` is what of it was asserted."""

    def __init__(self, declared: Fault) -> None:
        self.declared = declared
        self.seen: set[str] = set()

    def of(self, report: Report, table: str = ALLOCATION.name) -> BatchResult:
        """The outcome of the one batch of a table, which is as declared, like the report's exit code and reason."""
        honest(report)
        one = of(report, table)
        self.among({one.outcome})
        self.process(report.exit_code, "; ".join([one.reason or "", *one.notes]))
        return one

    def landed(self, lane: Lane, report: Report, rows: int = ROWS) -> None:
        """As declared, and the rows are in the table once."""
        one = self.of(report)
        assert (one.rows, one.reason) == (rows, None)
        lane.settle(rows)

    def failed(self, lane: Lane, report: Report, rows: int = 0) -> None:
        """As declared, and no more rows are in the table than were before."""
        self.of(report)
        assert lane.count() == rows

    def process(self, exit_code: int, said: str) -> None:
        """The exit code is as declared, and so is what was said."""
        assert exit_code == self.declared.exit_code, said
        pattern = ".*".join(map(re.escape, self.declared.says.split("…")))
        assert re.search(pattern, said, re.DOTALL), said
        self.seen.add("exit code")

    def among(self, outcomes: Iterable[str]) -> None:
        """Each outcome is one of those that were declared."""
        assert set(outcomes) <= set(self.declared.outcomes), outcomes
        self.seen.add("outcome")

    def again(self, report: Report) -> None:
        """The run after the one that ended has nothing to complain about, and its outcomes are as declared."""
        honest(report)
        assert report.exit_code == 0, report.outcomes
        self.among(report.counts)
