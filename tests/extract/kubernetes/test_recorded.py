"""What a real API server said, recorded by `python -m tests.kube --record`, is understood, and asked for as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kube.play import play
from tests.kube.recorder import Replay, kubeconfig, recorded
from tests.kube.scenarios import SCENARIOS, Scenario


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[one.name for one in SCENARIOS])
def test_a_recorded_api_server(scenario: Scenario, tmp_path: Path) -> None:
    """Every request is spelled as the real server was asked, and the end is the same."""
    with Replay(recorded(scenario.name)) as server:
        play(scenario, kubeconfig(tmp_path / "config", server.url, scenario.user))
    assert server.asked == [one.path for one in recorded(scenario.name)]
