"""The real API server, started once for all tests of the lane."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import yaml

from opencost_kusto.emulator import OpenCostEmulator
from opencost_kusto.extract.kubernetes.address import parse
from opencost_kusto.extract.kubernetes.rights import needed, subject
from opencost_kusto.schedule.manifest import rbac
from tests.kube.binaries import binaries, cache
from tests.kube.cluster import Cluster
from tests.kube.scenarios import ADD_ON, SERVICE


@pytest.fixture(scope="session")
def opencost() -> Iterator[OpenCostEmulator]:
    """The OpenCost behind all pods."""
    server = OpenCostEmulator()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def cluster(opencost: OpenCostEmulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the chart's Service and the add-on's pod; `reader` has the least Roles, as they are printed."""
    found = binaries(cache())
    if not found.there:
        pytest.skip("the API server is not built: python -m tests.kube")
    with Cluster(found, tmp_path_factory.mktemp("kube")) as running:
        running.load("opencost.yaml")
        port = int(opencost.url.rpartition(":")[2])
        running.egress.ports |= {"10.244.0.5:9003": port, "10.244.0.6:9003": port}
        running.ready("kube-system", "cost-analysis-agent-0", "10.244.0.5")
        running.ready("opencost", "opencost-0", "10.244.0.6")
        for endpoint in (SERVICE, ADD_ON):
            for document in yaml.safe_load_all(rbac(needed(parse(endpoint)), subject("User:reader"))):
                running.apply(document)
        yield running


@pytest.fixture
def recording() -> bool:
    """Whether exchanges are to be written to tests/data."""
    return os.environ.get("OPENCOST_KUSTO_KUBE_RECORD") == "1"
