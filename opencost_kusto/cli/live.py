"""The live lines of a run on a terminal: one for each cluster and dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opencost_kusto.rendering import printable
from opencost_kusto.result import BatchResult


class Lines:
    """One line for each cluster and dataset, with batches, rows and the last outcome.

    The clusters are known from the first results on; until then each dataset has a line, so that a run that
    waits for OpenCost is visible. `progress` is rich's, `plan` the number of batches of each dataset of a cluster.
    """

    def __init__(self, progress: Any, plan: Mapping[str, int]) -> None:
        self._progress, self._plan = progress, plan
        self._waiting = {dataset: self._line(dataset, dataset) for dataset in plan}
        self._tasks: dict[tuple[str, str], Any] = {}

    def add(self, one: BatchResult) -> None:
        """Count a result on its line."""
        key, name = (one.source, one.dataset), f"{one.source} {one.dataset}"
        if key not in self._tasks:
            waiting = self._waiting.pop(one.dataset, None)
            self._tasks[key] = self._line(name, one.dataset) if waiting is None else waiting
        task = self._tasks[key]
        rows = self._progress.tasks[task].fields["rows"] + (one.rows or 0)
        self._progress.update(task, description=printable(name), advance=1, rows=rows, outcome=str(one.outcome))

    def _line(self, name: str, dataset: str) -> Any:
        return self._progress.add_task(printable(name), total=self._plan.get(dataset), rows=0, outcome="requested")
