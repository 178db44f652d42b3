"""The exit code of a run follows from how its batches ended."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from opencost_kusto.batch import Batch
from opencost_kusto.errors import ContentError, KustoError, OpenCostError, OpenCostKustoError
from opencost_kusto.result import Outcome, Report, batch_result
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.window import Window

HOUR = Window(datetime(2026, 11, 23, 10, tzinfo=UTC), datetime(2026, 11, 23, 11, tzinfo=UTC))
THREE, FOUR, FIVE = OpenCostError("no"), ContentError("no"), KustoError("no")


@pytest.mark.parametrize(
    ("ended", "run_log", "exit_code"),
    [
        ([], None, 0),
        ([Outcome.LANDED, Outcome.ALREADY_LANDED, Outcome.EMPTY, Outcome.QUEUED, Outcome.WRITTEN], None, 0),
        # Of several kinds the worst, in whatever order they came.
        ([THREE, FIVE], None, 5),
        ([FIVE, THREE], None, 5),
        ([FOUR, THREE], None, 4),
        ([THREE, Outcome.LANDED], None, 7),
        ([THREE, Outcome.TIMED_OUT], None, 7),
        ([Outcome.TIMED_OUT, Outcome.LANDED], None, 6),
        # An expired window comes at a coarser step, and what an OpenCost does not have is no success.
        ([FOUR, Outcome.EXPIRED, Outcome.UNSUPPORTED], None, 4),
        ([Outcome.EXPIRED, Outcome.LANDED], None, 0),
        ([Outcome.LANDED], FIVE, 7),
        ([Outcome.TIMED_OUT], FIVE, 6),
    ],
)
def test_the_exit_code_of_a_run(
    ended: list[Outcome | OpenCostKustoError], run_log: KustoError | None, exit_code: int
) -> None:
    """Everything where it should be is 0, only failures the worst of them, some failures 7, and late rows 6."""
    batch = Batch(ALLOCATION, "prod", HOUR)
    report = Report("run", run_log=run_log)
    for one in ended:
        error = one if isinstance(one, OpenCostKustoError) else None
        report.add([batch_result(batch, one if isinstance(one, Outcome) else Outcome.FAILED, error=error)])
    assert report.exit_code == report.document()["exit_code"] == exit_code
