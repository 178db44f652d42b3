"""A Kusto whose database is up to date."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opencost_kusto.database.bootstrap import bootstrap
from opencost_kusto.emulator import Behaviour, KustoEmulator
from opencost_kusto.kusto.client import Kusto


@pytest.fixture(scope="module")
def bootstrapped() -> Iterator[KustoEmulator]:
    """A Kusto whose database is up to date."""
    with KustoEmulator(latency=0) as emulator:
        with Kusto(emulator.url, emulator.database, auth="none") as kusto:
            bootstrap(kusto)
        yield emulator


@pytest.fixture
def emulator(bootstrapped: KustoEmulator) -> Iterator[KustoEmulator]:
    """The same Kusto, without a fault after each test."""
    yield bootstrapped
    bootstrapped.fault, bootstrapped.behaviour = None, Behaviour()
