"""What the table really holds, read past the program and past every fault, and judged against what OpenCost sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.schema.tables import ALLOCATION
from opencost_kusto.window import Window
from tests.histories.drifting import Costs

_ROWS = (
    f"{ALLOCATION.name} | project BatchId, WindowStart, WindowEnd, AllocationName, TotalCost, RowNumber, CollectionTime"
)


@dataclass(slots=True)
class Held:
    """The rows of one batch: names and costs, numbers, and when the runs began that wrote them.

    `responses` has each number, name and cost once, by run.
    """

    window: Window
    rows: Counter[tuple[str, float]] = field(default_factory=Counter)
    numbers: list[int] = field(default_factory=list)
    collected: set[datetime] = field(default_factory=set)
    responses: dict[datetime, set[tuple[int, str, float]]] = field(default_factory=lambda: defaultdict(set))

    @property
    def cost(self) -> float:
        """The cost of all rows."""
        return sum(cost * rows for (_, cost), rows in self.rows.items())

    def damage(self, sent: set[Costs]) -> str:
        """What is wrong with it, or "" where it is one of the responses sent, complete and once."""
        if len(self.collected) > 1:
            return f"{len(self.numbers)} rows of {len(self.collected)} runs"
        if sorted(self.numbers) != list(range(1, len(self.numbers) + 1)):
            return f"rows numbered {sorted(self.numbers)}"
        if max(self.rows.values()) > 1 or frozenset(self.rows) not in sent:
            return f"{len(self.numbers)} rows that are no response of OpenCost"
        return ""

    def includes(self, sent: set[Costs], rows: int, cost: float) -> bool:
        """Whether one of the responses sent is complete in it, whatever else is: so many rows of that cost."""
        return any(
            sorted(number for number, _, _ in one) == list(range(1, rows + 1))
            and frozenset((name, costs) for _, name, costs in one) in sent
            and round(sum(costs for _, _, costs in one), 4) == round(cost, 4)
            for one in self.responses.values()
        )


def held(engine: Engine) -> dict[str, Held]:
    """What the table holds by batch."""
    found: dict[str, Held] = {}
    for batch, start, end, name, cost, number, collected in engine.query(_ROWS).rows:
        window = Window(start.astimezone(UTC), end.astimezone(UTC))
        one = found.setdefault(batch, Held(window))
        one.rows[name, round(cost, 5)] += 1
        one.numbers.append(-1 if number is None else int(number))
        one.collected.add(collected)
        one.responses[collected].add((one.numbers[-1], name, round(cost, 5)))
    return found


def logged(engine: Engine, run_id: str | None = None) -> dict[str, str]:
    """The latest outcome of each batch by the run log, of one run or of all."""
    # In a list, which one translation of the query serves.
    of = "" if run_id is None else f' | where RunId in ("{run_id}")'
    entries: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for batch, at, outcome in engine.query(f"OpenCostSyncRuns{of} | project BatchId, LoggedAt, Outcome").rows:
        entries[batch].append((at, outcome))
    return {batch: max(some)[1] for batch, some in entries.items()}
