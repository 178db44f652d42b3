"""The proof: what a table says of a batch, against each kind of damage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from opencost_kusto.batch import Batch, Source
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.load.holdings import Holding, held_keys, holdings, only_doubled, read, sent_before
from opencost_kusto.load.run_log import write_run_log
from opencost_kusto.load.sealed import SealedBatch
from opencost_kusto.pipeline.request import new_run
from opencost_kusto.result import Outcome, batch_result
from opencost_kusto.schema.tables import ALLOCATION, METRICS
from tests.faults.damage import DAMAGE, copy
from tests.faults.wire import is_query
from tests.load.conftest import staged
from tests.support.world import HOUR, NAMESPACES, ROWS, World

BATCH = Batch(ALLOCATION, "aks-shop-prod-weu", HOUR, NAMESPACES)
# Kinds of damage that the table itself can repair.
ONLY_DOUBLED = {"all rows doubled", "one row doubled", "the last row doubled"}


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, SealedBatch]]:
    """A world in which the hour landed, with a copy of its rows, and its seal."""
    with World() as world:
        ((_, sealed),) = staged(world, tmp_path_factory.mktemp("spool"))
        assert world.sync().exit_code == 0
        world.command(f".set-or-append Whole <| {ALLOCATION.name}")
        yield world, sealed


@pytest.fixture
def kusto(landed: tuple[World, SealedBatch]) -> Iterator[Kusto]:
    """A client of that world, whose table holds the complete hour."""
    world, _ = landed
    world.command(f".clear table {ALLOCATION.name} data", f".set-or-append {ALLOCATION.name} <| Whole")
    with world.without_faults() as kusto:
        yield kusto


def held(kusto: Kusto) -> Holding:
    """What the table holds of the batch."""
    return holdings(kusto, ALLOCATION, [BATCH.id])[BATCH.id]


def test_a_complete_response(landed: tuple[World, SealedBatch], kusto: Kusto) -> None:
    """A batch that landed is complete, with the rows, the cost and the keys of its seal and the run's time."""
    found, (_, sealed) = held(kusto), landed
    assert (found.rows, found.micros, found.keys) == (ROWS, sealed.micros, sealed.keys)
    assert found.complete
    assert found.cost == sealed.cost
    assert isinstance(found.collected, datetime)
    assert len(held_keys(kusto, ALLOCATION, BATCH.id)) == ROWS
    assert holdings(kusto, ALLOCATION, ["another"]) == {}


@pytest.mark.parametrize(
    ("more", "same"),
    [({}, True), ({"rows": 7}, False), ({"micros": 1}, False), ({"keys": "0" * 32}, False)],
    ids=["", "rows", "cost", "keys"],
)
def test_a_response_is_this_one_or_another(
    landed: tuple[World, SealedBatch], kusto: Kusto, more: dict[str, int | str], same: bool
) -> None:
    """A complete response is the sealed one only with equal rows, cost and keys."""
    assert held(kusto).holds(msgspec.structs.replace(landed[1], **more)) is same


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage(landed: tuple[World, SealedBatch], kusto: Kusto, kind: str) -> None:
    """Each kind of damage is found and named; only doubled rows can be repaired from the table."""
    commands, message = DAMAGE[kind]
    landed[0].command(*commands)
    found = held(kusto)
    assert found.damage.startswith(message)
    assert not found.complete
    assert not found.holds(landed[1])
    assert only_doubled(kusto, ALLOCATION, BATCH.id, found) == (kind in ONLY_DOUBLED)


def test_the_proof_reads_another_table(landed: tuple[World, SealedBatch], kusto: Kusto) -> None:
    """A staging table is proven alike."""
    landed[0].command(copy())
    assert holdings(kusto, ALLOCATION, [BATCH.id], "Whole")[BATCH.id].complete


def test_many_batches_are_many_queries(landed: tuple[World, SealedBatch], kusto: Kusto) -> None:
    """A query names at most a hundred batches, and finds the one that landed."""
    landed[0].kusto.requests.clear()
    assert set(holdings(kusto, ALLOCATION, [f"b{number}" for number in range(250)] + [BATCH.id])) == {BATCH.id}
    texts = [request.csl for request in landed[0].kusto.requests if is_query(request)]
    assert [text.count('"b') for text in texts] == [100, 100, 50]


ROW = {
    **{"Rows": 2, "Least": 1, "Most": 2, "Sum": 3, "Squares": 5, "Micros": None, "Ends": 1, "BatchRows": 2},
    **{"First": HOUR.start, "Last": HOUR.start, "BatchCost": None, "BatchKeys": "k"},
}


@pytest.mark.parametrize(
    "more",
    [
        {"Least": 0, "Sum": 2, "Squares": 4},
        {"Most": 3},
        {"Sum": 4},
        {"Squares": 6},
        {"Rows": 3},
        {"Ends": 0, "BatchRows": None},
        {"Ends": 2},
        {"BatchRows": 3},
        {"Last": HOUR.end},
        {"Least": None, "Most": None, "Sum": 0, "Squares": 0},
    ],
)
def test_each_figure_of_the_proof_counts(more: dict[str, int | datetime | None]) -> None:
    """A table without a cost is proven by its numbers; each of them alone shows damage."""
    assert read(ROW, METRICS) == Holding(2, None, "k", HOUR.start.astimezone(UTC))
    assert read(ROW | more, METRICS).damage


@pytest.mark.parametrize(
    ("outcome", "rows", "sent"),
    [
        (Outcome.LANDED, 8, True),
        (Outcome.ALREADY_LANDED, 8, True),
        (Outcome.QUEUED, 8, True),
        (Outcome.TIMED_OUT, 8, True),
        # The reply of the queue may be lost after the message arrived.
        (Outcome.FAILED, 8, True),
        (Outcome.FAILED, None, False),
        (Outcome.EMPTY, 0, False),
        (Outcome.EXPIRED, None, False),
        (Outcome.LOST, None, False),
    ],
)
def test_batches_that_the_run_log_has_as_sent(
    landed: tuple[World, SealedBatch], kusto: Kusto, outcome: Outcome, rows: int | None, sent: bool
) -> None:
    """Rows were sent, or may have been, by these outcomes and no others."""
    landed[0].command(".clear table OpenCostSyncRuns data")
    write_run_log(kusto, new_run(), [Source(BATCH.source)], [batch_result(BATCH, outcome, rows=rows)])
    assert sent_before(kusto, [BATCH]) == ({BATCH.id} if sent else set())


def test_two_runs_agree_on_one_response(tmp_path: Path, world: World) -> None:
    """The digest of the keys does not depend on the run, so that two runs agree on one response."""
    (_, first), (_, second) = (*staged(world, tmp_path / "a"), *staged(world, tmp_path / "b"))
    assert (first.rows, first.micros, first.keys) == (second.rows, second.micros, second.keys)
    assert first.collected != second.collected
