"""Fixtures of the parts that need Node: the KQL analyser and the storage emulator."""

from collections.abc import Iterator

import pytest

from tests.support.azurite import Azurite, running
from tests.support.kql_analyser import Analyser
from tests.support.node.install import NodeUnavailableError, Packages, install, unavailable


@pytest.fixture(scope="session")
def node_packages() -> Packages:
    """Node and the pinned packages; without them the test is skipped, or fails where CI=true."""
    try:
        return install()
    except NodeUnavailableError as error:
        unavailable(str(error))


@pytest.fixture(scope="session")
def analyser(node_packages: Packages) -> Iterator[Analyser]:
    """Microsoft's KQL analyser, one process for all tests of a session."""
    with Analyser(node_packages) as analyser:
        yield analyser


@pytest.fixture(scope="session")
def azurite(node_packages: Packages) -> Iterator[Azurite]:
    """Microsoft's storage emulator on free ports of the loopback, empty at the start of a session."""
    with running(node_packages) as azurite:
        yield azurite
