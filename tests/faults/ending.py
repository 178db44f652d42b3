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
from tests.support.world import ROWS, World, check_consistent, result_of


class Fault(NamedTuple):
    """What fails, how the batch may end, the exit code, and the message; `…` stands for anything."""

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

    def result_of(self, report: Report, table: str = ALLOCATION.name) -> BatchResult:
        """The result of the one batch of a table; outcome, exit code and reason are as declared."""
        check_consistent(report)
        one = result_of(report, table)
        self.among({one.outcome})
        self.process(report.exit_code, "; ".join([one.reason or "", *one.notes]))
        return one

    def landed(self, world: World, report: Report, rows: int = ROWS) -> None:
        """As declared, and the rows are in the table once."""
        one = self.result_of(report)
        assert (one.rows, one.reason) == (rows, None)
        world.settle(rows)

    def failed(self, world: World, report: Report, rows: int = 0) -> None:
        """As declared, and no more rows are in the table than were before."""
        self.result_of(report)
        assert world.count() == rows

    def process(self, exit_code: int, message: str) -> None:
        """The exit code is as declared, and so is what was said."""
        assert exit_code == self.declared.exit_code, message
        pattern = ".*".join(map(re.escape, self.declared.says.split("…")))
        assert re.search(pattern, message, re.DOTALL), message
        self.seen.add("exit code")

    def among(self, outcomes: Iterable[str]) -> None:
        """Each outcome is one of those that were declared."""
        assert set(outcomes) <= set(self.declared.outcomes), outcomes
        self.seen.add("outcome")

    def again(self, report: Report) -> None:
        """The run after the one that ended has nothing to complain about, and its outcomes are as declared."""
        check_consistent(report)
        assert report.exit_code == 0, report.results
        self.among(report.counts)
