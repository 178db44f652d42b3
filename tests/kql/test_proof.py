"""Batches prove themselves: what is wrong with one is found, cheaply and exactly, and each of its rows counts once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from opencost_kusto.load.holdings import proof_query, read
from opencost_kusto.schema.tables import ALLOCATION
from tests.kql.database import COLLECTED, HOUR, Database

COMPLETE = ((1, 0, 1.0), (2, 0, 2.0), (3, 0, 3.0), (4, 0, 4.0))
"""Number, response and cost of each row."""
DAMAGED = {
    "a row twice": ((*COMPLETE, COMPLETE[1]), "1 rows too many; cost 12.0 of 10.0", 10.0),
    "all rows twice": (COMPLETE * 2, "4 rows too many; cost 20.0 of 10.0", 10.0),
    "a row gone": ((COMPLETE[0], *COMPLETE[2:]), "1 rows missing; cost 8.0 of 10.0", 8.0),
    "two pairs": ((COMPLETE[0], COMPLETE[0], COMPLETE[3], COMPLETE[3]), "2 rows too many; 2 rows missing", 5.0),
    "the last row gone": (COMPLETE[:3], "no totals", 6.0),
    "two responses": (((1, 0, 1.0), *((n, 1, cost) for n, _, cost in COMPLETE[1:])), "rows of several responses", 9.0),
    "another cost": (((1, 0, 1.5), *COMPLETE[1:]), "cost 10.5 of 10.0", 10.5),
    "totals twice": (((1, 0, 1.0), (2, 0, 4.0), (3, 0, 1.0), (4, 0, 4.0)), "totals on 2 rows", 10.0),
    "no numbers": (tuple((None, 0, cost) for _, _, cost in COMPLETE), "4 rows missing; 4 rows without a number", 10.0),
}


def batch(name: str, rows: tuple[tuple[int | None, int, float], ...]) -> list[dict[str, Any]]:
    """Rows of one hour of a cluster of this name; the fourth of the complete batch has the totals."""
    shared = {"Cluster": name, "Source": name, "BatchId": name, "Aggregate": "container"}
    window = {"WindowStart": "2026-11-23T00:00:00Z", "WindowEnd": "2026-11-23T01:00:00Z"}
    return [
        {
            **shared,
            **window,
            "RowNumber": number,
            "AllocationName": f"row {number or cost}",
            "CollectionTime": (COLLECTED + response * HOUR).isoformat(),
            "TotalCost": cost,
            **({"BatchRows": 4, "BatchCost": 10_000_000} if cost == 4.0 else {}),
        }
        for number, response, cost in rows
    ]


@pytest.fixture(scope="module")
def batches() -> Iterator[Database]:
    """A complete batch, and one with each damage."""
    with Database() as database:
        database.install().insert("OpenCostAllocation", batch("complete", COMPLETE))
        for name, (rows, _, _) in DAMAGED.items():
            database.insert("OpenCostAllocation", batch(name, rows))
        yield database


def test_proof_names_what_is_wrong_with_a_batch(batches: Database) -> None:
    """A complete batch is complete, and each damage has its finding."""
    found = {row["BatchId"]: (row["IsComplete"], row["Finding"]) for row in batches.rows("OpenCostProof()")}
    expected = {name: (False, finding) for name, (_, finding, _) in DAMAGED.items()}
    assert found == {"complete": (True, "complete"), **expected}
    assert [row["BatchId"] for row in batches.rows('OpenCostProof("a row gone")')] == ["a row gone"]


def test_every_test_finds_the_same_batches(batches: Database) -> None:
    """The cheap test of cost functions, the states of windows and the proof of a load miss no damage either."""
    period = "datetime(2026-11-23), datetime(2026-11-24)"
    expected = {"complete": True, **dict.fromkeys(DAMAGED, False)}
    held = batches.rows(f'OpenCostHeldBatches("allocation", {period})')
    assert {row["BatchId"]: row["IsComplete"] for row in held} == expected
    states = batches.rows(f"OpenCostWindowStates({period})")
    assert {row["BatchId"]: row["State"] == "landed" for row in states} == expected
    proven = batches.rows(proof_query(ALLOCATION, expected))
    assert {row["BatchId"]: read(row, ALLOCATION).complete for row in proven} == expected


def test_the_exact_proof_finds_what_sums_do_not(empty: Database) -> None:
    """Numbers whose count, ends, sum and sum of squares are those of 1 to 9 pass the cheap test alone."""
    numbers = (1, 3, 3, 4, 4, 5, 8, 8, 9)
    rows = batch("sums", tuple((number, 0, 1.0) for number in numbers))
    rows[-1] |= {"BatchRows": 9, "BatchCost": 9_000_000}
    empty.insert("OpenCostAllocation", rows)
    found = empty.one("OpenCostProof()")
    assert (found["IsComplete"], found["Finding"]) == (False, "3 rows too many; 3 rows missing")
    call = 'OpenCostHeldBatches("allocation", datetime(2026-11-23), datetime(2026-11-24))'
    assert empty.one(call)["IsComplete"]


def test_a_batch_of_several_clusters_is_judged_whole(empty: Database) -> None:
    """With --all-clusters a batch has rows of several clusters: all of them prove it, also where one is asked for."""
    rows = [{**row, "Cluster": f"c{row['RowNumber'] % 2}"} for row in batch("fleet", COMPLETE)]
    empty.insert("OpenCostAllocation", rows)
    call = 'OpenCostHeldBatches("allocation", datetime(2026-11-23), datetime(2026-11-24), "c1")'
    assert [(row["Cluster"], row["Rows"], row["IsComplete"]) for row in empty.rows(call)] == [("c1", 2, True)]


def test_each_row_of_the_last_response_counts_once(batches: Database) -> None:
    """Copies share their cost, rows of an earlier response do not count, and deleted rows are not estimated."""
    period = "datetime(2026-11-23), datetime(2026-11-24)"
    rows = batches.rows(f"OpenCostByCluster({period}) | project Cluster, TotalCost")
    found = {row["Cluster"]: row["TotalCost"] for row in rows}
    assert found == pytest.approx({"complete": 10.0, **{name: cost for name, (_, _, cost) in DAMAGED.items()}})
