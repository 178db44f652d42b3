"""The run log is read month by month, whatever its length and that of the period."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from opencost_kusto.coverage.interval_set import IntervalSet
from opencost_kusto.coverage.state import dataset_states
from opencost_kusto.coverage.status import status
from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.emulator import KustoEmulator
from opencost_kusto.kusto.client import Kusto
from opencost_kusto.schema.tables import ALLOCATION, SYNC_RUNS
from opencost_kusto.window import Window
from opencost_kusto.window_state import WindowState

DAYS = 150
FIRST = datetime(2026, 1, 31, tzinfo=UTC)
BOUND = re.compile(r"(?:Window\w+ [<>]=?|let \w+ =) datetime\(([^)]+)\)")
PERIOD = Window(FIRST, FIRST + timedelta(days=DAYS))
# An empty day each, written twice; what the month before and after it have belongs to none of them.
ENTRY = {
    **{"BatchId": "source || day::VARCHAR", "Source": "source", "TableName": f"'{ALLOCATION.name}'"},
    **{"Dataset": "'allocation'", "Outcome": "'empty'", "Rows": "0", "WindowStart": "day"},
    **{"WindowEnd": "day + INTERVAL 1 DAY", "LoggedAt": "day", "CollectionTime": "day"},
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[KustoEmulator]:
    """A run log of empty days over five months, of two sources."""
    with KustoEmulator(latency=0) as emulator:
        with Kusto(emulator.url, emulator.database, auth="none") as kusto:
            bootstrap(kusto)
        days = "unnest(generate_series(TIMESTAMP '2026-01-31', TIMESTAMP '2026-06-29', INTERVAL 1 DAY)) AS day"
        rows = f"SELECT source, {days} FROM unnest(['east', 'west']) AS sources(source)"
        select = f"SELECT {', '.join(ENTRY.values())} FROM ({rows})"
        for _ in range(2):
            emulator.engine.insert(emulator.engine.table(SYNC_RUNS.name), select, {}, [], columns=list(ENTRY))
        yield emulator


@pytest.fixture
def kusto(emulator: KustoEmulator) -> Iterator[Kusto]:
    """A client of it."""
    with Kusto(emulator.url, emulator.database, auth="none") as kusto:
        yield kusto


def bounds(emulator: KustoEmulator, sent: int) -> list[timedelta]:
    """The lengths of the periods that the queries of the run log since then cover."""
    found = []
    for request in emulator.requests[sent:]:
        # Whether there is anything earlier is requested of one row.
        if request.csl.startswith((f"{SYNC_RUNS.name} | where", "let startTime")) and "take 1" not in request.csl:
            one, other = (datetime.fromisoformat(text) for text in BOUND.findall(request.csl)[:2])
            found.append(abs(one - other))
    return found


def test_a_long_period_is_read_month_by_month(emulator: KustoEmulator, kusto: Kusto) -> None:
    """No query covers more than a month, and together they return every window once."""
    sent = len(emulator.requests)
    states = dataset_states(kusto, None, [ALLOCATION], PERIOD)
    assert bounds(emulator, sent) == [timedelta(days=30)] * 5
    assert {one.source for one in states} == {"east", "west"}
    for one in states:
        assert len(one.entries) == DAYS
        assert list(IntervalSet(one.windows({WindowState.EMPTY}))) == [PERIOD]


def test_status_counts_every_month_once(emulator: KustoEmulator, kusto: Kusto) -> None:
    """The totals are those of all months, a copy of an entry counting once."""
    sent = len(emulator.requests)
    found = status(kusto, now=PERIOD.end)
    year, *months = sorted(bounds(emulator, sent), reverse=True)
    assert year == timedelta(days=365)
    assert max(months) <= timedelta(days=31)
    assert [(one.source, one.dataset, one.batches, one.rows) for one in found] == [
        ("east", "allocation", DAYS, 0),
        ("west", "allocation", DAYS, 0),
    ]
    assert {one.empty_until for one in found} == {PERIOD.end}
    assert all(one.until is None and one.missing == [] for one in found)


def test_a_period_is_cut_without_gap_or_overlap() -> None:
    """The parts of a period tile it, the last one shorter."""
    parts = list(Window(FIRST, FIRST + timedelta(days=70)).cut(timedelta(days=30)))
    assert [part.length for part in parts] == [timedelta(days=days) for days in (30, 30, 10)]
    assert all(one.end == other.start for one, other in pairwise(parts))


def test_status_counts_what_is_years_old(emulator: KustoEmulator, kusto: Kusto) -> None:
    """Years without an entry end no search: one earlier entry goes on, and its absence stops."""
    sent = len(emulator.requests)
    found = status(kusto, now=datetime(2029, 3, 1, tzinfo=UTC))
    assert [(one.source, one.batches) for one in found] == [("east", DAYS), ("west", DAYS)]
    requested = [request.csl for request in emulator.requests[sent:] if "distinct Month" in request.csl]
    assert [re.findall(r"datetime\((\d+)-01-01\)", text)[0] for text in requested] == ["2029", "2028", "2027", "2026"]
