"""Each scenario ends against a real API server as it does against the recording of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kube.cluster import Cluster
from tests.kube.play import play
from tests.kube.recorder import Recorder, kubeconfig, of_the_api, recorded
from tests.kube.scenarios import SCENARIOS, Scenario, in_state

pytestmark = pytest.mark.kube


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[one.name for one in SCENARIOS])
def test_it_ends_as_declared(scenario: Scenario, cluster: Cluster, recording: bool, tmp_path: Path) -> None:
    """The API server allows, refuses and reports as the table says, in the exchanges that are stored."""
    with Recorder(cluster.url, cluster.ca) as recorder, in_state(cluster, scenario.state):
        play(scenario, kubeconfig(tmp_path / "config", recorder.url, scenario.user))
    if recording:
        recorder.write(scenario.name)
    stored = {one.path: one.status for one in recorded(scenario.name)}
    assert of_the_api(one.path for one in recorder.exchanges) == of_the_api(one.path for one in recorded(scenario.name))
    assert all(stored.get(one.path, one.status) == one.status for one in recorder.exchanges)
