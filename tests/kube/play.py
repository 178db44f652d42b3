"""Plays a scenario against an API server, real or recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from opencost_kusto.errors import OpenCostKustoError
from opencost_kusto.extract.client import OpenCost
from tests.kube.scenarios import Scenario


def play(scenario: Scenario, kubeconfig: Path) -> None:
    """Find OpenCost and read what it is; the end is that of the scenario."""
    environment = {"KUBECONFIG": str(kubeconfig)}
    with OpenCost(scenario.endpoint, environment=environment, attempts=1, timeout=30) as opencost:
        if scenario.found:
            api, found = [check() for _, check in opencost.hops()]
            assert "v1.36" in api
            assert found == scenario.found
            source = opencost.source()
            assert (source.name, source.reported) == ("aks-tests", "aks-shop-prod-weu")
            assert source.fingerprint is not None
            assert source.route is not None
            assert source.route.startswith(f"{scenario.found}, by the proxy of the API server http://127.0.0.1:")
            return
        with pytest.raises(OpenCostKustoError) as failed:
            opencost.source()
    error = failed.value
    assert (error.code, error.transient) == (scenario.code, scenario.transient), str(error)
    for arguments in scenario.says:
        assert arguments in str(error)
