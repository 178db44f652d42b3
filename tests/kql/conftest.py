"""The recorded day in an emulator for Kusto, loaded once; and the schema the analyser checks against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kql.database import Database
from tests.support.kql_analyser import Schema
from tests.support.recordings import recording
from tests.support.shipped import SHIPPED


def load_day(database: Database) -> Database:
    """Land the recorded day: 24 hours by container, 24 hours of assets, one scrape."""
    database.allocation(recording("1.112", "allocation_day_step1h.json"))
    for hour in range(24):
        database.assets(recording("1.112", f"assets_hours/{hour:02}.json"))
    database.metrics(recording("1.112", "metrics.txt"))
    return database


@pytest.fixture(scope="session")
def day() -> Iterator[Database]:
    """The recorded day; tests only read it."""
    with Database() as database:
        yield load_day(database.install())


@pytest.fixture(scope="session")
def installed() -> Iterator[Database]:
    """Tables and functions; whatever rows the last test left."""
    with Database() as database:
        yield database.install()


@pytest.fixture
def empty(installed: Database) -> Database:
    """Tables and functions without a row."""
    installed.clear()
    return installed


@pytest.fixture(scope="session")
def schema() -> Schema:
    """The shipped tables and functions."""
    return SHIPPED
