"""Random histories of the engine: whatever happens, its metadata agree with its rows."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from opencost_kusto.emulator.kusto import commands
from opencost_kusto.emulator.kusto.behaviour import Behaviour, Chances
from opencost_kusto.emulator.kusto.engine import Engine
from opencost_kusto.emulator.kusto.upkeep import upkeep

SCHEMA = "(Batch: string, N: long)"
HISTORIES, STEPS = 8, 25


class History:
    """One database, its clock, and what its table must hold by batch."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = datetime(2026, 11, 23, tzinfo=UTC)
        self.engine = Engine("OpenCost", clock=lambda: self.now)
        self.engine.keep_history()
        self.chances = Chances(Behaviour(seed=seed, merges=0.4, compactions=0.3, tags_expire=True))
        self.held: Counter[str] = Counter()
        self.past: list[tuple[datetime, int]] = []
        for name in ("Costs", "Staging"):
            commands.run(self.engine, f".create table {name} {SCHEMA}")
        policy = '[{"TagPrefix": "ingest-by:", "RetentionPeriod": "00:10:00"}]'
        commands.run(self.engine, f".alter table Costs policy extent_tags_retention '{policy}'")

    def ingest(self, table: str = "Costs") -> None:
        """Rows of a batch are ingested."""
        batch, rows = self.random.choice("abcde"), self.random.randint(1, 4)
        tags = f"tags='[\"ingest-by:{batch}\"]'"
        query = f"range N from 1 to {rows} step 1 | extend Batch = '{batch}' | project Batch, N"
        commands.run(self.engine, f".set-or-append {table} with ({tags}) <| {query}")
        if table == "Costs":
            self.held[batch] += rows

    def replace(self) -> None:
        """A batch is deleted and its staged rows are added."""
        batch = self.random.choice("abcde")
        self.ingest("Staging")
        staged = commands.run(self.engine, ".show table Staging extents | summarize sum(RowCount)").rows[0][0]
        found = self.engine.query("Staging | summarize Rows = count() by Batch").rows
        reply = commands.run(
            self.engine, f".update table Costs delete D move Staging <| let D = Costs | where Batch == '{batch}';"
        )
        deleted = sum(row[3] for row in reply.rows if row[1] == "Delete")
        assert (deleted, sum(row[3] for row in reply.rows) - deleted) == (self.held.pop(batch, 0), staged)
        self.held.update(dict(found))

    def delete(self) -> None:
        """Rows of a batch are deleted by hand."""
        batch = self.random.choice("abcde")
        commands.run(self.engine, f".delete table Costs records <| Costs | where Batch == '{batch}' and N > 1")
        if batch in self.held:
            self.held[batch] = self.engine.query(f"Costs | where Batch == '{batch}' | count").rows[0][0]

    def fail(self) -> None:
        """A transaction that fails half way changes nothing."""
        with pytest.raises(Exception, match="schema"):
            commands.run(
                self.engine,
                ".update table Costs delete D append A <| let D = Costs | where N > 0; let A = Costs | project Batch;",
            )

    def step(self) -> None:
        """Something happens, after what Kusto does in the background."""
        self.now += timedelta(minutes=self.random.randint(1, 4))
        upkeep(self.engine, self.chances)
        self.random.choice([self.ingest, self.ingest, self.replace, self.delete, self.fail])()
        self.past.append((self.now, self.held.total()))
        self.check()

    def check(self) -> None:
        """Extents and rows agree, and so does every earlier state."""
        rows = self.engine.query("Costs | summarize Rows = count() by Extent = tostring(extent_id())").rows
        extents = {id: one.rows for id, one in self.engine.tables["Costs"].extents.items() if one.rows}
        assert dict(rows) == extents
        held = dict(self.engine.query("Costs | summarize Rows = count() by Batch").rows)
        assert held == {batch: count for batch, count in self.held.items() if count}
        moment, total = self.random.choice(self.past)
        assert self.engine.query("Costs | count", as_of=moment).rows == [(total,)]


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_extents_agree_with_rows_whatever_happens(seed: int) -> None:
    """Ingestion, replacement, deletion, failed transactions, merges and compactions, in any order."""
    history = History(seed)
    for _ in range(STEPS):
        history.step()
    history.engine.close()


def test_the_same_seed_makes_the_same_history() -> None:
    """Two histories of one seed end with the same rows in the same extents."""
    ends = []
    for _ in range(2):
        history = History(7)
        for _ in range(STEPS):
            history.step()
        extents = history.engine.tables["Costs"].extents.values()
        ends.append([(one.rows, one.tags, one.created, one.deleted) for one in extents])
        history.engine.close()
    assert ends[0] == ends[1]
